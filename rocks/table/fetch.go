package table

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"pegasus/rocks/damage"
)

func readFull(ctx context.Context, f File, b []byte, off int64) error {
	n, err := f.ReadAt(ctx, b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (r *Reader) bad(h handle, kind damage.Kind, format string, args ...any) error {
	return damage.Newf(r.o.Name, int64(h.offset), kind, format, args...)
}

func (r *Reader) badBlock(h handle, err error) error {
	return r.bad(h, damage.Block, "%w", err)
}

// check says whether a block can lie at h.
func (r *Reader) check(h handle) error {
	end := uint64(r.size) - footerSize
	if h.size > end || h.offset > end || h.offset+h.size+trailerBytes > end {
		return damage.Newf(r.o.Name, -1, damage.Index, "a block of %d bytes at offset %d, where the table ends at %d", h.size, h.offset, r.size)
	}
	if h.size > uint64(r.o.MaxBlock) {
		return r.bad(h, damage.Index, "a block of %d bytes, the most is %d", h.size, r.o.MaxBlock)
	}
	return nil
}

// fetcher reads blocks through a window of the file, which grows while blocks follow each other.
type fetcher struct {
	r      *Reader
	window []byte
	at     int64
	ahead  int
	raws   []byte // of the last block
	dec    decompressor
}

func newFetcher(r *Reader) *fetcher {
	return &fetcher{r: r, dec: decompressor{dict: r.dict, limit: r.o.MaxBlock}}
}

func (f *fetcher) close() { f.dec.close() }

const firstRead = 16 << 10

// stored returns n bytes at off; they are good until the next call.
func (f *fetcher) stored(ctx context.Context, off int64, n int) ([]byte, error) {
	if i := off - f.at; i >= 0 && i+int64(n) <= int64(len(f.window)) {
		return f.window[i : i+int64(n)], nil
	}
	if i := off - f.at; i >= 0 && i <= int64(len(f.window)) && len(f.window) > 0 {
		f.ahead = min(max(2*f.ahead, firstRead), f.r.o.ReadAhead)
	} else {
		f.ahead = min(firstRead, f.r.o.ReadAhead)
	}
	m := int(min(int64(max(n, f.ahead)), f.r.size-off))
	if cap(f.window) < m {
		f.window = make([]byte, m)
	}
	f.window = f.window[:m]
	f.at = off
	if err := readFull(ctx, f.r.file, f.window, off); err != nil {
		f.window = f.window[:0]
		return nil, fmt.Errorf("read %d bytes at offset %d of %s: %w", m, off, f.r.o.Name, err)
	}
	return f.window[:n], nil
}

// raw returns a block, checked and decompressed; it is good until the next call.
func (f *fetcher) raw(ctx context.Context, h handle) ([]byte, error) {
	r := f.r
	if err := r.check(h); err != nil {
		return nil, err
	}
	b, err := f.stored(ctx, int64(h.offset), int(h.size)+trailerBytes)
	if err != nil {
		return nil, err
	}
	data, kind := b[:h.size], Compression(b[h.size])
	if r.footer.checksum != NoChecksum && !r.o.trust {
		want := binary.LittleEndian.Uint32(b[h.size+1:])
		if got := r.footer.checksum.sum(b[:h.size+1]) + r.footer.context(h.offset); got != want {
			return nil, r.bad(h, damage.Checksum, "%s of a block of %d bytes is %#x, the table has %#x", r.footer.checksum, h.size, got, want)
		}
	}
	if kind == NoCompression {
		return data, nil
	}
	out, err := f.dec.decompress(f.raws, data, kind)
	if errors.Is(err, errUnknownCompression) && kind <= xpress {
		return nil, &damage.Unsupported{File: r.o.Name, What: "blocks compressed with " + kind.String()}
	}
	if err != nil {
		return nil, r.bad(h, damage.Compression, "%s block of %d bytes: %w", kind, h.size, err)
	}
	f.raws = out
	return out, nil
}

func (f *fetcher) block(ctx context.Context, h handle) (block, error) {
	b, err := f.raw(ctx, h)
	if err != nil {
		return block{}, err
	}
	bl, err := parseBlock(b)
	if err != nil {
		return block{}, f.r.badBlock(h, err)
	}
	return bl, nil
}

// keep returns a block with memory of its own.
func (f *fetcher) keep(ctx context.Context, h handle) (block, error) {
	b, err := f.raw(ctx, h)
	if err != nil {
		return block{}, err
	}
	bl, err := parseBlock(append([]byte{}, b...))
	if err != nil {
		return block{}, f.r.badBlock(h, err)
	}
	return bl, nil
}
