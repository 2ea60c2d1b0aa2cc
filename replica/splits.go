package replica

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"pegasus/base"
	"pegasus/base/pause"
	"pegasus/base/version"
	"pegasus/gen/layer2"
	gensplit "pegasus/gen/split"
	"pegasus/gen/switching"
	"pegasus/pacifica"
	"pegasus/pacifica/split"
	"pegasus/replica/disk"
	"pegasus/replica/part"
	"pegasus/replica/stored"
	"pegasus/replica/wal"
	"pegasus/rpc"
	"pegasus/rrdb"
)

// splitter has partitions become two, when the meta orders it. Package pacifica/split has the protocol.
type splitter struct {
	part.Quiet
	srv *Server

	mu   sync.Mutex
	busy map[base.Gpid]bool // a switch is being carried out
	held atomic.Int64       // requests that wait for a child

	counts map[base.Gpid]*splitCounts // under mu
}

const (
	// switchTime bounds one try of a switch; the meta orders it again.
	switchTime = 20 * time.Second
	// childTime bounds what a member is asked for.
	childTime = 10 * time.Second
	// holdTime is for how long a request waits for the child that its row went to, and maxHeld how many do.
	holdTime = 3 * time.Second
	maxHeld  = 10000
)

func newSplitter(s *Server) part.Part {
	sp := &splitter{srv: s, busy: map[base.Gpid]bool{}, counts: map[base.Gpid]*splitCounts{}}
	s.moved = sp.moved
	return sp
}

// Register implements part.Part.
func (sp *splitter) Register(r *part.Routes) {
	r.Request(base.RPCSplitSwitch, sp.onSwitch)
	r.Request(base.RPCSplitChild, sp.onChild)
}

// onSwitch carries out the meta's order.
func (sp *splitter) onSwitch(req *rpc.Request) {
	var q switching.SwitchRequest
	if err := req.DecodeArg(&q); err != nil {
		req.Refuse(base.ErrInvalidData, err)
		return
	}
	if err := sp.srv.meta.Identity.Same(q.ClusterId.V); err != nil {
		req.Reply(&switching.SwitchResponse{Err: base.ErrClusterNotFound, HintMsg: err.Error()})
		return
	}
	_, v := sp.srv.disks.Cluster()
	if err := version.Permit(v, version.Splits.Since()); err != nil {
		req.Reply(&switching.SwitchResponse{Err: base.ErrOperationDisabled, HintMsg: err.Error()})
		return
	}
	if !sp.begin(q.Parent) {
		req.Reply(&switching.SwitchResponse{Err: base.ErrBusy, HintMsg: "it is switching"})
		return
	}
	req.Go(func() {
		defer sp.end(q.Parent)
		ctx, cancel := context.WithTimeout(sp.srv.ctx, switchTime)
		defer cancel()
		res := switching.SwitchResponse{Err: base.ErrOK}
		counts := sp.countsOf(q.Parent)
		counts.started.Add(1)
		if err := sp.carryOut(ctx, q.Parent, q.PartitionCount); err == nil {
			counts.ok.Add(1)
		} else {
			counts.failed.Add(1)
			res.Err, res.HintMsg = base.CodeOf(err), err.Error()
		}
		req.Reply(&res)
	})
}

func (sp *splitter) begin(g base.Gpid) bool {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	if sp.busy[g] {
		return false
	}
	sp.busy[g] = true
	return true
}

func (sp *splitter) end(g base.Gpid) {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	delete(sp.busy, g)
}

// within has f called by the replica's round, and waits.
func within(ctx context.Context, r *replica, f func(*driver)) error {
	done := make(chan error, 1)
	r.post(func(r *driver) {
		f(r)
		done <- nil
	})
	return r.await(ctx, done)
}

