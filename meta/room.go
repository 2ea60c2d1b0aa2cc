package meta

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"github.com/sirupsen/logrus"
	"golang.org/x/time/rate"

	"pegasus/base"
	"pegasus/meta/state"
)

// A leader that can't write its log steps down, and where it is the only meta nobody follows:
// a new term has to be written, too. Then no beacon is acknowledged and nothing is served. So
// what can wait is refused before it gets to raft when there is little room, and what can't
// wait has a reserve.
const (
	reserveFile   = "reserve"
	reserveParts  = 4                // it is given up a part at a time
	minRoom       = 1 << 20          // bytes below which the disk counts as full
	partitionRoom = 2 << 10          // bytes that a new partition comes to take in log and snapshots, with its members
	roomTick      = time.Second      // how often it is looked whether there is room again
	compactEvery  = 30 * time.Second // while there is little room
	shortTrailing = 128              // entries that stay in the log behind a snapshot then
	storePause    = 100 * time.Millisecond
)

// room is the free space of a data directory. Of the reserve, a file, raft's own goroutines
// give up parts, and one goroutine makes them again.
type room struct {
	dir  string
	want int64 // bytes of the reserve; 0: there is none
	log  *logrus.Entry
	// available returns the bytes that can be written.
	available func() (int64, error)

	mu   mutex
	left atomic.Int64 // bytes of the reserve that are there; changed under mu
}

func newRoom(dir string, want int64, log *logrus.Entry) *room {
	r := &room{dir: dir, want: want, log: log, mu: mutex{rank: rankLeaf}, available: func() (int64, error) {
		var st syscall.Statfs_t
		if err := syscall.Statfs(dir, &st); err != nil {
			return 0, fmt.Errorf("look how much room %q has: %w", dir, err)
		}
		return int64(st.Bavail) * st.Bsize, nil
	}}
	if info, err := os.Stat(r.path()); err == nil {
		r.left.Store(info.Size())
	}
	return r
}

func (r *room) path() string { return filepath.Join(r.dir, reserveFile) }

// short tells that a part of the reserve was given up, or couldn't be made.
func (r *room) short() bool { return r.left.Load() < r.want }

// isDiskFull tells that an error means that the disk, or what may be used of it, is full.
func isDiskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// giveUp frees a part of the reserve; false: nothing is left of it.
func (r *room) giveUp() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	left := r.left.Load()
	if left <= 0 {
		return false
	}
	left = max(left-max(r.want/reserveParts, 1), 0)
	if err := os.Truncate(r.path(), left); err != nil {
		r.log.Errorf("give up a part of the reserve: %v", err)
		return false
	}
	r.left.Store(left)
	r.log.Errorf("the disk of meta.data_dir %q is full: %d of %d bytes of the reserve are left; only changes of partitions are written: free space there", r.dir, left, r.want)
	return true
}

// refill makes the reserve whole if there is room for it and more.
func (r *room) refill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	left := r.left.Load()
	if left >= r.want {
		return
	}
	if avail, err := r.available(); err != nil || avail < r.want-left+r.want/reserveParts+minRoom {
		return
	}
	err := allocate(r.path(), r.want)
	if err != nil {
		r.log.Warnf("make the reserve of meta.data_dir: %v", err)
		err = os.Truncate(r.path(), left)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			r.log.Warnf("make the reserve of meta.data_dir: %v", err)
		}
		return
	}
	r.left.Store(r.want)
	r.log.Infof("meta.data_dir has a reserve of %d bytes", r.want)
}

// allocate makes a file of that size whose blocks are its own.
func allocate(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	err = syscall.Fallocate(int(f.Fd()), 0, 0, size)
	if errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOSYS) {
		_, err = io.CopyN(f, zeros{}, size)
	}
	return errors.Join(err, f.Sync(), f.Close())
}

type zeros struct{}

// Read fills p with zeros.
func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// admit says why a command that takes so many bytes in the log isn't committed. Changes of
// partitions keep the cluster going, so they may use the reserve, but for what an election
// takes.
func (r *room) admit(c state.Command, size int) error {
	avail, err := r.available()
	if err != nil {
		r.log.Warn(err)
		return nil
	}
	need, urgent := int64(minRoom+size), false
	switch c := c.(type) {
	case *state.Init, *state.ChangeConfigs:
		urgent = true
	case *state.CreateTable:
		need += int64(c.Partitions) * partitionRoom
	case *state.Recover:
		need += 2 * int64(size)
	}
	if urgent && r.left.Load() > r.want/2 || avail >= need && (urgent || !r.short()) {
		return nil
	}
	what := ""
	if r.short() {
		what = fmt.Sprintf(", and %d of its reserve of %d bytes are left", r.left.Load(), r.want)
	}
	return fmt.Errorf("the disk of meta.data_dir %q of this meta server has %d bytes free, and %d are needed%s: free space there and try again: %w", r.dir, avail, need, what, base.ErrDiskInsufficient)
}

// hint says that there is little room, "" if there is enough.
func (r *room) hint() string {
	if !r.short() {
		return ""
	}
	return fmt.Sprintf("the disk of its meta.data_dir %q is full: %d of %d bytes of the reserve are left, and only changes of partitions are written; free space there", r.dir, r.left.Load(), r.want)
}

// logStore is raft's log and votes. What doesn't fit on the disk is written into the reserve.
type logStore struct {
	*raftboltdb.BoltStore
	room    *room
	running atomic.Bool // raft uses it
	waiting atomic.Bool // for room, and with it raft's loop
	closed  chan struct{}
	closing sync.Once
	failing rate.Sometimes
}

func (s *logStore) withReserve(f func() error) error {
	for {
		err := f()
		if !isDiskFull(err) || !s.room.giveUp() {
			return err
		}
	}
}

// StoreLog stores an entry.
func (s *logStore) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

// StoreLogs stores entries.
func (s *logStore) StoreLogs(l []*raft.Log) error {
	return s.withReserve(func() error { return s.BoltStore.StoreLogs(l) })
}

// DeleteRange removes entries.
func (s *logStore) DeleteRange(lo, hi uint64) error {
	return s.withReserve(func() error { return s.BoltStore.DeleteRange(lo, hi) })
}

// SetUint64 makes a term durable.
func (s *logStore) SetUint64(k []byte, v uint64) error {
	return s.waitForRoom(func() error { return s.BoltStore.SetUint64(k, v) })
}

// Set makes a vote durable.
func (s *logStore) Set(k, v []byte) error {
	return s.waitForRoom(func() error { return s.BoltStore.Set(k, v) })
}

// waitForRoom waits for room. Raft panics if it can't write a term; and it leads nobody while it
// wants to, so nothing is lost by waiting.
func (s *logStore) waitForRoom(f func() error) error {
	for {
		err := s.withReserve(f)
		if !isDiskFull(err) || !s.running.Load() {
			s.waiting.Store(false)
			return err
		}
		s.waiting.Store(true)
		s.failing.Do(func() {
			s.room.log.Errorf("the disk of meta.data_dir %q is full and the reserve is used up: this meta server takes part in no election until there is room: free space there", s.room.dir)
		})
		select {
		case <-s.closed:
			runtime.Goexit() // neither a panic nor a vote that isn't durable
		case <-time.After(storePause):
		}
	}
}
