package split

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"pegasus/base"
	"pegasus/base/version"
	"pegasus/gen/metadata"
	"pegasus/gen/split"
	"pegasus/gen/switching"
	"pegasus/meta/service"
	"pegasus/meta/state"
	"pegasus/meta/wire"
	protocol "pegasus/pacifica/split"
)

const (
	// lookEvery is how often it is looked what is to be done.
	lookEvery = 300 * time.Millisecond
	// atATime is how many partitions of the cluster switch at a time. No server takes part in two switches at a time:
	// clients wait meanwhile, and would wait for both.
	atATime = 16
	// orderTime bounds one order. Its primary flushes stores, makes a copy, and asks the others to.
	orderTime = 30 * time.Second
)

// Options are what the service needs of the meta beside its Leader.
type Options struct {
	// Enabled: splits may be begun. One that was begun goes on in any case.
	Enabled bool
	// MaxPartitions is how many a table may have.
	MaxPartitions int
	// Frozen says why nothing may be begun; "" if it may.
	Frozen func() string
	// Look has the planner look at a table.
	Look func(id int32)
	// NoBackups: backups are switched off. None that was begun goes on, so none is waited for.
	NoBackups bool
	// Cluster is the id of the cluster; "" if it has none.
	Cluster func() string
}

// Service splits tables.
type Service struct {
	service.Quiet
	service.Leader
	o Options

	soon chan struct{} // something may be done at once

	mu      sync.Mutex
	ordered map[base.Gpid][]base.RPCAddress // an order is under way, in which these servers take part
	told    map[base.Gpid]time.Time         // when it was told last
	waits   map[base.Gpid]string            // what a partition waits for
}

// New returns the service of a meta that leads.
func New(l service.Leader, o Options) *Service {
	return &Service{Leader: l, o: o, soon: make(chan struct{}, 1), ordered: map[base.Gpid][]base.RPCAddress{}, told: map[base.Gpid]time.Time{}, waits: map[base.Gpid]string{}}
}

// Register implements service.Service.
func (*Service) Register(r *service.Routes) {
	service.Handle(r, base.RPCStartPartitionSplit, service.Slow, (*Service).start)
	service.Handle(r, base.RPCControlPartitionSplit, service.Slow, (*Service).control)
	service.Handle(r, base.RPCQueryPartitionSplit, service.Fast, (*Service).query)
	service.Handle(r, base.RPCRegisterChildReplica, service.Slow, (*Service).register)
	// Upstream's primaries ask these. Ours have no reason to.
	service.Refuse[Service, split.NotifyStopSplitRequest, split.NotifyStopSplitResponse](r, base.RPCNotifyStopSplit, base.ErrInvalidState)
	service.Refuse[Service, split.QueryChildStateRequest, split.QueryChildStateResponse](r, base.RPCQueryChildState, base.ErrInvalidState)
}

// find returns the table of that name, or why there is none.
func (s *Service) find(st *state.State, name string) (t *state.Table, code base.ErrorCode, is string) {
	if t = st.TableNamed(name); t != nil {
		return t, base.ErrOK, ""
	}
	return nil, base.ErrAppNotExist, "not existed"
}

// isOff is what who wants a split is told where none may be begun.
const isOff = "partition split is switched off on this cluster: to switch it on, remove " +
	"partition_split = false from the section [meta] of the configuration of each meta server, and restart them one after the other"

// start begins to split a table.
func (s *Service) start(c *service.Call, q *split.StartPartitionSplitRequest, r *split.StartPartitionSplitResponse) {
	table := int32(0)
	s.Read(func(st *state.State) {
		t, code, is := s.find(st, q.AppName)
		if t == nil {
			r.Err, r.HintMsg = code, "app "+is
			return
		}
		table = t.ID
		r.Err, r.HintMsg = s.refuse(st, t, q.NewPartitionCount)
	})
	if r.Err == "" {
		if why := s.o.Frozen(); why != "" {
			r.Err, r.HintMsg = base.ErrStateFreezed, why
		}
	}
	if r.Err == "" {
		if r.Err = s.Apply(&state.StartSplit{Table: table, Count: q.NewPartitionCount}).Err; r.Err != base.ErrOK && r.Err != base.ErrServiceNotActive {
			r.HintMsg = fmt.Sprintf("the split isn't begun: %v", r.Err)
		}
	}
	if r.Err != base.ErrOK {
		s.Log().Infof("split table %.*q to %d partitions: %v: %s, asked by %s", base.MaxTableName, q.AppName, q.NewPartitionCount, r.Err, r.HintMsg, c.From)
		return
	}
	s.Log().Infof("table %q is being split to %d partitions, asked by %s", q.AppName, q.NewPartitionCount, c.From)
}

