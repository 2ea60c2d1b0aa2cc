package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pegasus/base"
)

func TestAppendReadReopen(t *testing.T) {
	for _, mode := range []string{syncAlways, syncOS} {
		t.Run(mode, func(t *testing.T) {
			o := testOptions(vfs.NewMem())
			o.Sync = mode
			l := mustOpen(t, o)
			id := l.ID()
			for d := int64(1); d <= 100; d++ {
				mustAppend(t, l, entry(g(1), 1, d, 100), entry(g(2), 7, d, 10))
			}
			check := func() {
				t.Helper()
				for _, x := range []base.Gpid{g(1), g(2)} {
					if got := decrees(t, l, x); !slices.Equal(got, upTo(1, 100)) {
						t.Fatalf("%s: got %v", x, got)
					}
				}
				want := State{First: 1, Last: 100, Ballot: 7, MaxBallot: 7, Committed: 99}
				if got := l.State(g(2)); got != want {
					t.Fatalf("state: got %+v, want %+v", got, want)
				}
				if got := l.State(g(3)); got != (State{}) {
					t.Fatalf("unknown replica: got %+v", got)
				}
			}
			check()
			if s := l.Stats(); s.Segments < 3 || s.IndexEntries != 200 || mode == syncAlways && s.Syncs < 100 {
				t.Fatalf("stats: %+v", s)
			}
			for range 2 {
				mustClose(t, l)
				l = mustOpen(t, o)
				check()
			}
			if l.ID() != id {
				t.Fatalf("identity changed from %x to %x", id, l.ID())
			}
			if got := l.Replicas(); !slices.Equal(got, []base.Gpid{g(1), g(2)}) {
				t.Fatalf("replicas: %v", got)
			}
			if d := l.Damaged(); len(d) != 0 {
				t.Fatalf("damaged: %v", d)
			}
			mustClose(t, l)
		})
	}
}

func TestReadBounds(t *testing.T) {
	l := mustOpen(t, testOptions(vfs.NewMem()))
	defer l.Close()
	for d := int64(5); d <= 60; d++ {
		mustAppend(t, l, entry(g(1), 1, d, 50), entry(g(2), 1, d, 3000))
	}
	for _, c := range []struct {
		from, max int64
		n         int
		err       error
	}{
		{5, math.MaxInt64, 56, nil}, {5, 0, 1, nil}, {60, 0, 1, nil}, {61, 10, 0, nil}, {1000, 10, 0, nil},
		{4, 10, 0, ErrGone}, {0, 10, 0, ErrGone}, {-7, 10, 0, ErrGone}, {10, 400, 4, nil},
	} {
		es, err := l.Read(g(1), c.from, c.max)
		if len(es) != c.n || !errors.Is(err, c.err) {
			t.Errorf("from %d, %d bytes: %d entries, error %v; want %d, %v", c.from, c.max, len(es), err, c.n, c.err)
		}
	}
	if _, err := l.Read(g(1), 4, 1); base.CodeOf(err) != base.ErrObjectNotFound {
		t.Errorf("code of %v is %v", err, base.CodeOf(err))
	}
	es, err := l.Read(g(2), 5, math.MaxInt64)
	if err != nil || len(es) != 56 {
		t.Fatalf("large entries: %d, %v", len(es), err)
	}
	// Payloads are separate: appending to one must not reach the next.
	_ = append(es[0].Payload, 'x')
	if want := entry(g(2), 1, 6, 3000); !sameEntry(es[1], want) {
		t.Error("payloads share memory")
	}
}

func TestHolesAndVersions(t *testing.T) {
	o := testOptions(vfs.NewMem())
	l := mustOpen(t, o)
	mustAppend(t, l, entry(g(1), 1, 1, 20), entry(g(1), 1, 2, 20), entry(g(1), 1, 3, 20))
	mustAppend(t, l, entry(g(1), 1, 7, 20), entry(g(1), 1, 8, 20))
	mustAppend(t, l, entry(g(1), 2, 2, 20))
	check := func() {
		t.Helper()
		if s := l.State(g(1)); s.First != 7 || s.Last != 8 || s.Ballot != 1 || s.MaxBallot != 2 {
			t.Fatalf("state %+v", s)
		}
		es, err := l.Read(g(1), 1, 1<<20)
		if err != nil || len(es) != 3 || es[1].Ballot != 2 || es[2].Ballot != 1 {
			t.Fatalf("read: %+v, %v", es, err)
		}
		if _, err := readAll(l, g(1), 1); !errors.Is(err, ErrGone) {
			t.Fatalf("replay over a hole: %v", err)
		}
	}
	check()
	mustClose(t, l)
	l = mustOpen(t, o)
	check()
	for d := int64(4); d <= 6; d++ {
		mustAppend(t, l, entry(g(1), 2, d, 20))
	}
	if got := decrees(t, l, g(1)); !slices.Equal(got, upTo(1, 8)) {
		t.Fatalf("filled hole: %v", got)
	}
	mustClose(t, l)
}

