package replica

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
	"pegasus/base"
	"pegasus/gen/layer2"
	"pegasus/metrics"
	"pegasus/pacifica"
	"pegasus/replica/wal"
	"pegasus/rpc"
	"pegasus/rrdb"
)

// tick is the unit of time of the cores.
const tick = 100 * time.Millisecond

// replica hosts one replica: its core, its store and its place in the log.
type replica struct {
	srv  *Server
	gpid base.Gpid
	dir  *dataDir
	path string
	log  *logrus.Entry

	// view is what a round publishes for readers and the gate, when it changed; the decrees,
	// which change with every round, have a place of their own.
	view                       atomic.Pointer[view]
	committed, last, appliedAt atomic.Int64

	// flushes counts who asked for a flush since none was under way, see flushSoon.
	flushes atomic.Int64
	// rules are nil for a table whose settings demand nothing of requests.
	rules     atomic.Pointer[rules]
	throttled throttled
	peers     peerRoom

	compactions compactions
	passes      passes

	abnormalReads atomic.Int64
	usage         usage
	sized         sized
	ops           metrics.Ops
	keepLog       atomic.Bool // nothing of the log may go, an administrator says

	// copying is the checkpoint that is being fetched, nil if none; learnFailed counts the
	// attempts that failed since one succeeded; distrust: a checksum was wrong. fetching guards
	// the fetch directory.
	copying     atomic.Pointer[progress]
	learnFailed atomic.Int64
	distrust    atomic.Bool
	fetching    sync.Mutex
	// pressed: the log is far too large, and holds nothing more for learners.
	pressed atomic.Bool

	// store is replaced when a checkpoint is installed. A closed one answers that it is.
	store atomic.Pointer[rrdb.Store]

	inbox inbox
	wake  chan struct{} // a token makes the goroutine carry out rounds
	done  chan struct{}

	// Of whoever is in a round: see worker.
	worker  *worker // where the round's messages and appends go
	taken   work
	infoGen int // counts changes of the table's properties in info
	ms      []rrdb.Mutation
	write   rrdb.WriteRequest
	core    *pacifica.Core
	pacer   pacer
	info    replicaInfo
	overlay *rrdb.Overlay
	flights flights
	queue   []*rpc.Request
	failed  error
	applied int64
	// suspect: the log lost entries; only learning makes this a member again.
	suspect bool
}

// view is a snapshot of a replica for other goroutines.
type view struct {
	pacifica.State
	info    replicaInfo
	infoGen int
	applied int64 // in a copy that look returns
	failed  error
	// members is how many replicas would hold a write now; least is how many must.
	members, least int
	suspect        bool
}

// inbox gathers what the next round has to do.
type inbox struct {
	mu     sync.Mutex
	closed bool
	// running: somebody is in a round, or a token for the goroutine is on its way. Who put
	// work in and found it set is done.
	running bool
	work
}

type work struct {
	writes    []*rpc.Request
	messages  []pacifica.Message
	persisted []placed
	calls     []func()
	ticked    bool
	// patient: something of it may have to wait for a disk, so it is for the goroutine.
	patient bool
}

type placed struct{ ballot, decree int64 }

func (w *work) empty() bool {
	return len(w.writes) == 0 && len(w.messages) == 0 && len(w.persisted) == 0 && len(w.calls) == 0 && !w.ticked
}

