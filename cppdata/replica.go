package cppdata

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"pegasus/base"
	"pegasus/cppdata/plog"
	"pegasus/gen/layer2"
	"pegasus/rocks"
	"pegasus/rocks/damage"
	"pegasus/rocks/pegasus"
)

// Replica is one whose directory was looked at.
type Replica struct {
	Place
	Info layer2.AppInfo // of its table
	Init InitInfo

	Meta      pegasus.Meta
	Ballot    int64 // the largest that it has taken part in
	Committed int64 // up to this decree it knows that all is committed
	Decree    int64 // up to this one it has all
	Behind    int   // mutations of its log behind a gap, which don't count
	LogFiles  int
	LogBytes  int64 // that are read
	Bytes     int64 // of its tables

	// Torn says where the log ends in the middle of a block; nil: nowhere.
	Torn *damage.Error
	// Err says why it isn't whole; nil: it is. Of its tables the blocks weren't read. With Partial its rows as of Decree are to be had nevertheless.
	Err     error
	Partial bool
}

// maxSmallFile is the most that .app-info and .init-info may have.
const maxSmallFile = 1 << 20

func readSmall(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxSmallFile {
		return nil, damage.Newf(path, -1, damage.AppInfo, "it has %d bytes", info.Size())
	}
	return os.ReadFile(path)
}

// ReadAppInfo reads the file .app-info of a replica's directory.
func ReadAppInfo(dir string) (layer2.AppInfo, error) {
	path := filepath.Join(dir, pegasus.AppInfoFile)
	b, err := readSmall(path)
	if err != nil {
		return layer2.AppInfo{}, fmt.Errorf("which table it is of: %w", err)
	}
	return pegasus.ParseAppInfo(path, b)
}

// ReadInitInfo reads the file .init-info of a replica's directory.
func ReadInitInfo(dir string) (InitInfo, error) {
	path := filepath.Join(dir, initInfoFile)
	b, err := readSmall(path)
	if err != nil {
		return InitInfo{}, fmt.Errorf("its ballot: %w", err)
	}
	return ParseInitInfo(path, b)
}

// Examine looks at a replica: all but the blocks of its tables. What is wrong with it is in Err of what it returns; an error is only
// that of ctx.
func Examine(ctx context.Context, p Place) (*Replica, error) {
	r := &Replica{Place: p}
	r.Err = r.examine(ctx)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *Replica) examine(ctx context.Context) error {
	var err error
	if r.Info, err = ReadAppInfo(r.Path); err != nil {
		return err
	}
	switch {
	case r.Info.AppId != r.Gpid.AppID:
		return damage.Newf(filepath.Join(r.Path, pegasus.AppInfoFile), -1, damage.AppInfo, "it says table %d, the directory's name %d", r.Info.AppId, r.Gpid.AppID)
	case r.Info.AppType != appType:
		return &damage.Unsupported{File: filepath.Join(r.Path, pegasus.AppInfoFile), What: fmt.Sprintf("a table of type %q", r.Info.AppType)}
	}
	if err := base.Partitions.Check("the number of partitions", int64(r.Info.PartitionCount)); err != nil {
		return damage.Newf(filepath.Join(r.Path, pegasus.AppInfoFile), -1, damage.AppInfo, "%w", err)
	}
	if err := base.Replicas.Check("the number of replicas", int64(r.Info.MaxReplicaCount)); err != nil {
		return damage.Newf(filepath.Join(r.Path, pegasus.AppInfoFile), -1, damage.AppInfo, "%w", err)
	}
	if r.Init, err = ReadInitInfo(r.Path); err != nil {
		return err
	}
	r.Ballot = r.Init.Ballot
	s, err := r.openStore(ctx)
	if err != nil {
		return err
	}
	r.Meta = s.Meta()
	r.Committed, r.Decree = r.Meta.FlushedDecree, r.Meta.FlushedDecree
	for _, f := range s.DB().Tables(pegasus.DataFamily) {
		r.Bytes += int64(f.Size)
	}
	if r.Meta.FlushedDecree < r.Init.DurableDecree {
		return damage.Newf(filepath.Join(r.Path, storeDir), -1, damage.Files, "it has all up to decree %d, %s says %d at least", r.Meta.FlushedDecree, initInfoFile, r.Init.DurableDecree)
	}
	r.Partial = true
	// What the log says is looked at without the rows: those are evaluated later, when it is known which replica counts.
	return r.walk(ctx, r.order(func(string, *plog.Mutation) error { return nil }))
}

func (r *Replica) order(apply func(string, *plog.Mutation) error) *order {
	return newOrder(r.Meta.FlushedDecree, r.Init.LogStart, apply)
}

// walk has o take the log, and notes what it found.
func (r *Replica) walk(ctx context.Context, o *order) error {
	dir := filepath.Join(r.Path, logDir)
	res, err := plog.Walk(ctx, dir, r.Gpid, r.Meta.FlushedDecree, o.add)
	if errors.Is(err, fs.ErrNotExist) && len(res.Files) == 0 {
		err = damage.Newf(dir, -1, plog.Log, "%w: each replica has one", err)
	} else if err == nil && len(res.Files) == 0 && r.Meta.FlushedDecree > 0 {
		// A server always keeps the file that it writes.
		err = damage.Newf(dir, -1, plog.Log, "there are no files, and the store has decree %d", r.Meta.FlushedDecree)
	}
	left, e := o.end()
	r.Ballot, r.Committed, r.Decree, r.Behind = max(r.Init.Ballot, o.ballot), max(o.commits, r.Meta.FlushedDecree), o.done, left
	r.LogFiles, r.LogBytes, r.Torn = len(res.Files), res.Bytes, res.Torn
	return errors.Join(err, e)
}

// openStore opens the replica's RocksDB. Its errors name files with their directory.
func (r *Replica) openStore(ctx context.Context) (*pegasus.Replica, error) {
	dir := filepath.Join(r.Path, storeDir)
	s, err := pegasus.Open(ctx, rocks.Local(dir), rocks.Options{})
	if errors.Is(err, rocks.ErrNoFamily) {
		return nil, &damage.Unsupported{File: dir, What: fmt.Sprintf("no column family %s: it is of a release before 2.1, which has to be followed by one of 2.1 to 2.5 first", pegasus.MetaFamily)}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return s, nil
}

// String is for people.
func (r *Replica) String() string {
	return fmt.Sprintf("%s (ballot %d, decree %d, committed %d)", r.Path, r.Ballot, r.Decree, r.Committed)
}

// stoppedAt is when the replica's log was written last: the time for what has none.
func (r *Replica) stoppedAt() time.Time {
	var last time.Time
	files, _, err := plog.List(filepath.Join(r.Path, logDir))
	if err != nil {
		return time.Now()
	}
	for _, f := range files {
		if info, err := os.Stat(filepath.Join(r.Path, logDir, f.Name)); err == nil && info.ModTime().After(last) {
			last = info.ModTime()
		}
	}
	return last
}
