package checkpoint

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/base/pause"
)

// server serves a checkpoint like a primary's server, and counts what it sends.
type server struct {
	files map[string][]byte
	m     Manifest
	// cut ends the connection after so many bytes of each answer, 0: never; dead: no answers.
	cut  int
	dead bool

	mu   sync.Mutex
	sent map[string]int
	from []string // Range headers
	done int
}

func newServer(t *testing.T, files map[string][]byte) (*server, *httptest.Server) {
	t.Helper()
	s := &server{files: files, sent: map[string]int{}, m: Manifest{ID: "x", Decree: 7}}
	for n, b := range files {
		s.m.Files = append(s.m.Files, File{n, int64(len(b)), crc32.Checksum(b, castagnoli)})
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+Path, func(w http.ResponseWriter, _ *http.Request) {
		if err := json.NewEncoder(w).Encode(&s.m); err != nil {
			t.Error(err)
		}
	})
	mux.HandleFunc("POST "+pathDone, func(w http.ResponseWriter, _ *http.Request) {
		s.mu.Lock()
		s.done++
		s.mu.Unlock()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET "+pathFile, s.file)
	h := httptest.NewServer(mux)
	t.Cleanup(h.Close)
	return s, h
}

func (s *server) file(w http.ResponseWriter, req *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead {
		http.Error(w, "gone", http.StatusNotFound)
		return
	}
	name := req.FormValue("name")
	b := s.files[name]
	from := 0
	if r := req.Header.Get("Range"); r != "" {
		s.from = append(s.from, r)
		if _, err := fmt.Sscanf(r, "bytes=%d-", &from); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(b)-from))
	if from > 0 {
		w.WriteHeader(http.StatusPartialContent)
	}
	b = b[from:]
	if s.cut > 0 && len(b) > s.cut {
		b = b[:s.cut]
	}
	n, _ := w.Write(b)
	s.sent[name] += n
}

func (s *server) total() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.sent {
		n += k
	}
	return n
}

func noise(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func wantFiles(t *testing.T, dir string, want map[string][]byte) {
	t.Helper()
	es, err := os.ReadDir(dir)
	if err != nil || len(es) != len(want) {
		t.Fatalf("%d files, %v; want %d", len(es), err, len(want))
	}
	for n, b := range want {
		if got, err := os.ReadFile(filepath.Join(dir, n)); err != nil || !bytes.Equal(got, b) {
			t.Errorf("%s: %d bytes, %v; want %d", n, len(got), err, len(b))
		}
	}
}

// TestFetchGoesOn: a connection that breaks goes on where it was, and an attempt that failed
// leaves what the next one uses: nothing is sent twice.
func TestFetchGoesOn(t *testing.T) {
	files := map[string][]byte{"a.sst": noise(100_000, 1), "b.sst": noise(300_000, 2), "c.sst": noise(50_000, 3), "empty": nil}
	s, h := newServer(t, files)
	g := &fetch{from: h.URL, dir: filepath.Join(t.TempDir(), "fetch"), p: new(Progress)}
	s.cut = 160_000
	if _, err := g.run(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, g.dir, files)
	if n := s.total(); n != 450_000 || len(s.from) != 1 {
		t.Errorf("%d bytes were sent for 450000, by %d requests that go on", n, len(s.from))
	}
	if s.done != 1 {
		t.Errorf("the primary was told %d times that it is done", s.done)
	}

	// The primary goes away in the middle; another one has a checkpoint with other files.
	s, h = newServer(t, files)
	g = &fetch{from: h.URL, dir: filepath.Join(t.TempDir(), "fetch"), p: new(Progress)}
	ctx, cancel := context.WithCancel(t.Context())
	s.cut = 160_000
	n := 0
	g.step = func(step string) {
		if n++; n == 3 { // the manifest and two files
			cancel()
		}
	}
	if _, err := g.run(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Fatalf("interrupted: %v", err)
	}
	before := s.total()
	files2 := map[string][]byte{"d.sst": noise(10_000, 4)}
	for n, b := range files {
		if n != "empty" {
			files2[n] = b
		}
	}
	s2, h2 := newServer(t, files2)
	g = &fetch{from: h2.URL, dir: g.dir, p: new(Progress)}
	if _, err := g.run(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, g.dir, files2)
	if both := before + s2.total(); both != 460_000 {
		t.Errorf("both attempts together were sent %d bytes, want 460000", both)
	}
	if p := g.p; p.bytesDone.Load() != p.bytes.Load() || p.reused.Load() != int64(before) || p.filesDone.Load() != 4 {
		t.Errorf("progress: %d of %d bytes, %d reused, %d of %d files", p.bytesDone.Load(), p.bytes.Load(), p.reused.Load(), p.filesDone.Load(), p.files.Load())
	}
}

// TestFetchVerifies: what is kept of another file of the same name is found out, and so are
// files that aren't what the manifest says.
func TestFetchVerifies(t *testing.T) {
	files := map[string][]byte{"000001.sst": noise(100_000, 1), "000002.sst": noise(90_000, 2), "000003.sst": noise(80_000, 3)}
	s, h := newServer(t, files)
	dir, old := filepath.Join(t.TempDir(), "fetch"), t.TempDir()
	put := func(dir, name string, b []byte) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, name), b, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	put(dir, "000001.sst", noise(60_000, 9))
	put(dir, "stranger", noise(10, 9))
	put(old, "000002.sst", files["000002.sst"]) // the same in the present store
	put(old, "000003.sst", noise(80_000, 9))    // the same name and size only
	g := &fetch{from: h.URL, dir: dir, old: old, p: new(Progress)}
	if _, err := g.run(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, dir, files)
	if s.sent["000002.sst"] != 0 || s.sent["000003.sst"] != 80_000 || g.p.reused.Load() != 90_000 || g.p.bytesDone.Load() != 270_000 {
		t.Errorf("sent %v, reused %d, done %d", s.sent, g.p.reused.Load(), g.p.bytesDone.Load())
	}

	for i := range s.m.Files {
		s.m.Files[i].CRC ^= 1
	}
	g = &fetch{from: h.URL, dir: filepath.Join(t.TempDir(), "fetch"), p: new(Progress)}
	if _, err := g.run(t.Context(), nil); !errors.Is(err, base.ErrWrongChecksum) || !strings.Contains(err.Error(), ".sst") {
		t.Errorf("a file of another checksum: %v", err)
	}
	if es, err := os.ReadDir(g.dir); err != nil || len(es) > 0 {
		t.Errorf("a wrong file is kept: %v, %v", es, err)
	}
}

