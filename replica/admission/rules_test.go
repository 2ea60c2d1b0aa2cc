package admission

import (
	"fmt"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/base/appenv"
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
	if !b.available(at.Add((1600 + maxDeficit*1000 + 100) * time.Millisecond)) {
		t.Error("a huge read shuts the table for longer than it may")
	}
}

func TestRules(t *testing.T) {
	if u, bad := NewRules(nil, 1, 4); u != nil || len(bad) > 0 {
		t.Errorf("no settings are the rules %+v, of which %q are bad", u, bad)
	}
	if u, bad := NewRules(map[string]string{appenv.DefaultTTL: "7", appenv.DenyClient: "nonsense"}, 1, 4); u != nil || len(bad) != 1 {
		t.Errorf("settings of the store, and a bad one, are the rules %+v, of which %q are bad", u, bad)
	}
	u, bad := NewRules(map[string]string{appenv.ValidateHash: "TRUE", appenv.SlowQuery: "20"}, 1, 4)
	if u == nil || len(bad) > 0 {
		t.Fatalf("%+v, of which %q are bad", u, bad)
	}
	if u.CheckHash(5) != base.ErrOK || u.CheckHash(6) != base.ErrParentPartitionMisused {
		t.Error("5 belongs to partition 1 of 4, and 6 does not")
	}
	if u.SlowRead() != 20*time.Millisecond {
		t.Errorf("a read is slow from %v on", u.SlowRead())
	}
	if u = nil; u.CheckHash(6) != base.ErrOK || u.SlowRead() != 0 {
		t.Error("without rules every hash is accepted, and no read is slow")
	}
	u.HasRead(1)
}

// A table that may read 100 bytes a second in each of 4 partitions.
func TestReadBytes(t *testing.T) {
	u, _ := NewRules(map[string]string{appenv.ReadThrottlingBySize: "400"}, 0, 4)
	if u == nil || !u.readBytes.available(time.Now()) {
		t.Fatal("nothing may be read at first")
	}
	u.HasRead(1000)
	if u.readBytes.available(time.Now()) {
		t.Error("more may be read after ten seconds' worth")
	}
}

// What a secondary says counts for a while, and until it says otherwise.
func TestPeerRoom(t *testing.T) {
	var p PeerRoom
	at := time.Now()
	if p.lacks(at, peerSays) || p.Heard(1, false, at) || !p.Heard(1, true, at) || p.Heard(1, true, at) || !p.lacks(at, peerSays) {
		t.Error("one that is short")
	}
	if !p.Short() {
		t.Error("what was said just now doesn't count")
	}
	if !p.Heard(2, true, at) || !p.Heard(1, false, at) || !p.lacks(at, peerSays) {
		t.Error("another")
	}
	at = at.Add(peerSays + 1)
	if p.lacks(at, peerSays) || p.some.Load() {
		t.Error("one that is silent is still waited for")
	}
}

func TestOptions(t *testing.T) {
	if _, err := New(Options{MaxWriteBytes: -1}); err == nil {
		t.Error("a negative limit is taken")
	}
	g, err := New(Options{MaxWriteBytes: 7})
	if err != nil || g.MaxWrite() != 7 || g.delays.limit == 0 || g.Closed() || g.Waiting() != 0 {
		t.Errorf("%+v, %v", g, err)
	}
}
