package blob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"pegasus/base/config"
)

// fake is a place with one file, whose methods a test replaces.
type fake struct {
	Driver
	mu      sync.Mutex
	content []byte
	stat    func() (Info, error)
	put     func(ctx context.Context, src *Source) (Info, error)
	read    func(ctx context.Context, off, n int64) (io.ReadCloser, error)
}

func (f *fake) Where() string { return "nowhere" }
func (f *fake) Close() error  { return nil }
func (f *fake) Stat(context.Context, string) (Info, error) {
	if f.stat != nil {
		return f.stat()
	}
	return Info{Size: int64(len(f.content))}, nil
}
func (f *fake) Put(ctx context.Context, _ string, src *Source) (Info, error) { return f.put(ctx, src) }
func (f *fake) Read(ctx context.Context, _ Info, off, n int64) (io.ReadCloser, error) {
	return f.read(ctx, off, n)
}

func (f *fake) take(_ context.Context, src *Source) (Info, error) {
	b, err := io.ReadAll(src)
	if err != nil {
		return Info{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.content = b
	return Info{Size: int64(len(b))}, nil
}

func TestRetries(t *testing.T) {
	other := errors.New("something else")
	for _, tc := range []struct {
		err   error
		tries int // 0: until the time is over
	}{
		{ErrNotFound, 1}, {Fail(ErrDenied, other), 1}, {ErrNoSpace, 1}, {ErrInvalid, 1}, {ErrSource, 1},
		{Fail(ErrCorrupt, other), 3}, {ErrUnavailable, 0}, {other, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			tries := 0
			var heard int
			s := NewStore("s", &fake{stat: func() (Info, error) { tries++; return Info{}, tc.err }},
				Options{RetryTime: time.Minute, OnRetry: func(error, time.Duration) { heard++ }})
			begin := time.Now()
			_, err := s.Stat(t.Context(), "f")
			if !errors.Is(err, tc.err) {
				t.Errorf("%v: %v", tc.err, err)
			}
			if tc.tries > 0 && tries != tc.tries {
				t.Errorf("%v: %d tries, want %d", tc.err, tries, tc.tries)
			}
			if d := time.Since(begin); tc.tries == 0 && (d < 40*time.Second || d > time.Minute || tries < 8 || tries > 20) {
				t.Errorf("%v: %d tries in %v", tc.err, tries, d)
			}
			if heard != tries-1 {
				t.Errorf("%v: heard of %d of %d", tc.err, heard, tries)
			}
			if want := "blob store s: look up f: "; !strings.HasPrefix(err.Error(), want) {
				t.Errorf("%q doesn't begin with %q", err, want)
			}
		})
	}
}

// TestStall: an attempt that makes no progress ends, one that does goes on.
func TestStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		s := NewStore("s", f, Options{Timeout: time.Second, RetryTime: 10 * time.Second})
		tries := 0
		f.put = func(ctx context.Context, src *Source) (Info, error) {
			if tries++; tries < 3 {
				<-ctx.Done()
				return Info{}, ctx.Err()
			}
			return f.take(ctx, src)
		}
		slow := iotest.OneByteReader(&pausing{strings.NewReader("slow but sure"), 900 * time.Millisecond})
		if _, err := s.Put(t.Context(), "f", slow, Want{}); err != nil || string(f.content) != "slow but sure" || tries != 3 {
			t.Errorf("%d tries: %q, %v", tries, f.content, err)
		}
		slow = &pausing{strings.NewReader("x"), 1100 * time.Millisecond}
		begin := time.Now()
		if _, err := s.Put(t.Context(), "f", slow, Want{}); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "no progress for 1s") {
			t.Errorf("error %v", err)
		}
		if d := time.Since(begin); d > 10*time.Second {
			t.Errorf("it took %v", d)
		}
		// One that doesn't heed its context is left behind.
		hang := make(chan bool)
		f.stat = func() (Info, error) { <-hang; return Info{}, nil }
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		begin = time.Now()
		if _, err := s.Stat(ctx, "f"); !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, ErrUnavailable) || time.Since(begin) > 15*time.Second {
			t.Errorf("after %v: %v", time.Since(begin), err)
		}
		close(hang)
	})
}

type pausing struct {
	io.Reader
	pause time.Duration
}

func (p *pausing) Read(b []byte) (int, error) {
	time.Sleep(p.pause)
	return p.Reader.Read(b)
}

func TestPutAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		s := NewStore("s", f, Options{RetryTime: time.Minute})
		tries := 0
		f.put = func(ctx context.Context, src *Source) (Info, error) {
			if tries++; tries < 3 {
				io.ReadFull(src, make([]byte, 5))
				return Info{}, errors.New("torn")
			}
			return f.take(ctx, src)
		}
		r := strings.NewReader("..0123456789")
		r.Seek(2, io.SeekStart)
		info, err := s.Put(t.Context(), "f", r, Want{})
		if err != nil || string(f.content) != "0123456789" || info.MD5 != "781e5e245d69b566979b86e28d23f2c7" || info.Name != "f" {
			t.Errorf("%q, %+v, %v", f.content, info, err)
		}
		tries = 0
		if _, err := s.Put(t.Context(), "f", iotest.OneByteReader(r), Want{}); err == nil || tries != 1 {
			t.Errorf("a stream that can't be sought: %d tries, %v", tries, err)
		}
		// What lies there is something else.
		f.put = func(ctx context.Context, src *Source) (Info, error) {
			i, err := f.take(ctx, src)
			i.MD5 = "00"
			return i, err
		}
		if _, err := s.PutBytes(t.Context(), "f", []byte("abc")); !errors.Is(err, ErrCorrupt) {
			t.Errorf("error %v", err)
		}
		f.put = func(context.Context, *Source) (Info, error) { return Info{}, nil }
		if _, err := s.PutBytes(t.Context(), "f", nil); err == nil {
			t.Error("a driver that reads nothing is believed")
		}
	})
}

func TestReadResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{content: bytes.Repeat([]byte("0123456789"), 100_000)}
		s := NewStore("s", f, Options{RetryTime: 10 * time.Second, Timeout: time.Second})
		var opened []int64
		f.read = func(ctx context.Context, off, n int64) (io.ReadCloser, error) {
			opened = append(opened, off)
			switch len(opened) {
			case 1: // ends early
				return io.NopCloser(bytes.NewReader(f.content[off : off+300_001])), nil
			case 2: // not even opened
				return nil, errors.New("refused")
			case 3: // breaks
				return io.NopCloser(io.MultiReader(bytes.NewReader(f.content[off:off+10]), iotest.ErrReader(errors.New("reset")))), nil
			case 4: // hangs
				r, _ := io.Pipe()
				return r, nil
			}
			return io.NopCloser(bytes.NewReader(f.content[off : off+n])), nil
		}
		r, err := s.Open(t.Context(), "f")
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, f.content) || fmt.Sprint(opened) != "[0 300001 300001 300011 300011]" {
			t.Errorf("%d bytes, opened at %v, %v", len(got), opened, err)
		}
		f.read = func(context.Context, int64, int64) (io.ReadCloser, error) { return nil, ErrChanged }
		if _, err := s.Get(t.Context(), "f", 1<<30); !errors.Is(err, ErrChanged) {
			t.Errorf("error %v", err)
		}
		if _, err := s.Get(t.Context(), "f", 10); !errors.Is(err, ErrInvalid) {
			t.Errorf("a file that is too large: %v", err)
		}
	})
}

func TestRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		f.put = f.take
		f.read = func(_ context.Context, off, n int64) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(f.content[off : off+n])), nil
		}
		s := NewStore("s", f, Options{UploadRate: 1 << 20, DownloadRate: 2 << 20, Timeout: time.Second})
		took := func(what string, want time.Duration, do func() error) {
			t.Helper()
			begin := time.Now()
			if err := do(); err != nil {
				t.Error(err)
			}
			if d := time.Since(begin); d < want*9/10 || d > want*11/10 {
				t.Errorf("%s took %v, want %v", what, d, want)
			}
		}
		b := make([]byte, 10<<20)
		put := func() error { _, err := s.PutBytes(t.Context(), "f", b); return err }
		get := func() error { _, err := s.Get(t.Context(), "f", 1<<30); return err }
		took("write", 10*time.Second, put)
		took("read", 5*time.Second, get)
		s.SetRates(5<<20, 0)
		took("write", 2*time.Second, put)
		took("read", 0, get)
		var n atomic.Int32
		took("two writes at once", 4*time.Second, func() error {
			done := make(chan error)
			for range 2 {
				go func() { n.Add(1); done <- put() }()
			}
			return errors.Join(<-done, <-done)
		})
	})
}

func TestNames(t *testing.T) {
	for name, want := range map[string]string{"a/b c/ä": "", "": "empty", "a//b": "empty element", "/a": "empty element", "a/": "empty element",
		"a/../b": "dot", ".x": "dot", "a\tb": "control", "\xff": "UTF-8", strings.Repeat("a/", 500) + "a": "1001 bytes", strings.Repeat("a", 201): "201"} {
		err := CheckName(name)
		if want == "" && err != nil || want != "" && (!errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want)) {
			t.Errorf("%.20q: %v, want %q", name, err, want)
		}
	}
}

func TestSet(t *testing.T) {
	opened := 0
	set := NewSet(map[string]config.Blob{"a": {Type: "fake"}, "b": {Type: "ftp"}},
		map[string]Opener{"fake": func(context.Context, config.Blob) (Driver, error) { opened++; return &fake{}, nil }},
		func(string, config.Blob) Options { return Options{} })
	defer set.Close()
	one, err := set.Get(t.Context(), "a")
	if err != nil || one.Name() != "a" {
		t.Fatal(one, err)
	}
	if two, err := set.Get(t.Context(), "a"); two != one || err != nil || opened != 1 {
		t.Errorf("opened %d times, %v", opened, err)
	}
	if _, err := set.Get(t.Context(), "c"); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "a, b") || !strings.Contains(err.Error(), "[blob.c]") {
		t.Errorf("error %v", err)
	}
	if _, err := set.Get(t.Context(), "b"); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "ftp") {
		t.Errorf("error %v", err)
	}
}

func FuzzCheckName(f *testing.F) {
	f.Add("a/b")
	f.Add("a/../b")
	f.Fuzz(func(t *testing.T, name string) {
		if CheckName(name) != nil {
			return
		}
		if Join("root", name) != "root/"+name || strings.Contains("/"+name, "/.") {
			t.Fatalf("%q leads elsewhere", name)
		}
	})
}