// refuse says why a table can't be split to count partitions; "" if it can.
func (s *Service) refuse(st *state.State, t *state.Table, count int32) (code base.ErrorCode, why string) {
	if !s.o.Enabled {
		return base.ErrServiceNotActive, isOff
	}
	if err := version.Permit(st.Version(), version.Listings.Since()); err != nil {
		return base.ErrServiceNotActive, err.Error()
	}
	if !st.MayList(t.ID) {
		return base.ErrInvalidParameters, fmt.Sprintf("the table's id is %d: only a table can be split whose id is smaller than 16384, and isn't what remains if the id of another table, "+
			"also of one that was dropped, from 131072 up to 262143 is divided by 16384: copy it into a new table of a new cluster", t.ID)
	}
	if st.Restoring(t.ID) {
		return base.ErrInvalidState, fmt.Sprintf("table %s is being restored: split it once that is done", t.Name)
	}
	if err := st.MaySplit(t, count); err != nil {
		return base.CodeOf(err), hintOf(err)
	}
	if int(count) > s.o.MaxPartitions {
		return base.ErrInvalidParameters, fmt.Sprintf("a table may have %d partitions: see meta.max_partition_count", s.o.MaxPartitions)
	}
	return "", ""
}

// hintOf is what an error says, without its code.
func hintOf(err error) string {
	text, code := err.Error(), ": "+string(base.CodeOf(err))
	if n := len(text) - len(code); n > 0 && text[n:] == code {
		return text[:n]
	}
	return text
}

// control pauses a split, goes on with it, or cancels it.
func (s *Service) control(c *service.Call, q *split.ControlSplitRequest, r *split.ControlSplitResponse) {
	cmd := state.ControlSplit{Do: state.SplitControl(q.ControlType), Parent: q.ParentPidx}
	refuse := func(code base.ErrorCode, format string, args ...any) {
		r.Err, r.HintMsg = code, base.Some(fmt.Sprintf(format, args...))
	}
	s.Read(func(st *state.State) {
		t, code, is := s.find(st, q.AppName)
		if t == nil {
			refuse(code, "app %s", is)
			return
		}
		cmd.Table = t.ID
		sp, ok := st.SplitOf(t.ID)
		switch {
		case !ok || cmd.Do < state.SplitPause || cmd.Do > state.SplitCancel:
			refuse(base.ErrInvalidState, "app(%s) is not splitting", q.AppName)
		case cmd.Do == state.SplitCancel && q.OldPartitionCount.V != int32(len(sp.Status)):
			refuse(base.ErrInvalidParameters, "wrong partition_count, should be %d", len(sp.Status))
		case cmd.Do != state.SplitCancel && int(q.ParentPidx) >= len(sp.Status):
			refuse(base.ErrInvalidParameters, "invalid parent partition index(%d)", q.ParentPidx)
		}
	})
	if r.Err != "" {
		return
	}
	switch r.Err = s.Apply(&cmd).Err; {
	case r.Err == base.ErrOK:
		s.Log().Infof("split of table %q: %v, partition %d (-1: all), asked by %s", q.AppName, q.ControlType, q.ParentPidx, c.From)
		s.Kick()
	case r.Err == base.ErrChildRegistered && cmd.Do == state.SplitCancel:
		r.HintMsg = base.Some("some partitions have switched, or are about to: the split can't be canceled any more, it can only go on")
	case cmd.Do != state.SplitCancel:
		r.HintMsg = base.Some(fmt.Sprintf("partition[%d] is not splitting", q.ParentPidx))
	}
}

