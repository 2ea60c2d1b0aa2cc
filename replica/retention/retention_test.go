package retention

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
)

// fakeLog has the entries from first on; what isn't needed goes when trim is called.
type fakeLog struct {
	mu              sync.Mutex
	first, retained int64
}

func (l *fakeLog) SetRetention(d int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.retained = d
}

func (l *fakeLog) First() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.first
}

func (l *fakeLog) trim() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.first = max(l.first, l.retained+1)
}

func (l *fakeLog) want(t *testing.T, when string, first int64) {
	t.Helper()
	l.trim()
	if got := l.First(); got != first {
		t.Errorf("%s: the log begins at %d, want %d", when, got, first)
	}
}

func names(hs []Hold) (ns []string) {
	for _, h := range hs {
		ns = append(ns, fmt.Sprintf("%s %d", h.Name, h.Decree))
	}
	return ns
}

// A decree is kept while the store hasn't it on disk or anyone holds it.
func TestRule(t *testing.T) {
	l := &fakeLog{first: 1}
	o := New(l)
	l.want(t, "before anything is known", 1)
	o.Advance(10, 20)
	l.want(t, "nobody needs more than the store", 10) // its own decree stays
	o.Advance(20, 15)
	l.want(t, "a follower lacks something", 15)
	if got := o.Hold("dup", 12); got != 15 {
		t.Errorf("a hold of what is gone: from %d on", got)
	}
	if got := o.Hold("dup", 18); got != 18 {
		t.Errorf("a hold of what is there: from %d on", got)
	}
	o.HoldWhileRoom("copy", 17, nil)
	o.Advance(30, 31)
	l.want(t, "two hold something", 17)
	if got := names(o.Holds()); !slices.Equal(got, []string{"copy 17", "dup 18"}) || o.Extra() != 13 {
		t.Errorf("holds %v, %d more than the store needs", got, o.Extra())
	}
	o.Release("copy")
	o.Release("copy")
	o.Hold("dup", 25)
	l.want(t, "before the next second", 17)
	o.Advance(30, 31)
	l.want(t, "one has ended, one moved", 25)
	o.Hold("dup", 30)
	if got := o.Holds(); len(got) != 0 || !o.Held("dup") || o.Held("copy") {
		t.Errorf("in force %v, dup %t, copy %t", got, o.Held("dup"), o.Held("copy"))
	}
	o.Advance(40, 35)
	l.want(t, "all of them", 30)
	if got := names(o.Holds()); !slices.Equal(got, []string{"dup 30", Followers + " 35"}) {
		t.Errorf("holds %v", got)
	}
}

// A log that was opened with less to keep than somebody holds keeps it at once.
func TestHoldBeforeTheFirstAdvance(t *testing.T) {
	l := &fakeLog{first: 3, retained: 50}
	o := New(l)
	if got := o.Hold("dup", 5); got != 5 {
		t.Errorf("held from %d on", got)
	}
	l.want(t, "it is held", 3)
	o.Advance(60, 61)
	l.want(t, "after the first second", 5)
}

// What becomes of each kind of hold when the log is over its bound.
func TestOverTheBound(t *testing.T) {
	l := &fakeLog{first: 1}
	o := New(l)
	told := map[string]int{}
	tell := func(name string) func() { return func() { told[name]++ } }
	o.HoldWhileRoom("copy a", 3, tell("copy a"))
	o.HoldWhileRoom("copy b", 4, tell("copy b"))
	o.Hold("dup", 7)
	o.Advance(20, 5)
	l.want(t, "all hold something", 3)

	stay := names(o.Yield(math.MaxInt64, false))
	if !slices.Equal(stay, []string{"dup 7"}) || told["copy a"] != 1 || told["copy b"] != 1 {
		t.Errorf("stay %v, told %v", stay, told)
	}
	o.Advance(20, 5)
	l.want(t, "only what doesn't yield is held", 7)
	// What followers may need of what is left is kept again.
	o.Release("dup")
	o.Advance(20, 5)
	l.want(t, "a second later", 7)
	o.Advance(30, 12)
	l.want(t, "a follower got further", 12)

	// Nobody is told twice, unless it holds something again.
	if stay := o.Yield(math.MaxInt64, false); len(stay) != 0 || len(told) != 2 || told["copy a"] != 1 {
		t.Errorf("stay %v, told %v", stay, told)
	}
	o.HoldWhileRoom("copy a", 20, tell("copy a")) // also between Yield and Advance
	o.Advance(30, 12)
	l.want(t, "who came after", 20)
	o.Yield(math.MaxInt64, false)
	o.Yield(math.MaxInt64, false)
	if told["copy a"] != 2 || told["copy b"] != 1 || o.Held("copy a") {
		t.Errorf("told %v", told)
	}
}

// A long hold yields where room is scarce, if it keeps the oldest part of the log; what is held above another hold stays.
func TestLongHolds(t *testing.T) {
	l := &fakeLog{first: 1}
	o := New(l)
	told := 0
	o.HoldLong("dup", 7, func() { told++ })
	o.HoldWhileRoom("copy", 9, func() { told++ })
	o.HoldWhileRoom("early copy", 4, func() { told++ })
	o.Advance(20, 21)
	if stay := names(o.Yield(10, false)); !slices.Equal(stay, []string{"dup 7", "copy 9"}) || told != 1 {
		t.Errorf("stay %v, told %d", stay, told)
	}
	if stay := names(o.Yield(6, true)); !slices.Equal(stay, []string{"dup 7", "copy 9"}) || told != 1 {
		t.Errorf("it holds nothing of the oldest part: stay %v, told %d", stay, told)
	}
	if stay := o.Yield(10, true); len(stay) != 0 || told != 3 {
		t.Errorf("stay %v, told %d", stay, told)
	}
	o.Advance(20, 21)
	l.want(t, "nothing is held", 20)
}

// A holder that is told may ask for another hold at once.
func TestToldHolderHoldsAgain(t *testing.T) {
	l := &fakeLog{first: 1}
	o := New(l)
	o.HoldWhileRoom("copy", 3, func() { o.HoldWhileRoom("copy", 9, nil) })
	o.Yield(math.MaxInt64, false)
	o.Advance(20, 21)
	l.want(t, "it holds less", 9)
}

// Whatever else happens at the same time: what Hold returned stays.
func TestHeldStays(t *testing.T) {
	l := &fakeLog{first: 1}
	o := New(l)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Add(1)
	go func() {
		defer wg.Done()
		for d := int64(1); ; d++ {
			select {
			case <-stop:
				return
			default:
			}
			o.Advance(d, d-d%7)
			if d%5 == 0 {
				o.Yield(math.MaxInt64, false)
			}
			l.trim()
		}
	}()
	var holders sync.WaitGroup
	for i := range 4 {
		holders.Add(1)
		go func() {
			defer holders.Done()
			r, name := rand.New(rand.NewPCG(uint64(i), 1)), fmt.Sprint("holder ", i)
			for range 2000 {
				from := o.Hold(name, max(1, l.First()+r.Int64N(20)-5))
				for range r.IntN(3) {
					l.trim()
				}
				if first := l.First(); first > from {
					t.Errorf("%s: held from %d on, and the log begins at %d", name, from, first)
				}
				o.Release(name)
			}
		}()
	}
	holders.Wait()
	close(stop)
	wg.Wait()
}
