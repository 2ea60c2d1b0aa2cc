package wal

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pegasus/base"
)

// fill appends n entries of about 100 bytes after State.Last, one a batch.
func fill(t testing.TB, l *Log, x base.Gpid, n int64) {
	t.Helper()
	last := l.State(x).Last
	for d := last + 1; d <= last+n; d++ {
		mustAppend(t, l, entry(x, 1, d, 100))
	}
}

func segmentsAre(t testing.TB, l *Log, what string, cond func(n int) bool) {
	t.Helper()
	eventually(t, what, func() bool { return cond(l.Stats().Segments) })
}

func TestRetention(t *testing.T) {
	for _, mode := range []string{syncAlways, syncOS} {
		t.Run(mode, func(t *testing.T) {
			fs := vfs.NewMem()
			o := testOptions(fs)
			o.Sync = mode
			l := mustOpen(t, o)
			for range 40 {
				fill(t, l, g(1), 2)
				fill(t, l, g(2), 2)
			}
			before := l.Stats().Segments
			l.SetRetention(g(1), 80)
			if got := l.Stats(); got.Removed > 0 || got.Segments != before || before < 8 {
				t.Fatalf("entries of %s are needed, and segments went: %+v", g(2), got)
			}
			l.SetRetention(g(2), 40)
			segmentsAre(t, l, "half of the segments to go", func(n int) bool { return n <= before/2+1 })
			if got := decrees(t, l, g(2)); !slices.Contains(got, 41) || !slices.Contains(got, 80) {
				t.Fatalf("needed entries are gone: %v", got)
			}
			l.SetRetention(g(2), 80)
			segmentsAre(t, l, "all but the newest segment to go", func(n int) bool { return n == 1 })
			// The files go when a mark on the disk says so; with "os" that takes another segment.
			fill(t, l, g(1), 30)
			eventually(t, "the files to be removed", func() bool {
				return l.Stats().Removed >= uint64(before-1) && len(segmentNames(files(t, fs))) <= 5
			})
			state := l.State(g(2))
			if state.Last != 80 || state.Committed != 79 || state.Retention != 80 {
				t.Fatalf("state %+v", state)
			}
			mustClose(t, l)
			l = mustOpen(t, o)
			// Segments that were given up may be back, if no mark on the disk told it.
			got := l.State(g(2))
			got.First, state.First = 0, 0
			if got != state {
				t.Fatalf("after reopening: %+v, before: %+v", got, state)
			}
			if got := decrees(t, l, g(1)); !slices.Equal(got[len(got)-30:], upTo(81, 110)) {
				t.Fatalf("got %v", got)
			}
			if d := l.Damaged(); len(d) > 0 {
				t.Fatalf("damaged: %v", d)
			}
			mustClose(t, l)
		})
	}
}

func TestKeepBytes(t *testing.T) {
	o := testOptions(vfs.NewMem())
	o.KeepBytes = 8 << 10
	l := mustOpen(t, o)
	defer l.Close()
	for range 30 {
		fill(t, l, g(1), 10)
		l.SetRetention(g(1), l.State(g(1)).Last)
	}
	fill(t, l, g(1), 20)
	// As much as KeepBytes stays, and not more than another segment and the newest one.
	eventually(t, "old segments to go", func() bool { return l.Stats().TotalBytes < o.KeepBytes+3*o.SegmentBytes })
	if s := l.Stats(); s.TotalBytes < o.KeepBytes {
		t.Fatalf("%d bytes are left, %d are to be kept", s.TotalBytes, o.KeepBytes)
	}
	if got := decrees(t, l, g(1)); len(got) < 40 {
		t.Fatalf("only %d entries are left for a replica that was away", len(got))
	}
}

func TestDropUnpins(t *testing.T) {
	o := testOptions(vfs.NewMem())
	l := mustOpen(t, o)
	defer l.Close()
	fill(t, l, g(1), 30)
	for range 20 {
		fill(t, l, g(2), 10)
		l.SetRetention(g(2), l.State(g(2)).Last)
	}
	if n := l.Stats().Segments; n < 10 {
		t.Fatalf("%d segments", n)
	}
	if err := Wait(func(done func(error)) { l.Drop(g(1), done) }); err != nil {
		t.Fatal(err)
	}
	segmentsAre(t, l, "the segments of a dropped replica to go", func(n int) bool { return n <= 2 })
}

func TestPressureAndMaxBytes(t *testing.T) {
	o := testOptions(vfs.NewMem())
	o.KeepBytes = 1 << 30 // which gives way to MaxBytes
	o.MaxBytes = 20 << 10
	var mu sync.Mutex
	var told [][]base.Gpid
	o.OnPressure = func(gs []base.Gpid) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, gs)
	}
	l := mustOpen(t, o)
	defer l.Close()
	for range 5 {
		fill(t, l, g(2), 3)
		fill(t, l, g(1), 3)
	}
	for range 30 {
		fill(t, l, g(3), 10)
		l.SetRetention(g(3), l.State(g(3)).Last)
	}
	eventually(t, "pressure", func() bool { return l.Stats().Pressures > 0 })
	mu.Lock()
	if len(told) == 0 || !slices.Equal(told[0], []base.Gpid{g(1), g(2)}) {
		t.Errorf("told: %v", told)
	}
	mu.Unlock()
	l.SetRetention(g(1), 15)
	l.SetRetention(g(2), 15)
	fill(t, l, g(3), 20)
	eventually(t, "the log to be as small as it should", func() bool { return l.Stats().TotalBytes <= o.MaxBytes+2*o.SegmentBytes })
}