// openReplica opens what is on the disk, or, given fresh, makes a new replica of it.
func (s *Server) openReplica(g base.Gpid, d *dataDir, fresh *replicaInfo) (_ *replica, err error) {
	r := &replica{srv: s, gpid: g, dir: d, pacer: pacer{pace: s.pace}, path: d.replicaPath(g), log: s.log.WithField("replica", g.String()),
		wake: make(chan struct{}, 1), done: make(chan struct{})}
	if fresh != nil {
		if err := d.usable(); err != nil {
			return nil, fmt.Errorf("replica %v: %w", g, err)
		}
		if _, err := os.Stat(r.path); err == nil {
			return nil, fmt.Errorf("replica %v: directory %s is there already", g, r.path)
		}
		if err := os.MkdirAll(r.path, 0o755); err != nil {
			return nil, fmt.Errorf("replica %v: %w", g, err)
		}
		defer func() {
			if err != nil { // there is nothing in it
				err = errors.Join(err, os.RemoveAll(r.path))
			}
		}()
		fresh.Store = 1
		fresh.Made = time.Now().UnixMilli()
		// The log may remember an earlier life of this replica here.
		if err := wait(func(done func(error)) { d.log().Reset(g, 0, done) }); err != nil {
			return nil, fmt.Errorf("replica %v: %w", g, err)
		}
		if err := writeJSON(r.infoName(), fresh); err != nil {
			return nil, fmt.Errorf("replica %v: %w", g, err)
		}
		if err := syncDir(filepath.Dir(r.path)); err != nil {
			return nil, fmt.Errorf("replica %v: %w", g, err)
		}
	}
	if err := readJSON(r.infoName(), &r.info); err != nil {
		return nil, fmt.Errorf("replica %v: %w", g, err)
	}
	if r.info.AppID != g.AppID || r.info.Partition != g.PartitionIndex {
		return nil, fmt.Errorf("replica %v: %s says that this is %d.%d", g, r.infoName(), r.info.AppID, r.info.Partition)
	}
	r.setRules()
	if err := r.dropOldStores(); err != nil {
		return nil, err
	}
	store, err := r.openStore(r.info.Store, fresh != nil)
	if err != nil {
		return nil, err
	}
	r.store.Store(store)
	prepared, err := r.replay()
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	r.applied = store.LastApplied()
	c := s.cfg.Replica
	ticks := func(d time.Duration) int { return max(1, int(d/tick)) }
	r.core = pacifica.New(pacifica.Options{Self: s.addr, Log: logReader{d.log(), g}, Pacer: &r.pacer, MaxInFlight: int64(max(1, c.MaxMutations)),
		MaxSendBytes: 1 << 20, HeartbeatTicks: ticks(c.CommitInterval.D()), ResendTicks: 5, EjectTicks: ticks(c.PrepareTimeout.D()),
		LearnTicks: ticks(20 * time.Second)}, r.info.Ballot, r.applied, prepared)
	r.core.Witness(store.LastTimestamp())
	r.overlay = rrdb.NewOverlay()
	r.flights.ops, r.flights.pace = &r.ops, s.pace
	r.publish()
	s.spawn(r.run)
	return r, nil
}

func (r *replica) infoName() string { return filepath.Join(r.path, "info.json") }

func (r *replica) storePath(n int64) string {
	return filepath.Join(r.path, "store."+strconv.FormatInt(n, 10))
}

func (r *replica) openStore(n int64, create bool) (*rrdb.Store, error) {
	st, err := rrdb.Open(rrdb.Options{Dir: r.storePath(n), Shared: r.srv.shared, Gpid: r.gpid, Server: r.srv.name, Logger: r.log,
		Storage: r.srv.cfg.Storage, Tuning: rrdb.TuningOf(r.info.Envs), Create: create, OnError: r.storeError})
	if err != nil {
		return nil, fmt.Errorf("replica %v: store %d: %w", r.gpid, n, err)
	}
	st.SetPartitionCount(r.info.Partitions)
	st.SetEnvs(r.info.Envs)
	return st, nil
}

// storeError is told of trouble in the store's background.
func (r *replica) storeError(err error) {
	if errors.Is(err, rrdb.ErrFailed) || errors.Is(err, rrdb.ErrCorrupt) {
		r.post(func() { r.fail(err) })
		return
	}
	r.log.Warn(err)
}

// wait calls f and waits for its callback.
func wait(f func(done func(error))) error {
	c := make(chan error, 1)
	f(func(err error) { c <- err })
	return <-c
}

// dropOldStores removes the stores that info doesn't name: what a checkpoint replaced, or
// was about to.
func (r *replica) dropOldStores() error {
	es, err := os.ReadDir(r.path)
	if err != nil {
		return fmt.Errorf("replica %v: %w", r.gpid, err)
	}
	for _, e := range es {
		if strings.HasPrefix(e.Name(), "store.") && e.Name() != filepath.Base(r.storePath(r.info.Store)) {
			if err := os.RemoveAll(filepath.Join(r.path, e.Name())); err != nil {
				return fmt.Errorf("replica %v: %w", r.gpid, err)
			}
		}
	}
	return nil
}

