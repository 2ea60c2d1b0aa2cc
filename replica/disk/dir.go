package disk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pegasus/base"
	"pegasus/replica/wal"
)

// Dir is a data directory. It holds
//
//	pegasus.json            whose it is (Ident)
//	wal/                    the log of its replicas (package wal)
//	reps/<app>.<idx>.pegasus/   what package replica keeps of a replica
//	reps/<app>.<idx>.<microseconds>.err/   one that could not be used, see Quarantine
//	.trash/<app>.<idx>.<microseconds>.<reason>/   replicas that nobody has a use for, see trash.go
//	tmp/                    checkpoints being sent or received; emptied at start
type Dir struct {
	Tag, Path string
	// Flushes has room for as many flushes as the server makes at a time of the replicas here
	// when they are asked for.
	Flushes chan struct{}

	// log is replaced when one that failed is opened again, see revive.go.
	log     atomic.Pointer[wal.Log]
	openLog func() (*wal.Log, error)
	// device is where the open log is.
	device atomic.Pointer[vfs.DeviceID]
	// inode is that of the identity file when it was read last.
	inode atomic.Uint64
	// looking: somebody looks whether the disk is there; tidying: at its trash.
	looking, tidying atomic.Bool
	statfs           func(path string) (total, avail int64, err error)
	// fresh: it was not open since the server started. Of who revives it.
	fresh bool

	room  atomic.Pointer[room] // as of the last look; nil: unknown
	short atomic.Bool          // too little space is free
	// reviving: somebody is at it.
	reviving atomic.Bool
	// abandoned: an administrator gave it up, until the next start.
	abandoned atomic.Bool
	revivalMu sync.Mutex
	revival   revival
	// What is in the trash, see trash.go.
	trashCount, trashBytes atomic.Int64
}

// ReplicaSuffix ends the name of a replica's directory.
const ReplicaSuffix = ".pegasus"

// AsideSuffix marks a directory that was moved aside: <app>.<idx>.<microseconds>.err. Of a
// partition only the youngest is kept.
const AsideSuffix = ".err"

// Log returns the directory's log.
func (d *Dir) Log() *wal.Log { return d.log.Load() }

// Scratch is a folder for files that nobody misses after a restart.
func (d *Dir) Scratch() string { return filepath.Join(d.Path, "tmp") }

// ReplicaPath is where replica g is.
func (d *Dir) ReplicaPath(g base.Gpid) string {
	return filepath.Join(d.Path, "reps", g.String()+ReplicaSuffix)
}

// Replicas lists the replicas that have a directory here.
func (d *Dir) Replicas() ([]base.Gpid, error) {
	reps := filepath.Join(d.Path, "reps")
	names, err := vfs.Default.List(reps)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var gs []base.Gpid
	for _, full := range names {
		name, ok := strings.CutSuffix(full, ReplicaSuffix)
		if !ok {
			continue
		}
		st, err := vfs.Default.Stat(filepath.Join(reps, full))
		if err != nil {
			return nil, err
		}
		if !st.IsDir() {
			continue
		}
		g, err := base.ParseGpid(name)
		if err != nil {
			return nil, fmt.Errorf("%s is not a replica's directory: move it away: %w", filepath.Join(reps, full), err)
		}
		gs = append(gs, g)
	}
	return gs, nil
}

// Has tells whether a directory of replica g exists here.
func (d *Dir) Has(g base.Gpid) bool {
	_, err := vfs.Default.Stat(d.ReplicaPath(g))
	return err == nil
}

// Remove makes a replica's directory unreachable at once and removes it.
func (d *Dir) Remove(g base.Gpid) error {
	to, err := d.Detach(g)
	if err != nil {
		return err
	}
	return vfs.Default.RemoveAll(to)
}

