package goclient

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/apache/incubator-pegasus/go-client/pegasus"
)

// stopKeys are enough that each of 8 partitions has one, but for bad luck of 1 in 5000.
const stopKeys = 64

// served counts the keys of a table that a client can write, and how long the slowest took. A
// client asks once for each key, with a second of time, like an application that doesn't wait.
func served(tb pegasus.TableConnector) (n int, slowest time.Duration, last error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range stopKeys {
		wg.Add(1)
		go func() {
			defer wg.Done()
			began := time.Now()
			c, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			err := tb.Set(c, []byte(fmt.Sprintf("stop.%d", i)), []byte("s"), []byte("v"))
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				last = err
				return
			}
			n++
			slowest = max(slowest, time.Since(began))
		}()
	}
	wg.Wait()
	return n, slowest, last
}

// until repeats served until every key is, and returns how long that took.
func until(t *testing.T, what string, tb pegasus.TableConnector, limit time.Duration) time.Duration {
	t.Helper()
	began := time.Now()
	for {
		n, _, err := served(tb)
		if n == stopKeys {
			return time.Since(began)
		}
		if time.Since(began) > limit {
			t.Fatalf("%s: %d of %d keys are served after %v: %v", what, n, stopKeys, time.Since(began), err)
		}
	}
}

// TestStopped: a replica server is stopped (SIGSTOP), so that its connections stay and nobody answers.
// PEGASUS_STOPPED says whether it continues: "continue" once the metas have given its partitions to
// others, or "never".
func TestStopped(t *testing.T) {
	mode := os.Getenv("PEGASUS_STOPPED")
	if mode == "" {
		t.Skip("TestStoppedServer in the directory above runs this")
	}
	w := newWalk(t)
	until(t, "before", w.tb, time.Minute)
	began := time.Now()
	t.Logf("stopped: %s", w.do(t, "stop", nil)) // answers when the metas name other primaries
	if n, _, _ := served(w.tb); n == stopKeys {
		t.Error("this client writes although its primary is stopped")
	}

	// Who asks now is told the new primaries.
	fresh := pegasus.NewClient(pegasus.Config{MetaServers: w.metas})
	defer fresh.Close()
	tb, err := fresh.OpenTable(ctx(t), table)
	if err != nil {
		t.Fatalf("a new client, %.1f s after the stop: %v", time.Since(began).Seconds(), err)
	}
	t.Logf("a new client writes all keys after %v more", until(t, "a new client", tb, 20*time.Second))

	if mode == "continue" {
		// What lies in the server's sockets is answered so that clients ask the metas.
		t.Logf("continued: %s", w.do(t, "continue", nil))
		t.Logf("the old client writes all keys %v after the server continued", until(t, "the old client", w.tb, 20*time.Second))
	} else {
		// This client asks the metas when it has read nothing for 30 s.
		until(t, "the old client", w.tb, 100*time.Second)
		t.Logf("the old client writes all keys %.1f s after the stop", time.Since(began).Seconds())
	}
}
