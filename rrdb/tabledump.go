package rrdb

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/sstable/blob"
	"github.com/cockroachdb/pebble/v2/sstable/block"
	"github.com/cockroachdb/pebble/v2/sstable/block/blockkind"
	"github.com/cockroachdb/pebble/v2/sstable/colblk"
	"github.com/cockroachdb/pebble/v2/vfs"

	"pegasus/base"
)

// TableFile is a table file of a store, read by itself: for those who look inside, also when the store can't be opened. It takes no lock and
// writes nothing.
type TableFile struct {
	name string
	r    *sstable.Reader
	// Properties are what the table says of itself.
	Properties TableProperties
}

// TableProperties are what a table file says of itself.
type TableProperties struct {
	Format        string
	Comparer      string
	Compression   string
	Entries       uint64 // with removes
	Removes       uint64
	RangeRemoves  uint64
	DataBlocks    uint64
	KeyBytes      uint64
	ValueBytes    uint64
	ValuesOutside uint64 // values that are in files of their own
}

// TableEntry is an entry of a table file. Its slices are good until the next one.
type TableEntry struct {
	Block    uint64 // where its block begins in the file
	Key      []byte
	Sequence uint64
	Kind     string // "put", "remove", or Pebble's word for another one
	Value    []byte
	// Outside: the value is in a file of its own, and Value tells where.
	Outside bool
}

// OpenTableFile opens a table file. The error wraps ErrCorrupt if what leads to the blocks of rows can't be read, or the table is none of a store.
func OpenTableFile(fsys vfs.FS, path string) (_ *TableFile, err error) {
	f, err := fsys.Open(path)
	if err != nil {
		return nil, err
	}
	t := &TableFile{name: filepath.Base(path)}
	defer func() {
		if r := recover(); r != nil {
			err = openPanic(r)
		}
		if err != nil {
			if t.r != nil {
				_ = t.r.Close()
			}
			err = fmt.Errorf("open table %s: %w", path, err)
			if !base.Passing(err) {
				err = fmt.Errorf("%w: %w", ErrCorrupt, err)
			}
		}
	}()
	readable, err := sstable.NewSimpleReadable(f)
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	o := &pebble.Options{Comparer: comparer}
	o.EnsureDefaults()
	if t.r, err = sstable.NewReader(context.Background(), readable, o.MakeReaderOptions()); err != nil {
		_ = readable.Close()
		return nil, err
	}
	p, err := t.r.ReadPropertiesBlock(context.Background(), nil)
	if err != nil {
		return nil, err
	}
	format, err := t.r.TableFormat()
	if err != nil {
		return nil, err
	}
	if format < sstable.TableFormatPebblev5 {
		return nil, fmt.Errorf("its format is %s, a store writes newer ones", format)
	}
	t.Properties = TableProperties{Format: format.String(), Comparer: p.ComparerName, Compression: p.CompressionName,
		Entries: p.NumEntries, Removes: p.NumPointDeletions(), RangeRemoves: p.NumRangeDeletions, DataBlocks: p.NumDataBlocks,
		KeyBytes: p.RawKeySize, ValueBytes: p.RawValueSize, ValuesOutside: p.NumValuesInBlobFiles}
	return t, nil
}

// Close closes the file.
func (t *TableFile) Close() error { return t.r.Close() }