// Detach makes a replica's directory unreachable, durably, and leaves it to the caller to remove what is in
// to. A restart does so, too.
func (d *Dir) Detach(g base.Gpid) (to string, err error) {
	to = filepath.Join(d.Scratch(), g.String()+"."+strconv.FormatInt(time.Now().UnixMicro(), 10)+".gar")
	if err := vfs.Default.Rename(d.ReplicaPath(g), to); err != nil {
		return "", err
	}
	return to, SyncDir(filepath.Join(d.Path, "reps"))
}

// Attach makes a folder of Scratch the directory of a replica, durably.
func (d *Dir) Attach(g base.Gpid, from string) error {
	if err := vfs.Default.Rename(from, d.ReplicaPath(g)); err != nil {
		return err
	}
	return errors.Join(SyncDir(filepath.Join(d.Path, "reps")), SyncDir(d.Scratch()))
}

// Pin keeps the directory as it is until Unpin: nobody opens its log again, nor gives it up. false: somebody
// is at that, or has done it.
func (d *Dir) Pin() bool { return d.reviving.CompareAndSwap(false, true) }

// Unpin ends Pin.
func (d *Dir) Unpin() { d.reviving.Store(false) }

// Quarantine moves a replica's directory aside and removes what was moved aside before. If there
// is none, because an attempt ended after the renaming, what is aside stays as it is.
func (d *Dir) Quarantine(g base.Gpid) (to string, err error) {
	from := d.ReplicaPath(g)
	dir := filepath.Dir(from)
	before, err := vfs.Default.List(dir)
	if err != nil {
		return "", fmt.Errorf("quarantine of %v: %w", g, err)
	}
	to = filepath.Join(dir, g.String()+"."+strconv.FormatInt(time.Now().UnixMicro(), 10)+AsideSuffix)
	switch err := vfs.Default.Rename(from, to); {
	case errors.Is(err, os.ErrNotExist):
		return "", SyncDir(dir)
	case err != nil:
		return "", fmt.Errorf("quarantine of %v: %w", g, err)
	}
	for _, n := range before {
		if strings.HasPrefix(n, g.String()+".") && strings.HasSuffix(n, AsideSuffix) {
			err = errors.Join(err, vfs.Default.RemoveAll(filepath.Join(dir, n)))
		}
	}
	return to, errors.Join(err, SyncDir(dir))
}

// Abandoned tells that an administrator gave the directory up.
func (d *Dir) Abandoned() bool { return d.abandoned.Load() }

// failures returns what is remembered of failures of the log.
func (d *Dir) failures() revival {
	d.revivalMu.Lock()
	defer d.revivalMu.Unlock()
	return d.revival
}

// place is where it is to be.
func (d *Dir) place() Place { return Place{d.Tag, d.Path} }

// away tells that its disk isn't there.
func (d *Dir) away() bool { return errors.Is(d.Log().Failed(), errAway) }

// Capacity returns the size and the free space of the file system in bytes, as they were a second
// ago; 0 if unknown. It waits for no disk.
func (d *Dir) Capacity() (total, avail int64) {
	if u := d.room.Load(); u != nil && !d.away() { // what is at the place of one that is away has another size
		return u.total, u.avail
	}
	return 0, 0
}

// room is the size and the free space of a file system in bytes.
type room struct{ total, avail int64 }

// measure looks how large the file system is. It hangs with its disk.
func (d *Dir) measure() {
	total, avail, err := d.statfs(d.Path)
	if err != nil {
		d.room.Store(nil)
		return
	}
	d.room.Store(&room{total, avail})
}

// statfs returns the size and the free space of the file system of path in bytes.
func statfs(path string) (total, avail int64, err error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(path, &st); err != nil {
		return 0, 0, err
	}
	return int64(st.Blocks) * st.Bsize, int64(st.Bavail) * st.Bsize, nil
}

// hasRoom tells whether the disk has so many bytes free.
func (d *Dir) hasRoom(bytes uint64) bool {
	u := d.room.Load()
	return u != nil && u.avail >= 0 && uint64(u.avail) >= bytes
}