func TestTruncateResetDrop(t *testing.T) {
	o := testOptions(vfs.NewMem())
	l := mustOpen(t, o)
	var es []Entry
	for d := int64(1); d <= 10; d++ {
		es = append(es, entry(g(1), 1, d, 30), entry(g(2), 1, d, 30), entry(g(3), 1, d, 30), entry(g(4), 1, d, 30))
	}
	mustAppend(t, l, es...)
	for _, err := range []error{
		Wait(func(done func(error)) { l.Truncate(g(1), 6, done) }),
		Wait(func(done func(error)) { l.Reset(g(2), 50, done) }),
		Wait(func(done func(error)) { l.Drop(g(3), done) }),
		Wait(func(done func(error)) { l.Drop(g(4), done) }),
		appendEntries(l, entry(g(1), 3, 7, 30), entry(g(2), 2, 51, 30), entry(g(4), 5, 1, 30)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		for _, c := range []struct {
			gpid  base.Gpid
			state State
		}{
			{g(1), State{First: 1, Last: 7, Ballot: 3, MaxBallot: 3, Committed: 9}},
			{g(2), State{First: 51, Last: 51, Base: 50, Ballot: 2, MaxBallot: 2, Committed: 50, Retention: 50}},
			{g(3), State{}},
			{g(4), State{First: 1, Last: 1, Ballot: 5, MaxBallot: 5}},
		} {
			if got := l.State(c.gpid); got != c.state {
				t.Errorf("%s: got %+v, want %+v", c.gpid, got, c.state)
			}
			if n := len(decrees(t, l, c.gpid)); c.state.First > 0 && int64(n) != c.state.Last-c.state.First+1 {
				t.Errorf("%s: %d entries", c.gpid, n)
			}
		}
		if got := l.Replicas(); !slices.Equal(got, []base.Gpid{g(1), g(2), g(4)}) {
			t.Errorf("replicas: %v", got)
		}
		mustClose(t, l)
		l = mustOpen(t, o)
	}
	mustClose(t, l)
}

// TestCallbackOrder appends from many goroutines; each sees its own callbacks in order.
func TestCallbackOrder(t *testing.T) {
	o := testOptions(vfs.NewMem())
	o.SegmentBytes = 1 << 16
	o.KeepBytes = 1 << 30
	l := mustOpen(t, o)
	const writers, each = 16, 200
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			var mu sync.Mutex
			var order []int64
			var pending sync.WaitGroup
			pending.Add(each)
			for d := int64(1); d <= each; d++ {
				l.Append([]Entry{entry(g(w), 1, d, 64)}, func(err error) {
					mu.Lock()
					defer mu.Unlock()
					if err != nil {
						t.Error(err)
					}
					if s := l.State(g(w)); s.Last < d {
						t.Errorf("decree %d is durable, but last is %d", d, s.Last)
					}
					order = append(order, d)
					pending.Done()
				})
				if d%50 == 0 {
					if _, err := l.Read(g(w), 1, 1<<20); err != nil && !errors.Is(err, ErrGone) {
						t.Error(err)
					}
				}
			}
			pending.Wait()
			if !slices.Equal(order, upTo(1, each)) {
				t.Errorf("callbacks of %s came as %v", g(w), order)
			}
		})
	}
	all.Wait()
	for w := range writers {
		if got := decrees(t, l, g(w)); !slices.Equal(got, upTo(1, each)) {
			t.Errorf("%s: %v", g(w), got)
		}
	}
	if s := l.Stats(); s.Entries != writers*each || s.Batches == 0 || s.Batches > s.Entries {
		t.Errorf("stats: %+v", s)
	}
	mustClose(t, l)
}

func TestRefusedAppends(t *testing.T) {
	l := mustOpen(t, testOptions(vfs.NewMem()))
	for _, d := range []int64{0, -1, math.MaxInt64, maxDecree} {
		if err := appendEntries(l, entry(g(1), 1, 1, 10), Entry{Gpid: g(1), Decree: d}); base.CodeOf(err) != base.ErrInvalidParameters {
			t.Errorf("decree %d: %v", d, err)
		}
	}
	if err := Wait(func(done func(error)) { l.Truncate(g(1), -1, done) }); base.CodeOf(err) != base.ErrInvalidParameters {
		t.Errorf("truncate: %v", err)
	}
	if err := appendEntries(l); err != nil {
		t.Errorf("barrier: %v", err)
	}
	if s := l.State(g(1)); s != (State{}) || l.Failed() != nil {
		t.Errorf("refused entries left %+v, failed %v", s, l.Failed())
	}
	mustClose(t, l)
}

