package probe

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"pegasus/base"
	wire "pegasus/gen/probe"
	"pegasus/meta/state"
)

const (
	// writeEvery is for how many rounds a partition isn't written after it was.
	writeEvery = 6
	// atOnce is how many servers are asked at a time.
	atOnce = 32
	// again is the pause before partitions that didn't work are tried once more.
	again = 500 * time.Millisecond
	// attempts are how many a server may keep waiting in a round.
	attempts = 3
	// most is how many partitions one question is about.
	most = 20000
)

// Lead implements service.Service.
func (s *Service) Lead(ctx context.Context) {
	if s.o.Every <= 0 {
		return
	}
	tick := time.NewTicker(s.o.Every)
	defer tick.Stop()
	for round := int64(0); ; round++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.round(ctx, round)
		}
	}
}

// round asks about every partition, and counts what came of it. A round that the end of the leadership cuts short counts nothing.
func (s *Service) round(ctx context.Context, round int64) {
	all := s.targets(round)
	ask, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	left := make([]*target, len(all))
	for i := range all {
		all[i].read, all[i].wrote = base.ErrTimeout, base.ErrTimeout
		left[i] = &all[i]
	}
	for {
		s.askAll(ask, left)
		left = slices.DeleteFunc(left, (*target).settled)
		if len(left) == 0 {
			break
		}
		select {
		case <-ask.Done():
		case <-time.After(again):
		}
		if ask.Err() != nil {
			break
		}
		s.leader.Read(func(st *state.State) { // others may lead them by now, or they are gone
			left = slices.DeleteFunc(left, func(t *target) bool {
				table, c, ok := st.Config(t.gpid)
				if !ok || table.Status != state.Available {
					t.read = base.ErrObjectNotFound
					t.primary = gone
					return true
				}
				t.primary = c.Primary
				return false
			})
		})
	}
	if ctx.Err() == nil {
		s.count(all)
	}
}

// Addresses that no server has.
const (
	gone    base.RPCAddress = 1 // of a partition that is there no more
	unasked base.RPCAddress = 2 // its server doesn't know the question
)

// settled tells that nothing more is to be asked.
func (t *target) settled() bool {
	return t.primary == gone || t.primary == unasked || t.read == base.ErrOK && (!t.write || t.wrote == base.ErrOK)
}

// askAll asks the primaries of partitions, and waits for what they say.
func (s *Service) askAll(ctx context.Context, ts []*target) {
	by := map[base.RPCAddress][]*target{}
	for _, t := range ts {
		if t.primary == 0 {
			t.read, t.wrote = base.ErrInvalidState, base.ErrInvalidState
			continue
		}
		by[t.primary] = append(by[t.primary], t)
	}
	slots := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	for node, of := range by {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			for part := range slices.Chunk(of, most) {
				s.ask(ctx, node, part)
			}
		})
	}
	wg.Wait()
}

// ask asks one server.
func (s *Service) ask(ctx context.Context, node base.RPCAddress, ts []*target) {
	attempt := s.o.Timeout / attempts
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	q := &wire.ProbeRequest{TimeoutMs: int32(max(1, attempt.Milliseconds()*3/4)), Partitions: make([]wire.ProbeOf, len(ts))}
	for i, t := range ts {
		q.Partitions[i] = wire.ProbeOf{Pid: t.gpid, Write: t.write}
	}
	var a wire.ProbeResponse
	err := s.leader.Call(ctx, node, base.RPCProbe, q, &a)
	if err == nil && a.Err != base.ErrOK {
		err = a.Err
	}
	if err == nil && len(a.Results) != len(ts) {
		err = base.ErrInvalidData
	}
	if err != nil {
		code := base.CodeOf(err)
		for _, t := range ts {
			t.read, t.wrote = code, code
			if errors.Is(err, base.ErrHandlerNotFound) {
				t.primary = unasked
			}
		}
		return
	}
	for i, t := range ts {
		if r := &a.Results[i]; r.Pid == t.gpid {
			t.read, t.wrote = r.ReadErr, r.WriteErr
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latency.heard(s.o.Now(), node, a.Latencies)
}

// count takes what a round found.
func (s *Service) count(all []target) {
	now := s.o.Now()
	s.mu.Lock()
	ended := s.all.turn(now)
	failing := map[base.Gpid]failure{}
	by := map[int32]Counts{}
	known := map[int32]bool{}
	unknown := 0
	for i := range all {
		t := &all[i]
		known[t.gpid.AppID] = true
		switch t.primary {
		case gone:
			continue
		case unasked:
			unknown++
			continue
		}
		one := Counts{Probes: 1}
		table := s.table(t.gpid.AppID)
		table.probes++
		f := failure{read: t.read, write: base.ErrOK}
		if t.write {
			f.write = t.wrote
		} else if old, ok := s.failing[t.gpid]; ok && old.write != base.ErrOK {
			f.write = old.write // as it was when a write was tried
		}
		if t.read != base.ErrOK {
			table.reads++
		}
		if t.write && t.wrote != base.ErrOK {
			table.writes++
		}
		if f.read != base.ErrOK || f.write != base.ErrOK {
			f.since = now
			if old, ok := s.failing[t.gpid]; ok {
				f.since = old.since
			}
			failing[t.gpid] = f
			one.Failed = 1
		}
		c := by[t.gpid.AppID]
		c.add(one)
		by[t.gpid.AppID] = c
		s.all.add(one)
	}
	for id, c := range by {
		s.table(id).add(now, c)
	}
	for id := range s.tables {
		if !known[id] {
			delete(s.tables, id)
		}
	}
	s.failing, s.unknown = failing, unknown
	s.latency.tidy(now, known)
	s.rounds++
	s.last = now
	s.mu.Unlock()
	slices.SortFunc(ended, func(a, b Period) int { return cmp.Compare(a.Kind, b.Kind) })
	for _, p := range ended {
		s.o.Ended(p)
	}
}

func (s *Service) table(id int32) *tally {
	t := s.tables[id]
	if t == nil {
		t = &tally{}
		s.tables[id] = t
	}
	return t
}
