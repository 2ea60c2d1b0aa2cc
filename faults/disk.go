package faults

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"pegasus/base/pause"
	"pegasus/faults/hook"
)

func slowDisk(ctx context.Context, w *world, r *rand.Rand) error {
	s, free, err := w.claim(r, "replica")
	if err != nil {
		return err
	}
	defer free()
	ctl := hook.Control{SyncDelayMS: []int{20, 100, 500, 2000, 6000}[r.IntN(5)], WriteDelayMS: []int{0, 5, 50}[r.IntN(3)]}
	d := between(r, 5*time.Second, 20*time.Second)
	w.tell("the disk of %s is slow for %v: sync +%d ms, write +%d ms", s.Name, d.Round(time.Millisecond), ctl.SyncDelayMS, ctl.WriteDelayMS)
	if err := w.c.hurt(s, ctl); err != nil {
		return err
	}
	pause.For(ctx, d)
	return w.c.hurt(s, hook.Control{})
}

// ioError lets operations fail. Afterwards the server is either killed and started, as one
// would after such a disk was replaced, or has to go on by itself.
func ioError(ctx context.Context, w *world, r *rand.Rand) error {
	s, free, err := w.claim(r, "replica")
	if err != nil {
		return err
	}
	defer free()
	ctl := hook.Control{Error: "EIO", OneIn: []int{1, 3, 20}[r.IntN(3)], Path: []string{"", "/wal/", "/store."}[r.IntN(3)],
		Ops: [][]hook.Op{{hook.OpSync}, {hook.OpWrite}, {hook.OpRead}, {hook.OpCreate}, {hook.OpWrite, hook.OpSync, hook.OpCreate, hook.OpRead}}[r.IntN(5)]}
	d := between(r, 3*time.Second, 15*time.Second)
	w.tell("%v of files %q of %s fail for %v, one in %d", ctl.Ops, ctl.Path, s.Name, d.Round(time.Millisecond), ctl.OneIn)
	s.excused("its disk fails")
	defer s.excused("")
	if err := w.c.hurt(s, ctl); err != nil {
		return err
	}
	pause.For(ctx, d)
	if err := w.c.hurt(s, hook.Control{}); err != nil {
		return err
	}
	if r.IntN(2) == 0 {
		kill(s)
	}
	if s.Running() { // lived through it, or another nemesis had it started meanwhile
		return nil
	}
	return s.Start()
}

func balloon(s *server) string { return filepath.Join(s.data(), "balloon") }

// ballast fills a disk to the last byte, and again whenever it is asked.
type ballast struct {
	f    *os.File
	size int64
}

func newBallast(s *server) (*ballast, error) {
	f, err := os.Create(balloon(s))
	if err != nil {
		return nil, err
	}
	b := &ballast{f: f}
	b.fill()
	return b, nil
}

// fill takes what is free, also what the server freed meanwhile.
func (b *ballast) fill() {
	for block := int64(1 << 20); block >= 512; {
		n, err := b.f.Write(make([]byte, block))
		b.size += int64(n)
		if errors.Is(err, syscall.ENOSPC) {
			block /= 8
		} else if err != nil {
			return
		}
	}
}

// keepFull keeps disks full for d.
func keepFull(ctx context.Context, d time.Duration, bs ...*ballast) {
	until := time.Now().Add(d)
	for time.Now().Before(until) && pause.For(ctx, 50*time.Millisecond) {
		for _, b := range bs {
			b.fill()
		}
	}
}

// free gives the room back.
func (b *ballast) free() error { return errors.Join(b.f.Close(), os.Remove(b.f.Name())) }

// fullDisk fills a disk and frees it again. The server isn't restarted if it lived through
// it: it must go on by itself.
func fullDisk(ctx context.Context, w *world, r *rand.Rand) error {
	w.mu.Lock()
	s, free, err := w.claimThis(w.c.small[r.IntN(len(w.c.small))])
	w.mu.Unlock()
	if err != nil {
		return err
	}
	defer free()
	d := between(r, 5*time.Second, 20*time.Second)
	s.excused("its disk is full")
	defer s.excused("")
	b, err := newBallast(s)
	if err != nil {
		return err
	}
	w.tell("the disk of %s is full for %v (%d MB of ballast)", s.Name, d.Round(time.Millisecond), b.size>>20)
	keepFull(ctx, d, b)
	err = b.free()
	if !s.Running() { // another nemesis had it started meanwhile
		err = errors.Join(err, s.Start())
	}
	return err
}

