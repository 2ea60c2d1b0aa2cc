package blob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/time/rate"
)

// Options bound what a store does.
type Options struct {
	Timeout      time.Duration // an attempt without progress ends after this; 0: a minute
	RetryTime    time.Duration // no new attempt begins later than this after the first failure; 0: none does
	UploadRate   int64         // bytes per second of all writes together; 0: no limit
	DownloadRate int64         // bytes per second of all reads together; 0: no limit
	// OnRetry hears of each failure that is tried again, and the pause before; nil: nobody does.
	OnRetry func(err error, pause time.Duration)
}

// Store is a place for files with a name. Its methods may be called concurrently. Errors are
// *Error, but for those that a callback of the caller gives.
type Store struct {
	name     string
	d        Driver
	o        Options
	up, down *rate.Limiter
}

// NewStore makes a store of a driver.
func NewStore(name string, d Driver, o Options) *Store {
	if o.Timeout <= 0 {
		o.Timeout = time.Minute
	}
	s := &Store{name: name, d: d, o: o, up: rate.NewLimiter(rate.Inf, 0), down: rate.NewLimiter(rate.Inf, 0)}
	s.SetRates(o.UploadRate, o.DownloadRate)
	return s
}

// SetRates changes the limits of all writes and all reads, in bytes per second; 0 is no limit.
func (s *Store) SetRates(up, down int64) {
	for _, l := range []struct {
		l *rate.Limiter
		n int64
	}{{s.up, up}, {s.down, down}} {
		if l.n <= 0 {
			l.l.SetLimit(rate.Inf)
			continue
		}
		l.l.SetBurst(int(max(l.n/20, 4096))) // 50 ms
		l.l.SetLimit(rate.Limit(l.n))
	}
}

// Name returns the name of the store.
func (s *Store) Name() string { return s.name }

// Where says in a few words where its files are.
func (s *Store) Where() string { return s.d.Where() }

// Close ends what the store has open.
func (s *Store) Close() error { return s.d.Close() }

func always() bool { return true }

// Put stores a stream as name. If r is an io.Seeker, a failed attempt is repeated from where r
// stood; else only one that has read nothing.
func (s *Store) Put(ctx context.Context, name string, r io.Reader, want Want) (Info, error) {
	const op = "write"
	if err := CheckName(name); err != nil {
		return Info{}, s.fail(op, name, err)
	}
	start := int64(0)
	seeker, seekable := r.(io.Seeker)
	if seekable {
		var err error
		if start, err = seeker.Seek(0, io.SeekCurrent); err != nil {
			seekable = false // a pipe that is an *os.File
		}
	}
	var src *Source
	again := func() bool {
		if src == nil || !src.begun.Load() {
			return true
		}
		if !seekable {
			return false
		}
		_, err := seeker.Seek(start, io.SeekStart)
		return err == nil
	}
	info, err := retry(ctx, &s.o, again, func(ctx context.Context) (Info, error) {
		mine := newSource(ctx, r, want, s.up)
		defer mine.gone.Store(true)
		src = mine
		info, err := s.d.Put(ctx, name, mine)
		if err != nil {
			return Info{}, err
		}
		if err := mine.lies(info); err != nil {
			return Info{}, err
		}
		info.Name = name
		if _, sum := mine.Sum(); info.MD5 == "" {
			info.MD5 = sum // the caller's to keep, even if the store forgets it
		}
		return info, nil
	})
	return info, s.fail(op, name, err)
}

// PutBytes stores a small file.
func (s *Store) PutBytes(ctx context.Context, name string, b []byte) (Info, error) {
	return s.Put(ctx, name, bytes.NewReader(b), Want{Sized: true, Size: int64(len(b))})
}

// PutFile stores a file of this machine. md5 is its checksum if it is known, else "".
func (s *Store) PutFile(ctx context.Context, name, path, md5 string) (Info, error) {
	f, err := os.Open(path)
	if err != nil {
		return Info{}, s.fail("write", name, Fail(ErrSource, err))
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return Info{}, s.fail("write", name, Fail(ErrSource, err))
	}
	return s.Put(ctx, name, f, Want{Sized: true, Size: fi.Size(), MD5: md5})
}

// Stat returns what is known of a file or directory.
func (s *Store) Stat(ctx context.Context, name string) (Info, error) {
	if err := CheckName(name); err != nil {
		return Info{}, s.fail("look up", name, err)
	}
	info, err := s.stat(ctx, name)
	return info, s.fail("look up", name, err)
}

func (s *Store) stat(ctx context.Context, name string) (Info, error) {
	return retry(ctx, &s.o, always, func(ctx context.Context) (Info, error) {
		info, err := s.d.Stat(ctx, name)
		info.Name = name
		return info, err
	})
}

// List returns what is in a directory ("" is the root), sorted by name. A directory that isn't
// there is ErrNotFound, but for the root. Checksums may be missing: Stat has them.
func (s *Store) List(ctx context.Context, dir string) ([]Info, error) {
	err := checkDir(dir)
	var list []Info
	if err == nil {
		list, err = retry(ctx, &s.o, always, func(ctx context.Context) ([]Info, error) { return s.d.List(ctx, dir) })
	}
	if dir == "" && errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, s.fail("list", dir, err)
	}
	list = slices.DeleteFunc(list, func(i Info) bool { return Hidden(i.Name[strings.LastIndexByte(i.Name, '/')+1:]) })
	slices.SortFunc(list, func(a, b Info) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// Walk calls f for each file below a directory, in the order of List.
func (s *Store) Walk(ctx context.Context, dir string, f func(Info) error) error {
	list, err := s.List(ctx, dir)
	if err != nil {
		return err
	}
	for _, i := range list {
		if i.Dir {
			err = s.Walk(ctx, i.Name, f)
		} else {
			err = f(i)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Delete removes a file. It is no error if there is none.
func (s *Store) Delete(ctx context.Context, name string) error {
	return s.remove(ctx, "delete", name, s.d.Delete)
}

// DeleteTree removes a directory with all below. It is no error if there is none. While it runs, or
// when it fails, some of the files may be gone.
func (s *Store) DeleteTree(ctx context.Context, dir string) error {
	return s.remove(ctx, "delete all of", dir, s.d.DeleteTree)
}

func (s *Store) remove(ctx context.Context, op, name string, f func(context.Context, string) error) error {
	if err := CheckName(name); err != nil {
		return s.fail(op, name, err)
	}
	_, err := retry(ctx, &s.o, always, func(ctx context.Context) (struct{}, error) { return struct{}{}, f(ctx, name) })
	return s.fail(op, name, err)
}

// String names the store and its place.
func (s *Store) String() string { return fmt.Sprintf("%s (%s)", s.name, s.Where()) }
