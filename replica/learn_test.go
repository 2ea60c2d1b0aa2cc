package replica

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/base/config"
)

// source serves a checkpoint like a primary's server, and counts what it sends.
type source struct {
	files map[string][]byte
	m     manifest
	// cut ends the connection after so many bytes of each answer, 0: never; dead: no answers.
	cut  int
	dead bool

	mu   sync.Mutex
	sent map[string]int
	from []string // Range headers
	done int
}

func newSource(t *testing.T, files map[string][]byte) (*source, *httptest.Server) {
	t.Helper()
	s := &source{files: files, sent: map[string]int{}, m: manifest{ID: "x", Decree: 7}}
	for n, b := range files {
		s.m.Files = append(s.m.Files, manifestFile{n, int64(len(b)), crc32.Checksum(b, castagnoli)})
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+pathCheckpoint, func(w http.ResponseWriter, _ *http.Request) {
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

func (s *source) file(w http.ResponseWriter, req *http.Request) {
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

func (s *source) total() (n int) {
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

// TestGatherGoesOn: a connection that breaks goes on where it was, and an attempt that failed
// leaves what the next one uses: nothing is sent twice.
func TestGatherGoesOn(t *testing.T) {
	files := map[string][]byte{"a.sst": noise(100_000, 1), "b.sst": noise(300_000, 2), "c.sst": noise(50_000, 3), "empty": nil}
	s, h := newSource(t, files)
	g := &gatherer{from: h.URL, dir: filepath.Join(t.TempDir(), "fetch"), p: new(progress)}
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
	s, h = newSource(t, files)
	g = &gatherer{from: h.URL, dir: filepath.Join(t.TempDir(), "fetch"), p: new(progress)}
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
	s2, h2 := newSource(t, files2)
	g = &gatherer{from: h2.URL, dir: g.dir, p: new(progress)}
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

// TestGatherVerifies: what is kept of another file of the same name is found out, and so are
// files that aren't what the manifest says.
func TestGatherVerifies(t *testing.T) {
	files := map[string][]byte{"000001.sst": noise(100_000, 1), "000002.sst": noise(90_000, 2), "000003.sst": noise(80_000, 3)}
	s, h := newSource(t, files)
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
	g := &gatherer{from: h.URL, dir: dir, old: old, p: new(progress)}
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
	g = &gatherer{from: h.URL, dir: filepath.Join(t.TempDir(), "fetch"), p: new(progress)}
	if _, err := g.run(t.Context(), nil); !errors.Is(err, base.ErrWrongChecksum) || !strings.Contains(err.Error(), ".sst") {
		t.Errorf("a file of another checksum: %v", err)
	}
	if es, err := os.ReadDir(g.dir); err != nil || len(es) > 0 {
		t.Errorf("a wrong file is kept: %v, %v", es, err)
	}
}

func TestManifestCheck(t *testing.T) {
	ok := manifestFile{"000001.sst", 10, 0}
	for what, m := range map[string]manifest{
		"no files":        {},
		"a path":          {Files: []manifestFile{ok, {"../x", 1, 0}}},
		"a hidden file":   {Files: []manifestFile{{".x", 1, 0}}},
		"no name":         {Files: []manifestFile{{"", 1, 0}}},
		"a name twice":    {Files: []manifestFile{ok, ok}},
		"a negative size": {Files: []manifestFile{{"x", -1, 0}}},
		"too large":       {Files: []manifestFile{{"x", 1 << 62, 0}, {"y", 1 << 62, 0}}},
		"decree -1":       {Files: []manifestFile{ok}, Decree: -1},
	} {
		if _, err := m.check(); base.CodeOf(err) != base.ErrInvalidData {
			t.Errorf("%s: %v", what, err)
		}
	}
	m := manifest{Files: []manifestFile{ok, {"MANIFEST-000001", 5, 0}}}
	if size, err := m.check(); err != nil || size != 15 {
		t.Errorf("%d, %v", size, err)
	}
}

func FuzzManifest(f *testing.F) {
	f.Add([]byte(`{"id":"a","decree":3,"files":[{"name":"000001.sst","size":10,"crc32c":7}]}`))
	f.Add([]byte(`{"files":[{"name":"..","size":-1}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var m manifest
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

// learnGroup has two members with more than the log holds, and a node that is nobody yet.
func learnGroup(t *testing.T) *group {
	t.Helper()
	g := newGroupWith(t, 2, func(c *config.Config) {
		c.Storage.MemtableBytes = 256 << 10
		c.Replica.PrepareTimeout = config.Duration(time.Second)
	})
	for i := range 60 {
		g.mustPut(0, fmt.Sprintf("k%d", i), string(noise(32<<10, uint64(i))))
	}
	g.emptyLog()
	g.nodes = append(g.nodes, startNode(t, g.meta))
	return g
}

func (s *Server) onStep(f func(string)) { s.learnStep.Store(&f) }

// emptyLog makes the primary's log lack everything before now.
func (g *group) emptyLog() {
	g.t.Helper()
	r := g.nodes[0].srv.replica(g.gpid)
	if err := r.flush(g.t.Context()); err != nil {
		g.t.Fatal(err)
	}
	until(g.t, "all is applied", func() bool { v := r.look(); return v.applied == v.Last })
	if err := wait(func(done func(error)) { r.dir.log().Reset(g.gpid, r.look().applied, done) }); err != nil {
		g.t.Fatal(err)
	}
}

// copyDir copies a directory as a process that is killed leaves it.
func copyDir(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed meanwhile
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, p)
		if err != nil || d.Name() == "LOCK" {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		b, err := os.ReadFile(p)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), b, 0o644)
	})
	if err != nil {
		t.Error(err)
	}
}

// TestLearnInterrupted takes a learner's directory as it is at each step, and goes on with
// it as after a crash there: nothing half is left, and the replica becomes a member.
func TestLearnInterrupted(t *testing.T) {
	g := learnGroup(t)
	s := g.nodes[2].srv
	var mu sync.Mutex
	saved := map[string]string{}
	s.onStep(func(step string) {
		mu.Lock()
		defer mu.Unlock()
		if saved[step] == "" {
			saved[step] = t.TempDir()
			copyDir(t, s.dirs[0].path, saved[step])
		}
	})
	g.add(2)
	g.mustPut(0, "last", "1")
	g.same(0, 1, 2)
	path := s.dirs[0].path
	for _, step := range []string{"manifest", "file", "renamed", "opened", "reset", "named"} {
		mu.Lock()
		from := saved[step]
		mu.Unlock()
		if from == "" {
			t.Fatalf("there was no step %q", step)
		}
		g.nodes[2].stop()
		g.mustPut(0, "without", step) // acknowledged once the group does without it
		g.emptyLog()
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
		copyDir(t, from, path)
		g.nodes[2].start()
		r := g.nodes[2].srv.replica(g.gpid)
		if r == nil {
			t.Fatalf("%s: the replica can't be opened", step)
		}
		if n := r.look().info.Store; step != "named" && n != 1 || step == "named" && n != 2 {
			t.Errorf("%s: the store is number %d", step, n)
		}
		g.add(2)
		g.mustPut(0, "with", step)
		g.same(0, 1, 2)
		if n := len(g.asideOn(2)); n > 0 {
			t.Errorf("%s: %d directories were moved aside", step, n)
		}
		until(t, "one store is left, and no unfinished copy", func() bool {
			es, err := os.ReadDir(r.path)
			return err == nil && len(es) == 2
		})
	}
}

// TestLearnWrongChecksum: a file that arrives as something else is not installed, and copied
// again.
func TestLearnWrongChecksum(t *testing.T) {
	g := learnGroup(t)
	s := g.nodes[2].srv
	var once sync.Once
	s.onStep(func(step string) {
		if step != "manifest" {
			return
		}
		once.Do(func() {
			names, err := filepath.Glob(filepath.Join(g.nodes[0].srv.dirs[0].path, "tmp", "*.checkpoint.*", "*.sst"))
			if err != nil || len(names) == 0 {
				t.Errorf("files of the checkpoint: %v, %v", names, err)
				return
			}
			b, err := os.ReadFile(names[0])
			if err != nil {
				t.Error(err)
				return
			}
			b[len(b)/2] ^= 1
			// Not in place: it is the primary's own file.
			if err := errors.Join(os.Remove(names[0]), os.WriteFile(names[0], b, 0o644)); err != nil {
				t.Error(err)
			}
		})
	})
	g.add(2)
	g.mustPut(0, "last", "1")
	g.same(0, 1, 2)
	if n := s.counts.learnFailed.Load(); n == 0 {
		t.Error("a file with a flipped bit was installed")
	}
	if r := s.replica(g.gpid); r.learnFailed.Load() != 0 || r.distrust.Load() {
		t.Error("after a success the failures are not forgotten")
	}
}

// TestLearningIsVisible looks at a copy that stands still.
func TestLearningIsVisible(t *testing.T) {
	g := learnGroup(t)
	s := g.nodes[2].srv
	hold := make(chan struct{})
	var n int
	s.onStep(func(step string) {
		if step == "file" {
			if n++; n == 2 {
				<-hold
			}
		}
	})
	released := false
	release := func() {
		if !released {
			released = true
			close(hold)
		}
	}
	defer release()
	var here, there []Learning
	g.insist("the copy is under way", func() bool {
		here, there = nil, nil
		g.command(2, &here, "replica.learning")
		g.command(0, &there, "replica.learning")
		return len(here) == 1 && here[0].FilesDone == 2 && len(there) == 1 && there[0].State == "checkpoint"
	}, func() { g.proposeAdd(2) })
	e := here[0]
	if e.State != phaseCopying || e.Replica != g.gpid.String() || e.From != g.nodes[0].srv.name || e.Learner != s.name ||
		e.Bytes < 60*32<<10 || e.BytesDone <= 0 || e.BytesDone > e.Bytes || e.Files < 3 || e.Behind < 60 || e.Seconds <= 0 {
		t.Errorf("learner: %+v", e)
	}
	if p := there[0]; p.Learner != s.name || p.From != g.nodes[0].srv.name || p.Behind < 60 {
		t.Errorf("primary: %+v", p)
	}
	release()
	g.add(2)
	g.mustPut(0, "last", "1")
	g.same(0, 1, 2)
	until(t, "nobody learns", func() bool {
		here, there = nil, nil
		g.command(2, &here, "replica.learning")
		g.command(0, &there, "replica.learning")
		return len(here) == 0 && len(there) == 0
	})
}

// TestCheckpointExpiry: one that is being made, or sent, is not taken away.
func TestCheckpointExpiry(t *testing.T) {
	c := &checkpoints{open: map[string]*checkpoint{}}
	past := time.Now().Add(-time.Minute)
	making, sending, idle := &checkpoint{dir: t.TempDir(), until: past, making: true}, &checkpoint{dir: t.TempDir(), until: past}, &checkpoint{dir: t.TempDir(), until: past}
	c.open["making"], c.open["sending"], c.open["idle"] = making, sending, idle
	c.touch(sending)
	c.expire()
	if c.open["making"] != making || c.open["sending"] != sending || c.open["idle"] != nil {
		t.Errorf("left: %v", c.open)
	}
	if _, err := os.Stat(idle.dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the files of an expired one: %v", err)
	}
}

// TestCatchUpOutrunsWrites: a learner gets there although clients write much more than may be
// copied in the same time.
func TestCatchUpOutrunsWrites(t *testing.T) {
	g := newGroupWith(t, 2, func(c *config.Config) { c.Replica.LearnRate, c.Replica.LearnLeast = 1000, 1000 })
	n := 0
	write := func() {
		t.Helper()
		g.mustPut(0, fmt.Sprintf("k%d", n), string(noise(32<<10, uint64(n))))
		n++
	}
	for range 3 * mostEarned / 2 / (32 << 10) {
		write()
	}
	g.nodes = append(g.nodes, startNode(t, g.meta))
	began := time.Now()
	g.insist("the learner is a secondary", func() bool { write(); return len(g.meta.config(g.gpid).Secondaries) == 2 },
		func() { g.proposeAdd(2) })
	// Far more than the pace alone lets through.
	if p, took := g.nodes[0].srv.pace, time.Since(began); !p.fixed() || learnBurst+1000*took.Seconds() > float64(n*32<<10)/2 {
		t.Errorf("it had no need of what was earned: %d writes in all, %v, fixed %t", n, took, p.fixed())
	}
	g.same(0, 1, 2)
}
