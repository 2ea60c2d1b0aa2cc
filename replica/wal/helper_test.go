package wal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/sirupsen/logrus"

	"pegasus/base"
)

const testDir = "log"

func quiet() *logrus.Entry {
	l := logrus.New()
	l.SetOutput(io.Discard)
	return logrus.NewEntry(l)
}

// testOptions are for a log of small segments that keeps nothing beyond need.
func testOptions(fs vfs.FS) Options {
	return Options{
		FS: fs, Dir: testDir, Logger: quiet(), tick: -1,
		Sync: syncAlways, SegmentBytes: 2048, MaxBytes: 1 << 20, KeepBytes: 0,
	}
}

func mustOpen(t testing.TB, o Options) *Log {
	t.Helper()
	l, err := Open(o)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return l
}

func mustClose(t testing.TB, l *Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

func appendEntries(l *Log, es ...Entry) error {
	return Wait(func(done func(error)) { l.Append(es, done) })
}

func mustAppend(t testing.TB, l *Log, es ...Entry) {
	t.Helper()
	if err := appendEntries(l, es...); err != nil {
		t.Fatalf("append: %v", err)
	}
}

// entry has a payload that tells which entry it is.
func entry(g base.Gpid, ballot, decree int64, size int) Entry {
	p := fmt.Appendf(nil, "%s/%d/%d:", g, ballot, decree)
	for len(p) < size {
		p = append(p, byte(len(p)*7+int(decree)))
	}
	return Entry{Gpid: g, Ballot: ballot, Decree: decree, Committed: decree - 1, Timestamp: 1000 + decree, Payload: p}
}

func sameEntry(a, b Entry) bool {
	return a.Gpid == b.Gpid && a.Ballot == b.Ballot && a.Decree == b.Decree && a.Committed == b.Committed &&
		a.Timestamp == b.Timestamp && slices.Equal(a.Payload, b.Payload)
}

// readAll returns the entries from decree on.
func readAll(l *Log, g base.Gpid, from int64) (es []Entry, err error) {
	err = l.Replay(g, from, func(e Entry) error {
		es = append(es, e)
		return nil
	})
	return es, err
}

// decrees returns the decrees that can be read from State.First on, and checks their content.
func decrees(t testing.TB, l *Log, g base.Gpid) []int64 {
	t.Helper()
	s := l.State(g)
	if s.First == 0 {
		return nil
	}
	es, err := readAll(l, g, s.First)
	if err != nil {
		t.Fatalf("read %s from %d: %v", g, s.First, err)
	}
	var ds []int64
	for _, e := range es {
		if want := entry(g, e.Ballot, e.Decree, len(e.Payload)); !sameEntry(e, want) {
			t.Fatalf("decree %d of %s: got %+v, want %+v", e.Decree, g, e, want)
		}
		ds = append(ds, e.Decree)
	}
	if len(ds) > 0 && ds[len(ds)-1] != s.Last {
		t.Fatalf("%s: read up to %d, last is %d", g, ds[len(ds)-1], s.Last)
	}
	return ds
}

// upTo returns first..last.
func upTo(first, last int64) []int64 {
	var ds []int64
	for d := first; d <= last; d++ {
		ds = append(ds, d)
	}
	return ds
}

// eventually waits until cond holds.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited in vain for: %s", what)
		}
	}
}

// files returns the log's files with their content.
func files(t testing.TB, fs vfs.FS) map[string][]byte {
	t.Helper()
	names, err := fs.List(testDir)
	if err != nil {
		t.Fatal(err)
	}
	m := make(map[string][]byte)
	for _, n := range names {
		if n == lockName {
			continue
		}
		f, err := fs.Open(fs.PathJoin(testDir, n))
		if errors.Is(err, os.ErrNotExist) {
			continue // an old segment went meanwhile
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		m[n] = b
	}
	return m
}

// segmentNames returns the names of segments in m, in order.
func segmentNames(m map[string][]byte) []string {
	var ns []string
	for n := range m {
		if _, ok := parseSegmentName(n); ok {
			ns = append(ns, n)
		}
	}
	slices.Sort(ns)
	return ns
}

// memFS returns a file system with these files in the log's directory.
func memFS(t testing.TB, m map[string][]byte) *vfs.MemFS {
	t.Helper()
	fs := vfs.NewMem()
	if err := fs.MkdirAll(testDir, 0o755); err != nil {
		t.Fatal(err)
	}
	for n, b := range m {
		f, err := fs.Create(fs.PathJoin(testDir, n), vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(slices.Clone(b)); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	return fs
}

func g(n int) base.Gpid { return base.Gpid{AppID: int32(n), PartitionIndex: int32(n * 10)} }
