package send

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"pegasus/base"
	"pegasus/client"
	"pegasus/duplication/ship"
	"pegasus/gen/dupinternal"
	"pegasus/gen/duplication"
	"pegasus/pacifica"
	"pegasus/replica/part"
	"pegasus/replica/wal"
	"pegasus/rpc"
)

// key is a duplication of a partition.
type key struct {
	gpid base.Gpid
	dup  int32
}

// holder is the name by which the log is held.
func (k key) holder() string { return fmt.Sprintf("duplication-%d", k.dup) }

// counters are of a stream, since the server started.
type counters struct {
	readBytes, readMutations, confirmed, sentBytes, sentOK, sentFailed, swept atomic.Int64
}

// stream drives the core of a duplication of a partition. One goroutine makes its steps; answers come on others.
type stream struct {
	key
	s      owner
	opt    Options
	log    *logrus.Entry
	r      part.Replica
	ctx    context.Context
	bring  func(ctx context.Context, id uint64) // begins a bootstrap
	kick   chan struct{}
	stop   context.CancelFunc
	counts counters

	mu      sync.Mutex
	core    *ship.Core
	told    duplication.DuplicationEntry // by the meta
	leads   bool
	epoch   int64 // counts the times that it began to lead
	ballot  int64
	led     int64     // the ballot under which it led last, 0 if it never did
	ticked  time.Time // up to when the core was told of time
	table   *client.Table
	nextTry time.Time // of finding the table
	tableID int32     // of the other cluster's table, 0 if it isn't known yet
	doubted bool      // the table was looked for again, since it has another id
	lanes   int
	held    int64     // from where on the log is held, Unknown if it isn't
	holds   int64     // counts the times that it was held
	floor   int64     // what is below isn't held any more: it took too much room
	trouble string    // the last that failed, "" if nothing did since something went well
	room    int32     // percent of the room of the log that is used while this keeps it, as it was last told
	stuck   string    // why it stands still until somebody does something
	nudged  time.Time // when the meta was last asked because this waits for its parent
}

// owner is what a stream asks of the Sender.
type owner interface {
	// fresh tells whether the meta was heard of lately.
	fresh() bool
	// syncSoon has the meta asked soon.
	syncSoon()
	// table finds a table of another cluster.
	table(ctx context.Context, remote, name string) (*client.Table, error)
	// ours tells whether a cluster is certainly one of ours, not of C++.
	ours(ctx context.Context, remote string) bool
	// copySlots has room for those that copy.
	copySlots() chan struct{}
	// background runs f on a goroutine that the server waits for.
	background(f func())
	// now is the wall clock.
	now() time.Time
}

func newStream(ctx context.Context, s owner, opt Options, log *logrus.Entry, k key, r part.Replica, confirmed int64) *stream {
	st := &stream{key: k, s: s, opt: opt, log: log, r: r, kick: make(chan struct{}, 1), core: ship.New(opt.core(), confirmed), ticked: time.Now(), held: ship.Unknown}
	st.ctx, st.stop = context.WithCancel(ctx)
	return st
}

// wake has a step made soon.
func (st *stream) wake() {
	select {
	case st.kick <- struct{}{}:
	default:
	}
}

func (st *stream) run() {
	ctx := st.ctx
	for {
		select {
		case <-ctx.Done():
			st.mu.Lock()
			st.core.Resign()
			st.mu.Unlock()
			return
		case <-st.kick:
			st.step(ctx)
		}
	}
}

// due tells whether a step is to be made now. It takes no lock of the replica.
func (st *stream) due(v *part.View, now time.Time) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return now.Sub(st.ticked) >= tick || st.leads && v.Committed > st.core.Status().Committed
}

