package rocks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"pegasus/rocks/damage"
	"pegasus/rocks/manifest"
	"pegasus/rocks/table"
)

// Options say how a database is read.
type Options struct {
	// ReadAhead is how many bytes of files an iterator holds, all tables together; 0 for 8 MiB. A table has at least 16 KiB and
	// at most 1 MiB of it.
	ReadAhead int
}

const (
	defaultReadAhead = 8 << 20
	minTableAhead    = 16 << 10
	maxTableAhead    = 1 << 20
)

// DB is a database that is read. Several goroutines may make iterators of it.
type DB struct {
	dir      Dir
	o        Options
	manifest string
	version  *manifest.Version
}

// Open reads CURRENT and the manifest, and finds that all tables are there. It opens no table.
func Open(ctx context.Context, dir Dir, o Options) (*DB, error) {
	if o.ReadAhead <= 0 {
		o.ReadAhead = defaultReadAhead
	}
	sizes, err := dir.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the files of a RocksDB directory: %w", err)
	}
	db := &DB{dir: dir, o: o}
	if db.manifest, err = db.current(ctx, sizes); err != nil {
		return nil, err
	}
	if db.version, err = db.readManifest(ctx, sizes[db.manifest]); err != nil {
		return nil, err
	}
	return db, db.checkFiles(sizes)
}

func (db *DB) current(ctx context.Context, sizes map[string]int64) (string, error) {
	size, ok := sizes["CURRENT"]
	if !ok {
		return "", damage.Newf("CURRENT", -1, damage.Files, "%w: without it the directory is no RocksDB database, or isn't complete", os.ErrNotExist)
	}
	f, err := db.dir.Open(ctx, "CURRENT")
	if err != nil {
		return "", fmt.Errorf("open CURRENT: %w", err)
	}
	defer f.Close()
	b := make([]byte, min(size, 128))
	if n, err := f.ReadAt(ctx, b, 0); n < len(b) {
		return "", fmt.Errorf("read CURRENT: %w", err)
	}
	name, err := manifest.ParseCurrent("CURRENT", b)
	if err != nil {
		return "", err
	}
	if _, ok := sizes[name]; !ok {
		return "", damage.Newf(name, -1, damage.Files, "%w: CURRENT names it", os.ErrNotExist)
	}
	return name, nil
}

func (db *DB) readManifest(ctx context.Context, size int64) (*manifest.Version, error) {
	f, err := db.dir.Open(ctx, db.manifest)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", db.manifest, err)
	}
	defer f.Close()
	return manifest.Read(db.manifest, io.NewSectionReader(reader{ctx, f}, 0, size))
}

// reader is a table.File as io.ReaderAt.
type reader struct {
	ctx context.Context
	f   table.File
}

func (r reader) ReadAt(p []byte, off int64) (int, error) { return r.f.ReadAt(r.ctx, p, off) }

// checkFiles compares the directory with the manifest.
func (db *DB) checkFiles(sizes map[string]int64) error {
	for _, f := range db.version.Files() {
		name := tableName(f.Number)
		size, ok := sizes[name]
		if !ok {
			return damage.Newf(name, -1, damage.Files, "%w: %s names it", os.ErrNotExist, db.manifest)
		}
		if size != int64(f.Size) {
			return damage.Newf(name, -1, damage.Files, "it has %d bytes, %s says %d", size, db.manifest, f.Size)
		}
	}
	for name, size := range sizes {
		n, ok := strings.CutSuffix(name, ".log")
		number, err := strconv.ParseUint(n, 10, 64)
		if ok && err == nil && size > 0 && number >= db.version.LogNumber {
			return &damage.Unsupported{File: name, What: fmt.Sprintf("a write-ahead log of %d bytes, with rows that no table has yet", size)}
		}
	}
	return nil
}

func tableName(number uint64) string { return fmt.Sprintf("%06d.sst", number) }

// Manifest is the name of the manifest's file.
func (db *DB) Manifest() string { return db.manifest }

// Families returns the names of the column families.
func (db *DB) Families() []string {
	var names []string
	for _, f := range db.version.Families {
		names = append(names, f.Name)
	}
	return names
}

// Tables returns the tables of a column family, nil where there is no such family.
func (db *DB) Tables(family string) []manifest.File {
	f := db.version.Family(family)
	if f == nil {
		return nil
	}
	return slices.Concat(f.Levels...)
}

// ErrNoFamily says that there is no column family of a name.
var ErrNoFamily = errors.New("no such column family")

// Bounds limit an iterator to keys from Lower on and below Upper; nil is no bound.
type Bounds struct{ Lower, Upper []byte }

// has tells whether keys of a table lie in b.
func (b Bounds) has(f manifest.File) bool {
	return (b.Upper == nil || bytes.Compare(f.Smallest.User, b.Upper) < 0) && bytes.Compare(f.Largest.User, b.Lower) >= 0
}

// NewIter returns an iterator over the rows of a column family, before the first. ctx ends its reads. It must be closed.
func (db *DB) NewIter(ctx context.Context, family string, b Bounds) (*Iter, error) {
	f := db.version.Family(family)
	if f == nil {
		return nil, fmt.Errorf("%w %q: %s has %q", ErrNoFamily, family, db.manifest, db.Families())
	}
	it := &Iter{bounds: b}
	var runs [][]manifest.File
	for l, files := range f.Levels {
		files = slices.DeleteFunc(slices.Clone(files), func(f manifest.File) bool { return !b.has(f) })
		if l == 0 {
			for i := range files {
				runs = append(runs, files[i:i+1])
			}
		} else if len(files) > 0 {
			runs = append(runs, files)
		}
	}
	ahead := min(max(db.o.ReadAhead/max(len(runs), 1), minTableAhead), maxTableAhead)
	for i, files := range runs {
		it.runs = append(it.runs, &run{db: db, ctx: ctx, files: files, rank: i, ahead: ahead, lower: b.Lower})
	}
	return it, nil
}
