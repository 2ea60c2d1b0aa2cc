package wal

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pegasus/base"
)

// scenario is the files of a log that went through everything, what it should hold, and
// what it held before its last batch.
type scenario struct {
	opts         Options
	files        map[string][]byte
	m, beforeEnd model
}

func (s *scenario) open(t testing.TB, change func(m map[string][]byte)) (*Log, error) {
	m := make(map[string][]byte)
	for n, b := range s.files {
		m[n] = slices.Clone(b)
	}
	change(m)
	o := s.opts
	o.FS = memFS(t, m)
	return Open(o)
}

// newScenario makes a log of a few small segments, the oldest of which are gone. closed:
// it is closed cleanly, otherwise the process died.
func newScenario(t testing.TB, closed bool) *scenario {
	t.Helper()
	fs := vfs.NewCrashableMem()
	s := &scenario{opts: testOptions(fs), m: make(model)}
	s.opts.SegmentBytes = 700
	l := mustOpen(t, s.opts)
	add := func(es ...Entry) {
		t.Helper()
		s.beforeEnd = s.m.clone()
		mustAppend(t, l, es...)
		for _, e := range es {
			s.m.append(e)
		}
	}
	for d := int64(1); d <= 20; d++ {
		add(entry(g(1), 1, d, 50))
		add(entry(g(2), 1, d, 20), entry(g(3), 1, d, 20))
	}
	for x, d := range map[int]int64{1: 18, 2: 17, 3: 20} {
		l.SetRetention(g(x), d)
		s.m.of(g(x)).state.Retention = d
	}
	segmentsAre(t, l, "the oldest segments to go", func(n int) bool { return n < 4 })
	for d := int64(21); d <= 24; d++ {
		add(entry(g(1), 1, d, 50), entry(g(2), 1, d, 20))
	}
	add(entry(g(2), 2, 23, 20)) // prepared again
	add(entry(g(4), 1, 1, 20))
	add(entry(g(5), 1, 1, 20), entry(g(5), 1, 2, 20))
	for _, f := range []func(done func(error)){
		func(done func(error)) { l.Truncate(g(1), 22, done) },
		func(done func(error)) { l.Reset(g(3), 40, done) },
		func(done func(error)) { l.Drop(g(5), done) },
	} {
		if err := Wait(f); err != nil {
			t.Fatal(err)
		}
	}
	s.m.truncate(g(1), 22)
	s.m.reset(g(3), 40)
	s.m.drop(g(5))
	add(entry(g(1), 3, 23, 30))
	add(entry(g(3), 3, 41, 30))
	for d := int64(25); d <= 30; d++ {
		add(entry(g(2), 2, d, 90))
	}
	add(entry(g(5), 4, 7, 20))
	add(entry(g(6), 4, 1, 20)) // the only one of g6
	add(entry(g(2), 2, 31, 20))
	add(entry(g(1), 3, 24, 20))
	s.m.of(g(7)) // has nothing in the log
	for x := range s.m {
		s.opts.Replicas = append(s.opts.Replicas, x)
	}
	if closed {
		mustClose(t, l)
		s.files = files(t, fs)
	} else {
		s.files = files(t, fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))}))
		mustClose(t, l)
	}
	delete(s.files, spareName)
	if n := len(segmentNames(s.files)); n < 3 {
		t.Fatalf("only %d segments", n)
	}
	if s.files[segmentName(1)] != nil {
		t.Fatal("the first segment is still there")
	}
	return s
}

// check opens the log after a change. The outcome must be what the model says or marked.
// It does so twice: the mark must last. Then replicas that are learned again, or need
// nothing that was lost, must be well. mayLoseEnd: the last batch may be missing.
func (s *scenario) check(t *testing.T, what string, mayLoseEnd bool, change func(m map[string][]byte)) (marked []Damage) {
	t.Helper()
	l, err := s.open(t, change)
	if err != nil {
		t.Fatalf("%s: open: %v", what, err)
	}
	m := s.m
	for again := range 2 {
		err := m.verify(l)
		if err != nil && mayLoseEnd && again == 0 {
			m = s.beforeEnd
			if err2 := m.verify(l); err2 == nil {
				err = nil
			}
		}
		if err != nil {
			t.Fatalf("%s: opened %d times: %v (damaged: %+v)", what, again+1, err, l.Damaged())
		}
		if again == 0 {
			marked = l.Damaged()
		} else if got := l.Damaged(); !slices.Equal(got, marked) {
			t.Fatalf("%s: damaged: %+v, opened again: %+v", what, marked, got)
		}
		if again > 0 && len(marked) == 0 {
			mustClose(t, l)
			return nil
		}
		o := l.opts
		mustClose(t, l)
		l = mustOpen(t, o)
	}
	heal(t, l, what, marked)
	return marked
}