// step brings the core up to date, and does what it wants.
func (st *stream) step(ctx context.Context) {
	v := st.r.View()
	st.mu.Lock()
	now := time.Now()
	for n := 0; now.Sub(st.ticked) >= tick; n++ {
		st.ticked = st.ticked.Add(tick)
		if st.core.Tick(); n > 1000 {
			st.ticked = now // the process stood still
		}
	}
	st.role(&v)
	st.hold()
	need := st.leads && st.table == nil && st.active()
	st.mu.Unlock()
	if need {
		if st.find(ctx) {
			st.wake() // that may have taken long: whether it still leads is looked at anew before anything is sent
		}
		return
	}
	st.mu.Lock()
	st.shape()
	var r ship.Ready
	if st.table != nil && st.stuck == "" {
		r = st.core.Ready()
	}
	lanes := st.lanes
	switch st.core.Status().Reason {
	case ship.Starting:
		st.s.syncSoon()
	case ship.WaitsForParent:
		// Its parent often is here, too, and what it has sent is told with the same exchange.
		if now.Sub(st.nudged) >= nudgeEvery {
			st.nudged = now
			st.s.syncSoon()
		}
	}
	st.mu.Unlock()
	for _, b := range r.Send {
		st.send(b)
	}
	if r.Bootstrap != 0 {
		st.bring(ctx, r.Bootstrap)
	}
	if r.Read != nil {
		st.read(r.Read, lanes)
		st.wake()
	}
}

// active tells whether anything is to be sent. mu is held.
func (st *stream) active() bool {
	return st.told.Status == duplication.DS_APP || st.told.Status == duplication.DS_LOG
}

// leads tells whether this replica may send now.
func leads(st *stream, v *part.View) bool {
	return v.Role == pacifica.Primary && v.Usable && v.Serves && st.s.fresh()
}

// role tells the core whether it leads. mu is held.
func (st *stream) role(v *part.View) {
	leads := leads(st, v)
	switch {
	case leads && (!st.leads || v.Ballot > st.ballot+1):
		// A ballot that was passed over may have been another primary's.
		if st.led != 0 && v.Ballot <= st.led+1 {
			st.core.LeadAgain(v.Committed)
		} else {
			st.core.Lead(v.Committed, v.Prepared)
		}
		st.epoch++
		st.s.syncSoon()
	case !leads && st.leads:
		st.core.Resign()
		st.epoch++
	}
	st.leads, st.ballot = leads, v.Ballot
	if leads {
		st.led = v.Ballot
		st.core.Commit(v.Committed)
	}
}

// hold has the log kept as far as the core needs it. mu is held.
func (st *stream) hold() {
	h := st.core.Hold()
	if h == ship.Unknown {
		// Nobody has said yet where it begins: not before now.
		if st.held != ship.Unknown {
			return
		}
		h = st.r.View().Applied + 1
	}
	if h = max(h, st.floor); h != st.held {
		st.keep(h)
	}
}

// end has it stop, and the log let go.
func (st *stream) end() {
	st.stop()
	st.mu.Lock()
	defer st.mu.Unlock()
	st.r.Release(st.holder())
}

// keep holds the log from a decree on, and returns the first that is there. mu is held.
func (st *stream) keep(from int64) (first int64) {
	if st.ctx.Err() != nil {
		return from // a step or a copy goes on for a moment, and nobody would let go what it holds
	}
	st.held = from
	st.holds++
	n := st.holds
	return st.r.HoldLong(st.holder(), from, func() { st.yielded(n) })
}

// yielded is called when the log isn't held any more because there is too little room: what isn't sent by now is fetched from a
// copy. n is which hold it was.
func (st *stream) yielded(n int64) {
	v := st.r.View()
	st.mu.Lock()
	defer st.mu.Unlock()
	if n != st.holds {
		return // it holds something else by now
	}
	st.floor = v.Applied + 1
	was := st.core.Status().Gaps
	st.core.Yielded(st.floor)
	st.keep(st.floor)
	if st.core.Status().Gaps > was {
		st.log.Warnf("duplication %d of %v to cluster %s: the log has grown too large (wal.held_bytes, or the disk is too full) and lets go what that cluster lacks: all rows are copied to it when it can be reached", st.dup, st.gpid, st.told.Remote)
	}
	st.wake()
}

// shape notices that the other cluster's table has another shape, or is another one. mu is held.
func (st *stream) shape() {
	if st.table == nil {
		return
	}
	id := st.table.AppID()
	// What the meta remembers counts: another primary may have sent before.
	switch st.tableID = cmp.Or(st.told.RemoteAppId.V, st.tableID, id); {
	case id == st.tableID:
		st.doubted = false
	case !st.doubted:
		// What was looked up for an earlier duplication may be older than the table. It stands still for long: be sure.
		st.doubted, st.table = true, nil
		return
	default:
		st.stuck = fmt.Sprintf("table %q of cluster %s was made anew: its id was %d and is %d, and what was sent before is gone with it; remove this duplication, and add it again with a copy",
			st.told.RemoteAppName.V, st.told.Remote, st.tableID, id)
	}
	if n := st.table.Partitions(); n != st.lanes {
		if st.lanes != 0 {
			st.core.Reshape()
		}
		st.lanes = n
	}
}

