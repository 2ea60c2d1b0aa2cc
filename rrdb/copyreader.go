package rrdb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/sirupsen/logrus"

	"pegasus/base"
)

// CopyOptions say how a copy of a store is read.
type CopyOptions struct {
	Dir        string        // that Store.Checkpoint made
	Decree     int64         // that Checkpoint returned: Pebble takes a list of tables that is cut off for an older one; 0 isn't compared
	FS         vfs.FS        // nil is the operating system's
	CacheBytes int64         // for blocks; 0 is 8 MiB
	Logger     *logrus.Entry // nil is silence
}

// EnsureDefaults replaces zero values with their defaults.
func (o *CopyOptions) EnsureDefaults() {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = 8 << 20
	}
	if o.Logger == nil {
		o.Logger = silent()
	}
}

// Validate returns an error if the options are invalid.
func (o *CopyOptions) Validate() error {
	switch {
	case o.Dir == "":
		return errors.New("option Dir is empty")
	case o.CacheBytes < 0:
		return fmt.Errorf("option CacheBytes is %d; it can't be negative", o.CacheBytes)
	}
	return nil
}

// copyFiles is how many files of a copy are open at a time.
const copyFiles = 64

// Copy is a copy of a store, opened to read its rows from first to last. It has caches of its own:
// what it reads takes no room in those of the stores that serve. It changes no file, but for Pebble's
// LOCK. Several goroutines may use it.
type Copy struct {
	dir   string
	db    *pebble.DB
	meta  meta
	cut   Cut
	cache *pebble.Cache
	files *pebble.FileCache
}

// OpenCopy opens the copy that Store.Checkpoint made. Errors wrap ErrNotExist, ErrCorrupt, or the
// error of the file system.
func OpenCopy(o CopyOptions) (_ *Copy, err error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("opening a copy of a store: %w", err)
	}
	c := &Copy{dir: o.Dir, cache: pebble.NewCache(o.CacheBytes), files: pebble.NewFileCache(1, copyFiles)}
	defer func() {
		if r := recover(); r != nil {
			err = openPanic(r)
		}
		if err != nil {
			c.release()
			err = fmt.Errorf("opening the copy of a store in %s: %w", o.Dir, err)
		}
	}()
	remains, err := storeFile(o.FS, o.Dir)
	if err == nil {
		c.db, err = pebble.Open(o.Dir, c.options(&o))
	}
	if err == nil {
		if c.meta, err = readMeta(c.db, true); err == nil && o.Decree != 0 && c.meta.decree != o.Decree {
			err = fmt.Errorf("it ends at decree %d, not %d: %w", c.meta.decree, o.Decree, ErrCorrupt)
		}
		if err == nil {
			c.cut, err = readCut(c.db)
		}
		if err != nil {
			err = errors.Join(err, c.db.Close())
		}
	}
	switch {
	case err == nil:
		return c, nil
	case remains == "" && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, pebble.ErrDBDoesNotExist)):
		return nil, fmt.Errorf("%w: %w", ErrNotExist, err)
	case base.Passing(err) || errors.Is(err, ErrCorrupt):
		return nil, err
	}
	return nil, fmt.Errorf("%w: %w", ErrCorrupt, err) // the system isn't the cause, so the files are
}

// options returns the options of the copy's Pebble.
func (c *Copy) options(o *CopyOptions) *pebble.Options {
	return &pebble.Options{
		Comparer:           comparer,
		FormatMajorVersion: storeFormat,
		FS:                 o.FS,
		Cache:              c.cache,
		FileCache:          c.files,
		Logger:             copyLog{o.Logger.WithField("copy", o.Dir)},
		ReadOnly:           true,
		ErrorIfNotExists:   true,
		DisableWAL:         true,
	}
}

// Close frees what the copy holds. Rows must be closed before.
func (c *Copy) Close() error {
	err := c.db.Close()
	c.release()
	if err != nil {
		return fmt.Errorf("closing the copy of a store in %s: %w", c.dir, err)
	}
	return nil
}

func (c *Copy) release() {
	c.files.Unref()
	c.cache.Unref()
}

// Decree is the last whose effects are in the copy.
func (c *Copy) Decree() int64 { return c.meta.decree }

// Cut tells which rows of the copy are the partition's.
func (c *Copy) Cut() Cut { return c.cut }

// Bytes returns about how many bytes of keys and values the copy has, expired ones and those that
// were overwritten too.
func (c *Copy) Bytes() (int64, error) {
	levels, err := c.db.SSTables(pebble.WithProperties())
	if err != nil {
		return 0, fmt.Errorf("sizes of the tables in %s: %w", c.dir, classify(err))
	}
	n := int64(0)
	for _, tables := range levels {
		for _, t := range tables {
			n += int64(t.Properties.RawKeySize + t.Properties.RawValueSize)
		}
	}
	return n, nil
}

// Timestamp is that of the last mutation whose effects are in the copy, in microseconds since 1970.
func (c *Copy) Timestamp() int64 { return c.meta.timestampUS }