// carryOut does what is next until the child is registered.
func (sp *splitter) carryOut(ctx context.Context, g base.Gpid, count int32) error {
	r := sp.srv.replica(g)
	if r == nil {
		return fmt.Errorf("replica %v isn't here: %w", g, base.ErrObjectNotFound)
	}
	warm := false
	took := newStages()
	for ctx.Err() == nil {
		var a split.Action
		var members []pacifica.NodeID
		var err error
		e := within(ctx, r, func(r *driver) { a, members, err = r.nextOfSplit(count) })
		if err = errors.Join(e, err); err != nil {
			return err
		}
		switch a.Kind {
		case split.Wait:
			pause.For(ctx, 5*time.Millisecond)
		case split.Propose:
			// What is in memory is written before, so that little is left while clients wait.
			if !warm {
				if _, err := sp.askAll(ctx, g, members, split.Mark{Count: count}); err != nil {
					return err
				}
				warm = true
				took.end("flush")
				continue
			}
			if err := r.cut(ctx, count); err != nil {
				return err
			}
			// Clients wait for all members to apply it.
			if err := within(ctx, r, func(r *driver) { r.core.Announce() }); err != nil {
				return err
			}
			took.end("cut")
		case split.Ask:
			answers, err := sp.askAll(ctx, g, a.Nodes, a.Mark)
			ballot := r.view.Load().Ballot
			e := within(ctx, r, func(r *driver) {
				if r.core.Ballot() != ballot {
					return
				}
				for _, x := range answers {
					r.parting.Take(x)
				}
			})
			if err = errors.Join(e, err); err != nil {
				return err
			}
			took.end("children")
		case split.Register:
			err := sp.askMeta(ctx, r, a)
			took.end("registration")
			if err == nil {
				r.log.Infof("it is one of %d partitions: the other half is registered; %s", count, took)
			}
			return err
		}
	}
	return fmt.Errorf("the partition isn't split yet: %w", context.Cause(ctx))
}

// nextOfSplit returns what is to be done next, and the members.
func (r *driver) nextOfSplit(count int32) (a split.Action, members []pacifica.NodeID, err error) {
	st := r.core.State()
	v := split.View{Config: st.Config, Mark: markOf(r.store.Load().Cut())}
	switch {
	case r.failed != nil || st.Status != pacifica.Primary || r.srv.meta.Lease.Ended():
		return a, nil, errNotNow
	case v.Mark.Count > count || count%2 != 0:
		return a, nil, fmt.Errorf("the table is to have %d partitions, and this one was split when it got %d: %w", count, v.Mark.Count, base.ErrInvalidState)
	}
	v.Serving = st.Serving && r.applied >= r.core.ServesAfter() && (!r.flights.empty() || r.applied >= r.core.Committed())
	return r.parting.Next(count, v), append([]pacifica.NodeID{st.Config.Primary}, st.Config.Secondaries...), nil
}

func markOf(c rrdb.Cut) split.Mark {
	return split.Mark{Count: c.Count, Decree: c.Decree, Timestamp: c.Timestamp}
}

// cut proposes the cut, and waits until it is applied here.
func (r *replica) cut(ctx context.Context, count int32) error {
	done := make(chan error, 1)
	r.post(func(r *driver) {
		if ctx.Err() != nil || !r.mayPropose() {
			done <- errNotNow
			return
		}
		if err := r.proposeOwn(rrdb.AppendCut(nil, r.gpid.PartitionIndex, count), done); err != nil {
			done <- fmt.Errorf("propose the cut: %w", err)
			return
		}
		// Before anything else is proposed.
		r.parting.Proposed(count)
		r.fence.Store(count)
	})
	return r.await(ctx, done)
}

