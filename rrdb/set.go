package rrdb

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"path/filepath"
	"strings"

	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"pegasus/base"
)

// A set is a directory with table files of many rows, which a store takes as they are, at one decree. It lies on the
// store's disk. The document setFile is written last: a directory without it is no set. It is ours, so its format may change with setFormat.
const (
	setFile   = "set.json"
	setFormat = 1
	// takenSuffix ends the name of the directory, beside the store's, in which the files of a set are while they are taken.
	takenSuffix = ".taken"
	mostSetFile = 16 << 20
)

// ErrNoSet says that a directory has no complete set.
var ErrNoSet = errors.New("no complete set of rows")

// SetInfo says what is in a set.
type SetInfo struct {
	Format int    `json:"format"`
	Gpid   string `json:"partition"`
	SetOf
	// Digest is of all rows in their order, with expiry and timetag: sets with the same rows have the same.
	Digest  string     `json:"digest"`
	Rows    int64      `json:"rows"`
	Bytes   int64      `json:"row_bytes"` // keys and values
	Expires bool       `json:"expires"`   // there are rows that expire
	Tables  []SetTable `json:"tables"`    // in the order of their keys
}

// SetOf says what a set is made for.
type SetOf struct {
	Load       int64 `json:"load"`
	Partitions int32 `json:"partition_count"` // of the table
	TimetagUS  int64 `json:"timetag_us"`
	// Behind: rows of the store are kept where the set has rows of their keys, see behind.go.
	Behind bool `json:"behind,omitempty"`
}

// SetTable is a table file of a set.
type SetTable struct {
	Name string `json:"name"`
	Size int64  `json:"size"` // bytes
}

// SetBuilder makes a set. Not for concurrent use. End it with Finish or Abort.
type SetBuilder struct {
	s *Store
	tableWriter
	of      SetOf
	sum     hash.Hash
	head    []byte
	expires bool
}

