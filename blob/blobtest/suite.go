package blobtest

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"pegasus/blob"
)

// Place is a kind of store with its faults. Each function returns drivers of empty places of its own.
type Place struct {
	New func(t *testing.T) blob.Driver
	// Faulty returns a driver whose place vanishes and comes back, and changes what is sent.
	Faulty func(t *testing.T) (blob.Driver, Faults)
	// Denied returns a driver that isn't allowed in.
	Denied func(t *testing.T) blob.Driver
	// Full returns a driver of a place with room for 1 MiB and not for more than 8.
	Full func(t *testing.T) blob.Driver
	// Damage changes a byte of the file where it lies, its size and time stay.
	Damage func(t *testing.T, d blob.Driver, name string)
	// Large is a size in bytes that takes the place more than one piece.
	Large int
	// KnowsMD5 tells whether Stat has the MD5 of a file.
	KnowsMD5 bool
}

// Faults are what Faulty's caller may do.
type Faults struct {
	Vanish, Return func()
	Flip           func(on bool)
}

const patience = 20 * time.Second

// Options are what stores in tests have: short times.
func Options() blob.Options {
	return blob.Options{Timeout: 10 * time.Second, RetryTime: 10 * time.Second}
}

func open(t *testing.T, d blob.Driver, o blob.Options) *blob.Store {
	t.Helper()
	s := blob.NewStore("test", d, o)
	t.Cleanup(func() { s.Close() })
	return s
}

// Random returns n bytes with Markers in them.
func Random(n int, seed int64) []byte {
	b := make([]byte, n)
	rand.New(rand.NewSource(seed)).Read(b)
	for i := 100; i+len(Marker) < n; i += 1000 {
		copy(b[i:], Marker)
	}
	return b
}

func sum(b []byte) string {
	s := md5.Sum(b)
	return hex.EncodeToString(s[:])
}

// stream hides that a reader can be sought.
type stream struct{ io.Reader }

func read(ctx context.Context, s *blob.Store, name string) ([]byte, error) {
	r, err := s.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func wantFile(t *testing.T, s *blob.Store, name string, want []byte) {
	t.Helper()
	got, err := read(t.Context(), s, name)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s: %v, %d bytes with MD5 %s, want %d with %s", name, err, len(got), sum(got), len(want), sum(want))
	}
}

func wantNone(t *testing.T, s *blob.Store, name string) {
	t.Helper()
	if i, err := s.Stat(t.Context(), name); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("%s is there: %+v, %v", name, i, err)
	}
	if _, err := s.Open(t.Context(), name); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("%s can be read: %v", name, err)
	}
	dir := ""
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		dir = name[:i]
	}
	list, err := s.List(t.Context(), dir)
	if err != nil && !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("list: %v", err)
	}
	if len(list) > 0 {
		t.Errorf("the directory of %s isn't empty: %+v", name, list)
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
}