func TestManifestCheck(t *testing.T) {
	ok := File{"000001.sst", 10, 0}
	for what, m := range map[string]Manifest{
		"no files":        {},
		"a path":          {Files: []File{ok, {"../x", 1, 0}}},
		"a hidden file":   {Files: []File{{".x", 1, 0}}},
		"no name":         {Files: []File{{"", 1, 0}}},
		"a name twice":    {Files: []File{ok, ok}},
		"a negative size": {Files: []File{{"x", -1, 0}}},
		"too large":       {Files: []File{{"x", 1 << 62, 0}, {"y", 1 << 62, 0}}},
		"decree -1":       {Files: []File{ok}, Decree: -1},
	} {
		if _, err := m.check(); base.CodeOf(err) != base.ErrInvalidData {
			t.Errorf("%s: %v", what, err)
		}
	}
	m := Manifest{Files: []File{ok, {"MANIFEST-000001", 5, 0}}}
	if size, err := m.check(); err != nil || size != 15 {
		t.Errorf("%d, %v", size, err)
	}
}

func FuzzManifest(f *testing.F) {
	f.Add([]byte(`{"id":"a","decree":3,"files":[{"name":"000001.sst","size":10,"crc32c":7}]}`))
	f.Add([]byte(`{"files":[{"name":"..","size":-1}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var m Manifest
		if json.Unmarshal(b, &m) != nil {
			return
		}
		if _, err := m.check(); err != nil {
			return
		}
		for _, file := range m.Files {
			if p := filepath.Join("d", file.Name); filepath.Dir(p) != "d" || file.Size < 0 {
				t.Fatalf("accepted %q of %d bytes", file.Name, file.Size)
			}
		}
	})
}

// hungSource is a source that stops at a step, as a process that was sent SIGSTOP does: its
// connections stay, and nothing comes.
func hungSource(t *testing.T, at string) (*httptest.Server, map[string]*atomic.Int64) {
	t.Helper()
	b := noise(1<<20, 1)
	m := Manifest{ID: "x", Decree: 7, Files: []File{{"000001.sst", int64(len(b)), crc32.Checksum(b, castagnoli)}}}
	stop := make(chan struct{})
	asked := map[string]*atomic.Int64{"checkpoint": {}, "file": {}, "done": {}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+Path, func(w http.ResponseWriter, _ *http.Request) {
		asked["checkpoint"].Add(1)
		switch at {
		case "accepted":
			<-stop
		case "making":
			_, _ = w.Write([]byte("\n"))
			_ = http.NewResponseController(w).Flush()
			<-stop
		}
		_ = json.NewEncoder(w).Encode(&m)
	})
	mux.HandleFunc("GET "+pathFile, func(w http.ResponseWriter, _ *http.Request) {
		asked["file"].Add(1)
		w.Header().Set("Content-Length", strconv.Itoa(len(b)))
		if at == "file" {
			_, _ = w.Write(b[:1000])
			_ = http.NewResponseController(w).Flush()
		}
		<-stop
	})
	mux.HandleFunc("POST "+pathDone, func(http.ResponseWriter, *http.Request) {
		asked["done"].Add(1)
		<-stop
	})
	h := httptest.NewServer(mux)
	t.Cleanup(h.Close)
	t.Cleanup(func() { close(stop) })
	return h, asked
}

// TestFetchFromSilentSource: whenever a source falls silent, the copy ends, and says why.
func TestFetchFromSilentSource(t *testing.T) {
	for _, at := range []string{"accepted", "making", "header", "file"} {
		t.Run(at, func(t *testing.T) {
			h, asked := hungSource(t, at)
			g := &fetch{from: h.URL, dir: filepath.Join(t.TempDir(), "fetch"), p: new(Progress), silence: 300 * time.Millisecond}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_, err := g.run(ctx, url.Values{})
			if !errors.Is(err, errSilent) || base.CodeOf(err) != base.ErrTimeout {
				t.Errorf("the copy ended with: %v", err)
			}
			// It isn't asked again and again, nor told that it is done with.
			if n := asked["checkpoint"].Load() + asked["file"].Load() + asked["done"].Load(); n > 2 {
				t.Errorf("a silent source was sent %d requests", n)
			}
		})
	}
}

// TestFetchFromSlowSource: a source that sends a little now and then is waited for, however long
// all of it takes, and what the receiver itself waits for doesn't count.
func TestFetchFromSlowSource(t *testing.T) {
	const silence, pieces = 4 * time.Second, 50
	b := noise(pieces, 1)
	m := Manifest{ID: "x", Decree: 7, Files: []File{{"000001.sst", int64(len(b)), crc32.Checksum(b, castagnoli)}}}
	var done atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+Path, func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(&m) })
	mux.HandleFunc("POST "+pathDone, func(http.ResponseWriter, *http.Request) { done.Add(1) })
	mux.HandleFunc("GET "+pathFile, func(w http.ResponseWriter, req *http.Request) {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for i := range b {
			<-tick.C
			_, _ = w.Write(b[i : i+1])
			_ = http.NewResponseController(w).Flush()
		}
	})
	h := httptest.NewServer(mux)
	defer h.Close()
	g := &fetch{from: h.URL, dir: filepath.Join(t.TempDir(), "fetch"), p: new(Progress), silence: silence}
	waited := false
	g.pace = func(int) error {
		if !waited {
			waited = true
			pause.For(t.Context(), silence+time.Second)
		}
		return nil
	}
	began := time.Now()
	if _, err := g.run(t.Context(), url.Values{}); err != nil || done.Load() != 1 {
		t.Errorf("after %v: %v; told %d times that it is done", time.Since(began), err, done.Load())
	}
}

// TestFetchEndsWithItsCheckpoint: a source that doesn't know the checkpoint any more isn't asked
// for it again, and what it says of why it has none arrives.
func TestFetchEndsWithItsCheckpoint(t *testing.T) {
	s, h := newServer(t, map[string][]byte{"a.sst": noise(1000, 1)})
	s.dead = true
	g := &fetch{from: h.URL, dir: filepath.Join(t.TempDir(), "fetch"), p: new(Progress)}
	_, err := g.run(t.Context(), nil)
	if status := (*statusError)(nil); !errors.As(err, &status) || status.code != http.StatusNotFound || !strings.Contains(err.Error(), "after 1 tries") {
		t.Errorf("a checkpoint that is gone: %v", err)
	}
	s.m = Manifest{Error: "no room"}
	if _, err := g.run(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "no room") {
		t.Errorf("a source that can't: %v", err)
	}
}