// replay applies what the log knows to be committed and returns what is prepared beyond.
func (r *replica) replay() ([]pacifica.Entry, error) {
	st, store := r.dir.log().State(r.gpid), r.store.Load()
	at := store.LastApplied()
	if d, ok := r.dir.log().DamageOf(r.gpid); ok {
		if at < d.From-1 {
			r.log.Errorf("the log lost entries of this replica (%s): it can only be a learner", d.Reason)
			r.suspect = true
			return nil, nil
		}
		r.dir.log().SetRetention(r.gpid, d.From-1)
	}
	if r.srv.syncs && st.Last < at {
		// What a member applies is in its log before. The log can't tell that the end of its
		// newest file is gone from a write that was under way; here it shows.
		r.log.Errorf("the log ends at decree %d, the store holds %d: it can only be a learner", st.Last, at)
		r.suspect = true
		return nil, nil
	}
	var prepared []pacifica.Entry
	// An entry voids those that were logged before it, above it, under an older ballot; so
	// does the last one applied.
	ballot := int64(0)
	if es, err := r.dir.log().Read(r.gpid, at, 1); err == nil && len(es) > 0 && es[0].Decree == at {
		ballot = es[0].Ballot
	}
	for from := at + 1; from <= st.Last; {
		es, err := r.dir.log().Read(r.gpid, from, 8<<20)
		if err != nil || len(es) == 0 {
			// What the log lacks can't be prepared; the group has it.
			r.log.Warnf("log ends at decree %d, before its last, %d: %v", from-1, st.Last, err)
			return prepared, nil
		}
		for _, e := range es {
			if e.Ballot < ballot {
				return prepared, nil
			}
			ballot = e.Ballot
			if e.Decree <= st.Committed && len(prepared) == 0 {
				if err := store.Apply(e.Decree, e.Timestamp, e.Payload); err != nil {
					return nil, fmt.Errorf("replica %v: replay of decree %d: %w", r.gpid, e.Decree, err)
				}
				continue
			}
			prepared = append(prepared, pacifica.Entry{Ballot: e.Ballot, Decree: e.Decree, Timestamp: e.Timestamp, Payload: e.Payload})
		}
		from += int64(len(es))
	}
	return prepared, nil
}

// pacer bounds what the learners of one replica are sent from the log: twice what clients
// write meanwhile, or they would never get there, and besides what the server's pace for
// copies leaves.
type pacer struct {
	pace   *pace
	earned int64 // bytes that may be sent for what was written
}

// mostEarned is how much of it is kept.
const mostEarned = 4 << 20

// wrote notes that clients wrote n bytes.
func (p *pacer) wrote(n int64) { p.earned = min(p.earned+2*n, mostEarned) }

// Ready implements pacifica.Pacer.
func (p *pacer) Ready() bool { return p.earned > 0 || p.pace.ready() }

// Sent implements pacifica.Pacer.
func (p *pacer) Sent(n int64) {
	if p.earned > 0 {
		p.earned -= n
		return
	}
	p.pace.sent(n)
}

// logReader gives a core what left its window.
type logReader struct {
	log  *wal.Log
	gpid base.Gpid
}

// Entries implements pacifica.LogReader.
func (l logReader) Entries(from, to, maxBytes int64) ([]pacifica.Entry, error) {
	es, err := l.log.Read(l.gpid, from, maxBytes)
	if err != nil {
		return nil, err
	}
	out := make([]pacifica.Entry, 0, len(es))
	for _, e := range es {
		if e.Decree > to {
			break
		}
		out = append(out, pacifica.Entry{Ballot: e.Ballot, Decree: e.Decree, Timestamp: e.Timestamp, Payload: e.Payload})
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("decree %d is not in the log", from)
	}
	return out, nil
}

// post has f called by the loop. After close it does nothing.
func (r *replica) post(f func()) {
	r.inbox.mu.Lock()
	if !r.inbox.closed {
		r.inbox.calls = append(r.inbox.calls, f)
	}
	r.inbox.mu.Unlock()
	r.ring()
}

