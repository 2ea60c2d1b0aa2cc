package split

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sirupsen/logrus"

	"pegasus/base"
	"pegasus/base/tbin"
	"pegasus/base/version"
	"pegasus/meta/service"
	"pegasus/meta/state"
)

// Servers take part in one switch at a time; what failed comes after the others.
func TestChoose(t *testing.T) {
	s := New(nil, Options{})
	at := func(p int32, given bool, members ...base.RPCAddress) order {
		return order{parent: base.Gpid{AppID: 1, PartitionIndex: p}, count: 8, primary: members[0], members: members, given: given}
	}
	all := []order{at(0, false, 1, 2, 3), at(1, false, 3, 4, 5), at(2, false, 4, 5, 6), at(3, false, 6, 1, 2)}
	waits := map[base.Gpid]string{}
	choose := func(given int, want ...int32) {
		t.Helper()
		var got []int32
		clear(waits)
		for _, o := range s.choose(slices.Clone(all), given, waits) {
			got = append(got, o.parent.PartitionIndex)
			all[o.parent.PartitionIndex].given = true
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%v, want %v", got, want)
		}
	}
	choose(0, 0, 2)
	if n := len(waits); n != 2 || s.waits[all[1].parent] == "" {
		t.Errorf("%v, %v", waits, s.waits)
	}
	choose(2)
	s.end(all[2].parent, "it failed")
	choose(atATime, 2) // so many were ordered, it among them
	s.end(all[2].parent, "it failed")
	s.end(all[0].parent, "it failed")
	choose(2, 1, 3)
	s.end(all[1].parent, "it failed")
	s.end(all[3].parent, "it failed")
	choose(4, 0, 2)
	if s.waits[all[3].parent] != "it failed" {
		t.Errorf("%v", s.waits)
	}
}

// leader is a meta whose replica server, of address 1, never answers.
type leader struct {
	service.Leader
	mu sync.Mutex
	st *state.State
}

func (l *leader) Apply(c state.Command) state.Result {
	l.mu.Lock()
	defer l.mu.Unlock()
	r, err := l.st.Apply(state.Encode(c))
	if err != nil {
		return state.Result{Err: base.ErrInvalidData}
	}
	return r
}

func (l *leader) Read(f func(*state.State)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(l.st)
}

func (*leader) Nodes() []service.Node { return []service.Node{{Addr: 1, Alive: true}} }

func (*leader) Call(context.Context, base.RPCAddress, string, tbin.Encoder, tbin.Decoder) error {
	return base.ErrTimeout
}

func (*leader) Log() *logrus.Entry { return logrus.NewEntry(logrus.New()) }

// A table that is backed up doesn't switch, unless backups are switched off: nobody would go on with that one, nor could cancel it.
func TestWaitsForBackup(t *testing.T) {
	for off, want := range map[bool]state.SplitStatus{false: state.SplitWaits, true: state.SplitOrdered} {
		l := &leader{st: state.New()}
		for _, c := range []state.Command{&state.Init{Cluster: "x", Version: version.Newest, ID: "i"}, &state.SetLevel{Level: state.LevelSteady}, &state.CreateTable{Name: "a", Type: "pegasus", Partitions: 1, MaxReplicas: 1},
			&state.ChangeConfigs{Changes: []state.Change{{Gpid: base.Gpid{AppID: 1}, Config: state.Config{Ballot: 1, Primary: 1, LastCommitted: 1}}}},
			&state.StartBackup{ID: 5, Provider: "p", Root: "r", Tables: []int32{1}, Now: 5}, &state.StartSplit{Table: 1, Count: 2}} {
			if r := l.Apply(c); r.Err != base.ErrOK {
				t.Fatalf("%+v: %v", c, r.Err)
			}
		}
		s := New(l, Options{Enabled: true, NoBackups: off, Cluster: func() string { return "i" }})
		var wg sync.WaitGroup
		s.look(t.Context(), &wg)
		wg.Wait()
		sp, _ := l.st.SplitOf(1)
		if why := s.waits[base.Gpid{AppID: 1}]; sp.Status[0] != want || strings.Contains(why, "backup 5") == off {
			t.Errorf("backups are off: %v: %v, %q", off, sp.Status, why)
		}
	}
}