// fullAll fills all disks at once. In half of the cases a server dies meanwhile, so that
// ballots change which nobody can write down, and is started again when there is room.
func fullAll(ctx context.Context, w *world, r *rand.Rand) error {
	d := between(r, 6*time.Second, 20*time.Second)
	var bs []*ballast
	var mb int64
	for _, s := range w.c.small {
		s.excused("its disk is full")
		defer s.excused("")
		b, err := newBallast(s)
		if err != nil {
			for _, b := range bs {
				err = errors.Join(err, b.free())
			}
			return err
		}
		bs, mb = append(bs, b), mb+b.size>>20
	}
	w.tell("the disks of all replica servers are full for %v (%d MB of ballast)", d.Round(time.Millisecond), mb)
	if r.IntN(2) == 0 {
		s := w.c.small[r.IntN(len(w.c.small))]
		keepFull(ctx, d/2, bs...)
		w.tell("kill %s meanwhile", s.Name)
		kill(s)
		d -= d / 2
	}
	keepFull(ctx, d, bs...)
	var err error
	for _, b := range bs {
		err = errors.Join(err, b.free())
	}
	for _, s := range w.c.small {
		if !s.Running() {
			err = errors.Join(err, s.Start())
		}
	}
	return err
}

// files returns the files below a server's data that match.
func files(s *server, match func(path string) bool) ([]string, error) {
	var out []string
	err := filepath.WalkDir(s.data(), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && match(path) {
			if st, e := d.Info(); e == nil && st.Size() > 0 {
				out = append(out, path)
			}
		}
		return err
	})
	slices.Sort(out)
	return out, err
}

// damage does one of several things to a file and says what.
func damage(r *rand.Rand, file string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	name := filepath.Base(file)
	at := r.IntN(len(b))
	switch r.IntN(5) {
	case 0:
		n := min(len(b)-at, 1+r.IntN(4096))
		clear(b[at : at+n])
		return fmt.Sprintf("%s: %d bytes at %d are zeroes", name, n, at), os.WriteFile(file, b, 0o644)
	case 1:
		return fmt.Sprintf("%s: cut off at %d of %d", name, at, len(b)), os.Truncate(file, int64(at))
	case 2:
		n := min(len(b)-at, 1+r.IntN(4096))
		for i := range n {
			b[at+i] = byte(r.Uint32())
		}
		return fmt.Sprintf("%s: %d bytes at %d are noise", name, n, at), os.WriteFile(file, b, 0o644)
	case 3:
		return name + ": removed", os.Remove(file)
	}
	bit := byte(1) << r.IntN(8)
	b[at] ^= bit
	return fmt.Sprintf("%s: a bit at %d flipped", name, at), os.WriteFile(file, b, 0o644)
}

// damageFiles kills a server, damages some of its files, and starts it again.
func damageFiles(ctx context.Context, w *world, r *rand.Rand, match func(path string) bool) error {
	s, free, err := w.claim(r, "replica")
	if err != nil {
		return err
	}
	defer free()
	kill(s)
	fs, err := files(s, match)
	if err == nil && len(fs) == 0 {
		err = fmt.Errorf("%s has no such files", s.Name)
	}
	if err != nil {
		return errors.Join(err, s.Start())
	}
	var did []string
	for range 1 + r.IntN(2) {
		i := r.IntN(len(fs))
		what, err := damage(r, fs[i])
		if err != nil {
			return errors.Join(err, s.Start())
		}
		did = append(did, what)
		if fs = slices.Delete(fs, i, i+1); len(fs) == 0 {
			break
		}
	}
	w.tell("damage of %s: %s", s.Name, strings.Join(did, "; "))
	pause.For(ctx, between(r, 0, 3*time.Second))
	return s.Start()
}

func corruptLog(ctx context.Context, w *world, r *rand.Rand) error {
	return damageFiles(ctx, w, r, func(path string) bool { return strings.Contains(path, "/wal/") })
}

func corruptTables(ctx context.Context, w *world, r *rand.Rand) error {
	ext := []string{".sst", ".sst", ".sst", "MANIFEST"}[r.IntN(4)]
	return damageFiles(ctx, w, r, func(path string) bool {
		return strings.Contains(path, "/store.") && strings.Contains(filepath.Base(path), ext)
	})
}

// loseReplica removes directories of replicas while their server is dead.
func loseReplica(ctx context.Context, w *world, r *rand.Rand) error {
	s, free, err := w.claim(r, "replica")
	if err != nil {
		return err
	}
	defer free()
	kill(s)
	dirs, err := filepath.Glob(filepath.Join(s.data(), "reps", "*"))
	if err != nil || len(dirs) == 0 {
		return errors.Join(err, s.Start())
	}
	r.Shuffle(len(dirs), func(i, j int) { dirs[i], dirs[j] = dirs[j], dirs[i] })
	dirs = dirs[:1+r.IntN(min(3, len(dirs)))]
	var names []string
	for _, d := range dirs {
		names = append(names, filepath.Base(d))
		err = errors.Join(err, os.RemoveAll(d))
	}
	w.tell("%s loses %s", s.Name, strings.Join(names, ", "))
	pause.For(ctx, between(r, 0, 3*time.Second))
	return errors.Join(err, s.Start())
}