// TestRewrite: a few old entries of an idle replica don't hold all segments after them.
func TestRewrite(t *testing.T) {
	o := testOptions(vfs.NewMem())
	l := mustOpen(t, o)
	mustAppend(t, l, entry(g(1), 1, 1, 20), entry(g(1), 1, 2, 20), entry(g(1), 1, 3, 20))
	if err := Wait(func(done func(error)) { l.Truncate(g(1), 2, done) }); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, l, entry(g(1), 2, 2, 20))
	for range 30 {
		fill(t, l, g(2), 10)
		l.SetRetention(g(2), l.State(g(2)).Last)
	}
	segmentsAre(t, l, "a pinned log to become small", func(n int) bool { return n <= 3 })
	if s := l.Stats(); s.Rewritten < 2 || s.Recycled == 0 {
		t.Errorf("stats: %+v", s)
	}
	want := State{First: 1, Last: 2, Ballot: 2, MaxBallot: 2, Committed: 2}
	for range 2 {
		if got := decrees(t, l, g(1)); !slices.Equal(got, []int64{1, 2}) {
			t.Fatalf("got %v", got)
		}
		if got := l.State(g(1)); got != want {
			t.Fatalf("state %+v, want %+v", got, want)
		}
		mustAppend(t, l, entry(g(2), 1, l.State(g(2)).Last+1, 20))
		mustClose(t, l)
		l = mustOpen(t, o)
	}
	mustClose(t, l)
}

// TestRewriteWhileWriting overwrites entries while old versions of others are moved.
func TestRewriteWhileWriting(t *testing.T) {
	o := testOptions(vfs.NewMem())
	l := mustOpen(t, o)
	const pinned = 8
	latest := make([]int64, pinned+1)
	for round := int64(1); round <= 60 || l.Stats().Rewritten < 20; round++ {
		if round == 5000 {
			t.Fatalf("entries are not moved: %+v", l.Stats())
		}
		// A new primary prepares some of them again.
		for d := 1 + round%5; d <= pinned; d += 1 + round%3 {
			latest[d] = round
			mustAppend(t, l, entry(g(1), round, d, 20))
		}
		if round == 1 {
			for d := int64(1); d <= pinned; d++ {
				latest[d] = round
				mustAppend(t, l, entry(g(1), round, d, 20))
			}
		}
		fill(t, l, g(2), 12)
		l.SetRetention(g(2), l.State(g(2)).Last)
	}
	for range 2 {
		es, err := readAll(l, g(1), 1)
		if err != nil || len(es) != pinned {
			t.Fatalf("%d entries, %v", len(es), err)
		}
		for _, e := range es {
			if e.Ballot != latest[e.Decree] {
				t.Errorf("decree %d has ballot %d, want %d", e.Decree, e.Ballot, latest[e.Decree])
			}
		}
		mustClose(t, l)
		l = mustOpen(t, o)
	}
	mustClose(t, l)
}

// TestManyOpens: a log that is opened often doesn't gather small segments for ever.
func TestManyOpens(t *testing.T) {
	o := testOptions(vfs.NewMem())
	o.KeepBytes = 1 << 30
	o.MaxBytes = 4 * o.SegmentBytes
	for i := range 3 * manySegments {
		l := mustOpen(t, o)
		fill(t, l, g(1), 1)
		l.SetRetention(g(1), int64(i))
		mustClose(t, l)
	}
	l := mustOpen(t, o)
	defer l.Close()
	l.SetRetention(g(1), 3*manySegments)
	segmentsAre(t, l, "segments to go", func(n int) bool { return n <= manySegments+5 })
}

// TestIdleMark: an idle log tells that its end is whole, in both modes.
func TestIdleMark(t *testing.T) {
	for _, mode := range []string{syncAlways, syncOS} {
		fs := vfs.NewCrashableMem()
		o := testOptions(fs)
		o.tick = 5 * time.Millisecond
		o.Sync = mode
		l := mustOpen(t, o)
		fill(t, l, g(1), 3)
		batches := l.Stats().Batches
		eventually(t, "an idle mark", func() bool { return l.Stats().Batches > batches })
		// The process dies; then a bit of the last entry changes.
		m := files(t, fs)
		name := segmentName(1)
		m[name][len(m[name])-markSize-10] ^= 1
		o.FS = memFS(t, m)
		damaged := mustOpen(t, o)
		if d := damaged.Damaged(); len(d) != 1 || d[0].Gpid != g(1) {
			t.Errorf("%s: damaged: %v", mode, d)
		}
		mustClose(t, damaged)
		// The machine dies: an idle log is on the disk in both modes.
		o.FS = fs.CrashClone(vfs.CrashCloneCfg{})
		crashed := mustOpen(t, o)
		if got := decrees(t, crashed, g(1)); !slices.Equal(got, upTo(1, 3)) {
			t.Errorf("%s: after a crash: %v", mode, got)
		}
		mustClose(t, crashed)
		mustClose(t, l)
	}
}
