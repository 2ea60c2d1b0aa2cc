package meta

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"pegasus/base"
	"pegasus/base/version"
	"pegasus/gen/fd"
	"pegasus/gen/metaadmin"
	"pegasus/meta/state"
	"pegasus/rpc"
)

// become gives f the name and the data of server number i; it isn't running.
func (f *fakeReplica) become(i int) {
	f.host, f.id = base.MakeHostPort(fmt.Sprintf("s%d", i), 34801), fmt.Sprintf("id%d", i)
}

// at starts f at the address of l.
func (f *fakeReplica) at(l net.Listener) {
	f.name = l.Addr().String()
	f.addr, _ = base.ParseAddr(f.name)
	f.begin(l)
}

// named makes a cluster of three servers with names and a table that all of them have.
func named(t *testing.T, begin version.Version) *cluster {
	c := newClusterAt(t, begin, 1, 0, mortal)
	for i := range 3 {
		l := listen(t, fmt.Sprintf("127.0.0.%d:0", 3+i))
		f := c.newReplica(l)
		f.become(i + 1)
		f.at(l)
	}
	c.mustCreate("temp", 4, 3)
	c.whole("temp", 3)
	return c
}

// holders are the addresses of the members of a table's partitions.
func (c *cluster) holders(name string) (all []base.RPCAddress) {
	for _, p := range c.query(name).Partitions {
		for _, a := range append(slices.Clone(p.Secondaries), p.Primary) {
			if a != 0 && !slices.Contains(all, a) {
				all = append(all, a)
			}
		}
	}
	slices.Sort(all)
	return all
}

// All servers stop, and their names lead to other addresses: two of them have each other's now. Each is the server that it was.
func TestNamedServersMove(t *testing.T) {
	c := named(t, 0)
	var addrs []string
	for _, f := range c.reps {
		f.kill()
		addrs = append(addrs, f.name)
	}
	c.reps[0].at(listen(t, addrs[1]))
	c.reps[1].at(listen(t, addrs[0]))
	c.reps[2].at(listen(t, "127.0.0.9:0"))
	c.whole("temp", 3)
	want := []base.RPCAddress{c.reps[0].addr, c.reps[1].addr, c.reps[2].addr}
	slices.Sort(want)
	until(t, "the members are at the new addresses", func() bool { return slices.Equal(c.holders("temp"), want) })
	until(t, "each is where it is", func() (all bool) {
		all = true
		c.leader().srv.fsm.read(func(st *state.State) {
			for _, f := range c.reps {
				n, _ := st.Named(f.host.String())
				all = all && n.Addr == f.addr
			}
		})
		return all
	})
	c.whole("temp", 3)
	c.leader().srv.fsm.read(func(st *state.State) {
		for i, f := range c.reps {
			n, _ := st.Named(f.host.String())
			if n.Addr != f.addr || n.ID != fmt.Sprintf("id%d", i+1) || st.Load(f.addr).Replicas != 4 {
				t.Errorf("%+v is at %v with %+v", n, f.addr, st.Load(f.addr))
			}
		}
	})
	until(t, "the old addresses are forgotten", func() bool {
		var nodes metaadmin.ConfigurationListNodesResponse
		c.ask(base.RPCListNodes, &metaadmin.ConfigurationListNodesRequest{}, &nodes)
		return len(nodes.Infos) == 3
	})
}

// Who calls itself by the name of another server is refused, and told why; that one stays what it is.
func TestNameIsTaken(t *testing.T) {
	c := named(t, 0)
	beat := func(addr, id string, start int64) *fd.BeaconAck {
		t.Helper()
		a, err := base.ParseAddr(addr)
		if err != nil {
			t.Fatal(err)
		}
		var ack fd.BeaconAck
		q := &fd.BeaconMsg{FromNode: a, StartTime: base.Some(start), Version: base.Some(int32(version.Newest)), HpFromNode: base.Some(base.MakeHostPort("s1", 34801)), ServerId: base.NonZero(id)}
		if err := c.call(c.leader().name, base.RPCFailureDetectorPing, rpc.RDSN, q, &ack); err != nil {
			return nil // it is to wait
		}
		return &ack
	}
	refused := func(what, addr, id, why string) {
		t.Helper()
		until(t, what, func() bool {
			ack := beat(addr, id, 77)
			if ack != nil && ack.Allowed {
				t.Fatalf("%s: it is allowed: %+v", what, ack)
			}
			if ack == nil {
				return false
			}
			a, _ := base.ParseAddr(addr)
			l := c.leader().srv.leader.Load()
			l.mu.Lock()
			defer l.mu.Unlock()
			r := l.nodes.of(a).refused
			return r != nil && strings.Contains(r.why, why)
		})
	}
	refused("two live under one name", "127.0.0.8:5", "id1", "two replica servers are called s1:34801")
	refused("two live under one name, and one has other data", "127.0.0.8:5", "other", "two replica servers are called s1:34801")
	if got := c.holders("temp"); !slices.Contains(got, c.reps[0].addr) || len(got) != 3 {
		t.Fatalf("the members are %v", got)
	}
	// It is down, and one that is empty takes its name by mistake.
	for _, f := range c.reps {
		f.kill() // so that nobody takes its place
	}
	refused("one with other data", "127.0.0.8:5", "other", "has other data than the server of that name")
	// The one that the name belongs to comes back where it was.
	for _, f := range c.reps {
		f.begin(nil)
	}
	c.whole("temp", 3)
	if got := c.holders("temp"); !slices.Contains(got, c.reps[0].addr) {
		t.Errorf("the members are %v", got)
	}
}

// A cluster of before version 7 knows servers by their addresses only.
func TestOldVersionKnowsNoNames(t *testing.T) {
	c := named(t, 6)
	c.reps[0].kill()
	c.reps[0].at(listen(t, "127.0.0.9:0"))
	until(t, "it lives under its new address", func() bool {
		var nodes metaadmin.ConfigurationListNodesResponse
		c.ask(base.RPCListNodes, &metaadmin.ConfigurationListNodesRequest{}, &nodes)
		return len(nodes.Infos) == 4
	})
	c.leader().srv.fsm.read(func(st *state.State) {
		if n, ok := st.Named("s1:34801"); ok {
			t.Errorf("%+v is known", n)
		}
	})
}
