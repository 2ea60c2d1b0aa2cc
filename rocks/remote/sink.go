package remote

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"

	"pegasus/blob"
	"pegasus/rocks"
)

// Sink is a directory of a store that rocks writes to. A file is held in memory until it is sent, so that a failed attempt
// can be repeated, and its size and MD5 are known before. A table is sent while the next one is made;
// any other file is sent when all before it have arrived.
type Sink struct {
	s    *blob.Store
	dir  string
	sent func(name string, bytes int64) // may be nil

	files []*File // in the order of Commit; size and MD5 are there once they have arrived
	turn  chan struct{}
	wg    sync.WaitGroup
	mu    sync.Mutex
	err   error // of a table that was being sent
	spare *buffer
}

// NewSink makes a Sink. sent hears of each file that has arrived; nil: nobody does.
func NewSink(s *blob.Store, dir string, sent func(string, int64)) *Sink {
	return &Sink{s: s, dir: dir, sent: sent, turn: make(chan struct{}, 1)}
}

// Create implements rocks.Sink.
func (d *Sink) Create(_ context.Context, name string) (rocks.SinkFile, error) {
	if err := d.failed(); err != nil {
		return nil, err
	}
	d.mu.Lock()
	b := d.spare
	d.spare = nil
	d.mu.Unlock()
	if b == nil {
		b = &buffer{}
	}
	return &sinkFile{d: d, name: name, b: b}, nil
}

func (d *Sink) failed() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}

// Wait returns when all has arrived.
func (d *Sink) Wait() error {
	d.wg.Wait()
	return d.failed()
}

// put sends a file.
func (d *Sink) put(ctx context.Context, f *File, b *buffer) error {
	f.Size, f.MD5 = b.n, b.sum()
	_, err := d.s.Put(ctx, blob.Join(d.dir, f.Name), b.reader(), blob.Want{Sized: true, Size: f.Size, MD5: f.MD5})
	if err == nil && d.sent != nil {
		d.sent(f.Name, f.Size)
	}
	return err
}

// later sends a table beside what its caller does next. One at a time does so.
func (d *Sink) later(ctx context.Context, f *File, b *buffer) error {
	select {
	case d.turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err := d.failed(); err != nil {
		<-d.turn
		return err
	}
	d.wg.Go(func() {
		err := d.put(ctx, f, b)
		d.mu.Lock()
		if d.err == nil {
			d.err = err
		}
		d.spare = b.reset()
		d.mu.Unlock()
		<-d.turn
	})
	return nil
}

type sinkFile struct {
	d    *Sink
	name string
	b    *buffer
}

func (f *sinkFile) Write(p []byte) (int, error) { return f.b.Write(p) }

// Commit implements rocks.SinkFile, but that a table may arrive later: see Sink.Wait.
func (f *sinkFile) Commit(ctx context.Context) error {
	file := &File{Name: f.name}
	var err error
	if strings.HasSuffix(f.name, ".sst") {
		err = f.d.later(ctx, file, f.b)
	} else if err = f.d.Wait(); err == nil {
		err = f.d.put(ctx, file, f.b)
	}
	if err == nil {
		f.d.files = append(f.d.files, file)
	}
	f.b = nil
	return err
}

func (f *sinkFile) Abort() { f.b = nil }

const piece = 1 << 20

// buffer is a file in memory, in pieces that are used again.
type buffer struct {
	pieces [][]byte // each of size piece
	n      int64
}

func (b *buffer) Write(p []byte) (int, error) {
	all := len(p)
	for len(p) > 0 {
		at := int(b.n % piece)
		i := int(b.n / piece)
		if i == len(b.pieces) {
			b.pieces = append(b.pieces, make([]byte, piece))
		}
		k := copy(b.pieces[i][at:], p)
		p = p[k:]
		b.n += int64(k)
	}
	return all, nil
}

func (b *buffer) reset() *buffer {
	b.n = 0
	return b
}

func (b *buffer) sum() string {
	h := md5.New()
	for i, p := range b.pieces {
		if rest := b.n - int64(i)*piece; rest > 0 {
			h.Write(p[:min(rest, piece)])
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (b *buffer) reader() *io.SectionReader { return io.NewSectionReader(b, 0, b.n) }

// ReadAt implements io.ReaderAt.
func (b *buffer) ReadAt(p []byte, off int64) (int, error) {
	all := len(p)
	for len(p) > 0 && off < b.n {
		i, at := int(off/piece), off%piece
		k := copy(p, b.pieces[i][at:min(piece, b.n-int64(i)*piece)])
		p = p[k:]
		off += int64(k)
	}
	if len(p) > 0 {
		return all - len(p), io.EOF
	}
	return all, nil
}

// List returns the files, by name, after Wait.
func (d *Sink) List() []File {
	var files []File
	for _, f := range d.files {
		files = append(files, *f)
	}
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	return files
}

var errGivenUp = errors.New("the files were given up")

// Stop ends what is being sent.
func (d *Sink) Stop() {
	d.mu.Lock()
	if d.err == nil {
		d.err = errGivenUp
	}
	d.mu.Unlock()
	d.wg.Wait()
}
