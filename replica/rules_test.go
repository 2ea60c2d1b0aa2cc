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
	"pegasus/rrdb"
)

func throttle(t testing.TB, s string) appenv.Throttle {
	t.Helper()
	v, hint := appenv.ParseThrottle(s)
	if hint != "" {
		t.Fatalf("%s: %s", s, hint)
	}
	return v
}

func TestWindow(t *testing.T) {
	second := time.Unix(1700000000, 0)
	const ms = time.Millisecond
	for _, c := range []struct {
		setting    string
		partitions uint64
		timeout    int32
		units      []uint64
		want       string
	}{
		{"2*delay*100", 1, 0, []uint64{1, 1, 1, 1}, "[pass pass pass delay 100ms]"},
		{"8*delay*100", 4, 50, []uint64{1, 1, 1, 1, 1}, "[pass pass pass delay 25ms delay 25ms]"},
		{"2*reject*100", 1, 1000, []uint64{1, 1, 1, 1, 1}, "[pass pass pass reject 100ms reject 100ms]"},
		{"1*reject*0", 1, 1000, []uint64{1, 1, 1}, "[pass pass reject 0s]"},
		// What is refused doesn't count, so that something smaller still passes.
		{"10*reject*7", 1, 1000, []uint64{5, 100, 6, 1}, "[pass reject 7ms pass reject 7ms]"},
		{"1*delay*3,3*reject*9", 1, 1000, []uint64{1, 1, 1, 1, 1}, "[pass pass delay 3ms delay 3ms reject 9ms]"},
		{"0*delay*3,0*reject*9", 1, 1000, []uint64{1, 1, 1}, "[pass pass pass]"},
	} {
		w := newWindow(throttle(t, c.setting), c.partitions)
		got := []string{}
		for _, n := range c.units {
			switch v, wait := w.take(second.Add(10*ms), c.timeout, n); v {
			case pass:
				got = append(got, "pass")
			case delay:
				got = append(got, fmt.Sprint("delay ", wait))
			default:
				got = append(got, fmt.Sprint("reject ", wait))
			}
		}
		if s := fmt.Sprint(got); s != c.want {
			t.Errorf("%s of %d partitions: %s, want %s", c.setting, c.partitions, s, c.want)
		}
		if v, _ := w.take(second.Add(time.Second), c.timeout, 1); v != pass {
			t.Errorf("%s: the next second begins with %v", c.setting, v)
		}
	}
}

