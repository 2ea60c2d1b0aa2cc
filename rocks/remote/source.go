package remote

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"hash"
	"io"
	"sync"

	"pegasus/blob"
	"pegasus/rocks"
)

// Source is a directory of a store that rocks reads from: the files of a list. It hashes what is read of a file
// in order, so that a pass over all rows compares the MD5 of all tables, too.
type Source struct {
	s     *blob.Store
	dir   string
	list  string // what the list is called
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

// OpenSource compares sizes and checksums of the files with what the store knows. list is what the list of them is called, for
// errors. read hears of the bytes of each file once; nil: nobody does.
func OpenSource(ctx context.Context, s *blob.Store, dir, list string, files []File, read func(int64)) (*Source, error) {
	d := &Source{s: s, dir: dir, list: list, files: map[string]*sourceFile{}, read: read}
	for _, f := range files {
		if err := CheckStored(ctx, s, dir, list, f); err != nil {
			return nil, err
		}
		d.files[f.Name] = &sourceFile{File: f, h: md5.New()}
	}
	return d, nil
}

// CheckStored compares a file of a directory, as a list of that name has it, with what the store knows of it, without reading it.
func CheckStored(ctx context.Context, s *blob.Store, dir, list string, f File) error {
	name := blob.Join(dir, f.Name)
	info, err := s.Stat(ctx, name)
	switch {
	case err != nil:
		return err
	case info.Dir:
		return mismatch(name, "it is a directory")
	case info.Size != f.Size:
		return mismatch(name, "it has %d bytes, %s says %d", info.Size, list, f.Size)
	case info.MD5 != "" && f.MD5 != "" && info.MD5 != f.MD5:
		return mismatch(name, "it was stored with MD5 %s, %s says %s", info.MD5, list, f.MD5)
	}
	return nil
}

// List implements rocks.Dir.
func (d *Source) List(context.Context) (map[string]int64, error) {
	sizes := map[string]int64{}
	for n, f := range d.files {
		sizes[n] = f.Size
	}
	return sizes, nil
}

// Open implements rocks.Dir.
func (d *Source) Open(_ context.Context, name string) (rocks.File, error) {
	f := d.files[name]
	if f == nil {
		return nil, mismatch(blob.Join(d.dir, name), "%s doesn't name it", d.list)
	}
	return &openFile{d: d, f: f}, nil
}

// saw hashes what was read of a file at off, as far as it goes on behind what was hashed.
func (d *Source) saw(f *sourceFile, p []byte, off int64) {
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

// Finish reads what was not read of each file yet, and compares the MD5 of all.
func (d *Source) Finish(ctx context.Context) error {
	for _, f := range d.files {
		if err := d.finishFile(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

func (d *Source) finishFile(ctx context.Context, f *sourceFile) error {
	name := blob.Join(d.dir, f.Name)
	if f.seen < f.Size {
		r, err := d.s.OpenRange(ctx, name, f.seen, f.Size-f.seen)
		if err != nil {
			return err
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
				return err
			}
		}
	}
	if sum := hex.EncodeToString(f.h.Sum(nil)); f.seen != f.Size || f.MD5 != "" && sum != f.MD5 {
		return mismatch(name, "its %d bytes have MD5 %s, %s says %d and %s", f.seen, sum, d.list, f.Size, f.MD5)
	}
	return nil
}

// openFile reads a file. What follows on what was read before comes from one stream; anything else from one of its own.
type openFile struct {
	d *Source
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
		return n, err
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
			return n, o.short(err)
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
		return n, o.short(err)
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
func (o *openFile) short(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return mismatch(blob.Join(o.d.dir, o.f.Name), "it ended early: %w", blob.ErrCorrupt)
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