func TestClose(t *testing.T) {
	o := testOptions(vfs.NewMem())
	l := mustOpen(t, o)
	const n = 500
	errs := make(chan error, n)
	for d := int64(1); d <= n; d++ {
		l.Append([]Entry{entry(g(1), 1, d, 20)}, func(err error) { errs <- err })
	}
	mustClose(t, l)
	for range n {
		if err := <-errs; err != nil {
			t.Fatalf("an append before Close: %v", err)
		}
	}
	if err := appendEntries(l, entry(g(1), 1, n+1, 20)); !errors.Is(err, ErrClosed) {
		t.Errorf("append after Close: %v", err)
	}
	if _, err := l.Read(g(1), 1, 1); !errors.Is(err, ErrClosed) {
		t.Errorf("read after Close: %v", err)
	}
	if err := l.Close(); !errors.Is(err, ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
	l.SetRetention(g(1), 5)
	l = mustOpen(t, o)
	if got := decrees(t, l, g(1)); !slices.Equal(got, upTo(1, n)) {
		t.Errorf("after Close: %d entries", len(got))
	}
	mustClose(t, l)
}

func TestLocked(t *testing.T) {
	o := testOptions(vfs.Default)
	o.Dir = t.TempDir()
	l := mustOpen(t, o)
	if _, err := Open(o); err == nil || !strings.Contains(err.Error(), "in use by another process") || base.CodeOf(err) != base.ErrLockAlreadyExist {
		t.Fatalf("second open: %v", err)
	}
	mustClose(t, l)
	mustClose(t, mustOpen(t, o))
}

func TestOptionsChecked(t *testing.T) {
	for _, change := range []func(*Options){
		func(o *Options) { o.Sync = "never" },
		func(o *Options) { o.SegmentBytes = -1 },
		func(o *Options) { o.SegmentBytes = 5 << 30 },
		func(o *Options) { o.MaxBytes = -1 },
		func(o *Options) { o.KeepBytes = -1 },
	} {
		o := testOptions(vfs.NewMem())
		change(&o)
		if _, err := Open(o); base.CodeOf(err) != base.ErrInvalidParameters {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

// smallLog returns the files of a cleanly closed log with a few segments.
func smallLog(t testing.TB, id uint64) map[string][]byte {
	t.Helper()
	fs := vfs.NewMem()
	o := testOptions(fs)
	o.id = id
	l := mustOpen(t, o)
	for d := int64(1); d <= 60; d++ {
		mustAppend(t, l, entry(g(1), 1, d, 60))
	}
	mustClose(t, l)
	return files(t, fs)
}

func TestUnknownVersion(t *testing.T) {
	m := smallLog(t, 0)
	name := segmentNames(m)[1]
	b := m[name]
	binary.LittleEndian.PutUint32(b[8:], 99)
	binary.LittleEndian.PutUint32(b[12:], crc32.Checksum(b[:12], castagnoli))
	_, err := Open(testOptions(memFS(t, m)))
	if err == nil || base.CodeOf(err) != base.ErrInvalidVersion || !strings.Contains(err.Error(), "version 99") || !strings.Contains(err.Error(), name) {
		t.Fatalf("got %v", err)
	}
}

func TestSegmentOfAnotherLog(t *testing.T) {
	m, other := smallLog(t, 0), smallLog(t, 0)
	name := segmentNames(m)[1]
	m[name] = other[name]
	_, err := Open(testOptions(memFS(t, m)))
	if err == nil || !strings.Contains(err.Error(), "belongs to log") || !strings.Contains(err.Error(), name) {
		t.Fatalf("got %v", err)
	}
}

// TestNoFalseRecords stores whole segments of the same log as payloads: they must not be
// taken for the log's own, even where a search starts in the middle of them.
func TestNoFalseRecords(t *testing.T) {
	fs := vfs.NewMem()
	o := testOptions(fs)
	o.SegmentBytes = 1 << 20
	l := mustOpen(t, o)
	mustAppend(t, l, entry(g(1), 1, 1, 50))
	inner := bytes.Clone(files(t, fs)[segmentName(1)])
	mustAppend(t, l, Entry{Gpid: g(2), Ballot: 1, Decree: 1, Payload: inner})
	mustAppend(t, l, entry(g(1), 1, 2, 50))
	mustClose(t, l)
	m := files(t, fs)
	at := bytes.LastIndex(m[segmentName(1)], inner)
	m[segmentName(1)][at-30] ^= 1 // in the head of the record that carries inner
	o.FS = memFS(t, m)
	l = mustOpen(t, o)
	defer l.Close()
	if got := decrees(t, l, g(1)); !slices.Equal(got, []int64{1, 2}) {
		t.Errorf("g1: %v", got)
	}
	d := l.Damaged()
	if len(d) != 1 || d[0].Gpid != g(2) || d[0].From != 2 {
		t.Errorf("damaged: %+v", d)
	}
}
