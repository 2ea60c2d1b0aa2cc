package replica

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/base/appenv"
	"pegasus/base/config"
	idl "pegasus/gen/rrdb"
	"pegasus/gen/value"
	"pegasus/rpc"
)

// alone is a partition of one replica.
func alone(t testing.TB) *group {
	t.Helper()
	return newGroupWith(t, 1, func(c *config.Config) { c.Replica.MinReplicas = 1 })
}

// set gives the table settings and waits until node 0 acts on them.
func (g *group) set(envs ...string) {
	g.t.Helper()
	g.meta.mu.Lock()
	g.meta.app.Envs = nil
	for i := 0; i < len(envs); i += 2 {
		g.meta.app.Envs = append(g.meta.app.Envs, base.Pair[string, string]{Key: envs[i], Val: envs[i+1]})
	}
	g.meta.mu.Unlock()
	until(g.t, fmt.Sprint("the replica has the settings ", envs), func() bool {
		have := g.view(0).info.Envs
		same := len(have) == len(envs)/2
		for i := 0; i < len(envs); i += 2 {
			same = same && have[envs[i]] == envs[i+1]
		}
		return same
	})
}

// send is call with a timeout of its own and as a backup request, if asked.
func (g *group) send(i int, code string, arg, res value.Value, timeout time.Duration, backup bool) error {
	ctx, cancel := context.WithTimeout(g.t.Context(), timeout)
	defer cancel()
	return g.pool.Call(ctx, g.nodes[i].srv.Addr().String(), rpc.Outgoing{Code: code, Gpid: g.gpid, Arg: arg, IsBackup: backup}, res)
}

func (g *group) get(k string, timeout time.Duration, backup bool) error {
	arg := value.Blob(rowKey(k))
	return g.send(0, base.RPCGet, &arg, new(idl.ReadResponse), timeout, backup)
}

func TestDeny(t *testing.T) {
	g := alone(t)
	g.mustPut(0, "a", "1")
	const brief = 300 * time.Millisecond
	arg := &idl.UpdateRequest{Key: rowKey("b"), Value: []byte("2")}
	for _, c := range []struct {
		setting     string
		read, write base.ErrorCode
	}{
		{"reconfig*all", base.ErrInvalidState, base.ErrInvalidState},
		{"reconfig*read", base.ErrInvalidState, base.ErrOK},
		{"timeout*write", base.ErrOK, base.ErrTimeout},
		{"timeout*all", base.ErrTimeout, base.ErrTimeout},
		{"nonsense", base.ErrOK, base.ErrOK},
	} {
		g.set(appenv.DenyClient, c.setting)
		wait := func(want base.ErrorCode) time.Duration {
			if want == base.ErrTimeout {
				return brief
			}
			return answerTime
		}
		if code := codeOf(g.get("a", wait(c.read), false)); code != c.read {
			t.Errorf("%s: get: %v, want %v", c.setting, code, c.read)
		}
		if code := codeOf(g.send(0, base.RPCPut, arg, new(idl.UpdateResponse), wait(c.write), false)); code != c.write {
			t.Errorf("%s: put: %v, want %v", c.setting, code, c.write)
		}
	}
	g.set()
	g.mustPut(0, "b", "3")
	g.wantGet(0, "b", "3")
}

func codeOf(err error) base.ErrorCode {
	if err == nil {
		return base.ErrOK
	}
	return base.CodeOf(err)
}

// results sends n requests at once and counts the codes of their answers.
func results(n int, do func(i int) error) map[base.ErrorCode]int {
	var mu sync.Mutex
	var wg sync.WaitGroup
	got := map[base.ErrorCode]int{}
	for i := range n {
		wg.Go(func() {
			code := codeOf(do(i))
			mu.Lock()
			got[code]++
			mu.Unlock()
		})
	}
	wg.Wait()
	return got
}

// refusedAbove sends 30 requests at once where so many a second pass, and tells how many were refused. A
// machine that is busy spreads them over some seconds: if it takes so many that most may pass, they are sent again.
func refusedAbove(t *testing.T, pass int, do func(i int) error) (refused int) {
	t.Helper()
	until(t, "30 requests are sent at once", func() bool {
		began := time.Now()
		got := results(30, do)
		most := pass * (2 + int(time.Since(began).Seconds())) // a second may begin and end meanwhile
		refused += got[base.ErrBusy]
		if got[base.ErrOK] < pass || got[base.ErrOK] > most || got[base.ErrOK]+got[base.ErrBusy] != 30 {
			t.Fatalf("where %d a second pass: %v within %v", pass, got, time.Since(began))
		}
		return most <= 15
	})
	return refused
}

func TestThrottledWrites(t *testing.T) {
	g := alone(t)
	r := g.nodes[0].srv.replica(g.gpid)
	put := func(i int) error { return g.put(0, fmt.Sprint("k", i), "v") }
	g.set(appenv.WriteThrottling, "4*reject*0")
	refused := refusedAbove(t, 5, put) // 5 a second pass
	if n := r.admission.Counts().RejectedWrites; n < int64(refused) {
		t.Errorf("%d writes are counted as refused, %d were", n, refused)
	}
	g.set(appenv.WriteThrottling, "1*delay*200")
	began := time.Now()
	if got := results(10, put); got[base.ErrOK] != 10 {
		t.Errorf("delayed above 1 a second: %v", got)
	}
	if d := time.Since(began); d < 200*time.Millisecond || r.admission.Counts().DelayedWrites < 6 {
		t.Errorf("delayed by %v, %d of them", d, r.admission.Counts().DelayedWrites)
	}
	g.set(appenv.WriteThrottlingBySize, "1K*reject*1")
	big := string(make([]byte, 2000))
	if code := codeOf(g.put(0, "big", big)); code != base.ErrBusy {
		t.Errorf("2000 bytes where 1 KiB a second may be written: %v", code)
	}
	g.set()
	g.mustPut(0, "big", big)
}

