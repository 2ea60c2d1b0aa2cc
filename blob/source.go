package blob

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync/atomic"

	"golang.org/x/time/rate"
)

// chunk is the most that passes the rate limit at once.
const chunk = 256 << 10

// Source is a stream on its way into a store. It counts and hashes what is read, keeps to the rate
// limit, and ends with an error in place of io.EOF if it isn't what the caller announced.
type Source struct {
	ctx   context.Context
	r     io.Reader
	limit *rate.Limiter
	want  Want
	sum   hash.Hash
	n     int64
	ended bool
	begun atomic.Bool // something was read
	gone  atomic.Bool // the attempt was given up: its driver may not read any more
}

func newSource(ctx context.Context, r io.Reader, want Want, limit *rate.Limiter) *Source {
	return &Source{ctx: ctx, r: r, want: want, limit: limit, sum: md5.New()}
}

// NewSource is for tests of drivers: a stream without a rate limit.
func NewSource(ctx context.Context, r io.Reader, want Want) *Source {
	return newSource(ctx, r, want, rate.NewLimiter(rate.Inf, 0))
}

// Size returns the announced number of bytes.
func (s *Source) Size() (n int64, known bool) { return s.want.Size, s.want.Sized }

// Announced returns the MD5 that the caller announced, "" if it didn't.
func (s *Source) Announced() string { return s.want.MD5 }

// Sum returns the number of bytes that were read and their MD5.
func (s *Source) Sum() (size int64, md5 string) { return s.n, hex.EncodeToString(s.sum.Sum(nil)) }

// Ended tells whether the stream was read to its end.
func (s *Source) Ended() bool { return s.ended }

// Read implements io.Reader.
func (s *Source) Read(p []byte) (int, error) {
	if s.gone.Load() {
		return 0, errStalled
	}
	if err := s.ctx.Err(); err != nil {
		return 0, context.Cause(s.ctx)
	}
	p = p[:min(len(p), chunk)]
	s.begun.Store(true)
	n, err := s.r.Read(p)
	s.sum.Write(p[:n])
	s.n += int64(n)
	if s.want.Sized && s.n > s.want.Size {
		return 0, Failf(ErrSource, "it has more than the announced %d bytes", s.want.Size)
	}
	if werr := wait(s.ctx, s.limit, n); werr != nil {
		return 0, werr
	}
	Progress(s.ctx)
	switch {
	case errors.Is(err, io.EOF):
		if err := s.announced(); err != nil {
			return 0, err
		}
		s.ended = true
		return n, io.EOF
	case err != nil:
		return n, Fail(ErrSource, err)
	}
	return n, nil
}

// announced compares the whole stream with what the caller knew of it.
func (s *Source) announced() error {
	size, sum := s.Sum()
	switch {
	case s.want.Sized && size != s.want.Size:
		return Failf(ErrSource, "it has %d bytes, announced were %d", size, s.want.Size)
	case s.want.MD5 != "" && sum != s.want.MD5:
		return Failf(ErrSource, "its MD5 is %s, announced was %s", sum, s.want.MD5)
	}
	return nil
}

// lies compares what the store has with what was sent.
func (s *Source) lies(there Info) error {
	size, sum := s.Sum()
	switch {
	case !s.ended:
		return fmt.Errorf("the driver didn't read the stream to its end")
	case there.Size != size:
		return Failf(ErrCorrupt, "%d bytes lie there, %d were sent", there.Size, size)
	case there.MD5 != "" && there.MD5 != sum:
		return Failf(ErrCorrupt, "what lies there has MD5 %s, what was sent %s", there.MD5, sum)
	}
	return nil
}

// wait takes n bytes from a rate limit, in pieces that fit its burst.
func wait(ctx context.Context, l *rate.Limiter, n int) error {
	for n > 0 && l.Limit() != rate.Inf {
		k := min(n, l.Burst())
		if err := l.WaitN(ctx, k); err != nil {
			if cause := context.Cause(ctx); cause != nil {
				return cause
			}
			return err // the deadline would pass while it waits
		}
		Progress(ctx)
		n -= k
	}
	return nil
}