// Find tells whether a row is live at now, and the timetag of its record, which may also have expired, or be what a
// remove left (see Tombstone); 0: there is none.
func (c *Copy) Find(key []byte, now uint32) (live bool, timetag uint64, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("reading a row in %s: %w", c.dir, classify(openPanic(r)))
		}
	}()
	v, closer, err := c.db.Get(key)
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return false, 0, nil
	case err != nil:
		return false, 0, fmt.Errorf("reading a row in %s: %w", c.dir, classify(err))
	}
	defer closer.Close()
	expireTS, timetag, _, ok := splitValue(v)
	if !ok {
		return false, 0, fmt.Errorf("reading a row in %s: %w", c.dir, classify(badValue(key, v)))
	}
	return !expired(expireTS, now), timetag, nil
}

// Rows goes through the rows that are live at now (see ExpiryTime) and the partition's, see Cut, in bytewise order of their stored
// keys, which is RocksDB's order. The iterator belongs to one goroutine, and must be closed.
func (c *Copy) Rows(ctx context.Context, now uint32) (*Rows, error) {
	it, err := c.db.NewIterWithContext(ctx, &pebble.IterOptions{UpperBound: metaPrefix})
	if err != nil {
		return nil, fmt.Errorf("reading the rows in %s: %w", c.dir, classify(err))
	}
	return &Rows{ctx: ctx, dir: c.dir, it: it, now: now, cut: c.cut}, nil
}

// All is Rows with what is left of rows that aren't live: those that have expired, and tombstones, which StoredRow.Gone tells.
func (c *Copy) All(ctx context.Context, now uint32) (*Rows, error) {
	r, err := c.Rows(ctx, now)
	if err == nil {
		r.all = true
	}
	return r, err
}

// Rows is an iterator over the rows of a Copy.
type Rows struct {
	ctx   context.Context
	dir   string
	it    *pebble.Iterator
	now   uint32
	cut   Cut
	all   bool // see Copy.All
	begun bool
	seen  int64
	row   StoredRow
	err   error
}

// StoredRow is a row as it is stored.
type StoredRow struct {
	Key      []byte // u16 length of the hash key, hash key, sort key
	ExpireTS uint32 // seconds since base.EpochBegin; 0 is never
	Timetag  uint64 // microseconds of the write << 8 | cluster << 1 | deleted
	Data     []byte
	Gone     bool // it has expired, or is a tombstone
}

// ctxRows is the number of rows after which the context is looked at.
const ctxRows = 256

// Next moves to the next live row. False is the end, or an error, which Err tells.
func (r *Rows) Next() (ok bool) {
	defer r.recover(&ok)
	for r.err == nil && r.step() {
		if r.seen++; r.seen%ctxRows == 0 && r.ctx.Err() != nil {
			r.fail(context.Cause(r.ctx))
			return false
		}
		v, err := r.it.ValueAndErr()
		if err != nil {
			r.fail(err)
			return false
		}
		key := r.it.Key()
		expireTS, timetag, data, ok := splitValue(v)
		if !ok {
			r.fail(badValue(key, v))
			return false
		}
		if !validKey(key) {
			r.fail(fmt.Errorf("key %x is none of a row: %w", key, ErrCorrupt))
			return false
		}
		gone := expired(expireTS, r.now)
		if gone && !r.all || !r.cut.Owns(base.HashOfKey(key)) {
			continue
		}
		r.row = StoredRow{Key: key, ExpireTS: expireTS, Timetag: timetag, Data: data, Gone: gone}
		return true
	}
	return false
}

// step moves to the next key.
func (r *Rows) step() bool {
	valid := false
	if r.begun {
		valid = r.it.Next()
	} else {
		r.begun, valid = true, r.it.First()
	}
	if !valid {
		r.fail(r.it.Error())
	}
	return valid
}

func (r *Rows) fail(err error) {
	if err != nil && r.err == nil {
		r.err = fmt.Errorf("reading the rows in %s: %w", r.dir, classify(err))
	}
}

// recover turns a panic into an error: Pebble has one for a missing file of values.
func (r *Rows) recover(ok *bool) {
	if p := recover(); p != nil {
		r.fail(openPanic(p))
		*ok = false
	}
}

// Row is the present row. Its slices are good until the next one.
func (r *Rows) Row() StoredRow { return r.row }

// Err is why the iterator ended, nil at the end of the rows.
func (r *Rows) Err() error { return r.err }

// Close frees what the iterator holds, and returns Err.
func (r *Rows) Close() error {
	r.close()
	return r.err
}

func (r *Rows) close() {
	var ok bool
	defer r.recover(&ok)
	if err := r.it.Close(); err != nil {
		r.fail(err)
	}
}

// copyLog passes Pebble's messages to the log. A copy has nothing that could be lost: Fatalf returns.
type copyLog struct{ log *logrus.Entry }

func (l copyLog) Infof(format string, args ...any)  { l.log.Debugf(format, args...) }
func (l copyLog) Errorf(format string, args ...any) { l.log.Warnf(format, args...) }
func (l copyLog) Fatalf(format string, args ...any) { l.log.Errorf(format, args...) }