// askAll asks members for the child of that mark, or, for a mark without a decree, to write what is in memory.
func (sp *splitter) askAll(ctx context.Context, g base.Gpid, nodes []pacifica.NodeID, m split.Mark) ([]split.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, childTime)
	defer cancel()
	q := &switching.ChildRequest{Parent: g, PartitionCount: m.Count, Decree: m.Decree, TimestampUs: m.Timestamp, ClusterId: sp.srv.meta.Identity.Wire()}
	answers, errs := make([]split.Answer, len(nodes)), make([]error, len(nodes))
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() {
			var err error
			if n == sp.srv.addr {
				err = sp.child(ctx, q)
			} else {
				var res switching.ChildResponse
				err = sp.srv.pool.Call(ctx, sp.srv.peerName(n), rpc.Outgoing{Code: base.RPCSplitChild, Gpid: g, Arg: q, From: sp.srv.addr}, &res)
				if err == nil && res.Err != base.ErrOK {
					err = fmt.Errorf("%s: %w", res.HintMsg, res.Err)
				}
			}
			if err != nil {
				errs[i] = fmt.Errorf("member %v: %w", n, err)
				return
			}
			answers[i] = split.Answer{From: n, Held: m}
		})
	}
	wg.Wait()
	return answers, errors.Join(errs...)
}

// onChild answers the primary that asks for the child.
func (sp *splitter) onChild(req *rpc.Request) {
	q := new(switching.ChildRequest)
	if err := req.DecodeArg(q); err != nil {
		req.Refuse(base.ErrInvalidData, err)
		return
	}
	if err := sp.srv.meta.Identity.Same(q.ClusterId.V); err != nil {
		req.Reply(&switching.ChildResponse{Err: base.ErrClusterNotFound, HintMsg: err.Error()})
		return
	}
	req.Go(func() {
		ctx, cancel := context.WithTimeout(sp.srv.ctx, childTime)
		defer cancel()
		res := switching.ChildResponse{Err: base.ErrOK}
		if err := sp.child(ctx, q); err != nil {
			res.Err, res.HintMsg = base.CodeOf(err), err.Error()
		}
		req.Reply(&res)
	})
}

// child makes the child here, unless it is there. Without an error it is, durably.
func (sp *splitter) child(ctx context.Context, q *switching.ChildRequest) error {
	r := sp.srv.replica(q.Parent)
	if r == nil || r.view.Load().failed != nil || r.view.Load().suspect {
		return fmt.Errorf("replica %v isn't usable here: %w", q.Parent, base.ErrObjectNotFound)
	}
	g := base.Gpid{AppID: q.Parent.AppID, PartitionIndex: split.Child(q.Parent.PartitionIndex, q.PartitionCount)}
	if q.Decree == 0 {
		if err := sp.mayMake(r, g); err != nil {
			return fmt.Errorf("replica %v can't be made of %v: %w", g, q.Parent, err)
		}
		return r.flush(ctx)
	}
	want := split.Mark{Count: q.PartitionCount, Decree: q.Decree, Timestamp: q.TimestampUs}
	for markOf(r.store.Load().Cut()) != want {
		// The others hear a moment later of what is committed.
		if !pause.For(ctx, 5*time.Millisecond) {
			return fmt.Errorf("replica %v hasn't applied decree %d, the cut: %w", q.Parent, q.Decree, base.ErrTryAgain)
		}
	}
	if c := sp.srv.replica(g); c != nil {
		v := c.look()
		if v.failed != nil || v.Status != pacifica.Inactive || v.Ballot != 0 || v.applied != want.Decree || c.store.Load().LastTimestamp() != want.Timestamp {
			return fmt.Errorf("replica %v is here, and is %v at decree %d: %w", g, v.Status, v.applied, base.ErrInvalidState)
		}
		return nil
	}
	if (members{sp.srv}).holdsAll(g) {
		return fmt.Errorf("there are no descriptors for more replicas: %w", base.ErrInvalidState)
	}
	if !sp.srv.begin(g) {
		return fmt.Errorf("replica %v is being opened: %w", g, base.ErrTryAgain)
	}
	c, err := sp.makeChild(ctx, r, g, want)
	sp.srv.endOpening(g, c)
	if err != nil {
		return fmt.Errorf("replica %v is to be made of %v: %w", g, q.Parent, err)
	}
	return nil
}

// mayMake says what keeps the child g of r from being made here. It is asked before the cut: from then on, until all members have the child,
// nobody serves the rows that move, however long that takes.
func (sp *splitter) mayMake(r *replica, g base.Gpid) error {
	switch {
	case sp.srv.replica(g) != nil || sp.srv.disks.Holds(g):
		return fmt.Errorf("one is here, and isn't of this split: %w", base.ErrInvalidState)
	case (members{sp.srv}).holdsAll(g):
		return fmt.Errorf("there are no descriptors for more replicas: %w", base.ErrInvalidState)
	}
	return r.dir.Usable()
}