// heal does what takes marks away and closes the log.
func heal(t testing.TB, l *Log, what string, marked []Damage) {
	t.Helper()
	for _, d := range marked {
		if d.From != unknownFrom {
			l.SetRetention(d.Gpid, d.From-1)
		} else if err := Wait(func(done func(error)) { l.Reset(d.Gpid, 100, done) }); err != nil {
			t.Fatalf("%s: reset: %v", what, err)
		}
	}
	if d := l.Damaged(); len(d) > 0 {
		t.Fatalf("%s: still damaged: %+v", what, d)
	}
	if err := appendEntries(l, entry(g(1), 9, l.State(g(1)).Last+1, 10)); err != nil {
		t.Fatalf("%s: append: %v", what, err)
	}
	o := l.opts
	mustClose(t, l)
	l = mustOpen(t, o)
	for _, d := range l.Damaged() {
		// What the retention took away is known again once the replica tells it again.
		l.SetRetention(d.Gpid, d.From-1)
	}
	if d := l.Damaged(); len(d) > 0 {
		t.Fatalf("%s: damaged again: %+v", what, d)
	}
	mustClose(t, l)
}

// sample is the distance of the places that a test over all bytes looks at.
func sample() int {
	if raceEnabled || testing.Short() {
		return 41
	}
	return 1
}

// TestFlippedBytes changes each byte of each segment.
func TestFlippedBytes(t *testing.T) {
	for _, closed := range []bool{true, false} {
		s := newScenario(t, closed)
		if d := s.check(t, "unchanged", false, func(map[string][]byte) {}); len(d) > 0 {
			t.Fatalf("unchanged: damaged: %v", d)
		}
		names := segmentNames(s.files)
		marks, places := 0, 0
		for _, name := range names {
			b := s.files[name]
			for i := 0; i < len(b); i += sample() {
				newest := name == names[len(names)-1] && !closed
				d := s.check(t, fmt.Sprintf("closed %v, %s byte %d", closed, name, i), newest, func(m map[string][]byte) {
					m[name][i] ^= 1 << (i % 8)
				})
				places++
				if len(d) > 0 {
					marks++
				}
			}
		}
		if marks < places/5 {
			t.Errorf("closed %v: only %d of %d changed bytes marked a replica", closed, marks, places)
		}
	}
}

// TestOverwrittenRanges damages whole stretches.
func TestOverwrittenRanges(t *testing.T) {
	s := newScenario(t, true)
	rng := rand.New(rand.NewPCG(3, 3))
	names := segmentNames(s.files)
	for i := range 300 / min(sample(), 5) {
		name := names[rng.IntN(len(names))]
		size := len(s.files[name])
		from := rng.IntN(size)
		to := min(size, from+1+rng.IntN(size))
		if name == names[len(names)-1] {
			// The end of the newest segment can't be told from a torn tail.
			to = min(to, size-2*markSize)
		}
		s.check(t, fmt.Sprintf("%d: %s bytes %d to %d", i, name, from, to), false, func(m map[string][]byte) {
			for k := from; k < to; k++ {
				m[name][k] = byte(rng.Uint32())
			}
		})
	}
}

func TestMissingSegments(t *testing.T) {
	s := newScenario(t, true)
	names := segmentNames(s.files)
	for from := range names {
		for to := from + 1; to <= len(names); to++ {
			d := s.check(t, fmt.Sprintf("without segments %d to %d", from, to-1), false, func(m map[string][]byte) {
				for _, n := range names[from:to] {
					delete(m, n)
				}
			})
			if to == len(names) && !slices.ContainsFunc(d, func(d Damage) bool { return d.Gpid == g(7) }) {
				t.Errorf("without segments %d to %d: a replica of which the log has nothing is not marked", from, to-1)
			}
		}
	}
}

func TestShortenedSegments(t *testing.T) {
	s := newScenario(t, true)
	names := segmentNames(s.files)
	for _, name := range names[:len(names)-1] {
		for n := 0; n < len(s.files[name]); n += sample() {
			s.check(t, fmt.Sprintf("%s cut to %d bytes", name, n), false, func(m map[string][]byte) {
				m[name] = m[name][:n]
			})
		}
	}
	// Of the newest one the head at least must be there.
	last := names[len(names)-1]
	for n := range headerSize {
		d := s.check(t, fmt.Sprintf("%s cut to %d bytes", last, n), false, func(m map[string][]byte) { m[last] = m[last][:n] })
		if len(d) == 0 {
			t.Errorf("cut to %d bytes: nothing is marked", n)
		}
	}
}