// query tells how far a split is.
func (s *Service) query(_ *service.Call, q *split.QuerySplitRequest, r *split.QuerySplitResponse) {
	s.Read(func(st *state.State) {
		t, code, is := s.find(st, q.AppName)
		if t == nil {
			r.Err, r.HintMsg = code, base.Some(fmt.Sprintf("app(%s) %s", q.AppName, is))
			return
		}
		sp, ok := st.SplitOf(t.ID)
		if !ok {
			r.Err, r.HintMsg = base.ErrInvalidState, base.Some(fmt.Sprintf("app(%s) is not splitting", q.AppName))
			return
		}
		r.Err, r.NewPartitionCount = base.ErrOK, int32(len(t.Parts))
		why := ""
		s.mu.Lock()
		defer s.mu.Unlock()
		for p, is := range sp.Status {
			p := int32(p)
			status := metadata.SPLITTING
			switch is {
			case state.SplitDone:
				continue
			case state.SplitPaused:
				status = metadata.PAUSED
			}
			r.Status = append(r.Status, base.Pair[int32, metadata.SplitStatus]{Key: p, Val: status})
			if w := s.waits[base.Gpid{AppID: t.ID, PartitionIndex: p}]; why == "" && w != "" && is != state.SplitPaused {
				why = fmt.Sprintf("partition %d waits: %s", p, w)
			}
		}
		r.HintMsg = base.NonZero(why)
	})
}

// register makes a child a partition. The primary of its parent asks for it.
func (s *Service) register(c *service.Call, q *split.RegisterChildRequest, r *split.RegisterChildResponse) {
	if s.o.Frozen() != "" {
		r.Err = base.ErrStateFreezed
		return
	}
	g := q.ParentConfig.Pid
	child := state.Config{Ballot: q.ChildConfig.Ballot, Primary: wire.Resolve(q.ChildConfig.Primary, q.ChildConfig.HpPrimary), Secondaries: q.ChildConfig.Secondaries,
		LastCommitted: q.ChildConfig.LastCommittedDecree}
	splitting := false
	s.Read(func(st *state.State) { _, splitting = st.SplitOf(g.AppID) })
	r.Err = base.ErrInvalidState
	if splitting {
		r.Err = s.Apply(&state.RegisterChild{Parent: g, Config: child}).Err
	}
	s.Read(func(st *state.State) {
		t, cfg, ok := st.Config(g)
		if !ok {
			return
		}
		r.App, r.ParentConfig = wire.InfoFor(t, g), wire.Partition(t, g, &cfg)
		child := base.Gpid{AppID: g.AppID, PartitionIndex: protocol.Child(g.PartitionIndex, int32(len(t.Parts)))}
		if _, cfg, ok := st.Config(child); ok {
			r.ChildConfig = wire.Partition(t, child, &cfg)
		}
	})
	if r.Err != base.ErrOK {
		return
	}
	s.Log().Infof("partition %v is split: %v is registered at decree %d, asked by %s", g, r.ChildConfig.Pid, child.LastCommitted, c.From)
	s.mu.Lock()
	delete(s.waits, g)
	s.mu.Unlock()
	s.o.Look(g.AppID)
}

// Lead has partitions switch.
func (s *Service) Lead(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		if s.o.Frozen() == "" {
			s.look(ctx, &wg)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-s.soon:
		}
	}
}

// order is a partition that is to switch.
type order struct {
	parent  base.Gpid
	count   int32
	primary base.RPCAddress
	members []base.RPCAddress
	given   bool // it was ordered to, and only has to be told
}

// look tells primaries to switch that were ordered to, and orders it of others.
func (s *Service) look(ctx context.Context, wg *sync.WaitGroup) {
	alive := map[base.RPCAddress]bool{}
	nodes := s.Nodes()
	for _, n := range nodes {
		if n.Alive {
			alive[n.Addr] = true
		}
	}
	var orders []order
	given := 0
	waits := map[base.Gpid]string{}
	s.Read(func(st *state.State) {
		if st.Level() < state.LevelSteady {
			return
		}
		for _, sp := range st.Splits() {
			t := st.Table(sp.Table)
			if t == nil || t.Status != state.Available {
				continue
			}
			backup := st.BackedUp(t.ID, int32(len(sp.Status)))
			for p, is := range sp.Status {
				g, cfg := base.Gpid{AppID: t.ID, PartitionIndex: int32(p)}, &t.Parts[p]
				o := order{g, int32(len(t.Parts)), cfg.Primary, cfg.AppendMembers(nil), is == state.SplitOrdered}
				switch is {
				case state.SplitOrdered:
					given++
					orders = append(orders, o)
					if !alive[o.primary] {
						waits[g] = "it has no primary that lives"
					}
				case state.SplitWaits:
					if why := ready(t, cfg, alive, len(nodes)); why != "" {
						waits[g] = why
					} else if backup != 0 && !s.o.NoBackups {
						waits[g] = fmt.Sprintf("backup %d isn't done with the table", backup)
					} else {
						orders = append(orders, o)
					}
				}
			}
		}
	})
	for _, o := range s.choose(orders, given, waits) {
		if !o.given {
			if code := s.Apply(&state.OrderSwitch{Table: o.parent.AppID, Parent: o.parent.PartitionIndex}).Err; code != base.ErrOK {
				s.end(o.parent, fmt.Sprintf("the order isn't noted: %v", code))
				continue
			}
		}
		wg.Go(func() { s.tell(ctx, o) })
	}
}