// makeChild makes the child's replica of the parent r. Its id is reserved.
func (sp *splitter) makeChild(ctx context.Context, r *replica, g base.Gpid, want split.Mark) (*replica, error) {
	if sp.srv.disks.Holds(g) {
		return nil, fmt.Errorf("it is on a disk, and can't be used: %w", base.ErrInvalidState)
	}
	d := r.dir.Dir
	if d.State() == disk.Failed { // if it is short of room since the cut: these are hard links
		return nil, d.Usable()
	}
	dir := filepath.Join(d.Scratch(), "child."+g.String())
	store := filepath.Join(dir, "store.1")
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil {
		return nil, err
	}
	placed := false
	defer func() {
		if !placed {
			if err := os.RemoveAll(dir); err != nil {
				r.log.Warnf("remove %s: %v", dir, err)
			}
		}
	}()
	took := newStages()
	// First the copy, then the question: while the child isn't registered nobody removes its rows.
	if _, err := r.store.Load().Checkpoint(store); err != nil {
		return nil, err
	}
	took.end("copy")
	cfg, err := sp.srv.meta.Configuration(ctx, g)
	if cfg == nil {
		return nil, fmt.Errorf("ask the meta whether it is registered: %w", err)
	}
	if cfg.Ballot != -1 || cfg.Primary != 0 {
		return nil, fmt.Errorf("it is registered, at ballot %d: %w", cfg.Ballot, base.ErrChildRegistered)
	}
	took.end("question")
	info := r.view.Load().info
	cut, err := rrdb.MakeChild(ctx, sp.srv.storeToBuild(g, store, &info))
	if err != nil {
		return nil, err
	}
	if markOf(cut) != want {
		return nil, fmt.Errorf("the parent was cut at decree %d, not %d: %w", cut.Decree, want.Decree, base.ErrInvalidState)
	}
	took.end("cut")
	info.Partition, info.Partitions, info.Store, info.Ballot, info.Member, info.Seed = g.PartitionIndex, want.Count, 1, 0, 0, 0
	info.Made = sp.srv.meta.Clock.Now().UnixMilli()
	if err := disk.WriteJSON(stored.Name(dir), &info); err != nil {
		return nil, err
	}
	if err := errors.Join(disk.SyncDir(store), disk.SyncDir(dir)); err != nil {
		return nil, err
	}
	// The log may remember an earlier life of this replica here.
	if err := wal.Wait(func(done func(error)) { d.Log().Reset(g, want.Decree, done) }); err != nil {
		return nil, err
	}
	took.end("log")
	path := d.ReplicaPath(g)
	if err := os.Rename(dir, path); err != nil {
		return nil, err
	}
	placed = true
	if err := errors.Join(disk.SyncDir(filepath.Dir(path)), disk.SyncDir(d.Scratch())); err != nil {
		sp.srv.noteBroken(g, d, err)
		return nil, err
	}
	c, err := sp.srv.openReplica(g, d, nil)
	if err != nil {
		sp.srv.noteBroken(g, d, err)
		return nil, err
	}
	took.end("opening")
	c.log.Infof("made of its parent %v at decree %d: %s", r.gpid, want.Decree, took)
	return c, nil
}

