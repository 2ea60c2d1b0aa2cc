package meta

import (
	"context"
	"slices"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/gen/replicaadmin"
	"pegasus/meta/service"
	"pegasus/meta/state"
)

// TestConfirmationCountsSuspends: a leader whose machine was suspended doesn't believe that a
// majority confirmed it just now. The other metas didn't wait, and may have another leader.
func TestConfirmationCountsSuspends(t *testing.T) {
	now := 10 * time.Minute
	l := &term{s: &Server{window: 500 * time.Millisecond}, boot: func() time.Duration { return now }}
	l.verified.Store(int64(now))
	now += 500 * time.Millisecond
	if !l.confirmed() {
		t.Error("not confirmed within the window")
	}
	now += time.Minute // suspended
	if l.confirmed() {
		t.Error("confirmed after a minute")
	}
}

func TestElectionBackoff(t *testing.T) {
	var p electionBackoff
	start := time.Unix(1000, 0)
	for _, step := range []struct {
		at    float64
		term  uint64
		times int
		what  string
	}{
		{0, 7, 1, "the first look"},
		{1, 8, 1, "a leader died"},
		{2, 9, 1, "and a vote was split"},
		{18, 10, 1, "that is long over"},
		{19, 11, 1, "two"},
		{20, 12, 2, "three within the window"},
		{21, 13, 2, "counted anew since"},
		{22, 15, 4, "several terms at a time"},
		{23, 99, 4, "no more than the most"},
		{52.5, 99, 4, "calm, not long enough"},
		{53, 99, 2, "calm"},
		{60, 100, 2, "one more leader"},
		{89, 100, 2, "its time isn't over"},
		{90, 100, 1, "calm again"},
		{1000, 100, 1, "never less than configured"},
	} {
		before := p.times
		changed := p.look(start.Add(time.Duration(step.at*float64(time.Second))), step.term)
		if p.times != step.times {
			t.Fatalf("%s, at %v: %d times the timeouts, want %d", step.what, step.at, p.times, step.times)
		}
		if changed != (before != 0 && before != p.times) {
			t.Errorf("%s: told that the timeouts changed: %v", step.what, changed)
		}
	}
}

// What a feature may do with the leader: it reads and changes the state, and reaches the
// replica servers.
func TestLeaderServesFeatures(t *testing.T) {
	c := newCluster(t, 1, 2, nil)
	c.mustCreate("a", 1, 2)
	var l service.Leader = c.leader().srv.leader.Load()
	var alive []base.RPCAddress
	for _, n := range l.Nodes() {
		if n.Alive {
			alive = append(alive, n.Addr)
		}
	}
	if want := []base.RPCAddress{c.reps[0].addr, c.reps[1].addr}; len(alive) != 2 || !slices.Contains(alive, want[0]) || !slices.Contains(alive, want[1]) {
		t.Errorf("nodes %v, want %v", alive, want)
	}
	if r := l.Apply(&state.RenameTable{ID: 1, Name: "b"}); r.Err != base.ErrOK || r.TableID != 1 {
		t.Errorf("apply: %+v", r)
	}
	if r := l.Apply(&state.RenameTable{ID: 9, Name: "b"}); r.Err != base.ErrAppNotExist {
		t.Errorf("apply what can't be: %+v", r)
	}
	name := ""
	l.Read(func(st *state.State) { name = st.Table(1).Name })
	if name != "b" {
		t.Errorf("the table is called %q", name)
	}
	ctx, cancel := context.WithTimeout(t.Context(), maxWait)
	defer cancel()
	var r replicaadmin.QueryReplicaInfoResponse
	if err := l.Call(ctx, c.reps[0].addr, base.RPCQueryReplicaInfo, &replicaadmin.QueryReplicaInfoRequest{Node1: c.reps[0].addr}, &r); err != nil || r.Err != base.ErrOK || len(r.Replicas) != 1 {
		t.Errorf("call: %v, %+v", err, r)
	}
}