// deliver queues a message; the caller sees to it that a round follows.
func (r *replica) deliver(m pacifica.Message) {
	v := r.view.Load()
	r.inbox.mu.Lock()
	if !r.inbox.closed {
		r.inbox.messages = append(r.inbox.messages, m)
		// A new ballot or role has to be written down.
		r.inbox.patient = r.inbox.patient || m.Ballot != v.Ballot || m.Type == pacifica.MsgSnapshot || v.suspect ||
			m.Type == pacifica.MsgPrepare && m.Role != v.Status
	}
	r.inbox.mu.Unlock()
}

// recycle empties w for its next use.
func (w *work) recycle() {
	clear(w.writes)
	clear(w.messages)
	clear(w.calls)
	*w = work{writes: w.writes[:0], messages: w.messages[:0], persisted: w.persisted[:0], calls: w.calls[:0]}
}

// round handles everything that gathered since the last one.
func (r *replica) round(w *work) {
	for _, f := range w.calls {
		f()
	}
	if r.failed != nil {
		r.refuse(w.writes, base.ErrInvalidState)
		r.publish()
		return
	}
	for i := range w.messages {
		r.step(&w.messages[i])
		keepEntries(w.messages[i].Entries)
	}
	for _, p := range w.persisted {
		r.core.Persisted(p.ballot, p.decree)
	}
	if w.ticked {
		r.core.Tick()
	}
	r.queue = append(r.queue, w.writes...)
	for {
		r.propose()
		rd := r.core.Ready()
		if rd.Empty() {
			r.core.Recycle(&rd)
			break
		}
		r.handle(&rd)
		r.core.Recycle(&rd)
		if r.failed != nil {
			break
		}
	}
	r.publish()
}

// step gives a message to the core. A replica that may have forgotten what it acknowledged
// is nobody's secondary; as a learner it begins from what its store holds.
func (r *replica) step(m *pacifica.Message) {
	if r.suspect {
		if m.Role != pacifica.Learner {
			return
		}
		if err := wait(func(done func(error)) { r.dir.log().Reset(r.gpid, r.applied, done) }); err != nil {
			r.fail(fmt.Errorf("log: %w", err))
			return
		}
		r.suspect = false
	}
	r.core.Step(*m)
}

// handle carries out a Ready.
func (r *replica) handle(rd *pacifica.Ready) {
	if rd.Ballot != 0 {
		r.info.Ballot = rd.Ballot
		if err := writeJSON(r.infoName(), &r.info); err != nil {
			r.fail(fmt.Errorf("store ballot %d: %w", rd.Ballot, err))
			return
		}
	}
	if n := len(rd.Append); n > 0 {
		a := newAppending(r)
		for i := range rd.Append {
			e := &rd.Append[i]
			r.pacer.wrote(int64(len(e.Payload)))
			a.entries = append(a.entries, wal.Entry{Gpid: r.gpid, Ballot: e.Ballot, Decree: e.Decree, Committed: rd.Committed, Timestamp: e.Timestamp, Payload: e.Payload})
		}
		a.last = placed{rd.Append[n-1].Ballot, rd.Append[n-1].Decree}
		if r.srv.pace.watching() && r.core.Status() != pacifica.Learner {
			a.began = time.Now()
		}
		if r.srv.syncs {
			r.dir.log().Append(a.entries, a.done)
		} else {
			r.dir.log().AppendHeld(a.entries, a.done)
			r.worker.held(r.dir)
		}
	}
	r.send(rd.Messages)
	if err := r.applyAll(rd.Commit); err != nil {
		r.fail(err)
		return
	}
	if len(rd.Changes) > 0 {
		// Who learns from the meta of a change must find this replica aware of it.
		r.publish()
	}
	for i := range rd.Changes {
		r.change(rd.Changes[i])
	}
	if rd.Fetch != nil {
		r.fetch(*rd.Fetch)
	}
}

// appending is one append on its way to the log.
type appending struct {
	r       *replica
	entries []wal.Entry
	last    placed
	began   time.Time   // zero: nobody wants to know
	done    func(error) // the method logged
}

var appendings sync.Pool

func newAppending(r *replica) *appending {
	a, _ := appendings.Get().(*appending)
	if a == nil {
		a = new(appending)
		a.done = a.logged
	}
	a.r = r
	return a
}

