package replica

import (
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pegasus/base"
	"pegasus/gen/replicaadmin"
	"pegasus/pacifica"
	"pegasus/remotecmd/answer"
	"pegasus/replica/disk"
	"pegasus/replica/part"
)

// A replica is moved between two data directories of its server as if the server had been started again with
// the replica in the other one. No round takes part in that, and an open replica never changes its place: the one
// of before is closed, and another one opened where the copy is.
//
// While the replica is in use (package checkpoint's pace bounds the rate):
//
//	1 copy    a checkpoint is made on the disk it is on, and its files are copied into tmp/ of the other one;
//	          then the files of the next checkpoint that weren't in the one before, until these are few.
//	          The log is held from the last checkpoint on, and from where anyone else holds it.
//
// Then it is taken out (its id is reserved, nobody else makes or removes it), its rounds are ended, and both
// directories are pinned (nobody opens their logs again or gives them up). What is left is bounded in bytes,
// and what waits for the other disk in time:
//
//	2 log     the log of the new place takes the entries from the checkpoint on, durably
//	3 info    the copy gets the replica's info.json, with a time of making that is 1 ms later; all of it is synced
//	4 switch  the copy's folder is renamed to reps/<gpid>.pegasus, durably
//	5 open    the replica is opened there. It takes no messages yet
//	6 detach  the directory of before is renamed into tmp/, durably
//	7 serve   the replica is in the table again; the metas give it its role as after a restart
//	8 drop    the log of before forgets it, and the files go
//
// What a kill leaves, and what the next start does with it. A program of before this knows all of that, too:
//
//	killed in   on the disks                               the next start
//	1           reps/ of before, something in tmp/         empties tmp/
//	2, 3        besides, entries in the other log          drops what a log has of replicas that aren't there
//	4, 5        reps/ in one place or both                 of two uses the one with the higher ballot, or that was made
//	                                                       later: the copy. Nothing was acknowledged since its log was
//	                                                       complete. The other is moved aside
//	6           reps/ in both places or the new one        the same
//	7, 8        reps/ in the new one                       drops what the log of before has
//
// A start without the disk that the copy is on goes on with the directory of before, and durably makes it the later one (outlive).
//
// Anything that fails in 2 to 6 is undone: the directory of before is durably made the later one (info.json, 2 ms
// later than it was), or the copy durably taken away; then the replica is opened where it was, and after that the
// copy and its log entries go. If neither can be written nothing is opened: the next start finds two that are
// alike. A request of a client waits meanwhile, for waitMost at most.

const (
	// moveTail is how many bytes of the log are copied while the replica is in neither place.
	moveTail = 32 << 20
	// moveFew: when a checkpoint had no more that was new, the replica changes over. movePasses is how many
	// checkpoints are made for that.
	moveFew    = 32 << 20
	movePasses = 20
	// moveDisk is for how long the other disk is waited for in each step while the replica is in neither place.
	moveDisk = 2 * time.Second
	// waitMost is for how long a request waits, and manyWaiting how many do.
	waitMost    = 3 * time.Second
	manyWaiting = 10000
	// keptMoves is how many moves that have ended are shown.
	keptMoves = 100
)

// mover moves replicas between the data directories of the server.
type mover struct {
	part.Quiet
	srv      *Server
	patience atomic.Int64 // moveDisk, but in tests
	waiting  atomic.Int64

	mu    sync.Mutex
	ended []answer.DiskMove

	done, failed, bytes atomic.Int64
	reached             atomic.Pointer[func(step string)] // a test's
}

// move is one move.
type move struct {
	gpid     base.Gpid
	from, to *disk.Dir
	began    time.Time
	state    atomic.Int32 // replicaadmin.DiskMigrationStatus
	// total bytes of the copy, as far as is known, and those that are copied.
	total, copied atomic.Int64
	gap           time.Duration
	// decree is what the copy holds, and store its number: another one, since files of this store that are
	// made after the checkpoint have names that the copy will give to others.
	decree, store int64
	lost          atomic.Bool    // the log no longer has what follows it
	stuck         sync.WaitGroup // what waits for the other disk
}

// answer is what tools are told; m may be nil.
func (m *move) answer() *answer.DiskMove {
	if m == nil {
		return nil
	}
	return &answer.DiskMove{Replica: m.gpid.String(), From: m.from.Tag, To: m.to.Tag, State: replicaadmin.DiskMigrationStatus(m.state.Load()).String(),
		Bytes: m.total.Load(), Done: m.copied.Load(), Seconds: time.Since(m.began).Seconds()}
}

// place is where the copy is gathered.
func (m *move) place() string { return filepath.Join(m.to.Scratch(), "move."+m.gpid.String()) }

// holdName names the hold of a move.
func (m *move) holdName() string { return "a move to " + m.to.Tag }

// onlyKnown is nil if there is nothing in the replica's directory but what is moved. A feature that keeps
// more there has to say what becomes of it.
func (r *replica) onlyKnown() error {
	names, err := vfs.Default.List(r.path)
	if err != nil {
		return fmt.Errorf("replica %v: %w: %w", r.gpid, err, base.ErrFileOperationFailed)
	}
	store := filepath.Base(r.storePath(r.view.Load().info.Store))
	for _, n := range names {
		switch n {
		case store, filepath.Base(r.infoName()), filepath.Base(r.infoName()) + ".tmp", filepath.Base(r.learner.Dir()):
		default:
			return fmt.Errorf("replica %v: something else uses its directory at present (%s): try again later: %w", r.gpid, n, base.ErrInvalidState)
		}
	}
	return nil
}

// stands is nil as long as the replica is what it was when the move began.
func (mv *mover) stands(r *replica, m *move) error {
	v := r.view.Load()
	switch {
	case mv.srv.ctx.Err() != nil:
		return fmt.Errorf("the server is stopping: %w", base.ErrServiceNotActive)
	case mv.srv.replica(m.gpid) != r:
		return fmt.Errorf("replica %v isn't here any more, or was opened again: %w", m.gpid, base.ErrObjectNotFound)
	case v.failed != nil || v.suspect || v.Status != pacifica.Primary && v.Status != pacifica.Secondary:
		return fmt.Errorf("replica %v is %v: %w", m.gpid, wireStatus(v), base.ErrInvalidState)
	case v.info.Store+1 != m.store: // files of another store may have the names of those that are copied
		return fmt.Errorf("replica %v has learned anew meanwhile: %w", m.gpid, base.ErrTryAgain)
	case m.lost.Load():
		return fmt.Errorf("the log of data directory %s is too large to be held: %w", m.from.Path, base.ErrTryAgain)
	}
	return m.to.Usable()
}

// at tells a test of a step.
func (mv *mover) at(step string) {
	if f := mv.reached.Load(); f != nil {
		(*f)(step)
	}
}