// find looks for the table in the other cluster.
func (st *stream) find(ctx context.Context) bool {
	st.mu.Lock()
	now, remote, name := time.Now(), st.told.Remote, st.told.RemoteAppName.V
	early := now.Before(st.nextTry)
	st.mu.Unlock()
	if early {
		return false
	}
	t, err := st.s.table(ctx, remote, name)
	st.mu.Lock()
	defer st.mu.Unlock()
	if err != nil {
		st.nextTry = time.Now().Add(findEvery)
		st.trouble = err.Error()
		return false
	}
	st.table, st.trouble = t, ""
	return true
}

// read reads the log for the core.
func (st *stream) read(q *ship.Read, lanes int) {
	es, err := st.r.ReadLog(q.From, q.Bytes)
	var list []ship.Entry
	for i := range es {
		if es[i].Decree > q.To {
			break // may never be committed
		}
		var e ship.Entry
		if e, err = entryOf(&es[i], st.opt.ID, lanes); err != nil {
			break
		}
		st.counts.readMutations.Add(1)
		st.counts.readBytes.Add(int64(len(es[i].Payload)))
		list = append(list, e)
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	switch {
	case len(list) > 0:
		st.core.Loaded(q.ID, list)
	case errors.Is(err, errTake):
		// As if it were gone: what follows is of use to who has the rows.
		was := st.core.Status().Gaps
		st.core.Cut(q.ID, q.From+1)
		if st.core.Status().Gaps > was {
			st.log.Warnf("duplication %d of %v to cluster %s: decree %d is a bulk load, whose rows aren't in the log: all rows are copied, unless the duplication skips what can't be sent", st.dup, st.gpid, st.told.Remote, q.From)
		}
		st.hold()
	case errors.Is(err, wal.ErrGone):
		// The hold tells where the log begins.
		st.core.Cut(q.ID, st.keep(q.From))
		st.hold()
	default:
		if err != nil {
			st.trouble = err.Error()
		}
		st.core.Unread(q.ID)
	}
}

// send sends a batch.
func (st *stream) send(b ship.Batch) {
	rows, err := rowsOf(b.Ops)
	if err != nil {
		st.answer(b, ship.Refused, err)
		return
	}
	st.mu.Lock()
	t := st.table
	st.mu.Unlock()
	st.request(t, rows, func(o ship.Outcome, err error) { st.answer(b, o, err) })
}

// request sends rows that go to one partition. done is called once, and must not wait.
func (st *stream) request(t *client.Table, rows []row, done func(ship.Outcome, error)) {
	t.Go(client.Op{Code: base.RPCDuplicate, Hash: base.HashOfKey(rows[0].key), Arg: requestOf(rows, st.opt.ID), Write: true, Once: true, Attempt: st.opt.SendTime}, st.opt.SendTime,
		func(body []byte, err error) {
			var a dupinternal.DuplicateResponse
			var failed *client.Error
			switch {
			case errors.As(err, &failed) && failed.Unknown:
				done(ship.Lost, err)
			case err != nil:
				done(ship.Failed, err)
			default:
				if err := rpc.DecodeBody(bytes.Clone(body), &a); err != nil {
					done(ship.Lost, fmt.Errorf("answer to %s: %w", base.RPCDuplicate, err))
					return
				}
				done(outcomeOf(&a))
			}
		})
}

// outcomeOf tells what became of a request that was answered. Our servers say that all is well even if they left writes out, since
// upstream's sender can't bear anything else, and give a hint then: to call that done would be to lose those silently.
func outcomeOf(a *dupinternal.DuplicateResponse) (ship.Outcome, error) {
	switch {
	case a.Error.V == 0 && a.ErrorHint.V == "":
		return ship.Done, nil
	case a.Error.V == 0:
		return ship.Refused, fmt.Errorf("the other cluster leaves out what is sent to it: %.500s; if those are its own writes, then it has the same number (cluster.id) as this cluster, or is this cluster: give each its own, or correct clusters.NAME.meta_servers", a.ErrorHint.V)
	case a.Error.V == base.StoreInvalidArgument:
		return ship.Refused, fmt.Errorf("the other cluster refuses: %.500s", a.ErrorHint.V)
	}
	return ship.Failed, &client.StoreError{Op: base.RPCDuplicate, Code: a.Error.V}
}

// answer tells the core what became of a batch.
func (st *stream) answer(b ship.Batch, o ship.Outcome, err error) {
	st.mu.Lock()
	before := st.core.Status().Acked
	st.core.Answer(b.ID, o)
	if o == ship.Done {
		st.trouble = ""
		st.counts.sentOK.Add(1)
		st.counts.sentBytes.Add(b.Size)
		if now := st.core.Status().Acked; before >= 0 && now > before {
			st.counts.confirmed.Add(now - before)
		}
	} else {
		st.counts.sentFailed.Add(1)
		st.trouble = err.Error()
	}
	remote := st.told.Remote
	st.mu.Unlock()
	if o != ship.Done && b.Try == 1 {
		st.log.Infof("duplication %d of %v to cluster %s: %v", st.dup, st.gpid, remote, err)
	}
	st.wake()
}

// confirmation is what the meta is told; ok is false if it isn't of its business.
func (st *stream) confirmation() (e duplication.DuplicationConfirmEntry, epoch int64, ok bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	s := st.core.Status()
	e = duplication.DuplicationConfirmEntry{Dupid: st.dup, ConfirmedDecree: s.Persisted, LastCommittedDecree: base.Some(s.Committed),
		Why: base.Some(st.why(s)), Skipped: base.Some(s.SkippedDecrees + s.SkippedOps), Gaps: base.Some(s.Gaps), Ballot: base.Some(st.ballot),
		RemoteAppId: base.NonZero(st.tableID), Copied: base.NonZero(max(s.Booted, 0))}
	if st.room = 0; s.Committed > s.Acked {
		st.room = roomUsed(st.r.LogRoom())
	}
	e.Room = base.Some(st.room)
	if d, news := st.core.Confirm(); news {
		e.ConfirmedDecree = d
	}
	return e, st.epoch, st.leads
}

// roomUsed tells how many percent of the room for a log are used, 0 if this replica doesn't keep the oldest part.
func roomUsed(l part.LogRoom) int32 {
	if !l.Oldest || l.Most <= 0 {
		return 0
	}
	return int32(min(100*float64(l.Bytes)/float64(l.Most), 100))
}

// why says why it stands where it does. mu is held.
func (st *stream) why(s ship.Status) string {
	switch {
	case st.stuck != "":
		return st.stuck
	case s.Reason == ship.Rewound:
		return fmt.Sprintf("decree %d is confirmed, and the partition had only %d then: it has lost writes (a recovery, or power with wal.sync = \"os\"), and what is written since would be taken for sent; remove this duplication, and add it again with a copy",
			s.Lost, s.Had)
	case st.trouble != "" && s.Reason != ship.UpToDate:
		return s.Reason.String() + ": " + st.trouble
	}
	return s.Reason.String()
}

// configure takes what the meta said. asked is the epoch in which it was asked.
func (st *stream) configure(e *duplication.DuplicationEntry, confirmed, asked int64) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.told = *e
	here := st.gpid.PartitionIndex
	st.core.Configure(ship.Mode{Waits: slices.Contains(e.Waits.V, here), Copies: slices.Contains(e.Copies.V, here),
		Paused: e.Status == duplication.DS_PAUSE || e.Status == duplication.DS_PREPARE, Skip: e.FailMode.V == duplication.FAIL_SKIP,
		Bootstrap: e.Status == duplication.DS_PREPARE || e.Status == duplication.DS_APP})
	if since := st.leads && st.epoch == asked && st.stillLeads(); since || confirmed != ship.Unknown {
		was := st.core.Status().Reason
		st.core.Persisted(confirmed, since)
		if s := st.core.Status(); s.Reason == ship.Rewound && was != ship.Rewound {
			st.log.Errorf("duplication %d of %v to cluster %s: %s", st.dup, st.gpid, e.Remote, st.why(s))
		}
	}
	st.hold()
	st.wake()
}

// stillLeads tells whether this replica certainly leads, and no other one has led since it does: what a process that stood still was told may
// be of another primary, of which it hasn't heard yet. mu is held.
func (st *stream) stillLeads() bool {
	v := st.r.View()
	return v.Serves && v.Role == pacifica.Primary && v.Ballot <= st.ballot+1 // as in role
}

// cannot says why a stream can't do anything with this configuration.
func (st *stream) cannot(why string) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.stuck = why
}
