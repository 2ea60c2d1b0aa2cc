package rrdb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"pegasus/base"
)

const (
	// buildTable is about the size of a table file that a Builder writes: that of the last level.
	buildTable = 64 << 20
	// buildSync is how much of a table file may wait to be written to the disk. A sync of much at
	// once would hold up that of the replication log.
	buildSync = 1 << 20
	// buildSuffix ends the name of the directory in which table files are written, beside the store's.
	buildSuffix = ".tables"
)

// Builder makes a store of rows that come in the order of their keys. The rows are written once, into
// table files of the last level, which the store then takes as they are. Nothing is there that Open
// would take for a store of so many rows before Finish. Not for concurrent use.
type Builder struct {
	s *Store
	tableWriter
}

// tableWriter writes table files of the last level, of rows that come in the order of their keys.
type tableWriter struct {
	fs     vfs.FS
	dir    string // of the table files
	o      sstable.WriterOptions
	w      *sstable.Writer
	at     int64 // bytes in w
	tables []string
	last   []byte
	value  []byte
	rows   int64
	bytes  int64
	stamp  int64
}

// newTables makes a writer of table files for a store, in a directory that becomes empty.
func newTables(s *Store, dir string) (tableWriter, error) {
	po := pebbleOptions(&s.opts, s.instance)
	po.EnsureDefaults()
	w := tableWriter{fs: s.fs, dir: dir, o: lastLevel(s, po)}
	return w, errors.Join(w.fs.RemoveAll(w.dir), makeDir(w.fs, w.dir))
}

// lastLevel are the options of table files of the last level of a store.
func lastLevel(s *Store, po *pebble.Options) sstable.WriterOptions {
	o := po.MakeWriterOptions(len(po.Levels)-1, s.db.FormatMajorVersion().MaxTableFormat())
	// As in a store: see pebbleOptions. Such blocks would also stay in memory until the table file is complete.
	o.DisableValueBlocks = true
	return o
}

// createTable begins a table file, which is written to the disk little by little.
func createTable(fs vfs.FS, name string, o sstable.WriterOptions) (*sstable.Writer, error) {
	f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, err
	}
	return sstable.NewWriter(objstorageprovider.NewFileWritable(vfs.NewSyncingFile(f, vfs.SyncingFileOptions{BytesPerSync: buildSync})), o), nil
}

// Build begins a store in a directory that must not hold one. What an earlier Build left beside it is
// removed. End it with Finish or Abort.
func Build(o Options) (*Builder, error) {
	o.Create = true
	s, err := Open(o)
	if err != nil {
		return nil, err
	}
	b := &Builder{s: s}
	if b.tableWriter, err = newTables(s, s.dir+buildSuffix); err != nil {
		return nil, errors.Join(fmt.Errorf("building the store in %s: %w", s.dir, err), b.Abort())
	}
	return b, nil
}

// Add adds a row. Each key is an encoded row key, and larger than the one before.
func (b *Builder) Add(key []byte, expireTS uint32, timetag uint64, data []byte) error {
	if err := b.add(key, expireTS, timetag, data); err != nil {
		return fmt.Errorf("building the store in %s: row %d: %w", b.s.dir, b.rows, err)
	}
	return nil
}

func (b *tableWriter) add(key []byte, expireTS uint32, timetag uint64, data []byte) error {
	switch {
	case !validKey(key):
		return fmt.Errorf("an invalid row key of %d bytes: %w", len(key), base.ErrInvalidData)
	case b.rows > 0 && bytes.Compare(key, b.last) <= 0:
		return fmt.Errorf("the keys don't ascend: %w", base.ErrInvalidData)
	}
	if b.w != nil && b.at >= buildTable {
		if err := b.endTable(); err != nil {
			return err
		}
	}
	if b.w == nil {
		if err := b.beginTable(); err != nil {
			return err
		}
	}
	b.value = append(b.value[:0], make([]byte, valueHeader)...)
	putValueHeader(b.value, expireTS, timetag)
	b.value = append(b.value, data...)
	if err := b.w.Set(key, b.value); err != nil {
		return err
	}
	n := int64(len(key) + len(b.value))
	b.at += n
	b.bytes += n
	b.rows++
	b.last = append(b.last[:0], key...)
	b.stamp = max(b.stamp, int64(timetag>>8))
	return nil
}

// Rows returns how many rows were added, and the bytes of their keys and values.
func (b *tableWriter) Rows() (rows, bytes int64) { return b.rows, b.bytes }

// Newest returns when the newest of the rows was written, by its timetag: microseconds since 1970.
func (b *tableWriter) Newest() int64 { return b.stamp }

// InPartition tells whether the row of an encoded key belongs to a partition of a table with so many.
func InPartition(key []byte, index, count int32) bool { return inPartition(key, index, count) }

func (b *tableWriter) beginTable() error {
	name := filepath.Join(b.dir, strconv.Itoa(len(b.tables))+".sst")
	w, err := createTable(b.fs, name, b.o)
	if err != nil {
		return err
	}
	b.tables, b.at, b.w = append(b.tables, name), 0, w
	return nil
}

// endTable completes a table file, and makes it durable.
func (b *tableWriter) endTable() error {
	w := b.w
	b.w = nil
	return w.Close()
}

// finishTimeout bounds the flush of the record that makes a store whole. A disk on which no file can be made is
// tried again and again.
const finishTimeout = 20 * time.Second

// Finish completes the store: it holds the rows that were added, as of a decree, with a mutation of
// that time applied last. It is durable, and closed, when Finish returns nil. After an error call Abort.
func (b *Builder) Finish(ctx context.Context, decree, timestampUS int64) error {
	if err := b.finish(ctx, decree, timestampUS); err != nil {
		return fmt.Errorf("building the store in %s: %w", b.s.dir, err)
	}
	return nil
}

func (b *Builder) finish(ctx context.Context, decree, timestampUS int64) error {
	if decree <= 0 {
		return fmt.Errorf("decree %d: a store with rows has one above 0: %w", decree, base.ErrInvalidParameters)
	}
	if b.w != nil {
		if err := b.endTable(); err != nil {
			return err
		}
	}
	s := b.s
	if len(b.tables) > 0 {
		if err := s.ingest(ctx, b.tables); err != nil {
			return err
		}
	}
	s.applied.Store(decree)
	s.timestamp.Store(timestampUS)
	if err := s.putRecord(); err != nil {
		return err
	}
	flush, cancel := context.WithTimeout(ctx, finishTimeout)
	defer cancel()
	if err := s.Flush(flush); err != nil {
		return err
	}
	if err := b.fs.RemoveAll(b.dir); err != nil {
		return err
	}
	return s.Close()
}

// ingest makes table files, which don't overlap, part of an empty store.
func (s *applier) ingest(ctx context.Context, tables []string) error {
	if err := s.begin(); err != nil {
		return err
	}
	defer s.leave()
	if err := s.db.Ingest(ctx, tables); err != nil {
		return classify(err)
	}
	return s.member.Err()
}

// Abort closes what is open, and removes the table files beside the store. The store's directory is the
// caller's to remove.
func (b *Builder) Abort() error {
	var errs []error
	if b.w != nil {
		_ = b.w.Close() // it may be what failed
		b.w = nil
	}
	if err := b.s.Close(); err != nil && !errors.Is(err, ErrClosed) {
		errs = append(errs, err)
	}
	return errors.Join(append(errs, b.fs.RemoveAll(b.dir))...)
}