// askMeta has the child registered, and its primary begin.
func (sp *splitter) askMeta(ctx context.Context, r *replica, a split.Action) error {
	g := r.gpid
	child := base.Gpid{AppID: g.AppID, PartitionIndex: split.Child(g.PartitionIndex, a.Mark.Count)}
	config := func(g base.Gpid, ballot int64) layer2.PartitionConfiguration {
		return layer2.PartitionConfiguration{Pid: g, Ballot: ballot, Primary: a.Child.Primary, Secondaries: a.Child.Secondaries,
			HpPrimary: base.Some(hostPortOf(a.Child.Primary)), HpSecondaries: base.Some(hostPortsOf(a.Child.Secondaries))}
	}
	q := &gensplit.RegisterChildRequest{App: layer2.NewAppInfo(), ParentConfig: config(g, a.Child.Ballot-1), ChildConfig: config(child, a.Child.Ballot), Primary: a.Child.Primary,
		HpPrimary: base.Some(hostPortOf(a.Child.Primary))}
	q.ChildConfig.LastCommittedDecree = a.Mark.Decree
	epoch := sp.srv.meta.Lease.Epoch()
	res, err := sp.srv.meta.RegisterChild(ctx, q)
	if err != nil {
		return err
	}
	if res.App.AppId == g.AppID && (res.Err == base.ErrOK || res.Err == base.ErrChildRegistered) {
		r.post(func(r *driver) { r.update(&res.App) })
	}
	sp.srv.meta.SyncSoon()
	switch c := sp.srv.replica(child); {
	case res.Err == base.ErrChildRegistered:
		return nil
	case res.Err != base.ErrOK:
		return fmt.Errorf("the meta doesn't register %v: %w", child, res.Err)
	case c != nil:
		cfg := coreConfig(&res.ChildConfig)
		c.post(func(c *driver) {
			if sp.srv.meta.Lease.Epoch() == epoch {
				c.core.Configure(cfg)
			}
		})
	}
	return nil
}

// moved answers a request whose row isn't the partition's since its table was split. As long as nobody serves the row
// it waits. whose is by how many partitions the row was looked at; again nil is for a write.
func (sp *splitter) moved(req *rpc.Request, r *replica, whose int32, again func(*worker)) {
	refuse := func() {
		if c := sp.countsOf(r.gpid); again == nil || !readsRows(req.Code) {
			c.noWrites.Add(1)
		} else {
			c.noReads.Add(1)
		}
		req.ReplyError(base.ErrParentPartitionMisused)
	}
	if req.IsBackup || !sp.toCome(r, whose) {
		refuse()
		return
	}
	if sp.held.Add(1) > maxHeld {
		sp.held.Add(-1)
		refuse()
		return
	}
	req.Go(func() {
		defer sp.held.Add(-1)
		g := base.Gpid{AppID: r.gpid.AppID, PartitionIndex: split.Child(r.gpid.PartitionIndex, whose)}
		for until := time.Now().Add(holdTime); time.Now().Before(until) && sp.srv.ctx.Err() == nil; {
			if c := sp.srv.replica(g); c != nil && c.view.Load().Serving {
				req.Gpid = g
				w := &worker{burst: new(rpc.Burst)}
				if again != nil {
					again(w)
				} else {
					sp.srv.gate.write(req, w)
				}
				w.run()
				return
			}
			if !sp.toCome(r, whose) {
				break
			}
			pause.For(sp.srv.ctx, 5*time.Millisecond)
		}
		refuse()
	})
}

// toCome tells whether the child of r is about to be served here.
func (sp *splitter) toCome(r *replica, whose int32) bool {
	v := r.view.Load()
	if v.Status != pacifica.Primary {
		return false
	}
	if v.info.Partitions < whose {
		return true // not registered, as far as is known
	}
	c := sp.srv.replica(base.Gpid{AppID: r.gpid.AppID, PartitionIndex: split.Child(r.gpid.PartitionIndex, whose)})
	if c == nil {
		return false
	}
	cv := c.view.Load()
	return !cv.Serving && (cv.Status == pacifica.Inactive || cv.Status == pacifica.Primary) && cv.failed == nil
}

// stages are the parts of something that clients wait for, and how long each took.
type stages struct {
	at   time.Time // when the last one ended
	text []string
}

func newStages() *stages { return &stages{at: time.Now()} }

func (s *stages) end(name string) {
	now := time.Now()
	s.text = append(s.text, fmt.Sprintf("%s %v", name, now.Sub(s.at).Round(time.Millisecond)))
	s.at = now
}

func (s *stages) String() string { return strings.Join(s.text, ", ") }