// choose returns the orders that can be told now: no server takes part in two, and those that failed come last. It notes that
// they are under way, and what the others wait for. given is how many partitions were ordered to switch before.
func (s *Service) choose(orders []order, given int, waits map[base.Gpid]string) (now []order) {
	s.mu.Lock()
	defer s.mu.Unlock()
	busy := map[base.RPCAddress]base.Gpid{}
	for g, members := range s.ordered {
		for _, m := range members {
			busy[m] = g
		}
	}
	slices.SortStableFunc(orders, func(a, b order) int { return s.told[a.parent].Compare(s.told[b.parent]) })
	there := map[base.Gpid]bool{}
	for _, o := range orders {
		there[o.parent] = true
		if s.ordered[o.parent] != nil || waits[o.parent] != "" {
			continue
		}
		if !o.given && given >= atATime {
			waits[o.parent] = fmt.Sprintf("%d partitions switch at a time", atATime)
			continue
		}
		if i := slices.IndexFunc(o.members, func(m base.RPCAddress) bool { _, is := busy[m]; return is }); i >= 0 {
			if !o.given {
				waits[o.parent] = fmt.Sprintf("its member %v has partition %v to switch first", o.members[i], busy[o.members[i]])
			}
			continue
		}
		for _, m := range o.members {
			busy[m] = o.parent
		}
		if !o.given {
			given++
		}
		s.ordered[o.parent], s.told[o.parent] = o.members, time.Now()
		now = append(now, o)
	}
	maps.DeleteFunc(s.told, func(g base.Gpid, _ time.Time) bool { return !there[g] })
	// What was wrong with an order is told until it is all right.
	maps.DeleteFunc(s.waits, func(g base.Gpid, _ string) bool { return waits[g] == "" && s.told[g].IsZero() })
	maps.Copy(s.waits, waits)
	return now
}

// ready says why a partition isn't ordered to switch; "" if it can be. servers is how many the cluster has, dead ones too.
func ready(t *state.Table, cfg *state.Config, alive map[base.RPCAddress]bool, servers int) string {
	if n := cfg.Members(); n < min(int(t.MaxReplicas), servers) || cfg.Primary == 0 {
		return fmt.Sprintf("it has %d replicas of %d", n, t.MaxReplicas)
	}
	for _, a := range cfg.AppendMembers(nil) {
		if !alive[a] {
			return fmt.Sprintf("its member %v doesn't live", a)
		}
	}
	return ""
}

// tell orders the switch of a primary.
func (s *Service) tell(ctx context.Context, o order) {
	ctx, cancel := context.WithTimeout(ctx, orderTime)
	defer cancel()
	var r switching.SwitchResponse
	err := s.Call(ctx, o.primary, base.RPCSplitSwitch, &switching.SwitchRequest{Parent: o.parent, PartitionCount: o.count, ClusterId: base.NonZero(s.o.Cluster())}, &r)
	why := ""
	switch {
	case err != nil:
		why = fmt.Sprintf("its primary %v: %v", o.primary, err)
	case r.Err != base.ErrOK:
		why = fmt.Sprintf("its primary %v: %v: %s", o.primary, r.Err, r.HintMsg)
	}
	s.end(o.parent, why)
	if why != "" {
		s.Log().Debugf("partition %v is to switch: %s", o.parent, why)
	}
}

// end notes that an order isn't under way any more; why is what was wrong, "" if nothing.
func (s *Service) end(g base.Gpid, why string) {
	s.mu.Lock()
	delete(s.ordered, g)
	if why != "" {
		s.waits[g] = why
	} else {
		delete(s.waits, g)
		delete(s.told, g)
	}
	s.mu.Unlock()
	if why != "" {
		return // in a moment
	}
	select {
	case s.soon <- struct{}{}:
	default:
	}
}