// Dump calls fn with the entries as they lie in the table. What can't be read is told to bad, with its place, and the next block is read. Errors of fn and
// bad end it.
func (t *TableFile) Dump(ctx context.Context, fn func(TableEntry) error, bad func(error) error) error {
	blocks, err := t.blocks()
	if err != nil {
		return bad(fmt.Errorf("%s: index of the table: %w: %w", t.name, ErrCorrupt, err))
	}
	end := uint64(0)
	for _, h := range blocks {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if h.Offset < end {
			if err := bad(fmt.Errorf("%s: a block at %d follows one that ends at %d: %w", t.name, h.Offset, end, ErrCorrupt)); err != nil {
				return err
			}
			continue
		}
		end = h.Offset + h.Length
		entries, err := t.block(ctx, h)
		if err != nil {
			err = bad(fmt.Errorf("%s: block of %d bytes at %d: %w", t.name, h.Length, h.Offset, err))
		}
		for i := 0; err == nil && i < len(entries); i++ {
			err = fn(entries[i])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// blocks returns where the blocks of rows are.
func (t *TableFile) blocks() (hs []block.Handle, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = openPanic(r)
		}
	}()
	l, err := t.r.Layout()
	if err != nil {
		return nil, err
	}
	for _, h := range l.Data {
		hs = append(hs, h.Handle)
	}
	return hs, nil
}

// block reads a block: all of it, as a panic in the middle of one must not pass through what the entries are given to.
func (t *TableFile) block(ctx context.Context, h block.Handle) (entries []TableEntry, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = openPanic(r)
		} else if err != nil && !base.Passing(err) {
			err = fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
	}()
	if h.Length > mostBlock {
		return nil, fmt.Errorf("a block of more than %d bytes", mostBlock)
	}
	b, err := t.r.BlockReader().Read(ctx, block.NoReadEnv, nil, h, blockkind.SSTableData, func(*block.Metadata, []byte) error { return nil })
	if err != nil {
		return nil, err
	}
	defer b.Release()
	schema := colblk.DefaultKeySchema(comparer, prefixBundle)
	var d colblk.DataBlockDecoder
	d.Init(&schema, b.BlockData())
	var it colblk.DataBlockIter
	out := newOutside(sstable.DebugHandlesBlobContext.BlobHandleFn)
	it.InitOnce(&schema, comparer, out)
	if err := it.Init(&d, block.NoTransforms); err != nil {
		return nil, err
	}
	for kv := it.First(); kv != nil; kv = it.Next() {
		v, _, err := kv.Value(nil)
		if err != nil {
			return nil, err
		}
		e := TableEntry{Block: h.Offset, Key: bytes.Clone(kv.K.UserKey), Sequence: uint64(kv.K.SeqNum()), Kind: kindName(kv.K.Kind()), Value: bytes.Clone(v), Outside: out.called}
		out.called = false
		entries = append(entries, e)
	}
	return entries, nil
}

const (
	// mostBlock bounds a block: one has 8 KiB, or a row.
	mostBlock = 256 << 20
	// prefixBundle is Pebble's default of how many keys share what they begin with.
	prefixBundle = 16
)

func kindName(k pebble.InternalKeyKind) string {
	switch k {
	case pebble.InternalKeyKindSet, pebble.InternalKeyKindSetWithDelete:
		return "put"
	case pebble.InternalKeyKindDelete, pebble.InternalKeyKindDeleteSized, pebble.InternalKeyKindSingleDelete:
		return "remove"
	}
	return k.String()
}

// outside makes a text of where a value is that isn't in its block. V is Pebble's type of a value, which has no name here.
type outside[V any] struct {
	text   func(blob.InlineHandlePreface, []byte) V
	called bool
}

func newOutside[V any](text func(blob.InlineHandlePreface, []byte) V) *outside[V] {
	return &outside[V]{text: text}
}

// GetInternalValueForPrefixAndValueHandle is called for values that aren't in the block.
func (o *outside[V]) GetInternalValueForPrefixAndValueHandle(handle []byte) V {
	o.called = true
	if vp := block.ValuePrefix(handle[0]); !vp.IsBlobValueHandle() {
		panic(fmt.Errorf("a value with the prefix %#x, which stores don't write: %w", handle[0], ErrCorrupt))
	}
	preface, rest := blob.DecodeInlineHandlePreface(handle[1:])
	return o.text(preface, rest)
}

// DescribeRecord says what an entry means whose key is none of a row: what a store knows of itself. ok is false for a row.
func DescribeRecord(key, value []byte) (text string, ok bool) {
	switch {
	case bytes.Equal(key, metaKey):
		m, err := parseMeta(value)
		if err != nil {
			return err.Error(), true
		}
		return fmt.Sprintf("last decree %d, at %s", m.decree, time.UnixMicro(m.timestampUS).UTC().Format(time.RFC3339Nano)), true
	case bytes.Equal(key, cutKey):
		c, err := parseCut(value)
		if err != nil && len(value) > valueHeader { // in a mutation
			c, err = parseCut(value[valueHeader:])
		}
		if err != nil {
			return err.Error(), true
		}
		return fmt.Sprintf("split: partition %d of %d from decree %d on", c.Partition, c.Count, c.Decree), true
	case bytes.HasPrefix(key, metaPrefix):
		return "a record that this program doesn't know", true
	}
	return "", false
}

// SplitValue returns the parts of a stored value; false if it is none.
func SplitValue(v []byte) (expireTS uint32, timetag uint64, data []byte, ok bool) {
	return splitValue(v)
}
