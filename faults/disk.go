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
	w.tell("the disk of %s is slow for %v: sync +%d ms, write +%d ms", s.name, d.Round(time.Millisecond), ctl.SyncDelayMS, ctl.WriteDelayMS)
	if err := w.c.hurt(s, ctl); err != nil {
		return err
	}
	rest(ctx, d)
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
	w.tell("%v of files %q of %s fail for %v, one in %d", ctl.Ops, ctl.Path, s.name, d.Round(time.Millisecond), ctl.OneIn)
	s.excused("its disk fails")
	defer s.excused("")
	if err := w.c.hurt(s, ctl); err != nil {
		return err
	}
	rest(ctx, d)
	if err := w.c.hurt(s, hook.Control{}); err != nil {
		return err
	}
	if r.IntN(2) == 0 {
		w.c.kill(s)
	}
	if s.running() { // lived through it, or another nemesis had it started meanwhile
		return nil
	}
	return w.c.start(s)
}

func balloon(s *server) string { return filepath.Join(s.data(), "balloon") }

// fullDisk fills the disk to the last byte and frees it again. The server isn't restarted
// if it lived through it: it must go on by itself.
func fullDisk(ctx context.Context, w *world, r *rand.Rand) error {
	w.mu.Lock()
	s, free, err := w.claimThis(w.c.small)
	w.mu.Unlock()
	if err != nil {
		return err
	}
	defer free()
	d := between(r, 5*time.Second, 20*time.Second)
	f, err := os.Create(balloon(s))
	if err != nil {
		return err
	}
	s.excused("its disk is full")
	defer s.excused("")
	var size int64
	fill := func() {
		// What the server frees meanwhile is taken, too.
		for block := int64(1 << 20); block >= 512; {
			n, err := f.Write(make([]byte, block))
			size += int64(n)
			if errors.Is(err, syscall.ENOSPC) {
				block /= 8
			} else if err != nil {
				return
			}
		}
	}
	fill()
	w.tell("the disk of %s is full for %v (%d MB of ballast)", s.name, d.Round(time.Millisecond), size>>20)
	until := time.Now().Add(d)
	for time.Now().Before(until) && rest(ctx, 50*time.Millisecond) {
		fill()
	}
	err = errors.Join(f.Close(), os.Remove(balloon(s)))
	if !s.running() { // another nemesis had it started meanwhile
		err = errors.Join(err, w.c.start(s))
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
	w.c.kill(s)
	fs, err := files(s, match)
	if err == nil && len(fs) == 0 {
		err = fmt.Errorf("%s has no such files", s.name)
	}
	if err != nil {
		return errors.Join(err, w.c.start(s))
	}
	var did []string
	for range 1 + r.IntN(2) {
		i := r.IntN(len(fs))
		what, err := damage(r, fs[i])
		if err != nil {
			return errors.Join(err, w.c.start(s))
		}
		did = append(did, what)
		if fs = slices.Delete(fs, i, i+1); len(fs) == 0 {
			break
		}
	}
	w.tell("damage of %s: %s", s.name, strings.Join(did, "; "))
	rest(ctx, between(r, 0, 3*time.Second))
	return w.c.start(s)
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
	w.c.kill(s)
	dirs, err := filepath.Glob(filepath.Join(s.data(), "reps", "*"))
	if err != nil || len(dirs) == 0 {
		return errors.Join(err, w.c.start(s))
	}
	r.Shuffle(len(dirs), func(i, j int) { dirs[i], dirs[j] = dirs[j], dirs[i] })
	dirs = dirs[:1+r.IntN(min(3, len(dirs)))]
	var names []string
	for _, d := range dirs {
		names = append(names, filepath.Base(d))
		err = errors.Join(err, os.RemoveAll(d))
	}
	w.tell("%s loses %s", s.name, strings.Join(names, ", "))
	rest(ctx, between(r, 0, 3*time.Second))
	return errors.Join(err, w.c.start(s))
}
