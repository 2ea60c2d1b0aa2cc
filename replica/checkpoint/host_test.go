package checkpoint

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"pegasus/base"
	"pegasus/httpapi"
	"pegasus/pacifica"
	"pegasus/replica/part"
	"pegasus/rpc"
)

var addrOfHost base.RPCAddress

// host is a server of one replica; it admits only requests of its cluster.
type host struct {
	t       *testing.T
	cluster string
	name    string
	r       *served
	wg      sync.WaitGroup
	ctx     context.Context
	router  *httpapi.Router
}

func (h *host) Name() string                  { return h.name }
func (h *host) NameOf(base.RPCAddress) string { return h.name }
func (h *host) Replicas() []Replica           { return []Replica{h.r} }
func (h *host) Mark(header http.Header)       { header.Set("Cluster", h.cluster) }

func (h *host) Go(f func(context.Context)) {
	h.wg.Add(1)
	go func() { defer h.wg.Done(); f(h.ctx) }()
}

func (h *host) Replica(g base.Gpid) Replica {
	if g == h.r.gpid {
		return h.r
	}
	return nil
}

func (h *host) Check(header http.Header) error {
	if header.Get("Cluster") != h.cluster {
		return errors.New("another cluster's")
	}
	return nil
}

// served is a replica whose store consists of files, and which takes what was fetched for it.
type served struct {
	gpid    base.Gpid
	dir     string
	files   map[string][]byte
	state   pacifica.State
	learner *Learner
	failing error  // of the next checkpoint
	during  func() // called while one is made

	outcome chan bool // of a fetch

	mu    sync.Mutex
	holds map[string]int64
	lost  func() // of the last hold
	first int64
}

func (r *served) Gpid() base.Gpid                { return r.gpid }
func (r *served) State() (pacifica.State, int64) { return r.state, 7 }
func (r *served) Store() int64                   { return 1 }
func (r *served) Scratch() string                { return r.dir }
func (r *served) Learner() *Learner              { return r.learner }

func (r *served) Checkpoint(dir string) (int64, error) {
	if r.during != nil {
		r.during()
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return 0, err
	}
	for n, b := range r.files {
		if err := os.WriteFile(filepath.Join(dir, n), b, 0o644); err != nil {
			return 0, err
		}
	}
	return 7, r.failing
}

// Hold and Release are those of a log that begins at decree first.
func (r *served) Hold(name string, decree int64, lost func()) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.holds == nil {
		r.holds = map[string]int64{}
	}
	r.holds[name], r.lost = decree, lost
	return max(decree, r.first)
}

func (r *served) Release(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.holds, name)
}

// held returns the decrees that are held.
func (r *served) held() []int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Values(r.holds))
}

func (r *served) Post(f func())              { f() }
func (r *served) Done() <-chan struct{}      { return nil }
func (r *served) Failed() bool               { return false }
func (r *served) Install(int64) error        { return nil }
func (r *served) Installed(_ int64, ok bool) { r.outcome <- ok }

// newHost returns the copies of a server that is its replica's primary, and serves them.
func newHost(t *testing.T, files map[string][]byte) (*host, *Copies) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	h := &host{t: t, cluster: "ours", ctx: ctx, r: &served{gpid: base.Gpid{AppID: 1}, dir: t.TempDir(), files: files, outcome: make(chan bool, 1),
		state: pacifica.State{Status: pacifica.Primary, Ballot: 3}}}
	log := logrus.New()
	log.SetOutput(io.Discard)
	c := New(h, Options{Fetched: 1, Log: logrus.NewEntry(log)})
	h.r.learner = c.NewLearner(h.r.gpid, t.TempDir(), logrus.NewEntry(log))
	h.router = httpapi.NewRouter()
	c.Register(part.NewRoutes(rpc.NewMux(nil), h.router))
	s := httptest.NewServer(h.router)
	t.Cleanup(s.Close)
	h.name = s.Listener.Addr().String()
	t.Cleanup(func() { cancel(); h.wg.Wait() })
	return h, c
}

// until waits for a condition.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after 30 s it is not so that %s", what)
		}
	}
}
