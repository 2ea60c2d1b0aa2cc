package hostile

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/gen/command"
	"pegasus/gen/registry"
	"pegasus/rpc"
)

// Target is a server that is attacked.
type Target struct {
	Addr string
	Gpid base.Gpid // of a partition that is there
	// Spare are requests and commands that are left out, because what they do is not to happen.
	Spare []string
	// Names are of arguments that pages know.
	Names []string
}

const (
	attackers = 4
	wait      = time.Minute // for an answer; a page of a busy machine may take seconds
)

// Attack sends the server requests of every code that there is, asks for its pages and runs its
// remote commands, times each. A connection that ends, or a page that fails, is an error of t: the
// server's counter of panics is for the caller to look at.
func Attack(t *testing.T, to Target, seed uint64, times int) {
	t.Helper()
	pool := rpc.NewPool(rpc.PoolOptions{ConnsPerAddr: attackers})
	defer pool.Close()
	var wg sync.WaitGroup
	for w := range attackers {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(w)))
			for range (times + attackers - 1) / attackers {
				to.requests(t, pool, rnd)
			}
		})
	}
	wg.Wait()
	rnd := rand.New(rand.NewPCG(seed, attackers))
	for range times {
		to.commands(t, pool, rnd)
	}
	paths := to.paths(t)
	for range times {
		for _, p := range paths {
			to.page(t, rnd, p)
		}
	}
}

// requests sends a request of each code.
func (to *Target) requests(t *testing.T, pool *rpc.Pool, rnd *rand.Rand) {
	for _, code := range registry.Codes() {
		if slices.Contains(to.Spare, code) || code == base.RPCCLICall {
			continue
		}
		g := []base.Gpid{{}, to.Gpid, to.Gpid, {AppID: -1, PartitionIndex: -1}, {AppID: to.Gpid.AppID, PartitionIndex: 1 << 30}}[rnd.IntN(5)]
		body := Body(rnd, code)
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond) // some are never answered
		err := pool.Call(ctx, to.Addr, rpc.Outgoing{Code: code, Gpid: g, PartitionHash: rnd.Uint64(), Body: body}, nil)
		cancel()
		if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: %v, after %.500q", code, err, body)
		}
	}
}

func (to *Target) command(t *testing.T, pool *rpc.Pool, name string, args []string) string {
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	var text rpc.Str
	if err := pool.Call(ctx, to.Addr, rpc.Outgoing{Code: base.RPCCLICall, Arg: &command.Command{Cmd: name, Arguments: args}}, &text); err != nil {
		t.Errorf("command %s %.200q: %v", name, args, err)
	}
	return string(text)
}

// commands runs each remote command.
func (to *Target) commands(t *testing.T, pool *rpc.Pool, rnd *rand.Rand) {
	n := 0
	for line := range strings.Lines(to.command(t, pool, "help", nil)) {
		all, _, ok := strings.Cut(line, " - ")
		for _, name := range strings.Split(all, "|") {
			if ok && !slices.Contains(to.Spare, name) {
				to.command(t, pool, name, Args(rnd))
				n++
			}
		}
	}
	if n < 10 {
		t.Errorf("help lists %d commands", n)
	}
}

// paths returns the paths of the pages, but for profiles, which take long.
func (to *Target) paths(t *testing.T) (paths []string) {
	res, err := http.Get("http://" + to.Addr + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var list map[string]string
	if err := json.NewDecoder(res.Body).Decode(&list); err != nil {
		t.Fatal(err)
	}
	for p := range list {
		if !strings.HasPrefix(p, "/pprof") {
			paths = append(paths, p)
		}
	}
	slices.Sort(paths)
	if len(paths) < 5 {
		t.Errorf("pages: %q", paths)
	}
	return paths
}

// page asks for a page.
func (to *Target) page(t *testing.T, rnd *rand.Rand, path string) {
	q := Query(rnd, to.Names...)
	method := []string{http.MethodGet, http.MethodGet, http.MethodPost}[rnd.IntN(3)] // others begin no HTTP here
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+to.Addr+path, strings.NewReader(Text(rnd)))
	if err != nil {
		t.Error(err)
		return
	}
	req.URL.RawQuery = q
	res, err := http.DefaultTransport.RoundTrip(req) // without following where it leads
	if err != nil {
		t.Errorf("%s %s?%.200s: %v", method, path, q, err)
		return
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%s %s?%.200s: %v", method, path, q, err)
	}
	if res.StatusCode >= 500 && res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("%s %s?%.200s: %d %.200s", method, path, q, res.StatusCode, b)
	}
}
