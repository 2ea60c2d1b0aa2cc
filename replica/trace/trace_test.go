package trace

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/remotecmd/answer"
)

var node = base.RPCAddress(1<<32 | 2<<16 | 1)

func TestBlock(t *testing.T) {
	prepare := []Item{{ID: 1, Decree: 5}, {ID: 1<<64 - 1, Decree: 1 << 40}}
	ack := []Item{{ID: 7, Spans: Spans{time.Millisecond, 2 * time.Millisecond}}, {ID: 8, Spans: Spans{0, time.Microsecond}}}
	before := []byte("what is before it")
	if got := ReadBlock(AppendBlock(before, prepare, true), true); !slices.Equal(got, prepare) {
		t.Errorf("%+v", got)
	}
	b := AppendBlock(before, ack, false)
	if got := ReadBlock(b, false); !slices.Equal(got, ack) {
		t.Errorf("%+v", got)
	}
	for n := range len(b) { // what is cut is nothing
		if got := ReadBlock(b[:n], false); got != nil {
			t.Errorf("%d bytes of %d: %+v", n, len(b), got)
		}
	}
	if got := ReadBlock(AppendBlock(nil, make([]Item, 300), true), true); got != nil {
		t.Errorf("items without an id: %+v", got)
	}
	many := make([]Item, 300)
	for i := range many {
		many[i] = Item{ID: uint64(i + 1), Decree: int64(i)}
	}
	if got := ReadBlock(AppendBlock(nil, many, true), true); !slices.Equal(got, many[:MaxItems]) {
		t.Errorf("%d items", len(got))
	}
	if got := ReadBlock(AppendBlock(nil, []Item{{ID: 1, Spans: Spans{-time.Second, 0}}}, false), false); got != nil {
		t.Errorf("a negative span: %+v", got)
	}
}

func FuzzReadBlock(f *testing.F) {
	f.Add(AppendBlock(nil, []Item{{ID: 1, Decree: 5}}, true), true)
	f.Add(AppendBlock([]byte("x"), []Item{{ID: 7, Spans: Spans{time.Millisecond, time.Second}}}, false), false)
	f.Fuzz(func(t *testing.T, b []byte, prepare bool) {
		items := ReadBlock(b, prepare)
		if len(items) == 0 {
			return
		}
		if again := ReadBlock(AppendBlock(nil, items, prepare), prepare); !slices.Equal(again, items) {
			t.Errorf("%+v became %+v", items, again)
		}
	})
}

// What a secondary tells is placed between the sending and the answer; stages are shown in the order of
// time.
func TestHear(t *testing.T) {
	began := time.Now()
	at := func(ms int) time.Time { return began.Add(time.Duration(ms) * time.Millisecond) }
	x := Begin(255, began, answer.Trace{Server: "s"})
	x.ReachAt(Sent, node, at(10))
	x.Hear(node, at(30), Spans{Logged: 5 * time.Millisecond, Answered: 10 * time.Millisecond})
	x.ReachAt(Logged, 0, at(20)) // later than it is told, as its goroutine had to wait
	x.ReachAt(Answered, 0, at(31))
	var got []string
	a := x.Show()
	for _, s := range a.Stages {
		got = append(got, time.Duration(s.At*1e9).Round(time.Millisecond).String()+" "+s.What+" "+s.Server)
	}
	n := node.String()
	if want := []string{"0s received ", "10ms sent " + n, "15ms received " + n, "20ms logged " + n, "20ms logged ", "25ms answered " + n, "30ms heard " + n, "31ms answered "}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if a.ID != "ff" || a.Took < 0.03099 || a.Took > 0.03101 {
		t.Errorf("%+v", a)
	}
	if id, err := ParseID(a.ID); id != 255 || err != nil {
		t.Errorf("%d, %v", id, err)
	}
	for range 1000 {
		x.Reach(Sent, node)
	}
	if n := len(x.Show().Stages); n != maxStages {
		t.Errorf("%d stages", n)
	}
}

func TestTracer(t *testing.T) {
	r := New(100)
	if sample, more := r.Next(); !sample || more != 99 {
		t.Errorf("%t, %d", sample, more)
	}
	if sample, _ := New(0).Next(); sample {
		t.Error("what isn't to be sampled is")
	}
	began := time.Now()
	const n = 5000
	for i := range n {
		x := Begin(uint64(i+1), began, answer.Trace{})
		x.ReachAt(Answered, 0, began.Add(time.Duration((i*7919)%n)*time.Millisecond))
		r.Keep(x)
	}
	if l := r.Last(n); len(l) != keptLast || l[0].ID != FormatID(n) || l[keptLast-1].ID != FormatID(n-keptLast+1) {
		t.Errorf("%d are kept: %s to %s", len(l), l[0].ID, l[len(l)-1].ID)
	}
	slow := r.Slowest(n)
	if len(slow) != keptSlow {
		t.Fatalf("%d slow ones are kept", len(slow))
	}
	for i, x := range slow {
		if want := float64(n-1-i) / 1000; x.Took < want-1e-9 || x.Took > want+1e-9 {
			t.Fatalf("number %d took %v, want %v", i, x.Took, want)
		}
	}
	if l := r.Find(n); len(l) != 1 || l[0].ID != FormatID(n) {
		t.Errorf("the last one: %+v", l)
	}
	if id, _ := ParseID(slow[0].ID); len(r.Find(id)) != 1 {
		t.Error("the slowest one isn't found")
	}
	for _, c := range []struct {
		args []string
		want int // -1: an error
	}{{nil, shown}, {[]string{"last", "3"}, 3}, {[]string{"slowest", "2"}, 2}, {[]string{"slowest"}, shown}, {[]string{"id", FormatID(n)}, 1}, {[]string{"id", "5eed5eed"}, 0},
		{[]string{"id"}, -1}, {[]string{"id", "xyz"}, -1}, {[]string{"last", "0"}, -1}, {[]string{"first"}, -1}, {[]string{"last", "1", "2"}, -1}} {
		var a answer.Traces
		if err := json.Unmarshal([]byte(r.command(c.args)), &a); err != nil {
			t.Fatal(err)
		}
		if got := len(a.Traces); c.want < 0 && a.Error == "" || c.want >= 0 && (got != c.want || a.Error != "") {
			t.Errorf("%q: %d traces, error %q", c.args, got, a.Error)
		}
	}
	r.Forget()
	if len(r.Last(1))+len(r.Slowest(1)) > 0 {
		t.Error("something is left")
	}
}
