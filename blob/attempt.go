package blob

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"pegasus/base/pause"
	"time"
)

const (
	firstPause = 100 * time.Millisecond
	longPause  = 10 * time.Second
	grace      = 5 * time.Second // for a driver to return after its context ended
	maxCorrupt = 3               // attempts that end with ErrCorrupt
)

// errStalled ends an attempt that makes no progress.
var errStalled = Failf(ErrUnavailable, "no progress")

type progressKey struct{}

// Progress tells whoever bounds the time of an attempt that it goes on. Drivers call it where
// something was achieved that no Source tells of: a part sent, a page listed.
func Progress(ctx context.Context) {
	if f, ok := ctx.Value(progressKey{}).(func()); ok {
		f()
	}
}

// watched returns a context that ends when nobody called Progress on it for limit.
func watched(ctx context.Context, limit time.Duration) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	t := time.AfterFunc(limit, func() { cancel(fmt.Errorf("%w for %v", errStalled, limit)) })
	ctx = context.WithValue(ctx, progressKey{}, func() { t.Reset(limit) })
	return ctx, func() { t.Stop(); cancel(nil) }
}

// attempt runs f once, for as long as it makes progress.
func attempt[T any](ctx context.Context, limit time.Duration, f func(context.Context) (T, error)) (T, error) {
	ctx, stop := watched(ctx, limit)
	defer stop()
	return run(ctx, func() (T, error) { return f(ctx) })
}

// run runs f, which ends when ctx does. One that doesn't heed that (a disk that hangs) is left behind.
func run[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type result struct {
		v   T
		err error
	}
	var none T
	if ctx.Err() != nil {
		return none, context.Cause(ctx)
	}
	done := make(chan result, 1)
	go func() {
		v, err := f()
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		return r.v, because(ctx, r.err)
	case <-ctx.Done():
	}
	late := time.NewTimer(grace)
	defer late.Stop()
	select {
	case r := <-done:
		return r.v, because(ctx, r.err)
	case <-late.C:
		return none, context.Cause(ctx)
	}
}

// because names the true cause of an error that the end of ctx brought about.
func because(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil || kindOf(err) != nil && kindOf(err).lasts {
		return err
	}
	return context.Cause(ctx)
}

// retry calls f until it succeeds, fails for good, or Options.RetryTime has passed since the first
// failure. again tells whether f can be repeated.
func retry[T any](ctx context.Context, o *Options, again func() bool, f func(context.Context) (T, error)) (T, error) {
	r := retrier{o: o}
	for {
		v, err := attempt(ctx, o.Timeout, f)
		if err == nil || !again() || !r.wait(ctx, err) {
			if err != nil && r.tries > 1 {
				err = fmt.Errorf("%w (%d attempts in %v)", err, r.tries, time.Since(r.since).Round(time.Second))
			}
			return v, err
		}
	}
}

// retrier decides whether to try again, and when.
type retrier struct {
	o       *Options
	since   time.Time // the first failure in a row
	tries   int       // failures in a row
	corrupt int
}

// wait pauses before the next attempt; false if there shall be none.
func (r *retrier) wait(ctx context.Context, err error) bool {
	if r.tries == 0 {
		r.since = time.Now()
	}
	r.tries++
	if errors.Is(err, ErrCorrupt) {
		if r.corrupt++; r.corrupt >= maxCorrupt {
			return false
		}
	}
	wait := min(longPause, firstPause<<min(r.tries-1, 10))
	wait = wait/2 + rand.N(wait) // 0.5 to 1.5 times
	if !mayPass(err) || ctx.Err() != nil || time.Since(r.since)+wait > r.o.RetryTime {
		return false
	}
	if r.o.OnRetry != nil {
		r.o.OnRetry(err, wait)
	}
	return pause.For(ctx, wait)
}

// succeeded begins a new row of failures.
func (r *retrier) succeeded() { r.tries = 0 }