// TestUnreadableLog: if not even its identity can be found it is put aside.
func TestUnreadableLog(t *testing.T) {
	s := newScenario(t, true)
	l, err := s.open(t, func(m map[string][]byte) {
		for _, b := range m {
			clear(b)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if d := l.Damaged(); len(d) != len(s.m) || d[0].From != unknownFrom || !strings.Contains(d[0].Reason, "unreadable") {
		t.Errorf("damaged: %+v", d)
	}
	names := segmentNames(s.files)
	put := files(t, l.fs)
	for _, n := range names {
		if _, ok := put[n+".unreadable"]; !ok {
			t.Errorf("%s is not put aside: %v", n, segmentNames(put))
		}
	}
	mustClose(t, l)
}

// TestIdentityFromMarks: all headers are damaged.
func TestIdentityFromMarks(t *testing.T) {
	s := newScenario(t, true)
	s.check(t, "without headers", false, func(m map[string][]byte) {
		for _, b := range m {
			clear(b[:headerSize])
		}
	})
}

// TestMissingLog: replicas are there, their log isn't.
func TestMissingLog(t *testing.T) {
	o := testOptions(vfs.NewMem())
	o.Replicas = []base.Gpid{g(1)}
	l := mustOpen(t, o)
	if d, ok := l.DamageOf(g(1)); !ok || d.From != unknownFrom || d.Reason == "" {
		t.Errorf("damage: %+v, %v", d, ok)
	}
	if _, ok := l.DamageOf(g(2)); ok {
		t.Error("an unknown replica is damaged")
	}
	mustClose(t, l)
}

// TestDamageIsAttributed: one damaged record marks its replica only.
func TestDamageIsAttributed(t *testing.T) {
	o := testOptions(vfs.NewMem())
	l := mustOpen(t, o)
	var es []Entry
	for x := 1; x <= 5; x++ {
		es = append(es, entry(g(x), 1, 1, 40), entry(g(x), 1, 2, 40))
	}
	mustAppend(t, l, es...)
	var after []Entry
	for x := 1; x <= 5; x++ {
		after = append(after, entry(g(x), 1, 3, 40))
	}
	mustAppend(t, l, after...)
	r := l.replicas[g(3)]
	_, at, _ := r.lookup(2)
	mustClose(t, l)
	m := files(t, o.FS)
	m[segmentName(1)][at.off+at.n-1] ^= 8
	o.FS = memFS(t, m)
	l = mustOpen(t, o)
	defer l.Close()
	d := l.Damaged()
	if len(d) != 1 || d[0].Gpid != g(3) || d[0].From != 3 || !strings.Contains(d[0].Reason, fmt.Sprint(at.off)) {
		t.Fatalf("damaged: %+v", d)
	}
	if got := present(l, g(3)); !slices.Equal(got, []int64{1, 3}) {
		t.Errorf("entries of the damaged replica: %v", got)
	}
	if got := decrees(t, l, g(2)); !slices.Equal(got, upTo(1, 3)) {
		t.Errorf("entries of another replica: %v", got)
	}
	// A replica that has decree 2 elsewhere has lost nothing.
	l.SetRetention(g(3), 1)
	if _, ok := l.DamageOf(g(3)); !ok {
		t.Error("the mark went too early")
	}
	l.SetRetention(g(3), 2)
	if _, ok := l.DamageOf(g(3)); ok {
		t.Error("the mark stays")
	}
}

// TestDamageWhileOpen: an entry that goes bad under an open log is an error of Read,
// never wrong data; its segment stays, as the entry is needed and can't be moved.
func TestDamageWhileOpen(t *testing.T) {
	fs := vfs.NewMem()
	o := testOptions(fs)
	l := mustOpen(t, o)
	mustAppend(t, l, entry(g(1), 1, 1, 40), entry(g(1), 1, 2, 40))
	_, at, _ := l.replicas[g(1)].lookup(2)
	f, err := fs.OpenReadWrite(fs.PathJoin(testDir, segmentName(1)), vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{0xff, 0xff}, int64(at.off+at.n-2)); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if es, err := l.Read(g(1), 1, 1<<20); base.CodeOf(err) != base.ErrCorruption || len(es) != 0 ||
		!strings.Contains(err.Error(), "decree 2 of 1.10") {
		t.Errorf("read: %v, %v", es, err)
	}
	if es, err := l.Read(g(1), 1, 0); err != nil || len(es) != 1 {
		t.Errorf("read of the entry before: %v, %v", es, err)
	}
	for range 20 {
		fill(t, l, g(2), 10)
		l.SetRetention(g(2), l.State(g(2)).Last)
	}
	if s := l.Stats(); s.Removed > 0 || l.State(g(1)).First != 1 {
		t.Errorf("the segment went: %+v", s)
	}
	// Once it isn't needed it is no trouble.
	l.SetRetention(g(1), 2)
	segmentsAre(t, l, "the segments to go", func(n int) bool { return n <= 2 })
	mustClose(t, l)
	l = mustOpen(t, o)
	if d := l.Damaged(); len(d) > 0 {
		t.Errorf("damaged: %v", d)
	}
	mustClose(t, l)
}
