package part

import (
	"context"
	"time"

	"github.com/sirupsen/logrus"

	"pegasus/base"
	"pegasus/metrics"
	"pegasus/pacifica"
	"pegasus/replica/wal"
)

// Part is a feature of a replica server. It lives as long as its server.
type Part interface {
	// Register adds what the feature serves. It is called once, before the server serves.
	Register(*Routes)
	// Tick is called about once a second, by one goroutine for all parts: it must not wait.
	// What takes longer goes to Host.Go. now is the time of the machine's clock.
	Tick(now time.Time)
	// Collect adds the feature's metrics. It is called by whoever asks for metrics.
	Collect(*metrics.Snapshot)
	// Close is called once, when the server stops: Tick is called no more, and what runs in
	// Host.Go has ended.
	Close() error
}

// Quiet is embedded by a Part that does only some of these.
type Quiet struct{}

// Register adds nothing.
func (Quiet) Register(*Routes) {}

// Tick does nothing.
func (Quiet) Tick(time.Time) {}

// Collect adds nothing.
func (Quiet) Collect(*metrics.Snapshot) {}

// Close does nothing.
func (Quiet) Close() error { return nil }

// Host is what a Part may do with the server that hosts it.
type Host interface {
	// Replica returns a replica that is here and open.
	Replica(base.Gpid) (Replica, bool)
	// Replicas returns those that are here and open, in the order of their ids.
	Replicas() []Replica
	// Name is host:port of the server.
	Name() string
	// Now is the wall clock, corrected by what the metas say.
	Now() time.Time
	// Go runs f on a goroutine. ctx ends when the server stops, and the server waits for f.
	Go(f func(ctx context.Context))
	Log() *logrus.Entry
}

// Replica is what a Part may do with a replica. All of it may be called by any goroutine, also
// when the replica was closed meanwhile.
type Replica interface {
	Gpid() base.Gpid
	// View returns what the replica is at present.
	View() View
	// Propose makes a write of the server's own: fill appends operations in the form of package
	// rrdb to an empty payload, with no other write under way; an empty payload proposes nothing.
	// It returns when the write is applied here. An error says that it certainly isn't applied
	// yet, and may be later.
	Propose(ctx context.Context, fill func(payload []byte) ([]byte, error)) error
	// Checkpoint makes a copy of the store in dir, which must not exist, and returns the decree
	// up to which it holds everything.
	Checkpoint(ctx context.Context, dir string) (decree int64, err error)
	// Scratch is a folder on the replica's disk for files that nobody misses after a restart: it is
	// emptied when the server starts.
	Scratch() string
	// DiskUsable returns an error while the replica's disk has too little free space, or is out of
	// service.
	DiskUsable() error
	// ReadLog returns entries of the log from a decree on, at most about maxBytes of them and at
	// least one. Those above View.Committed may never be committed. wal.ErrGone: the log starts
	// behind that decree.
	ReadLog(from, maxBytes int64) ([]wal.Entry, error)
	// Hold keeps the log from a decree on for the holder of that name, in place of what that
	// holder held before. It returns the first decree that is kept: a higher one than asked for
	// if the log has less. The hold stays however large the log becomes; nobody remembers it when
	// the replica is opened again, by a restart too: who then holds it again in the next Tick has lost
	// nothing.
	Hold(name string, decree int64) (first int64)
	// HoldWhileRoom is Hold until the log is over its bound. Then the hold ends, and lost is
	// called, once.
	HoldWhileRoom(name string, decree int64, lost func()) (first int64)
	// HoldLong is HoldWhileRoom until room for the log is scarce: see LogRoom.
	HoldLong(name string, decree int64, lost func()) (first int64)
	// LogRoom tells how much room there is for what is held with HoldLong.
	LogRoom() LogRoom
	// Release ends what the holder of that name held.
	Release(name string)
}

// LogRoom is the room that a log has on its disk.
type LogRoom struct {
	// Bytes is the size of the log, which the replicas of a disk share, Most the one at which holds with HoldLong yield.
	Bytes, Most int64
	// Oldest: this replica is among those that keep the oldest part of it.
	Oldest bool
}

// View is a replica at a moment. Nobody changes what it refers to.
type View struct {
	Role   pacifica.Status
	Ballot int64
	// Committed entries are so for sure, Prepared is the last entry here, Applied are those in the
	// store. A primary knows most, the others hear of it.
	Committed, Prepared, Applied int64
	// Usable: neither its disk nor its data is in doubt.
	Usable bool
	// Serves: the server's lease holds at this moment, and did so before the rest was looked at. So if Role says that the replica is the
	// primary, it certainly is.
	Serves bool
	// Of the table.
	AppName    string
	Partitions int32
	Envs       map[string]string
}