func TestBucket(t *testing.T) {
	b := newBucket(100)
	at := time.Unix(1700000000, 0)
	if !b.available(at) {
		t.Error("a new bucket is empty")
	}
	b.consume(250)
	if b.available(at.Add(1400 * time.Millisecond)) {
		t.Error("150 overdrawn, 140 earned: available")
	}
	if !b.available(at.Add(1600 * time.Millisecond)) {
		t.Error("150 overdrawn, 160 earned: not available")
	}
	b.consume(1 << 40)
	if !b.available(at.Add((1600 + deepest*1000 + 100) * time.Millisecond)) {
		t.Error("a huge read shuts the table for longer than it may")
	}
}

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
	return g.send(0, rrdb.CodeGet, &arg, new(idl.ReadResponse), timeout, backup)
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
			return 5 * time.Second
		}
		if code := codeOf(g.get("a", wait(c.read), false)); code != c.read {
			t.Errorf("%s: get: %v, want %v", c.setting, code, c.read)
		}
		if code := codeOf(g.send(0, rrdb.CodePut, arg, new(idl.UpdateResponse), wait(c.write), false)); code != c.write {
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

func TestThrottledWrites(t *testing.T) {
	g := alone(t)
	r := g.nodes[0].srv.replica(g.gpid)
	put := func(i int) error { return g.put(0, fmt.Sprint("k", i), "v") }
	g.set(appenv.WriteThrottling, "4*reject*0")
	// 5 a second pass; the requests may fall into two seconds.
	if got := results(30, put); got[base.ErrBusy] < 20 || got[base.ErrOK] < 5 {
		t.Errorf("refused above 4 a second: %v", got)
	}
	if n := r.throttled.rejectedWrites.Load(); n < 20 {
		t.Errorf("%d writes are counted as refused", n)
	}
	g.set(appenv.WriteThrottling, "1*delay*200")
	began := time.Now()
	if got := results(10, put); got[base.ErrOK] != 10 {
		t.Errorf("delayed above 1 a second: %v", got)
	}
	if d := time.Since(began); d < 200*time.Millisecond || r.throttled.delayedWrites.Load() < 6 {
		t.Errorf("delayed by %v, %d of them", d, r.throttled.delayedWrites.Load())
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
	if got := results(30, get(false, 5*time.Second)); got[base.ErrBusy] < 20 || got[base.ErrOK] < 5 {
		t.Errorf("refused above 4 a second: %v", got)
	}
	if got := results(10, get(true, 5*time.Second)); got[base.ErrOK] != 10 {
		t.Errorf("backup requests have a throttle of their own: %v", got)
	}
	g.set(appenv.ReadThrottling, "1*delay*150")
	began := time.Now()
	if got := results(10, get(false, 5*time.Second)); got[base.ErrOK] != 10 || time.Since(began) < 150*time.Millisecond {
		t.Errorf("delayed above 1 a second: %v after %v", got, time.Since(began))
	}
	g.set(appenv.BackupThrottling, "1*reject*100")
	if got := results(10, get(true, 300*time.Millisecond)); got[base.ErrTimeout] < 6 || got[base.ErrOK] < 2 {
		t.Errorf("backup requests above 1 a second get no answer: %v", got)
	}
	if n := r.throttled.rejectedBackups.Load(); n < 6 {
		t.Errorf("%d backup requests are counted as refused", n)
	}
	g.set(appenv.ReadThrottlingBySize, "3000")
	if err := g.get("a", 5*time.Second, false); err != nil {
		t.Fatal(err)
	}
	if code := codeOf(g.get("a", 5*time.Second, false)); code != base.ErrBusy {
		t.Errorf("4000 bytes were read where 3000 a second may be: %v", code)
	}
	until(t, "tokens come back", func() bool { return g.get("a", 5*time.Second, false) == nil })
	g.set()
	if got := results(30, get(false, 5*time.Second)); got[base.ErrOK] != 30 {
		t.Errorf("without settings: %v", got)
	}
}

// A request that waits has no goroutine, and the memory of all that wait is limited.
func TestDelayedCostNoGoroutine(t *testing.T) {
	g := alone(t)
	s := g.nodes[0].srv
	g.set(appenv.WriteThrottling, "1*delay*60000")
	g.mustPut(0, "a", "1")
	g.mustPut(0, "b", "1")
	before := runtime.NumGoroutine()
	for i := range 500 {
		arg := &idl.UpdateRequest{Key: rowKey(fmt.Sprint("k", i)), Value: []byte("v")}
		g.pool.Go(s.Addr().String(), 2*time.Minute, rpc.Outgoing{Code: rrdb.CodePut, Gpid: g.gpid, Arg: arg, TimeoutMS: 120000}, func([]byte, error) {})
	}
	waiting := func() int {
		s.delays.mu.Lock()
		defer s.delays.mu.Unlock()
		return len(s.delays.heap)
	}
	until(t, "nearly all wait", func() bool { return waiting() > 450 })
	if n := runtime.NumGoroutine() - before; n > 50 {
		t.Errorf("%d goroutines for %d requests that wait", n, waiting())
	}
	s.delays.mu.Lock()
	s.delays.limit = s.delays.bytes
	s.delays.mu.Unlock()
	if got := results(6, func(i int) error { return g.put(0, fmt.Sprint("x", i), "v") }); got[base.ErrBusy] < 4 {
		t.Errorf("when no more may wait: %v", got)
	}
}

// Those that wait when a server stops are answered.
func TestDelayedAtStop(t *testing.T) {
	g := alone(t)
	s := g.nodes[0].srv
	g.set(appenv.ReadThrottling, "1*delay*60000")
	codes := make(chan base.ErrorCode, 20)
	for range 20 {
		arg := value.Blob(rowKey("a"))
		g.pool.Go(s.Addr().String(), 2*time.Minute, rpc.Outgoing{Code: rrdb.CodeGet, Gpid: g.gpid, Arg: &arg, TimeoutMS: 120000},
			func(_ []byte, err error) { codes <- codeOf(err) })
	}
	until(t, "some wait", func() bool {
		s.delays.mu.Lock()
		defer s.delays.mu.Unlock()
		return len(s.delays.heap) > 10
	})
	g.nodes[0].stop()
	busy := 0
	for range 20 {
		if c := <-codes; c == base.ErrBusy {
			busy++
		}
	}
	if busy <= 10 {
		t.Errorf("%d of more than 10 that waited were refused", busy)
	}
}

func TestRuleOfHashes(t *testing.T) {
	g := alone(t)
	g.set(appenv.ValidateHash, "TRUE", appenv.SlowQuery, "20")
	u := g.nodes[0].srv.replica(g.gpid).rules.Load()
	u.partitions, u.partition = 4, 1
	if u.checkHash(5) != base.ErrOK || u.checkHash(6) != base.ErrParentPartitionMisused {
		t.Error("5 belongs to partition 1 of 4, and 6 does not")
	}
	if (*rules)(nil).checkHash(6) != base.ErrOK {
		t.Error("without rules every hash is accepted")
	}
}
