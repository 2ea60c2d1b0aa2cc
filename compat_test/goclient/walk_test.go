package goclient

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/apache/incubator-pegasus/go-client/pegalog"
	"github.com/apache/incubator-pegasus/go-client/pegasus"
	"github.com/apache/incubator-pegasus/go-client/session"
)

const (
	table      = "temp"
	partitions = 8
	opTimeout  = 10 * time.Second
)

// walk is one table of one client, and the state of the walk-through.
type walk struct {
	metas    []string
	replicas []string
	control  string

	client pegasus.Client
	tb     pegasus.TableConnector
	meta   *session.MetaManager    // the layer below, for what the client doesn't offer
	nodes  *session.ReplicaManager // likewise, to see errors as the server sent them

	phase string            // prefix of this phase's hash keys
	kept  map[string]string // hash key -> value of what earlier phases wrote and left
}

// TestWalkThrough runs every operation with one client on a fresh cluster, after a replica server
// was killed, after it was restarted, and after all primaries moved; and once more with another
// client after they moved again.
func TestWalkThrough(t *testing.T) {
	w := newWalk(t)
	w.run(t, "fresh")

	t.Logf("killed: %s", w.do(t, "kill", nil))
	w.settle(t)
	w.run(t, "killed")

	t.Logf("restarted: %s", w.do(t, "restart", nil))
	w.settle(t)
	w.run(t, "restarted")

	t.Logf("moved: %s", w.do(t, "move", url.Values{"table": {table}, "to": {"first"}}))
	w.settle(t)
	w.run(t, "moved")

	// Now to the server that was restarted. This client dials one again only a minute after
	// it lost it, so that takes a new client.
	t.Logf("moved: %s", w.do(t, "move", url.Values{"table": {table}, "to": {"last"}}))
	w.connect(t)
	w.settle(t)
	w.run(t, "moved-again")
}

func newWalk(t *testing.T) *walk {
	metas, control := os.Getenv("PEGASUS_META"), os.Getenv("PEGASUS_CONTROL")
	if metas == "" || control == "" {
		t.Skip("no cluster: the tests in the directory above start one and run this")
	}
	pegalog.SetLogger(pegalog.StderrLogger)
	w := &walk{
		metas:    strings.Split(metas, ","),
		replicas: strings.Split(os.Getenv("PEGASUS_REPLICA"), ","),
		control:  control,
		kept:     map[string]string{},
	}
	w.connect(t)
	return w
}

// connect makes a new client.
func (w *walk) connect(t *testing.T) {
	client := pegasus.NewClient(pegasus.Config{MetaServers: w.metas})
	meta := session.NewMetaManager(w.metas, session.NewNodeSession)
	nodes := session.NewReplicaManager(session.NewNodeSession)
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		meta.Close()
		nodes.Close()
	})
	tb, err := client.OpenTable(ctx(t), table)
	if err != nil {
		t.Fatalf("open table: %v", err)
	}
	w.client, w.tb, w.meta, w.nodes = client, tb, meta, nodes
}

// run is the walk-through proper.
func (w *walk) run(t *testing.T, phase string) {
	w.phase = phase
	t.Run(phase, func(t *testing.T) {
		for _, s := range []struct {
			name string
			f    func(*testing.T)
		}{
			{"kept data", w.keptData},
			{"set get del exist", w.single},
			{"binary keys and values", w.binary},
			{"empty sort key and value", w.empty},
			{"big values", w.big},
			{"ttl", w.ttl},
			{"multi set get del", w.multi},
			{"multi get options", w.multiOptions},
			{"multi get range", w.multiRange},
			{"sort key count", w.sortKeyCount},
			{"batch get", w.batchGet},
			{"incr", w.incr},
			{"check and set", w.checkAndSet},
			{"hash key scan", w.hashScan},
			{"hash key scan options", w.hashScanOptions},
			{"scan of all partitions", w.fullScan},
			{"scan filters", w.scanFilters},
			{"errors", w.errors},
			{"admin", w.admin},
			{"meta operations", w.metaOps},
			{"remote command", w.remoteCommand},
		} {
			t.Run(s.name, s.f)
		}
	})
}

// key returns a hash key of this phase.
func (w *walk) key(format string, args ...any) []byte {
	return []byte(w.phase + "." + fmt.Sprintf(format, args...))
}

// ctx is the time one operation may take.
func ctx(t *testing.T) context.Context {
	c, cancel := context.WithTimeout(context.Background(), opTimeout)
	t.Cleanup(cancel)
	return c
}

// do asks the test that started us to do something to the cluster, and returns what it says.
func (w *walk) do(t *testing.T, what string, args url.Values) string {
	t.Helper()
	c := http.Client{Timeout: 3 * time.Minute}
	resp, err := c.PostForm(w.control+"/"+what, args)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s: %s", what, resp.Status, b)
	}
	return strings.TrimSpace(string(b))
}

// settle waits until every partition answers this client again. The client gives up on an
// operation whose server died under it and learns the new primaries afterwards, so the first
// operations after a change may fail; after this, none may.
func (w *walk) settle(t *testing.T) {
	t.Helper()
	start := time.Now()
	deadline := start.Add(90 * time.Second)
	for p := range partitions {
		// Enough keys that each partition gets some: 64 keys miss one of 8 partitions with
		// probability 0.0002, and a miss would only make the test less patient.
		for i := p * 8; i < p*8+8; i++ {
			k := []byte(fmt.Sprintf("settle.%d", i))
			for {
				c, cancel := context.WithTimeout(context.Background(), 2*time.Second)
				err := w.tb.Set(c, k, []byte("s"), []byte(w.phase))
				cancel()
				if err == nil {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("partition of %s isn't served: %v", k, err)
				}
			}
		}
	}
	t.Logf("every partition answered this client after %.1f s", time.Since(start).Seconds())
}

// keptData checks what all phases before wrote, then adds this phase's.
func (w *walk) keptData(t *testing.T) {
	for k, v := range w.kept {
		got, err := w.tb.Get(ctx(t), []byte(k), []byte("kept"))
		if err != nil || string(got) != v {
			t.Errorf("get %s: %q, %v, want %q", k, got, err, v)
		}
	}
	for i := range 50 {
		k, v := w.key("kept.%d", i), fmt.Sprintf("%s value %d", w.phase, i)
		if err := w.tb.Set(ctx(t), k, []byte("kept"), []byte(v)); err != nil {
			t.Fatalf("set %s: %v", k, err)
		}
		w.kept[string(k)] = v
	}
}

func noError(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}
