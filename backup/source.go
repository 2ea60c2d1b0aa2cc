package backup

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"sync"

	"pegasus/blob"
	"pegasus/rocks"
)

// source is a directory of a store, as rocks reads from it: the files of backup_metadata. It hashes what is read of a file
// in order, so that a pass over all rows compares the MD5 of all tables, too.
type source struct {
	s     *blob.Store
	dir   string
	files map[string]*sourceFile
	read  func(bytes int64) // may be nil; called for the bytes of each file once, in order
}

// sourceFile is what is known of a file.
type sourceFile struct {
	File
	mu   sync.Mutex
	h    hash.Hash // of the bytes before seen
	seen int64
}

// openSource compares sizes and checksums with what the store knows.
func openSource(ctx context.Context, s *blob.Store, dir string, files []File, read func(int64)) (*source, error) {
	d := &source{s: s, dir: dir, files: map[string]*sourceFile{}, read: read}
	for _, f := range files {
		if err := checkStored(ctx, s, dir, f); err != nil {
			return nil, err
		}
		d.files[f.Name] = &sourceFile{File: f, h: md5.New()}
	}
	return d, nil
}

// checkStored compares a file of backup_metadata with what the store knows of it, without reading it.
func checkStored(ctx context.Context, s *blob.Store, dir string, f File) error {
	name := blob.Join(dir, f.Name)
	info, err := s.Stat(ctx, name)
	switch {
	case err != nil:
		return blame(s, name, ErrDamaged, err)
	case info.Dir:
		return bad(s, name, ErrDamaged, "it is a directory")
	case info.Size != f.Size:
		return bad(s, name, ErrDamaged, "it has %d bytes, %s says %d", info.Size, metadataFile, f.Size)
	case info.MD5 != "" && f.MD5 != "" && info.MD5 != f.MD5:
		return bad(s, name, ErrDamaged, "it was stored with MD5 %s, %s says %s", info.MD5, metadataFile, f.MD5)
	}
	return nil
}

// List implements rocks.Dir.
func (d *source) List(context.Context) (map[string]int64, error) {
	sizes := map[string]int64{}
	for n, f := range d.files {
		sizes[n] = f.Size
	}
	return sizes, nil
}

// Open implements rocks.Dir.
func (d *source) Open(_ context.Context, name string) (rocks.File, error) {
	f := d.files[name]
	if f == nil {
		return nil, bad(d.s, blob.Join(d.dir, name), ErrDamaged, "%s doesn't name it", metadataFile)
	}
	return &openFile{d: d, f: f}, nil
}

// saw hashes what was read of a file at off, as far as it goes on behind what was hashed.
func (d *source) saw(f *sourceFile, p []byte, off int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	skip := f.seen - off
	if skip < 0 || skip >= int64(len(p)) {
		return
	}
	p = p[skip:]
	f.h.Write(p)
	f.seen += int64(len(p))
	if d.read != nil {
		d.read(int64(len(p)))
	}
}

// finish reads what was not read of each file yet, and compares the MD5 of all.
func (d *source) finish(ctx context.Context) error {
	for _, f := range d.files {
		if err := d.finishFile(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

func (d *source) finishFile(ctx context.Context, f *sourceFile) error {
	name := blob.Join(d.dir, f.Name)
	if f.seen < f.Size {
		r, err := d.s.OpenRange(ctx, name, f.seen, f.Size-f.seen)
		if err != nil {
			return blame(d.s, name, ErrDamaged, err)
		}
		defer r.Close()
		buf := make([]byte, 64<<10)
		for {
			n, err := r.Read(buf)
			d.saw(f, buf[:n], f.seen)
			if err == io.EOF {
				break
			}
			if err != nil {
				return blame(d.s, name, ErrDamaged, err)
			}
		}
	}
	if sum := hex.EncodeToString(f.h.Sum(nil)); f.seen != f.Size || f.MD5 != "" && sum != f.MD5 {
		return bad(d.s, name, ErrDamaged, "its %d bytes have MD5 %s, %s says %d and %s", f.seen, sum, metadataFile, f.Size, f.MD5)
	}
	return nil
}

// openFile reads a file. What follows on what was read before comes from one stream; anything else from one of its own.
type openFile struct {
	d *source
	f *sourceFile

	mu     sync.Mutex
	stream *blob.Reader
	end    func() // ends the context of stream
	at     int64  // where the last read ended, and stream stands
	last   []byte // the bytes before at
}

// kept is how many bytes of a stream are kept, since a reader of blocks begins its next read with a block that it has a part of.
const kept = 64 << 10

// ReadAt implements rocks.File.
func (o *openFile) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n, err := o.readAt(ctx, p, off)
	if err != nil && err != io.EOF {
		return n, blame(o.d.s, blob.Join(o.d.dir, o.f.Name), ErrDamaged, err)
	}
	o.d.saw(o.f, p[:n], off)
	return n, err
}

func (o *openFile) readAt(ctx context.Context, p []byte, off int64) (int, error) {
	if off >= o.f.Size {
		return 0, io.EOF
	}
	back := o.at - off
	n := 0
	if back >= 0 && back <= int64(len(o.last)) && o.at > 0 {
		n = copy(p, o.last[int64(len(o.last))-back:])
		if n == len(p) {
			return n, nil
		}
		if o.stream == nil {
			if err := o.begin(ctx); err != nil {
				return 0, err
			}
		}
		k, err := io.ReadFull(o.stream, p[n:min(int64(len(p)), o.f.Size-off)])
		n += k
		o.remember(p[:n], off)
		if err != nil {
			o.drop()
			return n, short(err)
		}
		return n, eof(n, len(p))
	}
	o.drop()
	r, err := o.d.s.OpenRange(ctx, blob.Join(o.d.dir, o.f.Name), off, min(int64(len(p)), o.f.Size-off))
	if err != nil {
		return 0, err
	}
	defer r.Close()
	n, err = io.ReadFull(r, p[:min(int64(len(p)), o.f.Size-off)])
	o.last = o.last[:0]
	o.remember(p[:n], off)
	if err != nil {
		return n, short(err)
	}
	return n, eof(n, len(p))
}

func eof(n, want int) error {
	if n < want {
		return io.EOF
	}
	return nil
}

// short is the error of a stream that ended before its end.
func short(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("it ended early: %w", blob.ErrCorrupt)
	}
	return err
}

// begin opens the stream at o.at. It outlives the call, and ends with its context or with Close.
func (o *openFile) begin(ctx context.Context) error {
	ctx, end := context.WithCancel(ctx)
	r, err := o.d.s.OpenRange(ctx, blob.Join(o.d.dir, o.f.Name), o.at, o.f.Size-o.at)
	if err != nil {
		end()
		return err
	}
	o.stream, o.end = r, end
	return nil
}

func (o *openFile) drop() {
	if o.stream != nil {
		o.stream.Close()
		o.end()
		o.stream = nil
	}
}

// remember keeps the last bytes of what was read at off.
func (o *openFile) remember(p []byte, off int64) {
	o.at = off + int64(len(p))
	o.last = append(o.last[:0], p[max(len(p)-kept, 0):]...)
}

// Close implements rocks.File.
func (o *openFile) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.drop()
	o.last = nil
	return nil
}