// logged is called by the log once an append is durable. What follows from it is done by
// who takes the directory's written replicas.
func (a *appending) logged(err error) {
	r, p := a.r, a.last
	if !a.began.IsZero() {
		r.srv.pace.feel(senseLog, time.Since(a.began))
		a.began = time.Time{}
	}
	clear(a.entries)
	a.r, a.entries = nil, a.entries[:0]
	appendings.Put(a)
	if err != nil {
		r.post(func() { r.fail(fmt.Errorf("log: %w", err)) })
		return
	}
	r.inbox.mu.Lock()
	if !r.inbox.closed {
		r.inbox.persisted = append(r.inbox.persisted, p)
	}
	r.inbox.mu.Unlock()
	r.dir.wrote(r)
}

// maxApply is how many bytes of mutations make one batch of the store.
const maxApply = 1 << 20

// applyAll gives committed mutations to the store and answers who waits for them.
func (r *replica) applyAll(es []pacifica.Entry) error {
	for len(es) > 0 {
		n, size := 0, 0
		r.ms = r.ms[:0]
		for n < len(es) && (n == 0 || size+len(es[n].Payload) <= maxApply) {
			e := &es[n]
			r.ms = append(r.ms, rrdb.Mutation{Decree: e.Decree, TimestampUS: e.Timestamp, Payload: e.Payload})
			size += len(e.Payload)
			n++
		}
		err := r.store.Load().ApplyAll(r.ms)
		clear(r.ms)
		if err != nil {
			return err
		}
		last := es[n-1].Decree
		r.applied = last
		r.overlay.Remove(last)
		for i := range es[:n] {
			r.flights.commit(es[i].Decree, r.worker.burst)
		}
		es = es[n:]
	}
	return nil
}

// fail takes the replica out of service: its disk or its data is not to be trusted. The
// meta is told by the next config sync, which doesn't list it.
func (r *replica) fail(err error) {
	if r.failed != nil {
		return
	}
	r.log.Errorf("out of service: %v", err)
	r.failed = err
	r.core.Retire()
	r.abandon()
	r.srv.syncSoon()
}

// abandon ends what clients wait for after this replica stopped being the primary. What was
// not yet proposed certainly didn't happen. What was may still be committed by the next
// primary: an operation that can be repeated is told to try again, one that can't be gets no
// answer, as if the server had died.
func (r *replica) abandon() {
	r.refuse(r.queue, base.ErrInvalidState)
	clear(r.queue)
	r.queue = r.queue[:0]
	r.flights.abandon()
	r.overlay.Reset()
}

func (r *replica) refuse(reqs []*rpc.Request, code base.ErrorCode) {
	for _, q := range reqs {
		q.ReplyError(code)
	}
}

// publish makes the state visible.
func (r *replica) publish() {
	r.committed.Store(r.core.Committed())
	r.last.Store(r.core.Last())
	r.appliedAt.Store(r.applied)
	if r.core.Status() != pacifica.Primary && (len(r.queue) > 0 || !r.flights.empty()) {
		r.abandon()
	}
	old := r.view.Load()
	if old != nil && r.core.Unchanged(&old.State) && old.infoGen == r.infoGen && old.info.Ballot == r.info.Ballot &&
		old.info.Store == r.info.Store && old.failed == r.failed && old.suspect == r.suspect {
		return
	}
	st := r.core.State()
	v := &view{State: st, info: r.info, infoGen: r.infoGen, failed: r.failed, suspect: r.suspect}
	if st.Status == pacifica.Primary {
		// A learner that the meta was asked for holds each write before it is acknowledged,
		// as a member does.
		v.members = 1 + len(st.Config.Secondaries)
		for _, l := range st.Learners {
			if l.Asked {
				v.members++
			}
		}
	}
	v.least = r.least()
	if old != nil && old.Status != v.Status {
		// The table's properties come with the configuration.
		r.srv.syncSoon()
		if v.failed == nil && (v.Status == pacifica.Primary || v.Status == pacifica.Secondary) {
			r.srv.spawn(r.dropFetched)
		}
		r.log.Infof("%v at ballot %d (was %v at %d), committed %d, prepared %d", v.Status, v.Ballot, old.Status, old.Ballot, v.Committed, v.Last)
	}
	r.view.Store(v)
}

