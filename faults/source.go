package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"pegasus/base/config"
	"pegasus/base/pause"
	"pegasus/remotecmd/answer"
)

const (
	// sourcePause is how long a source stands still; within sourcePatience each partition must take
	// writes again.
	sourcePause, sourcePatience = 75 * time.Second, 60 * time.Second
)

// pauseSource stops a server from which another one copies. The copies are slowed down before, so
// that one can be met. Then two members of three are left, one of them a learner.
func pauseSource(ctx context.Context, w *world, r *rand.Rand) error {
	s, free, err := w.claim(r, "replica")
	if err != nil {
		return err
	}
	defer free()
	usual := config.Default().Replica
	var stopped *server
	pace := func(least, most int64) {
		for _, o := range w.c.of("replica") {
			if o == stopped {
				continue
			}
			for key, v := range map[string]int64{"replica.learn_least_bytes_per_second": least, "replica.learn_bytes_per_second": most} {
				if err := w.setting(ctx, o, key, v); err != nil && o != s {
					w.tell("%v", err)
				}
			}
		}
	}
	pace(100<<10, 100<<10)
	defer pace(usual.LearnMinRate, usual.LearnRate)
	kill(s)
	dirs, err := filepath.Glob(filepath.Join(s.data(), "reps", "*"))
	for _, d := range dirs {
		err = errors.Join(err, os.RemoveAll(d))
	}
	if err = errors.Join(err, s.Start()); err != nil {
		return err
	}
	lctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	source := ""
	if err := poll(lctx, func() error {
		text, err := w.cl.Admin().RemoteCommand(lctx, s.Addr, "replica.learning")
		if err != nil {
			return err
		}
		var ls []answer.Learning
		if err := json.Unmarshal([]byte(text), &ls); err != nil {
			return err
		}
		for _, l := range ls {
			if l.Learner == s.Addr && (l.State == "preparing" || l.State == "copying") {
				source = l.From
				return nil
			}
		}
		return errors.New("no copy is under way")
	}); err != nil {
		return fmt.Errorf("%s lost %d replicas: %w", s.Name, len(dirs), err)
	}
	for _, o := range w.c.of("replica") {
		if o.Addr == source {
			w.tell("%s lost %d replicas and copies; stop its source %s for %v", s.Name, len(dirs), o.Name, sourcePause)
			o.pause()
			began := now()
			defer func() {
				o.resume()
				stopped = nil
			}()
			stopped = o
			pace(usual.LearnMinRate, usual.LearnRate)
			if !pause.For(ctx, sourcePause) {
				return nil
			}
			for i := range w.opts.Partitions {
				if at := w.load.l.lastWrite(i); at < began+int64(sourcePatience) {
					w.wrong("partition %d took no write from %.0f s to %.0f s, while %s stood still and %s copied", i, seconds(at), seconds(now()), o.Name, s.Name)
				}
			}
			return nil
		}
	}
	return fmt.Errorf("%s copies from %s, which is no server of ours", s.Name, source)
}

// setting changes a key of a server's configuration while it runs.
func (w *world) setting(ctx context.Context, s *server, key string, v int64) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s/updateConfig?%s=%d", s.Addr, key, v), nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("set %s of %s: %w", key, s.Name, err)
	}
	return res.Body.Close()
}
