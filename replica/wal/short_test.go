package wal

import (
	"os"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pegasus/base"
)

// shortFS is a file system on which each attempt to make the next segment fails, at the step that
// fails names, while on is set. What was made before is not concerned.
type shortFS struct {
	vfs.FS
	on    *atomic.Bool
	errno syscall.Errno
	fails string
}

func (fs shortFS) err(step string) error {
	if fs.on.Load() && fs.fails == step {
		return &os.PathError{Op: "planted: " + step, Path: spareName, Err: fs.errno}
	}
	return nil
}

func (fs shortFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	if err := fs.err("open"); err != nil {
		return nil, err
	}
	f, err := fs.FS.OpenReadWrite(name, c, opts...)
	if err != nil || !fs.on.Load() {
		return f, err
	}
	return shortFile{f, fs}, nil
}

type shortFile struct {
	vfs.File
	fs shortFS
}

func (f shortFile) Stat() (vfs.FileInfo, error) {
	if err := f.fs.err("stat"); err != nil {
		return nil, err
	}
	return f.File.Stat()
}

func (f shortFile) Write(b []byte) (int, error) {
	if err := f.fs.err("write"); err != nil {
		return 0, err
	}
	return f.File.Write(b)
}

func (f shortFile) SyncData() error {
	if err := f.fs.err("sync"); err != nil {
		return err
	}
	return f.File.SyncData()
}

// TestNextSegmentRunsShort: a log that can't begin its next segment for a while takes all that it
// is given, in the present one; then it waits, and goes on. Nothing is lost nor reordered, also
// by a crash meanwhile, and replicas may be dropped and made anew.
func TestNextSegmentRunsShort(t *testing.T) {
	for fails, errno := range map[string]syscall.Errno{"open": syscall.EMFILE, "stat": syscall.ENOMEM, "write": syscall.ENOSPC, "sync": syscall.EINTR} {
		t.Run(fails, func(t *testing.T) {
			mem := vfs.NewCrashableMem()
			var on atomic.Bool
			o := testOptions(shortFS{mem, &on, errno, fails})
			l := mustOpen(t, o)
			mustAppend(t, l, entry(g(1), 1, 1, 100), entry(g(2), 1, 1, 100), entry(g(3), 1, 1, 100))
			on.Store(true)
			last := int64(1)
			for l.Stats().TotalBytes < 3*o.SegmentBytes {
				last++
				mustAppend(t, l, entry(g(1), 1, last, 100))
				if last == 10 {
					// Its number of records goes on from before.
					if err := Wait(func(done func(error)) { l.Drop(g(2), done) }); err != nil {
						t.Fatal(err)
					}
				}
				if last == 20 {
					mustAppend(t, l, entry(g(2), 1, 1, 100), entry(g(2), 1, 2, 100))
					if err := Wait(func(done func(error)) { l.Drop(g(3), done) }); err != nil {
						t.Fatal(err)
					}
				}
			}
			if s := l.Stats(); s.Segments != 1 || l.Failed() != nil {
				t.Fatalf("%d segments, failed %v: the test tests nothing", s.Segments, l.Failed())
			}
			crashed := testOptions(mem.CrashClone(vfs.CrashCloneCfg{}))
			k := mustOpen(t, crashed)
			if got := decrees(t, k, g(1)); !slices.Equal(got, upTo(1, last)) || len(k.Damaged()) > 0 {
				t.Errorf("after a crash: %v, damaged %+v", got, k.Damaged())
			}
			mustClose(t, k)
			// Up to as long as a segment may be; what comes then waits.
			var acked atomic.Int64
			acked.Store(last)
			sent := last + 300
			done := make(chan error, 300)
			for d := last + 1; d <= sent; d++ {
				l.Append([]Entry{entry(g(1), 1, d, 100)}, func(err error) {
					if err == nil && acked.Swap(d) != d-1 {
						t.Errorf("decree %d out of order", d)
					}
					if d == sent || err != nil {
						done <- err
					}
				})
			}
			on.Store(false)
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			for d := sent + 1; d < sent+100; d++ {
				mustAppend(t, l, entry(g(1), 1, d, 100))
			}
			if l.Stats().Segments < 2 {
				t.Error("no segment was begun")
			}
			mustClose(t, l)
			l = mustOpen(t, testOptions(mem))
			defer mustClose(t, l)
			if got := decrees(t, l, g(1)); !slices.Equal(got, upTo(1, sent+99)) || len(l.Damaged()) > 0 {
				t.Errorf("%d of %d entries are there; damaged %+v", len(got), sent+99, l.Damaged())
			}
			if got := decrees(t, l, g(2)); !slices.Equal(got, upTo(1, 2)) {
				t.Errorf("the replica made anew has %v", got)
			}
			if st := l.State(g(3)); st.Last != 0 {
				t.Errorf("the dropped replica has %+v", st)
			}
		})
	}
}

// TestLongestSegment: appends wait once the segment is as long as one may be, and a log that is
// closed then doesn't wait for ever.
func TestLongestSegment(t *testing.T) {
	mem := vfs.NewMem()
	var on atomic.Bool
	o := testOptions(shortFS{mem, &on, syscall.EMFILE, "open"})
	l := mustOpen(t, o)
	on.Store(true)
	var acked atomic.Int64
	const most = 400
	for d := int64(1); d <= most; d++ {
		l.Append([]Entry{entry(g(1), 1, d, 500)}, func(err error) {
			if err == nil {
				acked.Store(d)
			}
		})
		if d%20 == 0 {
			// In batches.
			eventually(t, "a batch, or that it waits", func() bool {
				return acked.Load() == d || l.Stats().TotalBytes >= longest*o.SegmentBytes
			})
		}
	}
	eventually(t, "it waits", func() bool { return l.Stats().TotalBytes >= longest*o.SegmentBytes })
	if n := acked.Load(); n == most {
		t.Fatal("a segment became longer than one may")
	}
	if err := l.Close(); err == nil {
		t.Error("what waited is told that it was written")
	}
	n := acked.Load()
	l = mustOpen(t, testOptions(mem))
	defer mustClose(t, l)
	if got := decrees(t, l, g(1)); int64(len(got)) < n || len(l.Damaged()) > 0 {
		t.Errorf("%d of %d acknowledged entries are there", len(got), n)
	}
}

// TestLogThatStandsStillFails: what waits because the segment is as long as one may be doesn't wait
// for ever; the error says that something ran short, so that the log is opened again.
func TestLogThatStandsStillFails(t *testing.T) {
	mem := vfs.NewMem()
	var on atomic.Bool
	o := testOptions(shortFS{mem, &on, syscall.EMFILE, "open"})
	l := mustOpen(t, o)
	l.longestWait = 2 * shortPause
	on.Store(true)
	acked := int64(0)
	var failed error
	for d := int64(1); failed == nil; d++ {
		if l.Stats().TotalBytes > (longest+1)*o.SegmentBytes {
			t.Fatal("a segment became longer than one may")
		}
		if failed = Wait(func(done func(error)) { l.Append([]Entry{entry(g(1), 1, d, 500)}, done) }); failed == nil {
			acked = d
		}
	}
	if !base.Shortage(failed) || l.Failed() == nil {
		t.Errorf("it failed with %v, and says %v", failed, l.Failed())
	}
	_ = l.Close()
	on.Store(false)
	l = mustOpen(t, testOptions(mem))
	defer mustClose(t, l)
	if got := decrees(t, l, g(1)); !slices.Equal(got, upTo(1, acked)) || len(l.Damaged()) > 0 {
		t.Errorf("%d of %d acknowledged entries are there", len(got), acked)
	}
}
