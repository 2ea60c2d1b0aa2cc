package hotkey

import (
	"fmt"
	"math/rand"
	"sync"
	"testing"
	"time"
)

var start = time.Unix(1_700_000_000, 0)

// show shows a sketch n requests, a share of which are for one key.
func show(s *Sketch, n int, share float64) {
	r := rand.New(rand.NewSource(1))
	for i := range n {
		if r.Float64() < share {
			s.Add([]byte("hot"), 1)
		} else {
			s.Add(fmt.Appendf(nil, "key%d", i), 1)
		}
	}
}

func TestSketch(t *testing.T) {
	for _, share := range []float64{0.1, 0.5, 1} {
		var s Sketch
		s.Add([]byte("before"), 1)
		s.live.Load().since = start
		s.Turn(start)
		show(&s, 20000, share)
		s.Turn(start.Add(10 * time.Second))
		top := s.Top()
		if len(top.Keys) == 0 || string(top.Keys[0].Key) != "hot" {
			t.Fatalf("share %v: %+v", share, top)
		}
		k := top.Keys[0]
		if k.Share < share*0.95 || k.Share > share+1.0/cells+0.02 {
			t.Errorf("share %v is estimated as %v", share, k.Share)
		}
		if want := 20000.0 * Every / 10; top.PerSecond != want {
			t.Errorf("%v a second, want %v", top.PerSecond, want)
		}
	}
}

func TestSketchForgets(t *testing.T) {
	var s Sketch
	s.Turn(start) // nothing was ever shown
	if top := s.Top(); top.PerSecond != 0 || len(top.Keys) != 0 {
		t.Errorf("%+v", top)
	}
	show(&s, 100, 1)
	s.Turn(start)
	s.Turn(start.Add(time.Second))
	if top := s.Top(); top.PerSecond != 0 || len(top.Keys) != 0 {
		t.Errorf("after a span without requests: %+v", top)
	}
}

func TestSketchBounds(t *testing.T) {
	var s Sketch
	long := make([]byte, 60000)
	s.Add(long, 3)
	s.Turn(start)
	if k := s.Top().Keys; len(k) != 1 || len(k[0].Key) != longest {
		t.Errorf("a key of 60000 bytes: %d keys", len(k))
	}
	key := []byte("steady")
	if n := testing.AllocsPerRun(1000, func() { s.Add(key, 1) }); n != 0 {
		t.Errorf("%v allocations a request", n)
	}
}

var limits = Limits{Bucket: 7, Key: 5, Interval: 10 * time.Second, GiveUp: 150 * time.Second}

func capture(c *Collector, hot bool) {
	for i := range 4000 {
		c.Capture(fmt.Appendf(nil, "key%d", i), 1)
		if hot && i%2 == 0 {
			c.Capture([]byte("hot"), 3)
		}
	}
}

func TestCollector(t *testing.T) {
	var c Collector
	if c.Active() || c.State().String() != "hotkey_collector_state::STOPPED" {
		t.Fatal(c.State())
	}
	if was := c.Start(start); was != Stopped || !c.Active() {
		t.Fatalf("start: was %v", was)
	}
	if was := c.Start(start); was != Coarse {
		t.Fatalf("second start: was %v", was)
	}
	capture(&c, true)
	if c.Analyse(start.Add(5*time.Second), limits); c.State() != Coarse {
		t.Errorf("before the interval is over: %v", c.State())
	}
	if c.Analyse(start.Add(10*time.Second), limits); c.State() != Fine {
		t.Fatalf("after one interval: %v", c.State())
	}
	capture(&c, true)
	if news := c.Analyse(start.Add(20*time.Second), limits); c.State() != Finished || news == "" {
		t.Fatalf("after two intervals: %v %q", c.State(), news)
	}
	if k, ok := c.Result(); !ok || string(k) != "hot" {
		t.Errorf("result %q %v", k, ok)
	}
	if was := c.Start(start); was != Finished {
		t.Errorf("start with a result: was %v", was)
	}
	c.Stop()
	if _, ok := c.Result(); ok || c.State() != Stopped {
		t.Errorf("after stop: %v", c.State())
	}
}

func TestCollectorFindsNothing(t *testing.T) {
	var c Collector
	c.Start(start)
	for s := range 14 {
		capture(&c, false)
		c.Analyse(start.Add(time.Duration(10*s+10)*time.Second), limits)
		if c.State() != Coarse {
			t.Fatalf("even load, %d s: %v", 10*s+10, c.State())
		}
	}
	if news := c.Analyse(start.Add(150*time.Second), limits); c.State() != Stopped || news == "" {
		t.Errorf("after 150 s: %v %q", c.State(), news)
	}
}

func TestCollectorOneKey(t *testing.T) {
	var c Collector
	c.Start(start)
	for i := range 2 {
		c.Capture([]byte("only"), 1)
		c.Analyse(start.Add(time.Duration(10*i+10)*time.Second), limits)
	}
	if k, ok := c.Result(); !ok || string(k) != "only" {
		t.Errorf("%q %v", k, ok)
	}
}

func TestOutlier(t *testing.T) {
	for _, c := range []struct {
		n   []int64
		at  int
		hot bool
	}{
		{[]int64{1, 1, 1, 1}, 0, false}, {[]int64{1, 2, 1, 1}, 1, true}, {[]int64{5, 1}, 0, false},
		{[]int64{10, 11, 9, 100, 10}, 3, true}, {[]int64{10, 11, 9, 13, 10}, 3, false}, {nil, 0, false},
	} {
		if at, hot := outlier(c.n, 7); at != c.at || hot != c.hot {
			t.Errorf("%v: %d %v", c.n, at, hot)
		}
	}
}

func TestConcurrently(t *testing.T) {
	var s Sketch
	var c Collector
	c.Start(start)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 2000 {
				k := fmt.Appendf(nil, "%d", i%(g+1))
				s.Add(k, 1)
				c.Capture(k, 1)
				if i%500 == 0 {
					s.Turn(time.Now())
					c.Analyse(start.Add(time.Duration(i)*time.Second/50), limits)
				}
			}
		})
	}
	wg.Wait()
	if c.State() == Stopped {
		t.Error("stopped by itself")
	}
}

func BenchmarkSketch(b *testing.B) {
	var s Sketch
	keys := make([][]byte, 1000)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "user%08d", i)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if Sampled() {
			s.Add(keys[i%len(keys)], 1)
		}
	}
}
