package table

import (
	"context"
	"fmt"

	"pegasus/rocks/damage"
)

// maxRaw is the default of Options.MaxBlock, and the most of any zstd frame.
const maxRaw = 256 << 20

// bytewise is the only order of keys that is known.
const bytewise = "leveldb.BytewiseComparator"

// File is what a table is read from. ReadAt is io.ReaderAt's, with a deadline, and may be called by several goroutines.
type File interface {
	ReadAt(ctx context.Context, p []byte, off int64) (int, error)
}

// Options say how a table is read.
type Options struct {
	// Name of the file, for errors.
	Name string
	// ReadAhead is how many bytes of the file an iterator reads at once when it goes on, 0 for 256 KiB. It begins with less.
	ReadAhead int
	// MaxBlock is the largest block that is accepted, in bytes before and after decompression; 0 for 256 MiB.
	MaxBlock int
	// LargestSequence is what the manifest says of the table, nil where there is none. In a table that was made outside of a database and ingested,
	// all entries have this sequence number, and the table itself doesn't say it.
	LargestSequence *uint64

	// trust leaves checksums out, for fuzzing what lies behind them.
	trust bool
}

// Reader reads one table. Several goroutines may make iterators of it.
type Reader struct {
	file   File
	size   int64
	o      Options
	footer *footer
	props  Properties
	dict   []byte
	index  block // of one level, or the top of two
	coding coding
	data   coding
	// sequence is that of all entries, if fixed.
	sequence uint64
	fixed    bool
}

// Open reads the footer, the properties and the index of a table of size bytes. The file stays the caller's.
func Open(ctx context.Context, f File, size int64, o Options) (*Reader, error) {
	if o.MaxBlock <= 0 || o.MaxBlock > maxRaw {
		o.MaxBlock = maxRaw
	}
	if o.ReadAhead <= 0 {
		o.ReadAhead = 256 << 10
	}
	r := &Reader{file: f, size: size, o: o}
	// What is read first lies at the end, so that one read gets most of it.
	tail := make([]byte, min(size, firstRead))
	at := size - int64(len(tail))
	if err := readFull(ctx, f, tail, at); err != nil {
		return nil, fmt.Errorf("read the footer of %s: %w", o.Name, err)
	}
	var err error
	if r.footer, err = parseFooter(o.Name, tail[max(len(tail)-footerSize, 0):], size); err != nil {
		return nil, err
	}
	blocks := newFetcher(r)
	blocks.window, blocks.at = tail, at
	if err := r.readMeta(ctx, blocks); err != nil {
		return nil, err
	}
	return r, nil
}

// Properties says what the table tells of itself.
func (r *Reader) Properties() Properties { return r.props }

// readMeta follows the metaindex: properties, range tombstones, the dictionary, the index.
func (r *Reader) readMeta(ctx context.Context, f *fetcher) error {
	meta, err := f.keep(ctx, r.footer.metaindex)
	if err != nil {
		return fmt.Errorf("metaindex: %w", err)
	}
	handles := map[string]handle{}
	var c cursor
	c.reset(meta, coding{})
	for c.step() {
		h, _, ok := readHandle(c.value)
		if !ok {
			return r.bad(r.footer.metaindex, damage.Index, "the handle of %q can't be read", c.key)
		}
		handles[string(c.key)] = h
	}
	if c.err != nil {
		return r.badBlock(r.footer.metaindex, c.err)
	}
	at, ok := handles["rocksdb.properties"]
	if !ok {
		return r.bad(r.footer.metaindex, damage.Properties, "there are no properties")
	}
	if r.props, err = r.readProperties(ctx, f, at); err != nil {
		return err
	}
	if _, ok := handles["rocksdb.range_del"]; ok || r.props.RangeDeletions > 0 {
		return &damage.Unsupported{File: r.o.Name, What: "range tombstones"}
	}
	if h, ok := handles["rocksdb.compression_dict"]; ok {
		b, err := f.raw(ctx, h)
		if err != nil {
			return fmt.Errorf("dictionary of the compression: %w", err)
		}
		r.dict = append([]byte{}, b...)
	}
	index := r.footer.index
	if r.footer.version >= 6 {
		if index, ok = handles["rocksdb.index"]; !ok {
			return r.bad(r.footer.metaindex, damage.Index, "there is no index")
		}
	}
	return r.readIndex(ctx, f, index)
}

// readIndex keeps the index, or the top of it.
func (r *Reader) readIndex(ctx context.Context, f *fetcher, at handle) error {
	p := &r.props
	if p.Comparator != "" && p.Comparator != bytewise {
		return &damage.Unsupported{File: r.o.Name, What: fmt.Sprintf("keys in the order %q", p.Comparator)}
	}
	switch p.indexType {
	case indexBinary, indexHash, indexTwoLevel, indexFirstKey:
	default:
		return &damage.Unsupported{File: r.o.Name, What: fmt.Sprintf("an index of type %d", p.indexType)}
	}
	r.coding = coding{handles: p.deltaHandles, userKeys: p.userKeyIndex, firstKey: p.indexType == indexFirstKey}
	var err error
	if r.index, err = f.keep(ctx, at); err != nil {
		return fmt.Errorf("index: %w", err)
	}
	return r.fixSequence()
}

// fixSequence finds out whether the table was made outside of a database.
func (r *Reader) fixSequence() error {
	p := &r.props
	if !p.external {
		return nil
	}
	if p.externalVersion < 2 {
		return nil
	}
	r.fixed, r.sequence = true, p.globalSequence
	if l := r.o.LargestSequence; l != nil && *l < MaxSequence {
		if p.globalSequence != 0 && p.globalSequence != *l {
			return damage.Newf(r.o.Name, -1, damage.Properties, "its sequence number is %d, the manifest says %d", p.globalSequence, *l)
		}
		r.sequence = *l
	}
	return nil
}
