package meta

import (
	"context"
	"slices"
	"sync"
	"time"

	"pegasus/base"
	"pegasus/gen/metadata"
	"pegasus/gen/replicaadmin"
	"pegasus/meta/state"
	"pegasus/rpc"
)

const (
	silenceAsk  = 500 * time.Millisecond // for a server to say what it serves
	silencePoll = 10 * time.Millisecond
	// silenceAny is after what time it is enough that one member of each group serves no more: a write
	// needs all of them, so that none is acknowledged then.
	silenceAny = 2 * time.Second
)

// maxSilence is after what time a dropped table takes no write, whoever can't be asked: its leases are over.
func (ts *tables) maxSilence() time.Duration { return ts.s.cfg.FD.Grace.D() + time.Second }

// justDropped returns the id of the table of that name which was dropped last, if that is so short a time
// ago that somebody may still acknowledge writes to it, and 0 else. now is in Unix seconds.
func (ts *tables) justDropped(name string, now int64) (id int32) {
	since := now - int64(ts.maxSilence()/time.Second) - 1
	ts.s.fsm.read(func(st *state.State) {
		st.Tables(func(t *state.Table) {
			if t.Status == state.Dropped && t.Name == name && t.DropSecond >= since && t.ID > id {
				id = t.ID
			}
		})
	})
	return id
}

// awaitSilence returns when nobody acknowledges writes to a dropped table any more: when the primary of
// each partition said that it is none, or is dead. A server that can't be asked is waited for until
// its lease is over.
func (ts *tables) awaitSilence(id int32) {
	var groups []state.Config
	ts.s.fsm.read(func(st *state.State) {
		if t := st.Table(id); t != nil {
			groups = slices.DeleteFunc(slices.Clone(t.Parts), func(c state.Config) bool { return c.Members() == 0 })
			for i := range groups {
				groups[i].Secondaries = slices.Clone(groups[i].Secondaries)
			}
		}
	})
	began, most := time.Now(), ts.maxSilence()
	tick := time.NewTicker(silencePoll)
	defer tick.Stop()
	for quiet := map[base.RPCAddress]bool{}; ; {
		ts.askQuiet(id, groups, quiet)
		any := time.Since(began) > silenceAny
		groups = slices.DeleteFunc(groups, func(c state.Config) bool {
			return quiet[c.Primary] || ts.nodes.isDead(c.Primary) || any && slices.ContainsFunc(c.Secondaries, func(a base.RPCAddress) bool { return quiet[a] })
		})
		if len(groups) == 0 {
			return
		}
		if time.Since(began) > most {
			ts.log.Warnf("table %d is dropped, and %v, which may have served it, lives and doesn't answer", id, groups[0].Primary)
			return
		}
		select {
		case <-ts.ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// askQuiet asks the members of groups whether they still serve something of a table, and notes in quiet who
// doesn't.
func (ts *tables) askQuiet(id int32, groups []state.Config, quiet map[base.RPCAddress]bool) {
	var ask []base.RPCAddress
	for i := range groups {
		for _, a := range groups[i].AppendMembers(nil) {
			if !slices.Contains(ask, a) && !quiet[a] && !ts.nodes.isDead(a) {
				ask = append(ask, a)
			}
		}
	}
	var mu sync.Mutex // of quiet, while they are asked
	var wg sync.WaitGroup
	for _, a := range ask {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ts.ctx, silenceAsk)
			defer cancel()
			var res replicaadmin.QueryReplicaInfoResponse
			err := ts.s.pool.Call(ctx, a.String(), rpc.Outgoing{Code: base.RPCQueryReplicaInfo, Arg: &replicaadmin.QueryReplicaInfoRequest{Node1: a}, From: ts.s.self()}, &res)
			if err != nil || res.Err != base.ErrOK {
				ts.log.Debugf("ask %v whether it serves table %d: %v %v", a, id, err, res.Err)
				return
			}
			if !slices.ContainsFunc(res.Replicas, func(r metadata.ReplicaInfo) bool {
				return r.Pid.AppID == id && (r.Status == metadata.PS_PRIMARY || r.Status == metadata.PS_SECONDARY)
			}) {
				mu.Lock()
				quiet[a] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}
