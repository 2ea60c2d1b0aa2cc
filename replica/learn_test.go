package replica

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"pegasus/base/config"
	"pegasus/remotecmd/answer"
	"pegasus/replica/checkpoint"
	"pegasus/replica/metalink"
	"pegasus/replica/wal"
)

func noise(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// learnGroup has two members with more than the log holds, and a node that is nobody yet.
func learnGroup(t *testing.T, more ...func(*config.Config)) *group {
	t.Helper()
	g := newGroupWith(t, 2, func(c *config.Config) {
		c.Storage.MemtableBytes = 256 << 10
		for _, change := range more {
			change(c)
		}
	})
	for i := range 60 {
		g.mustPut(0, fmt.Sprintf("k%d", i), string(noise(32<<10, uint64(i))))
	}
	g.emptyLog()
	g.nodes = append(g.nodes, startNode(t, g.meta))
	return g
}

// emptyLog makes the primary's log lack everything before now.
func (g *group) emptyLog() {
	g.t.Helper()
	r := g.nodes[0].srv.replica(g.gpid)
	if err := r.flush(g.t.Context()); err != nil {
		g.t.Fatal(err)
	}
	until(g.t, "all is applied", func() bool { v := r.look(); return v.applied == v.Last })
	if err := wal.Wait(func(done func(error)) { r.dir.Log().Reset(g.gpid, r.look().applied, done) }); err != nil {
		g.t.Fatal(err)
	}
}

// askCheckpoint asks node i for a checkpoint, as a learner of the cluster with that identity.
func (g *group) askCheckpoint(i int, of *metalink.Identity, learner string) (code int, m checkpoint.Manifest) {
	g.t.Helper()
	q := url.Values{"replica": {g.gpid.String()}, "ballot": {"1"}, "learner": {learner}}
	req, err := http.NewRequestWithContext(g.t.Context(), http.MethodPost, "http://"+g.nodes[i].srv.name+checkpoint.Path+"?"+q.Encode(), nil)
	if err != nil {
		g.t.Fatal(err)
	}
	of.Mark(req.Header)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusOK {
		if err := json.NewDecoder(res.Body).Decode(&m); err != nil {
			g.t.Fatal(err)
		}
	}
	return res.StatusCode, m
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
	g := learnGroup(t, impatient)
	s := g.nodes[2].srv
	var mu sync.Mutex
	saved := map[string]string{}
	s.copies.OnStep(func(step string) {
		mu.Lock()
		defer mu.Unlock()
		if saved[step] == "" {
			saved[step] = t.TempDir()
			copyQuiet(t, s.disks.All()[0].Path, saved[step])
		}
	})
	g.add(2)
	g.mustPut(0, "last", "1")
	g.same(0, 1, 2)
	path := s.disks.All()[0].Path
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
	s.copies.OnStep(func(step string) {
		if step != "manifest" {
			return
		}
		once.Do(func() {
			names, err := filepath.Glob(filepath.Join(g.nodes[0].srv.disks.All()[0].Path, "tmp", "*.checkpoint.*", "*.sst"))
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
	if n := s.copies.Counts().Failed; n == 0 {
		t.Error("a file with a flipped bit was installed")
	}
	if r := s.replica(g.gpid); r.learner.Failures() != 0 {
		t.Error("after a success the failures are not forgotten")
	}
}

// TestLearningIsVisible looks at a copy that stands still.
func TestLearningIsVisible(t *testing.T) {
	g := learnGroup(t)
	s := g.nodes[2].srv
	hold := make(chan struct{})
	var n int
	s.copies.OnStep(func(step string) {
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
	var here, there []answer.Learning
	g.insist("the copy is under way", func() bool {
		here, there = nil, nil
		g.command(2, &here, "replica.learning")
		g.command(0, &there, "replica.learning")
		return len(here) == 1 && here[0].FilesDone == 2 && len(there) == 1 && there[0].State == "checkpoint"
	}, func() { g.proposeAdd(2) })
	e := here[0]
	if e.State != "copying" || e.Replica != g.gpid.String() || e.From != g.nodes[0].srv.name || e.Learner != s.name ||
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

// TestCatchUpOutrunsWrites: a learner gets there although clients write much more than may be
// copied in the same time.
func TestCatchUpOutrunsWrites(t *testing.T) {
	g := newGroupWith(t, 2, func(c *config.Config) { c.Replica.LearnRate, c.Replica.LearnMinRate = 1000, 1000 })
	const earned = 4 << 20 // what the primary keeps of what it may send for what was written
	n := 0
	write := func() {
		t.Helper()
		g.mustPut(0, fmt.Sprintf("k%d", n), string(noise(32<<10, uint64(n))))
		n++
	}
	for range 3 * earned / 2 / (32 << 10) {
		write()
	}
	g.nodes = append(g.nodes, startNode(t, g.meta))
	began := time.Now()
	g.insist("the learner is a secondary", func() bool { write(); return len(g.meta.config(g.gpid).Secondaries) == 2 },
		func() { g.proposeAdd(2) })
	// Far more than the pace alone lets through.
	if rate, took := g.nodes[0].srv.copies.Pace.Rate(), time.Since(began); rate != 1000 || 128<<10+1000*took.Seconds() > float64(n*32<<10)/2 {
		t.Errorf("it had no need of what was earned: %d writes in all, %v, at %d bytes/s", n, took, rate)
	}
	g.same(0, 1, 2)
}
