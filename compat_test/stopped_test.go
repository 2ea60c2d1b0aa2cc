package compat

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/compat_test/cluster"
	"pegasus/compat_test/wire"
	"pegasus/gen/layer2"
	"pegasus/gen/registry"
	"pegasus/gen/rrdb"
	"pegasus/gen/value"
)

// TestStoppedServer: what a published client sees of a replica server that is stopped (SIGSTOP) while its
// connections stay, which no other machine can close. goclient/stopped_test.go is the client.
//   - When the lease and the grace are over the metas name other primaries, and new clients work.
//   - When the server continues, whatever lies in its sockets is answered so that clients ask the metas
//     (TestStoppedAnswers).
//   - If it never does, this client asks by itself once it has read nothing for 30 s.
func TestStoppedServer(t *testing.T) {
	dir := goModule(t)
	bin := filepath.Join(t.TempDir(), "stopped.test")
	if out, err := goTool(t, dir, "test", "-c", "-o", bin, "."); err != nil {
		t.Fatalf("compile the client: %v\n%s", err, out)
	}
	for _, mode := range []string{"continue", "never"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel() // they wait nearly all the time
			c := cluster.Start(t, cluster.Options{})
			goTestBinary(t, bin, []string{"-test.run=^TestStopped$"}, []string{
				"PEGASUS_META=" + strings.Join(c.Metas(), ","),
				"PEGASUS_CONTROL=" + control(t, c),
				"PEGASUS_STOPPED=" + mode,
			})
		})
	}
}

// TestGoOpenDuringFailover: new clients open a table while the leading meta dies. goclient/open_test.go is the client.
func TestGoOpenDuringFailover(t *testing.T) {
	dir := goModule(t)
	bin := filepath.Join(t.TempDir(), "open.test")
	if out, err := goTool(t, dir, "test", "-c", "-o", bin, "."); err != nil {
		t.Fatalf("compile the client: %v\n%s", err, out)
	}
	c := cluster.Start(t, cluster.Options{Metas: 3})
	goTestBinary(t, bin, []string{"-test.run=^TestOpenDuringFailover$"}, []string{
		"PEGASUS_META=" + strings.Join(c.Metas(), ","),
		"PEGASUS_CONTROL=" + control(t, c),
		"PEGASUS_OPEN=yes",
	})
}

// TestStoppedAnswers: requests that a stopped server gets while others have taken its partitions over are
// refused with ERR_INVALID_STATE once it continues, each of them, also those that were sent before its lease
// ended; and the connection stays: this error makes every client ask the metas, where the published Go client
// connects again only after a minute.
func TestStoppedAnswers(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Config: "[failure_detector]\nlease = \"4s\"\ngrace = \"5s\"\n"})
	n, err := c.PrimariesOf("temp")
	if err != nil {
		t.Fatal(err)
	}
	victim := slices.MaxFunc(slices.Sorted(maps.Keys(n)), func(a, b string) int { return n[a] - n[b] })
	cfg, err := c.Config("temp")
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(cfg.Partitions, func(p layer2.PartitionConfiguration) bool { return p.Primary.String() == victim })
	gpid := cfg.Partitions[i].Pid
	var hashKey []byte
	for j := 0; ; j++ {
		hashKey = fmt.Appendf(nil, "k%d", j)
		if base.HashOf(hashKey, nil)%uint64(len(cfg.Partitions)) == uint64(gpid.PartitionIndex) {
			break
		}
	}
	hash, key := base.HashOf(hashKey, nil), base.AppendKey(nil, hashKey, []byte("s"))
	requests := []struct {
		code string
		arg  value.Value
	}{
		{base.RPCPut, &rrdb.UpdateRequest{Key: key, Value: []byte("late")}},
		{base.RPCIncr, &rrdb.IncrRequest{Key: base.AppendKey(nil, hashKey, []byte("n")), Increment: 1}},
		{base.RPCMultiGet, &rrdb.MultiGetRequest{HashKey: hashKey, MaxKvCount: 10, StartInclusive: true}},
		{base.RPCGetScanner, &rrdb.GetScannerRequest{StartKey: key, StopKey: []byte{0xff, 0xff}, BatchSize: 10}},
	}
	conns := map[wire.Framing]*wire.Conn{}
	for _, f := range []wire.Framing{wire.THFT0, wire.THFT1, wire.RDSN} {
		if conns[f], err = wire.Dial(victim); err != nil {
			t.Fatal(err)
		}
		defer conns[f].Close()
		var res rrdb.UpdateResponse
		if err := conns[f].Call(f, base.RPCPut, gpid, hash, &rrdb.UpdateRequest{Key: key, Value: []byte("early")}, &res, 10*time.Second); err != nil || res.Error != 0 {
			t.Fatalf("%v: %v, %d", f, err, res.Error)
		}
	}
	// ask sends each request once by each connection.
	ask := func(round uint64) {
		t.Helper()
		for f, conn := range conns {
			for j, r := range requests {
				field := int16(1)
				if f == wire.RDSN {
					field = 0
				}
				frame := wire.New(f, r.code, round*100+uint64(j), gpid, registry.AppendBody(nil, field, r.arg))
				frame.Hash = hash
				if err := conn.Send(frame.Encode()); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	name := c.Name(victim)
	if err := c.Signal(name, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer c.Signal(name, syscall.SIGCONT)
	pid, err := c.Pid(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := cluster.Poll(time.Minute, func() error { return allStopped(pid) }); err != nil {
		t.Fatal(err)
	}
	ask(1) // before the lease ends
	if err := cluster.Poll(time.Minute, func() error {
		now, err := c.PrimariesOf("temp")
		if err == nil && now[victim] > 0 {
			err = fmt.Errorf("the metas name %s as primary of %d partitions", name, now[victim])
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	ask(2)
	if err := c.Signal(name, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	for f, conn := range conns {
		for range 2 * len(requests) {
			a, err := conn.Receive(30 * time.Second)
			if err != nil {
				t.Fatalf("%v: %v", f, err)
			}
			if a.Err != "ERR_INVALID_STATE" {
				t.Errorf("%v: %s with id %d is answered with %s", f, a.Code, a.ID, a.Err)
			}
		}
	}
	if got, err := c.CLI(runContext(t, time.Minute), "get", "temp", string(hashKey), "s", "--meta", strings.Join(c.Metas(), ",")); err != nil || strings.TrimSpace(got) != "early" {
		t.Errorf("the row is %q, %v", got, err)
	}
}

// allStopped returns an error while a thread of the process still runs: a signal takes a moment.
func allStopped(pid int) error {
	stats, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err == nil && len(stats) == 0 {
		err = fmt.Errorf("process %d has no threads", pid)
	}
	for _, file := range stats {
		b, e := os.ReadFile(file)
		if _, state, ok := strings.Cut(string(b), ") "); e != nil || !ok || state[0] != 'T' {
			return fmt.Errorf("%s: %v: %s", file, e, b)
		}
	}
	return err
}
