package replica

import (
	"fmt"
	"time"

	"pegasus/base"
	"pegasus/pacifica"
	"pegasus/pacifica/split"
	"pegasus/replica/checkpoint"
	"pegasus/rpc"
	"pegasus/rrdb"
)

// driver drives the core of a replica: it is the replica for whoever is in a round, and what only he
// may touch. Who isn't posts a function of it.
type driver struct {
	*replica

	worker  *worker // where the round's messages and appends go; nil outside of one
	taken   work
	infoGen int      // counts changes of the table's properties in info
	after   []func() // called once the round's outcome is published
	ms      []rrdb.Mutation
	write   rrdb.WriteRequest
	core    *pacifica.Core
	parting split.Parent
	pacer   checkpoint.LogPacer
	info    replicaInfo
	overlay *rrdb.Overlay
	flights flights
	tracing tracing
	queue   []*rpc.Request
	failed  error
	applied int64
	// suspect: it may have forgotten what it acknowledged. intact is what it has left. cores
	// counts the cores that it had.
	suspect bool
	intact  intact
	cores   int
}

// newCore makes the replica's core, with everything up to r.applied in the store and prepared
// after it.
func (r *driver) newCore(prepared []pacifica.Entry) {
	c := r.srv.cfg.Replica
	ticks := func(d time.Duration) int { return max(1, int(d/tick)) }
	r.core = pacifica.New(pacifica.Options{Self: r.srv.addr, Log: logReader{r.dir, r.gpid}, Pacer: &r.pacer, MaxInFlight: int64(max(1, c.MaxMutations)),
		MaxSendBytes: r.srv.sizes.Send, MaxEntryBytes: r.srv.sizes.Entry, HeartbeatTicks: ticks(c.CommitInterval.D()), ResendTicks: 5, EjectTicks: ticks(c.PrepareTimeout.D()),
		LearnTicks: ticks(20 * time.Second), Apart: rrdb.IsTake}, r.info.Ballot, r.applied, prepared)
	r.core.SetMinMembers(r.minMembers())
	r.core.Witness(r.store.Load().LastTimestamp())
	r.cores++
	r.taking.clear()
	r.taking.note(prepared)
}

// logReader gives a core what left its window. The directory may get another log, see revive,
// while the replica is being opened.
type logReader struct {
	dir  *dataDir
	gpid base.Gpid
}

// Entries implements pacifica.LogReader.
func (l logReader) Entries(from, to, maxBytes int64) ([]pacifica.Entry, error) {
	es, err := l.dir.Log().Read(l.gpid, from, maxBytes)
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

// conclude shows the outcome of a round, and then tells who waits for that.
func (r *driver) conclude() {
	r.publish()
	if len(r.tracing.waiting) > 0 {
		r.dropTraces()
	}
	for i, f := range r.after {
		r.after[i] = nil
		f()
	}
	r.after = r.after[:0]
	r.at(stepConcluded)
}

// publish makes the state visible. A primary is shown as serving only once its store holds all
// that it inherited, which the core counts as committed a moment earlier.
func (r *driver) publish() {
	r.committed.Store(r.core.Committed())
	r.last.Store(r.core.Last())
	r.appliedAt.Store(r.applied)
	if r.core.Status() != pacifica.Primary {
		r.parting.Deposed()
		r.fence.Store(0)
		if len(r.queue) > 0 || !r.flights.empty() {
			r.abandon()
		}
	}
	old := r.view.Load()
	if old != nil && r.core.Unchanged(&old.State) && old.infoGen == r.infoGen && old.info.Ballot == r.info.Ballot && old.info.Member == r.info.Member &&
		old.info.Store == r.info.Store && old.failed == r.failed && old.suspect == r.suspect {
		return
	}
	st := r.core.State()
	st.Serving = st.Serving && r.applied >= r.core.ServesAfter()
	v := &view{State: st, info: r.info, infoGen: r.infoGen, failed: r.failed, suspect: r.suspect, intact: r.intact}
	if st.Status == pacifica.Primary {
		// With a learner that the meta was asked for, a write is worth waiting: see propose.
		members, asked := r.core.Members()
		v.members = members + asked
	}
	v.minMembers = r.minMembers()
	if old != nil && old.Status != v.Status {
		// The table's properties come with the configuration.
		r.srv.meta.SyncSoon()
		if v.failed == nil && (v.Status == pacifica.Primary || v.Status == pacifica.Secondary) {
			r.srv.spawn(r.learner.Drop)
		}
		r.log.Infof("%v at ballot %d (was %v at %d), committed %d, prepared %d", v.Status, v.Ballot, old.Status, old.Ballot, v.Committed, v.Last)
	}
	r.view.Store(v)
	if v.Status == pacifica.Learner {
		r.learner.StopUnlessFrom(v.Config.Primary)
	} else {
		r.learner.Stop()
	}
}

// least is how many members a partition of this table must have to accept writes.
func (r *driver) minMembers() int {
	return base.MinMembers(r.info.MaxReplica, r.srv.cfg.Replica.MinReplicas)
}

// fail takes the replica out of service: its disk or its data is not to be trusted. The
// meta is told by the next config sync, which doesn't list it.
func (r *driver) fail(err error) {
	if r.failed != nil {
		return
	}
	r.log.Errorf("out of service: %v", err)
	r.failed = err
	r.core.Retire()
	r.abandon()
	r.srv.meta.SyncSoon()
}

// abandon ends what clients wait for after this replica stopped being the primary. What was
// not yet proposed certainly didn't happen. What was may still be committed by the next
// primary, see flight.abandon.
func (r *driver) abandon() {
	r.refuseQueue(base.ErrInvalidState)
	for i := range r.flights.list {
		r.endTraces(&r.flights.list[i], "this server ceased to be the primary")
	}
	r.flights.abandon()
	r.overlay.Reset()
}

// refuseQueue refuses the writes that wait to be proposed: they certainly didn't happen.
func (r *driver) refuseQueue(code base.ErrorCode) {
	refuseAll(r.queue, code)
	clear(r.queue)
	r.queue = r.queue[:0]
}

func refuseAll(reqs []*rpc.Request, code base.ErrorCode) {
	for _, q := range reqs {
		q.ReplyError(code)
	}
}

// step is a place in a round where the replica's goroutine may be kept from going on for any
// length of time: the machine is busy, a disk is slow. What others do meanwhile must be right
// at each of them.
type step int

const (
	stepTaken     step = iota // the work of the round is here, nothing is done yet
	stepCalled                // the meta's word is with the core
	stepStepped               // messages, what became durable, and time are with the core
	stepProposed              // waiting writes were proposed
	stepBallot                // a new ballot is durable
	stepWithdrawn             // the role is published before messages leave
	stepAppended              // entries are on their way to the log
	stepSent                  // messages are on their way
	stepApplied               // what is committed is in the store, and clients are answered
	stepAsked                 // the meta was asked for changes
	stepConcluded             // the outcome is published
	steps
)

// roundHooks are a test's, and nil otherwise.
type roundHooks struct {
	// at is called at each step of each round, on the goroutine that is in the round.
	at func(*replica, step)
	// lose tells whether the network lost a message on its way to the replica.
	lose func(*replica, pacifica.Message) bool
}

// at tells a test of a step.
func (r *driver) at(s step) {
	if p := r.srv.hooks.Load(); p != nil && p.at != nil {
		p.at(r.replica, s)
	}
}
