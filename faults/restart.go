package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"pegasus/base/pause"
	"pegasus/client"
	"pegasus/faults/hook"
)

// stopPatience is how long a server may take to end after SIGTERM, whatever else happens on
// this machine; on one with room it takes 3 s at most.
const stopPatience = 12 * time.Second

// terminateOne ends a server as an operator does. Its exit status must be 0.
func terminateOne(ctx context.Context, w *world, r *rand.Rand) error {
	var s *server
	if r.IntN(3) == 0 {
		s = w.leader(ctx)
	}
	w.mu.Lock()
	if s == nil {
		rs := w.c.of("replica")
		s = rs[r.IntN(len(rs))]
	}
	s, free, err := w.claimThis(s)
	w.mu.Unlock()
	if err != nil {
		return err
	}
	defer free()
	if !s.Running() {
		return s.Start() // a nemesis that kills everything was faster
	}
	began := time.Now()
	_, err = s.Stop(stopPatience)
	took := time.Since(began).Round(time.Millisecond)
	if err != nil {
		w.wrong("SIGTERM of %s: after %v: %v; its log ends: %s", s.Name, took, err, tail(s.logFile(), 1000))
	} else {
		w.tell("SIGTERM of %s: it ended after %v", s.Name, took)
	}
	pause.For(ctx, between(r, 0, 5*time.Second))
	return s.Start()
}

// clockStart starts a server whose clock is wrong, as one without a battery starts before it
// heard of the time.
func clockStart(ctx context.Context, w *world, r *rand.Rand) error {
	s, free, err := w.claim(r, "replica")
	if err != nil {
		return err
	}
	defer free()
	by := []int64{-86400, 86400, 30 * 86400}[r.IntN(3)]
	if w.peer != nil {
		by = max(min(by, mostApart), -mostApart)
	}
	d := between(r, 20*time.Second, 45*time.Second) // longer than a sweep waits after a start
	w.tell("start %s with a clock that is %d s off, for %v", s.Name, by, d.Round(time.Millisecond))
	kill(s)
	err = w.c.hurt(s, hook.Control{ClockOffsetS: by})
	err = errors.Join(err, s.Start())
	pause.For(ctx, d)
	return errors.Join(err, w.c.hurt(s, hook.Control{}))
}

// errorAtStart lets some reads of a starting server fail, and then has only that one and one
// other left: what it took for the end of its log would be gone.
func errorAtStart(ctx context.Context, w *world, r *rand.Rand) error {
	rs := w.c.of("replica")
	r.Shuffle(len(rs), func(i, j int) { rs[i], rs[j] = rs[j], rs[i] })
	s := rs[0]
	ctl := hook.Control{Error: "EIO", Ops: []hook.Op{hook.OpRead}, OneIn: []int{1, 2, 5, 30}[r.IntN(4)], Path: []string{"/wal/", "/wal/", ""}[r.IntN(3)]}
	w.tell("reads of files %q fail while %s starts, one in %d", ctl.Path, s.Name, ctl.OneIn)
	s.excused("its disk fails")
	defer s.excused("")
	kill(s)
	err := w.c.hurt(s, ctl)
	err = errors.Join(err, s.Start())
	pause.For(ctx, between(r, 500*time.Millisecond, 4*time.Second))
	err = errors.Join(err, w.c.hurt(s, hook.Control{}))
	pause.For(ctx, between(r, 0, 2*time.Second))
	if err = errors.Join(err, s.Start()); err != nil { // if it ended by itself
		return err
	}
	gone := rs[1:min(3, len(rs))]
	kill(gone...)
	pause.For(ctx, between(r, 3*time.Second, 10*time.Second))
	for _, s := range gone {
		err = errors.Join(err, s.Start())
	}
	return err
}

// lastLog kills all replica servers, one after the other, so that the last is alone in the
// end, and damages the newest segment of its log. The others' copies are intact. Nobody writes
// meanwhile: what the last one committed alone it didn't acknowledge, but somebody may have read
// it, so without an administrator nothing goes on that lacks it.
func lastLog(ctx context.Context, w *world, r *rand.Rand) error {
	rs := w.c.of("replica")
	r.Shuffle(len(rs), func(i, j int) { rs[i], rs[j] = rs[j], rs[i] })
	w.load.gate.Lock()
	pause.For(ctx, 2*time.Second) // the last writes are committed everywhere
	for _, s := range rs {
		kill(s)
		pause.For(ctx, between(r, 0, 2*time.Second))
	}
	w.load.gate.Unlock()
	last := rs[len(rs)-1]
	err := func() error {
		fs, err := filepath.Glob(filepath.Join(last.data(), "wal", "*.log"))
		if err != nil || len(fs) == 0 {
			return fmt.Errorf("no log of %s: %w", last.Name, err)
		}
		slices.Sort(fs)
		file := fs[len(fs)-1]
		if len(fs) > 1 && r.IntN(2) == 0 {
			file = fs[len(fs)-2]
		}
		b, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		at := len(b) * (1 + r.IntN(9)) / 10
		for i := at; i < min(at+64, len(b)); i++ {
			b[i] = byte(r.Uint32())
		}
		w.tell("all replica servers died; %s of %s, the last, has noise at %d of %d", filepath.Base(file), last.Name, at, len(b))
		return os.WriteFile(file, b, 0o644)
	}()
	for _, i := range r.Perm(len(rs)) {
		err = errors.Join(err, rs[i].Start())
		pause.For(ctx, between(r, 0, time.Second))
	}
	return err
}

// lasting are rows that expire long after the run: none may go because a clock was wrong.
type lasting struct{}

// lastingRows is how many there are, lastingTTL their time to live, in seconds.
const (
	lastingRows = 400
	lastingTTL  = 6 * 3600
)

func (lasting) key(i int) ([]byte, []byte) { return fmt.Appendf(nil, "T%d", i), []byte("t") }

func (l lasting) each(ctx context.Context, cl *client.Client, f func(context.Context, *client.Table, int) error) error {
	t, err := cl.Table(ctx, table)
	if err != nil {
		return err
	}
	errs := make([]error, 8)
	var wg sync.WaitGroup
	for n := range errs {
		wg.Go(func() {
			for i := n; i < lastingRows && errs[n] == nil; i += len(errs) {
				errs[n] = f(ctx, t, i)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (l lasting) fill(ctx context.Context, cl *client.Client) error {
	return l.each(ctx, cl, func(ctx context.Context, t *client.Table, i int) error {
		h, s := l.key(i)
		return t.Set(ctx, h, s, fmt.Appendf(nil, "lasting %d", i), lastingTTL)
	})
}

// missing says which aren't there.
func (l lasting) missing(ctx context.Context, cl *client.Client) (out []string) {
	var mu sync.Mutex
	err := l.each(ctx, cl, func(ctx context.Context, t *client.Table, i int) error {
		h, s := l.key(i)
		v, found, err := t.Get(ctx, h, s)
		if err == nil && (!found || string(v) != fmt.Sprintf("lasting %d", i)) {
			mu.Lock()
			out = append(out, fmt.Sprintf("row %q, which lives for %d s, is gone", h, lastingTTL))
			mu.Unlock()
		}
		return err
	})
	if err != nil {
		out = append(out, fmt.Sprintf("rows with a time to live: %v", err))
	}
	return out
}