// look returns the view with the decrees as they are now.
func (r *replica) look() *view {
	v := *r.view.Load()
	v.applied = r.appliedAt.Load()
	v.Committed, v.Last = r.committed.Load(), r.last.Load()
	return &v
}

// least is how many members a partition of this table must have to accept writes.
func (r *replica) least() int {
	if n := r.srv.cfg.Replica.MinReplicas; n > 0 {
		return n
	}
	if n := int(r.info.MaxReplica); n > 2 {
		return n/2 + 1
	}
	return 1
}

// update takes the table's properties from the meta.
func (r *replica) update(a *layer2.AppInfo) {
	if a.AppId != r.gpid.AppID {
		return
	}
	envs := make(map[string]string, len(a.Envs))
	for _, p := range a.Envs {
		envs[p.Key] = p.Val
	}
	same := r.info.AppName == a.AppName && r.info.Partitions == a.PartitionCount && r.info.MaxReplica == a.MaxReplicaCount && len(envs) == len(r.info.Envs) &&
		r.info.Atomic == a.AtomicIdempotent.Or(false) && r.info.Created == a.CreateSecond
	for k, v := range envs {
		if w, ok := r.info.Envs[k]; !ok || v != w {
			same = false
		}
	}
	if same {
		return
	}
	r.info.AppName, r.info.Partitions, r.info.MaxReplica, r.info.Envs = a.AppName, a.PartitionCount, a.MaxReplicaCount, envs
	r.info.Atomic, r.info.Created = a.AtomicIdempotent.Or(false), a.CreateSecond
	r.infoGen++
	if err := writeJSON(r.infoName(), &r.info); err != nil {
		r.fail(fmt.Errorf("store table properties: %w", err))
		return
	}
	r.store.Load().SetPartitionCount(r.info.Partitions)
	r.store.Load().SetEnvs(envs)
	r.setRules()
}

// retain tells the log what this replica still needs.
func (r *replica) retain() {
	r.post(func() {
		if r.failed != nil || r.keepLog.Load() {
			return
		}
		// The entry at the store's decree stays: a restart learns from its ballot which of
		// those above it are void.
		need := r.store.Load().LastFlushed() - 1
		if !r.pressed.Swap(false) {
			need = min(need, r.core.Retain()-1, r.srv.send.pinned(r.gpid)-1)
		}
		r.dir.log().SetRetention(r.gpid, need)
	})
}

func (r *replica) flush(ctx context.Context) error { return r.store.Load().Flush(ctx) }

// flushSoon makes what is applied durable in the store, and lets the log have back what it
// held for that. Who asks while that goes on gets another flush after it: what he wants gone
// may be newer than what the first one began with, and the log doesn't ask twice.
//
// Of a disk's replicas as many are at it as there are processors: the log asks for all that hold
// its oldest segment together, and hundreds of flushes would leave requests no turn.
func (r *replica) flushSoon() {
	if r.flushes.Add(1) > 1 {
		return
	}
	r.srv.spawn(func() {
		select {
		case r.dir.flushes <- struct{}{}:
			defer func() { <-r.dir.flushes }()
		case <-r.srv.ctx.Done():
			return
		}
		for {
			asked := r.flushes.Load()
			ctx, cancel := context.WithTimeout(r.srv.ctx, flushTime)
			err := r.flush(ctx)
			cancel()
			if err != nil {
				r.log.Warnf("flush that was asked for: %v", err)
				r.flushes.Store(0)
				return
			}
			if r.dir.log().Stats().TotalBytes > hardly*r.srv.cfg.WAL.MaxBytes {
				r.pressed.Store(true)
			}
			r.retain()
			if r.flushes.CompareAndSwap(asked, 0) {
				return
			}
		}
	})
}

// close ends the loop and closes the store.
func (r *replica) close() error {
	r.inbox.mu.Lock()
	r.inbox.closed = true
	r.inbox.mu.Unlock()
	r.ring() // who is in a round will see it, and leave the rest to the goroutine
	<-r.done
	if err := r.store.Load().Close(); err != nil {
		return fmt.Errorf("replica %v: %w", r.gpid, err)
	}
	return nil
}

// shut is the loop's last round.
func (r *replica) shut(w *work) {
	r.core.Retire()
	r.refuse(w.writes, base.ErrInvalidState)
	r.abandon()
}