func TestThrottledReads(t *testing.T) {
	g := alone(t)
	r := g.nodes[0].srv.replica(g.gpid)
	g.mustPut(0, "a", string(make([]byte, 4000)))
	get := func(backup bool, timeout time.Duration) func(int) error {
		return func(int) error { return g.get("a", timeout, backup) }
	}
	g.set(appenv.ReadThrottling, "4*reject*0")
	refusedAbove(t, 5, get(false, answerTime))
	if got := results(10, get(true, answerTime)); got[base.ErrOK] != 10 {
		t.Errorf("backup requests have a throttle of their own: %v", got)
	}
	g.set(appenv.ReadThrottling, "1*delay*150")
	began := time.Now()
	if got := results(10, get(false, answerTime)); got[base.ErrOK] != 10 || time.Since(began) < 150*time.Millisecond {
		t.Errorf("delayed above 1 a second: %v after %v", got, time.Since(began))
	}
	g.set(appenv.BackupThrottling, "1*reject*100")
	// Long enough for those that are answered, and shorter than what ends a silent connection (rpc.PoolOptions.StallTimeout).
	if got := results(10, get(true, 2500*time.Millisecond)); got[base.ErrTimeout] < 6 || got[base.ErrOK] < 2 {
		t.Errorf("backup requests above 1 a second get no answer: %v", got)
	}
	if n := r.admission.Counts().RejectedBackups; n < 6 {
		t.Errorf("%d backup requests are counted as refused", n)
	}
	g.set(appenv.ReadThrottlingBySize, "1000") // the next may come three seconds later
	if err := g.get("a", answerTime, false); err != nil {
		t.Fatal(err)
	}
	if code := codeOf(g.get("a", answerTime, false)); code != base.ErrBusy {
		t.Errorf("4000 bytes were read where 1000 a second may be: %v", code)
	}
	until(t, "tokens come back", func() bool { return g.get("a", answerTime, false) == nil })
	g.set()
	if got := results(30, get(false, answerTime)); got[base.ErrOK] != 30 {
		t.Errorf("without settings: %v", got)
	}
}

// A request that waits has no goroutine, and the memory of all that wait is limited.
func TestDelayedCostNoGoroutine(t *testing.T) {
	g := newGroupWith(t, 1, func(c *config.Config) { c.RPC.MaxInFlightBytes, c.Replica.MinReplicas = 16<<20, 1 })
	s := g.nodes[0].srv
	g.set(appenv.WriteThrottling, "1*delay*60000")
	g.mustPut(0, "a", "1")
	g.mustPut(0, "b", "1")
	before := runtime.NumGoroutine()
	for i := range 500 {
		arg := &idl.UpdateRequest{Key: rowKey(fmt.Sprint("k", i)), Value: []byte("v")}
		g.pool.Go(s.Addr().String(), 2*time.Minute, rpc.Outgoing{Code: base.RPCPut, Gpid: g.gpid, Arg: arg, TimeoutMS: 120000}, func([]byte, error) {})
	}
	until(t, "nearly all wait", func() bool { return s.gate.Waiting() > 450 })
	if n := runtime.NumGoroutine() - before; n > 50 {
		t.Errorf("%d goroutines for %d requests that wait", n, s.gate.Waiting())
	}
	// Of twelve of 900 KB four may pass, and four fit into what may wait.
	big, busy := string(make([]byte, 900<<10)), make(chan base.ErrorCode, 12)
	for i := range cap(busy) {
		arg := &idl.UpdateRequest{Key: rowKey(fmt.Sprint("x", i)), Value: []byte(big)}
		g.pool.Go(s.Addr().String(), 2*time.Minute, rpc.Outgoing{Code: base.RPCPut, Gpid: g.gpid, Arg: arg, TimeoutMS: 120000}, func(_ []byte, err error) {
			if code := codeOf(err); code == base.ErrBusy {
				busy <- code
			}
		})
	}
	until(t, "when no more may wait they are refused", func() bool { return len(busy) >= 4 })
}

// Those that wait when a server stops are answered.
func TestDelayedAtStop(t *testing.T) {
	g := alone(t)
	s := g.nodes[0].srv
	g.set(appenv.ReadThrottling, "1*delay*60000")
	codes := make(chan base.ErrorCode, 20)
	for range 20 {
		arg := value.Blob(rowKey("a"))
		g.pool.Go(s.Addr().String(), 2*time.Minute, rpc.Outgoing{Code: base.RPCGet, Gpid: g.gpid, Arg: &arg, TimeoutMS: 120000},
			func(_ []byte, err error) { codes <- codeOf(err) })
	}
	until(t, "some wait", func() bool {
		return s.gate.Waiting() > 10
	})
	g.nodes[0].stop()
	elsewhere := 0
	for range 20 {
		if c := <-codes; c == base.ErrInvalidState {
			elsewhere++
		}
	}
	if elsewhere <= 10 {
		t.Errorf("%d of more than 10 that waited were sent elsewhere", elsewhere)
	}
}