func put(t *testing.T, s *blob.Store, name string, b []byte) blob.Info {
	t.Helper()
	i, err := s.PutBytes(t.Context(), name, b)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// Run runs all tests.
func Run(t *testing.T, p Place) {
	for _, tc := range []struct {
		name string
		f    func(*testing.T, Place)
	}{
		{"contents", contents}, {"ranges", ranges}, {"overwrite", overwrite}, {"listing", listing}, {"names", names}, {"deletion", deletion},
		{"whole or not at all", whole}, {"announced", announced}, {"cancelled", cancelled}, {"writers at once", atOnce}, {"missing", missing},
		{"vanishes while writing", vanishWriting}, {"vanishes while reading", vanishReading}, {"vanishes for good", vanishForGood},
		{"denied", denied}, {"full", full}, {"changed on the way", changedOnTheWay}, {"damaged", damaged},
	} {
		t.Run(tc.name, func(t *testing.T) { tc.f(t, p) })
	}
}

func contents(t *testing.T, p Place) {
	s := open(t, p.New(t), Options())
	for i, n := range []int{0, 1, 1000, 300_000, p.Large, p.Large + 12345} {
		b := Random(n, int64(i))
		for _, seekable := range []bool{true, false} {
			name := fmt.Sprintf("d/%d-%v", n, seekable)
			var r io.Reader = bytes.NewReader(b)
			want := blob.Want{Sized: true, Size: int64(n), MD5: sum(b)}
			if !seekable {
				r, want = stream{r}, blob.Want{}
			}
			info, err := s.Put(t.Context(), name, r, want)
			if err != nil || info.Size != int64(n) || info.MD5 != sum(b) || info.Name != name {
				t.Fatalf("put %s: %+v, %v", name, info, err)
			}
			there, err := s.Stat(t.Context(), name)
			if err != nil || there.Size != int64(n) || there.Dir || there.Name != name || there.MD5 != "" && there.MD5 != sum(b) {
				t.Errorf("stat %s: %+v, %v", name, there, err)
			}
			if p.KnowsMD5 && there.MD5 == "" && (seekable || n < p.Large) {
				t.Errorf("%s: the MD5 isn't known", name)
			}
			if d := time.Since(there.Modified); d < -time.Hour || d > time.Hour {
				t.Errorf("stat %s: modified %v", name, there.Modified)
			}
			wantFile(t, s, name, b)
		}
	}
}

func ranges(t *testing.T, p Place) {
	s := open(t, p.New(t), Options())
	b := Random(700_000, 1)
	put(t, s, "f", b)
	for _, r := range [][2]int64{{0, 0}, {0, 1}, {5, 100}, {300_000, 300_000}, {699_999, 1}, {699_999, 10}, {700_000, 10}, {0, 700_000}, {1, 1 << 40}} {
		in, err := s.OpenRange(t.Context(), "f", r[0], r[1])
		if err != nil {
			t.Errorf("%v: %v", r, err)
			continue
		}
		got, err := io.ReadAll(in)
		in.Close()
		if want := b[r[0]:min(r[0]+r[1], 700_000)]; err != nil || !bytes.Equal(got, want) {
			t.Errorf("%v: %d bytes, want %d, %v", r, len(got), len(want), err)
		}
	}
	for _, r := range [][2]int64{{700_001, 1}, {-1, 5}, {0, -2}} {
		_, err := s.OpenRange(t.Context(), "f", r[0], r[1])
		wantErr(t, err, blob.ErrInvalid)
	}
	if err := iotest.TestReader(must(s.OpenRange(t.Context(), "f", 10, 1000)), b[10:1010]); err != nil {
		t.Error(err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func overwrite(t *testing.T, p Place) {
	s := open(t, p.New(t), Options())
	old, next := Random(2_000_000, 1), Random(1_000_000, 2)
	put(t, s, "d/f", old)
	r, err := s.Open(t.Context(), "d/f")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	begin := make([]byte, 1000)
	if _, err := io.ReadFull(r, begin); err != nil {
		t.Fatal(err)
	}
	put(t, s, "d/f", next)
	// Who began to read the old one gets it, or an error: never a mixture.
	if rest, err := io.ReadAll(r); err == nil && !bytes.Equal(append(begin, rest...), old) {
		t.Error("a reader got a mixture of two versions")
	}
	wantFile(t, s, "d/f", next)
	if list, err := s.List(t.Context(), "d"); err != nil || len(list) != 1 || list[0].Size != int64(len(next)) {
		t.Errorf("list: %+v, %v", list, err)
	}
}

func listing(t *testing.T, p Place) {
	s := open(t, p.New(t), Options())
	if list, err := s.List(t.Context(), ""); err != nil || len(list) != 0 {
		t.Errorf("list of an empty store: %+v, %v", list, err)
	}
	all := []string{"a/b/c", "a/b/d", "a/b-e", "a/x", "f", "z/y/x/w"}
	for i, n := range all {
		put(t, s, n, Random(i*10, 0))
	}
	for dir, want := range map[string]string{"": "a/ f z/", "a": "a/b/ a/b-e a/x", "a/b": "a/b/c a/b/d", "z": "z/y/"} {
		list, err := s.List(t.Context(), dir)
		var got []string
		for _, i := range list {
			n := i.Name
			if i.Dir {
				n += "/"
			} else if i.Size != int64(slices.Index(all, n)*10) {
				t.Errorf("%s has %d bytes", n, i.Size)
			}
			got = append(got, n)
		}
		if strings.Join(got, " ") != want || err != nil {
			t.Errorf("list %q: %v, %v, want %s", dir, got, err, want)
		}
	}
	_, err := s.List(t.Context(), "nothing")
	wantErr(t, err, blob.ErrNotFound)
	if i, err := s.Stat(t.Context(), "a/b"); err != nil || !i.Dir || i.Size != 0 {
		t.Errorf("stat of a directory: %+v, %v", i, err)
	}
	_, err = s.Open(t.Context(), "a/b")
	wantErr(t, err, blob.ErrInvalid)
	var walked []string
	if err := s.Walk(t.Context(), "a", func(i blob.Info) error { walked = append(walked, i.Name); return nil }); err != nil {
		t.Error(err)
	}
	if got := strings.Join(walked, " "); got != "a/b/c a/b/d a/b-e a/x" {
		t.Errorf("walked %s", got)
	}
}

func names(t *testing.T, p Place) {
	s := open(t, p.New(t), Options())
	for i, n := range []string{"with space/a b", "percent/%41%", "plus/a+b", "query/a?b=c&d", "hash/a#b", "unicode/ä-表-😀", "tilde/~a", "quote/'a\"", "dots/a..b", "long/" + strings.Repeat("x", 200), "semi/a;b", "colon/a=b"} {
		b := Random(100+i, int64(i))
		put(t, s, n, b)
		wantFile(t, s, n, b)
		dir, _, _ := strings.Cut(n, "/")
		if list, err := s.List(t.Context(), dir); err != nil || len(list) != 1 || list[0].Name != n {
			t.Errorf("%s is listed as %+v, %v", n, list, err)
		}
		if err := s.Delete(t.Context(), n); err != nil {
			t.Error(err)
		}
		wantNone(t, s, n)
	}
	for _, n := range []string{"", "/a", "a/", "a//b", "../a", "a/../b", ".a", "a/.b.meta", "a\x00b", "a\nb", "\xff", strings.Repeat("x", 201)} {
		_, err := s.PutBytes(t.Context(), n, nil)
		wantErr(t, err, blob.ErrInvalid)
	}
}

func deletion(t *testing.T, p Place) {
	s := open(t, p.New(t), Options())
	for _, n := range []string{"a/b/c", "a/b/d", "a/bc/e", "ab/f"} {
		put(t, s, n, []byte(n))
	}
	if err := s.Delete(t.Context(), "nothing/there"); err != nil {
		t.Error(err)
	}
	if err := s.DeleteTree(t.Context(), "nothing/there"); err != nil {
		t.Error(err)
	}
	if err := s.Delete(t.Context(), "a/b/c"); err != nil {
		t.Error(err)
	}
	_, err := s.Stat(t.Context(), "a/b/c")
	wantErr(t, err, blob.ErrNotFound)
	wantFile(t, s, "a/b/d", []byte("a/b/d"))
	if err := s.DeleteTree(t.Context(), "a/b"); err != nil {
		t.Error(err)
	}
	_, err = s.Stat(t.Context(), "a/b")
	wantErr(t, err, blob.ErrNotFound)
	wantFile(t, s, "a/bc/e", []byte("a/bc/e"))
	if err := s.DeleteTree(t.Context(), "a"); err != nil {
		t.Error(err)
	}
	wantFile(t, s, "ab/f", []byte("ab/f"))
	if list, err := s.List(t.Context(), ""); err != nil || len(list) != 1 {
		t.Errorf("left: %+v, %v", list, err)
	}
}

var errTorn = errors.New("the source tears")

func whole(t *testing.T, p Place) {
	s := open(t, p.New(t), Options())
	torn := func(n int) io.Reader { return io.MultiReader(bytes.NewReader(Random(n, 3)), iotest.ErrReader(errTorn)) }
	for _, n := range []int{0, 1000, p.Large + 1000} {
		_, err := s.Put(t.Context(), "d/f", torn(n), blob.Want{})
		wantErr(t, err, errTorn)
		wantErr(t, err, blob.ErrSource)
		wantNone(t, s, "d/f")
	}
	b := Random(5000, 4)
	put(t, s, "d/f", b)
	_, err := s.Put(t.Context(), "d/f", torn(p.Large+1000), blob.Want{})
	wantErr(t, err, errTorn)
	wantFile(t, s, "d/f", b)

	// While a file is being written nobody sees it.
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := s.Put(t.Context(), "e/f", r, blob.Want{})
		done <- err
	}()
	b = Random(p.Large+5000, 5)
	if _, err := w.Write(b[:len(b)-10]); err != nil {
		t.Fatal(err)
	}
	wantNone(t, s, "e/f")
	if _, err := w.Write(b[len(b)-10:]); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	wantFile(t, s, "e/f", b)
}

func announced(t *testing.T, p Place) {
	s := open(t, p.New(t), Options())
	for _, n := range []int{1000, p.Large + 1000} {
		b := Random(n, 1)
		for _, want := range []blob.Want{{Sized: true, Size: int64(n) - 1}, {Sized: true, Size: int64(n) + 1}, {MD5: sum(b[1:])}, {Sized: true, Size: int64(n), MD5: sum(nil)}} {
			_, err := s.Put(t.Context(), "d/f", bytes.NewReader(b), want)
			wantErr(t, err, blob.ErrSource)
			wantNone(t, s, "d/f")
		}
	}
}

func cancelled(t *testing.T, p Place) {
	s := open(t, p.New(t), Options())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, w := io.Pipe()
	defer w.Close()
	done := make(chan error, 1)
	go func() {
		_, err := s.Put(ctx, "d/f", r, blob.Want{})
		done <- err
	}()
	if _, err := w.Write(Random(p.Large+1000, 1)); err != nil {
		t.Fatal(err)
	}
	cancel()
	w.CloseWithError(context.Canceled) // what feeds the stream ends as well
	select {
	case err := <-done:
		wantErr(t, err, context.Canceled)
	case <-time.After(patience):
		t.Fatal("a cancelled write goes on")
	}
	wantNone(t, s, "d/f")

	put(t, s, "d/g", Random(3_000_000, 1))
	ctx, cancel = context.WithCancel(t.Context())
	in, err := s.Open(ctx, "d/g")
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if _, err := io.ReadFull(in, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	cancel()
	_, err = io.ReadAll(in)
	wantErr(t, err, context.Canceled)

	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	_, err = s.List(ctx, "")
	wantErr(t, err, context.Canceled)
}

func atOnce(t *testing.T, p Place) {
	s := open(t, p.New(t), Options())
	var contents [6][]byte
	var wg sync.WaitGroup
	for i := range contents {
		contents[i] = Random(400_000+i*10_000, int64(i))
		wg.Go(func() {
			// On some places one that comes second fails; what lies there is whole in any case.
			if _, err := s.PutBytes(t.Context(), "d/f", contents[i]); err != nil && !errors.Is(err, blob.ErrCorrupt) && !errors.Is(err, blob.ErrNotFound) {
				t.Error(err)
			}
			if _, err := s.PutBytes(t.Context(), fmt.Sprintf("d/%d", i), contents[i]); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i, c := range contents {
		wantFile(t, s, fmt.Sprintf("d/%d", i), c)
	}
	got, err := read(t.Context(), s, "d/f")
	if err != nil || !slices.ContainsFunc(contents[:], func(c []byte) bool { return bytes.Equal(c, got) }) {
		t.Errorf("after writes at once: %v, %d bytes of none of them", err, len(got))
	}
}

func missing(t *testing.T, p Place) {
	s := open(t, p.New(t), Options())
	begin := time.Now()
	wantNone(t, s, "nothing")
	wantNone(t, s, "no/thing")
	put(t, s, "file", []byte("x"))
	_, err := s.Stat(t.Context(), "file/below")
	wantErr(t, err, blob.ErrNotFound)
	if _, err := s.Get(t.Context(), "nothing", 10); !strings.Contains(err.Error(), "nothing") || !strings.Contains(err.Error(), "test") {
		t.Errorf("the error doesn't name the store and the file: %v", err)
	}
	if d := time.Since(begin); d > 5*time.Second {
		t.Errorf("what isn't there took %v: it was tried again", d)
	}
}

// slowly gives pieces, and calls f once before the piece behind at bytes. A read of it that is
// repeated goes on without f.
type slowly struct {
	*bytes.Reader
	at int64
	f  func()
}

func (s *slowly) Read(p []byte) (int, error) {
	if s.f != nil && s.Size()-int64(s.Len()) >= s.at {
		s.f()
		s.f = nil
	}
	return s.Reader.Read(p[:min(len(p), 64<<10)])
}

func vanishWriting(t *testing.T, p Place) {
	d, faults := p.Faulty(t)
	s := open(t, d, Options())
	b := Random(p.Large+2_000_000, 1)
	put(t, s, "d/first", b[:1000])
	for _, at := range []int64{0, 100_000, int64(p.Large) + 1_000_000} {
		name := fmt.Sprintf("d/%d", at)
		back := time.AfterFunc(time.Hour, faults.Return)
		r := &slowly{Reader: bytes.NewReader(b), at: at, f: func() { faults.Vanish(); back.Reset(700 * time.Millisecond) }}
		if _, err := s.Put(t.Context(), name, r, blob.Want{}); err != nil {
			t.Fatalf("a place that vanished at byte %d and came back: %v", at, err)
		}
		back.Stop()
		faults.Return()
		if r.f != nil {
			t.Fatal("it never vanished")
		}
		wantFile(t, s, name, b)
	}
	wantFile(t, s, "d/first", b[:1000])
}

func vanishReading(t *testing.T, p Place) {
	d, faults := p.Faulty(t)
	s := open(t, d, Options())
	b := Random(p.Large+8_000_000, 1)
	put(t, s, "d/f", b)
	r, err := s.Open(t.Context(), "d/f")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got := make([]byte, 100_000)
	if _, err := io.ReadFull(r, got); err != nil {
		t.Fatal(err)
	}
	faults.Vanish()
	time.AfterFunc(700*time.Millisecond, faults.Return)
	rest, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(append(got, rest...), b) {
		t.Errorf("a place that vanished and came back: %v, %d bytes of %d", err, len(got)+len(rest), len(b))
	}
}

func vanishForGood(t *testing.T, p Place) {
	d, faults := p.Faulty(t)
	o := Options()
	o.RetryTime = 500 * time.Millisecond
	s := open(t, d, o)
	b := Random(p.Large+2_000_000, 1)
	put(t, s, "d/old", b[:1000])
	begin := time.Now()
	r := &slowly{Reader: bytes.NewReader(b), at: 500_000, f: faults.Vanish}
	_, err := s.Put(t.Context(), "e/f", r, blob.Want{})
	wantErr(t, err, blob.ErrUnavailable)
	_, err = s.Stat(t.Context(), "d/old")
	wantErr(t, err, blob.ErrUnavailable)
	_, err = s.List(t.Context(), "")
	wantErr(t, err, blob.ErrUnavailable)
	wantErr(t, s.Delete(t.Context(), "d/old"), blob.ErrUnavailable)
	wantErr(t, s.DeleteTree(t.Context(), "d"), blob.ErrUnavailable)
	_, err = read(t.Context(), s, "d/old")
	wantErr(t, err, blob.ErrUnavailable)
	if d := time.Since(begin); d > patience {
		t.Errorf("it took %v to give up", d)
	}
	faults.Return()
	wantNone(t, s, "e/f")
	wantFile(t, s, "d/old", b[:1000])
	// A stream that can't be read twice fails, whenever the place comes back.
	s = open(t, d, Options())
	r = &slowly{Reader: bytes.NewReader(b), at: 500_000, f: func() { faults.Vanish(); time.AfterFunc(300*time.Millisecond, faults.Return) }}
	if _, err = s.Put(t.Context(), "e/f", stream{r}, blob.Want{}); err == nil {
		wantFile(t, s, "e/f", b) // only the end had to be repeated
		return
	}
	faults.Return()
	wantNone(t, s, "e/f")
}

func denied(t *testing.T, p Place) {
	s := open(t, p.Denied(t), Options())
	begin := time.Now()
	_, err := s.PutBytes(t.Context(), "d/f", []byte("x"))
	wantErr(t, err, blob.ErrDenied)
	if err != nil && !strings.Contains(err.Error(), "credentials") {
		t.Errorf("the error doesn't say what to do: %v", err)
	}
	_, err = s.Put(t.Context(), "d/f", bytes.NewReader(Random(p.Large+1, 1)), blob.Want{})
	wantErr(t, err, blob.ErrDenied)
	if d := time.Since(begin); d > 5*time.Second {
		t.Errorf("it took %v: what is denied was tried again", d)
	}
}

func full(t *testing.T, p Place) {
	s := open(t, p.Full(t), Options())
	begin := time.Now()
	b := Random(max(p.Large, 8<<20)+1000, 1)
	_, err := s.Put(t.Context(), "d/f", bytes.NewReader(b), blob.Want{})
	wantErr(t, err, blob.ErrNoSpace)
	if d := time.Since(begin); d > 8*time.Second {
		t.Errorf("it took %v: a full place was tried again", d)
	}
	wantNone(t, s, "d/f")
	// What was written of it is gone: there is room for something smaller.
	put(t, s, "d/small", b[:1000])
	wantFile(t, s, "d/small", b[:1000])
}

func changedOnTheWay(t *testing.T, p Place) {
	d, faults := p.Faulty(t)
	o := Options()
	o.RetryTime = 3 * time.Second
	s := open(t, d, o)
	for _, n := range []int{5000, p.Large + 5000} {
		b := Random(n, 1)
		faults.Flip(true)
		_, err := s.PutBytes(t.Context(), "d/f", b)
		if !errors.Is(err, blob.ErrCorrupt) && !errors.Is(err, blob.ErrUnavailable) { // some hang up without a word
			t.Errorf("error %v", err)
		}
		faults.Flip(false)
		wantNone(t, s, "d/f")
	}
	b := Random(5000, 1)
	put(t, s, "d/g", b)
	wantFile(t, s, "d/g", b)
}

func damaged(t *testing.T, p Place) {
	d := p.New(t)
	o := Options()
	o.RetryTime = 2 * time.Second
	s := open(t, d, o)
	for _, n := range []int{5000, p.Large + 5000} {
		b := Random(n, 1)
		if _, err := s.Put(t.Context(), "f", bytes.NewReader(b), blob.Want{MD5: sum(b)}); err != nil {
			t.Fatal(err)
		}
		p.Damage(t, d, "f")
		_, err := read(t.Context(), s, "f")
		wantErr(t, err, blob.ErrCorrupt)
	}
}