// BuildSet begins a set for this store, in a directory on its disk. What is there is removed.
func (s *Store) BuildSet(dir string, of SetOf) (*SetBuilder, error) {
	if err := s.begin(); err != nil {
		return nil, fmt.Errorf("building a set of rows in %s: %w", dir, err)
	}
	defer s.leave()
	s.keepsMu.Lock()
	defer s.keepsMu.Unlock()
	w, err := newTables(s, dir)
	if err == nil && of.Behind {
		err = s.beginBehind(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("building a set of rows in %s: %w", dir, err)
	}
	return &SetBuilder{s: s, tableWriter: w, of: of, sum: sha256.New()}, nil
}

// Add adds a row. Each key is an encoded row key, and larger than the one before.
func (b *SetBuilder) Add(key []byte, expireTS uint32, timetag uint64, data []byte) error {
	if err := b.add(key, expireTS, timetag, data); err != nil {
		return fmt.Errorf("building a set of rows in %s: row %d: %w", b.dir, b.rows, err)
	}
	b.expires = b.expires || expireTS > 0
	b.head = binary.BigEndian.AppendUint32(b.head[:0], uint32(len(key)))
	b.head = append(b.head, key...)
	b.head = binary.BigEndian.AppendUint32(b.head, expireTS)
	b.head = binary.BigEndian.AppendUint64(b.head, timetag)
	b.head = binary.BigEndian.AppendUint32(b.head, uint32(len(data)))
	b.sum.Write(b.head)
	b.sum.Write(data)
	return nil
}

// Finish completes the set. It is durable when Finish returns nil. After an error call Abort.
func (b *SetBuilder) Finish() (SetInfo, error) {
	info, err := b.finish()
	if err != nil {
		return SetInfo{}, fmt.Errorf("building a set of rows in %s: %w", b.dir, err)
	}
	return info, nil
}

func (b *SetBuilder) finish() (SetInfo, error) {
	if b.w != nil {
		if err := b.endTable(); err != nil {
			return SetInfo{}, err
		}
	}
	info := SetInfo{Format: setFormat, Gpid: b.s.gpid.String(), SetOf: b.of, Rows: b.rows, Bytes: b.bytes, Expires: b.expires}
	info.Digest = fmt.Sprintf("%d-%x", b.rows, b.sum.Sum(nil)[:16])
	for _, name := range b.tables {
		st, err := b.fs.Stat(name)
		if err != nil {
			return SetInfo{}, err
		}
		info.Tables = append(info.Tables, SetTable{filepath.Base(name), st.Size()})
	}
	doc, err := json.Marshal(info)
	if err != nil {
		return SetInfo{}, err
	}
	return info, writeDurable(b.fs, b.dir, setFile, doc)
}

// Abort removes what was written.
func (b *SetBuilder) Abort() error {
	if b.w != nil {
		_ = b.w.Close() // it may be what failed
		b.w = nil
	}
	return b.fs.RemoveAll(b.dir)
}

// ReadSet reads what is in a set, and looks whether its files are there: ErrNoSet if not. It doesn't read the rows.
func (s *Store) ReadSet(dir string) (SetInfo, error) {
	info, err := readSet(s.fs, dir)
	if err == nil && info.Gpid != s.gpid.String() {
		err = fmt.Errorf("it is of partition %.100s: %w", info.Gpid, ErrNoSet)
	}
	if err != nil {
		return SetInfo{}, fmt.Errorf("reading the set of rows in %s for %s: %w", dir, s.gpid, err)
	}
	return info, nil
}

func readSet(fsys vfs.FS, dir string) (SetInfo, error) {
	f, err := fsys.Open(fsys.PathJoin(dir, setFile))
	if err != nil {
		return SetInfo{}, noSet(err)
	}
	defer f.Close()
	doc, err := io.ReadAll(io.LimitReader(f, mostSetFile))
	if err != nil {
		return SetInfo{}, err
	}
	info, err := parseSet(doc)
	if err != nil {
		return SetInfo{}, fmt.Errorf("%s: %w: %w", setFile, err, ErrNoSet)
	}
	for _, t := range info.Tables {
		st, err := fsys.Stat(fsys.PathJoin(dir, t.Name))
		if err != nil {
			return SetInfo{}, noSet(err)
		}
		if st.Size() != t.Size {
			return SetInfo{}, fmt.Errorf("%s has %d bytes, %s says %d: %w", t.Name, st.Size(), setFile, t.Size, ErrNoSet)
		}
	}
	return info, nil
}

func parseSet(doc []byte) (SetInfo, error) {
	var info SetInfo
	if err := json.Unmarshal(doc, &info); err != nil {
		return SetInfo{}, err
	}
	if info.Format != setFormat {
		return SetInfo{}, fmt.Errorf("its format is %d, this program reads %d", info.Format, setFormat)
	}
	for _, t := range info.Tables {
		if t.Name == "" || t.Name[0] == '.' || strings.ContainsAny(t.Name, "/\\") || t.Size <= 0 {
			return SetInfo{}, fmt.Errorf("a file %.100q of %d bytes", t.Name, t.Size)
		}
	}
	return info, nil
}

// takeSet makes the rows of a set part of the store: it is the mutation of a decree, which must be the one after the last applied.
// The rows take the place of older ones with their keys, or those stay (behind.go). When it returns nil, all of it and all before is durable: LastFlushed is at least decree.
// A crash leaves all of it or nothing. The set stays as it was: remove it when nobody needs it any more. After an error nothing was
// applied, unless the store has failed; ErrNoSet says that this set isn't there, or of no use.
//
// Mutations wait while it runs. Call Flush before, so that little is left to be flushed then.
func (s *Store) takeSet(ctx context.Context, t Taken, dir string) error {
	if err := s.begin(); err != nil {
		return err
	}
	defer s.leave()
	info, err := s.ReadSet(dir)
	if err != nil {
		return err
	}
	if err := info.is(&t.Take); err != nil {
		return err
	}
	taken := s.dir + takenSuffix
	paths, err := s.linkSet(info, dir, taken, &t)
	if err == nil {
		err = s.applySet(ctx, &t, info, paths)
	}
	if err == nil {
		s.durable.stale.Store(true)
		if err = s.refreshDurable(); err == nil && s.durable.decree.Load() < t.Decree {
			err = fmt.Errorf("it isn't in table files: %w", ErrFailed)
		}
	}
	if e := s.fs.RemoveAll(taken); err == nil && e != nil {
		s.log.WithError(e).Warnf("%s can't be removed; the next set does", taken)
	}
	return err
}

// is returns an error unless the set is the one that is to be taken.
func (i *SetInfo) is(t *Take) error {
	if i.Load == t.Load && i.Digest == t.Digest && i.Partitions == t.Partitions && i.Behind == t.Behind {
		return nil
	}
	return fmt.Errorf("the set here is of load %d, %d partitions, behind %v, %s, and load %d, %d, %v, %s is to be taken: %w", i.Load, i.Partitions, i.Behind, i.Digest, t.Load, t.Partitions, t.Behind, t.Digest, ErrNoSet)
}

// linkSet gives the files of a set second names, since Pebble takes the ones that it gets, and writes a table with the record of the
// decree, so that rows and decree come in one step.
func (s *Store) linkSet(info SetInfo, dir, taken string, t *Taken) (paths []string, err error) {
	if err := errors.Join(s.fs.RemoveAll(taken), makeDir(s.fs, taken)); err != nil {
		return nil, err
	}
	if t.Behind {
		paths, err = s.linkBehind(info, dir, taken, expirySeconds(t.Timestamp/1e6))
	} else {
		paths, err = s.linkTables(info, dir, taken)
	}
	if err != nil {
		return nil, err
	}
	record := s.fs.PathJoin(taken, "record")
	f, err := s.fs.Create(record, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, err
	}
	po := pebbleOptions(&s.opts, s.instance)
	po.EnsureDefaults()
	w := sstable.NewWriter(objstorageprovider.NewFileWritable(f), po.MakeWriterOptions(0, s.db.FormatMajorVersion().MaxTableFormat()))
	err = errors.Join(w.Set(metaKey, meta{t.Decree, t.Timestamp}.append(nil)), w.Set(takeKey, t.append(nil)))
	return append(paths, record), errors.Join(err, w.Close())
}

func (s *Store) linkTables(info SetInfo, dir, taken string) (paths []string, err error) {
	for _, t := range info.Tables {
		to := s.fs.PathJoin(taken, t.Name)
		if err := s.fs.Link(s.fs.PathJoin(dir, t.Name), to); err != nil {
			return nil, err
		}
		paths = append(paths, to)
	}
	return paths, nil
}

func (s *applier) applySet(ctx context.Context, t *Taken, info SetInfo, paths []string) error {
	s.applyMu.Lock()
	defer s.applyMu.Unlock()
	if last := s.applied.Load(); t.Decree != last+1 {
		return fmt.Errorf("the last decree applied is %d: %w", last, base.ErrInvalidState)
	}
	// The record of the decree is in the memtable, so Pebble flushes that first.
	if err := s.db.Ingest(ctx, paths); err != nil {
		if err = classify(err); s.member.Err() == nil && !base.Passing(err) {
			err = fmt.Errorf("%w: %w", ErrNoSet, err) // its files are bad
		}
		return err
	}
	if err := s.member.Err(); err != nil {
		return err
	}
	s.applied.Store(t.Decree)
	s.timestamp.Store(t.Timestamp)
	s.taken.Store(t)
	if s.recent != nil {
		s.recent.overflow = true // the sweep that is under way read rows that may be others now
	}
	if info.Expires {
		s.expiries.forget()
	}
	return nil
}
