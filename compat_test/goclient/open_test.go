package goclient

import (
	"context"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/apache/incubator-pegasus/go-client/pegasus"
)

// patience is for how long a meta surely lets a client wait for the next leader. It is less than that, as
// a machine may be slow.
const patience = 1500 * time.Millisecond

// unknowing is for how long after its death followers may still name the old leader.
const unknowing = 300 * time.Millisecond

// TestOpenDuringFailover: clients that begin while the leading meta has just died open their table. This client
// asks each meta once, and then waits for its deadline.
func TestOpenDuringFailover(t *testing.T) {
	if os.Getenv("PEGASUS_OPEN") == "" {
		t.Skip("TestGoOpenDuringFailover in the directory above runs this")
	}
	w := newWalk(t)
	open := func() (time.Duration, error) {
		began := time.Now()
		c := pegasus.NewClient(pegasus.Config{MetaServers: w.metas})
		defer c.Close()
		until, cancel := context.WithTimeout(context.Background(), opTimeout)
		defer cancel()
		_, err := c.OpenTable(until, table)
		return time.Since(began), err
	}
	for round := range 5 {
		said := w.do(t, "kill-meta", nil)
		began := time.Now()
		led := make(chan time.Duration, 1)
		go func() {
			_, err := http.PostForm(w.control+"/leader", nil) // answers when somebody leads
			if err != nil {
				t.Error(err)
			}
			led <- time.Since(began)
		}()
		var wg sync.WaitGroup
		var mu sync.Mutex
		opened, slowest := 0, time.Duration(0)
		failed := map[time.Duration]error{} // by when it began
		for time.Since(began) < 3*time.Second {
			after := time.Since(began)
			wg.Add(1)
			go func() {
				defer wg.Done()
				took, err := open()
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					failed[after] = err
					return
				}
				opened++
				slowest = max(slowest, took)
			}()
			time.Sleep(50 * time.Millisecond)
		}
		wg.Wait()
		after := <-led
		t.Logf("%s: another one led after %v, %d clients opened the table, %d didn't, the slowest took %v", said, after, opened, len(failed), slowest)
		for at, err := range failed {
			if at > unknowing && at > after-patience {
				t.Errorf("round %d: a client that began %v after the kill, when another one led after %v: %v", round, at, after, err)
			}
		}
		w.do(t, "restart-meta", nil)
	}
}
