package blob

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"hash"
	"io"
)

// Open reads a file from its beginning to its end. Where the store knows its MD5, the last Read
// returns ErrCorrupt in place of io.EOF if it is another one.
func (s *Store) Open(ctx context.Context, name string) (*Reader, error) {
	return s.open(ctx, name, 0, -1)
}

// OpenRange reads n bytes of a file from off, less where the file ends before. off may be its size.
func (s *Store) OpenRange(ctx context.Context, name string, off, n int64) (*Reader, error) {
	if off < 0 || n < 0 {
		return nil, s.fail("read", name, Failf(ErrInvalid, "bytes %d to %d", off, off+n))
	}
	return s.open(ctx, name, off, n)
}

func (s *Store) open(ctx context.Context, name string, off, n int64) (*Reader, error) {
	err := CheckName(name)
	var info Info
	if err == nil {
		info, err = s.stat(ctx, name)
	}
	switch {
	case err != nil:
	case info.Dir:
		err = Failf(ErrInvalid, "it is a directory")
	case off > info.Size:
		err = Failf(ErrInvalid, "byte %d is behind the end of the file, which has %d", off, info.Size)
	default:
		return newReader(ctx, s, info, off, n), nil
	}
	return nil, s.fail("read", name, err)
}

// Get reads a small file: ErrInvalid if it has more than most bytes.
func (s *Store) Get(ctx context.Context, name string, most int64) ([]byte, error) {
	r, err := s.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if n := r.Info().Size; n > most {
		return nil, s.fail("read", name, Failf(ErrInvalid, "it has %d bytes, more than %d", n, most))
	}
	return io.ReadAll(r)
}

// Reader reads a file. It resumes where it was when the place fails for a while. Its context is the
// one it was opened with. One goroutine at a time may use it.
type Reader struct {
	s       *Store
	ctx     context.Context
	info    Info
	at, end int64     // what wasn't read from the place yet
	space   []byte    // for buf
	buf     []byte    // read, and not yet given to the caller
	sum     hash.Hash // nil: a part of the file, or no MD5 to compare with
	body    io.ReadCloser
	bodyCtx context.Context
	stop    func() // ends bodyCtx
	retrier retrier
	err     error // what Read returns from now on
}

// newReader reads n bytes from off; all of them for n < 0.
func newReader(ctx context.Context, s *Store, info Info, off, n int64) *Reader {
	r := &Reader{s: s, ctx: ctx, info: info, at: off, end: info.Size, space: make([]byte, chunk), retrier: retrier{o: &s.o}}
	if n >= 0 {
		r.end = off + min(n, info.Size-off)
	} else if info.MD5 != "" {
		r.sum = md5.New()
	}
	return r
}

// Info returns what the store knows of the file.
func (r *Reader) Info() Info { return r.info }

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 || r.err != nil {
		return 0, r.err
	}
	for len(r.buf) == 0 {
		if r.at == r.end {
			r.err = r.finish()
			return 0, r.err
		}
		err := r.fill()
		if err == nil {
			r.retrier.succeeded()
			if r.sum != nil {
				r.sum.Write(r.buf)
			}
			err = wait(r.ctx, r.s.down, len(r.buf))
			if err == nil {
				break
			}
		}
		r.drop()
		if !r.retrier.wait(r.ctx, err) {
			if r.ctx.Err() != nil {
				err = context.Cause(r.ctx)
			}
			r.err = r.s.fail("read", r.info.Name, err)
			return 0, r.err
		}
	}
	n := copy(p, r.buf)
	r.buf = r.buf[n:]
	return n, nil
}

// fill reads once from the place, into r.buf.
func (r *Reader) fill() error {
	if r.body == nil {
		ctx, stop := watched(r.ctx, r.s.o.Timeout)
		off, n := r.at, r.end-r.at
		body, err := run(ctx, func() (io.ReadCloser, error) { return r.s.d.Read(ctx, r.info, off, n) })
		if err != nil {
			stop()
			return err
		}
		r.body, r.bodyCtx, r.stop = body, ctx, stop
	}
	type result struct {
		n   int
		err error
	}
	Progress(r.bodyCtx)
	// What hangs in the read of a disk doesn't hold up the caller; its buffer is then its own.
	done := make(chan result, 1)
	body, b := r.body, r.space[:min(chunk, r.end-r.at)]
	go func() {
		for range 100 { // a stream that gives nothing and no error, for ever
			n, err := body.Read(b)
			if n > 0 || err != nil {
				done <- result{n, err}
				return
			}
		}
		done <- result{0, io.ErrNoProgress}
	}()
	var res result
	select {
	case res = <-done:
	case <-r.bodyCtx.Done():
		r.space = make([]byte, chunk)
		return context.Cause(r.bodyCtx)
	}
	switch {
	case res.n > 0:
		r.buf = b[:res.n]
		r.at += int64(res.n)
		return nil
	case errors.Is(res.err, io.EOF):
		return Failf(ErrUnavailable, "the stream ended after byte %d of %d", r.at, r.end)
	default:
		return because(r.bodyCtx, res.err)
	}
}

// drop closes the stream; the next one begins at r.at.
func (r *Reader) drop() {
	if r.body != nil {
		r.stop()
		go r.body.Close() // nobody waits: a disk may hang
		r.body = nil
	}
}

func (r *Reader) finish() error {
	if r.sum != nil {
		if sum := hex.EncodeToString(r.sum.Sum(nil)); sum != r.info.MD5 {
			return r.s.fail("read", r.info.Name, Failf(ErrCorrupt, "its MD5 is %s, it was stored with %s", sum, r.info.MD5))
		}
	}
	return io.EOF
}

// Close ends the reading.
func (r *Reader) Close() error {
	r.drop()
	if r.err == nil {
		r.err = errors.New("read of a closed file")
	}
	return nil
}
