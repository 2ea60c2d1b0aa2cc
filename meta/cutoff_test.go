package meta

import (
	"context"
	"sync"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/base/tbin"
	"pegasus/base/version"
	"pegasus/gen/fd"
	"pegasus/gen/layer2"
	"pegasus/gen/metaadmin"
	"pegasus/gen/metaquorum"
	"pegasus/meta/state"
	"pegasus/rpc"
)

// A leader that is cut off from the other metas, and still reached by everybody else,
// acknowledges no beacon after another leads, and changes nothing: not while it believes to
// lead, and not when it is back.
func TestCutOffLeaderChangesNothing(t *testing.T) {
	c := newCluster(t, 3, 1, nil)
	c.mustCreate("temp", 2, 1)
	before := c.whole("temp", 1)
	old := c.leader()
	rep := c.reps[0]
	id := c.id(old.name)

	// call asks one meta, with a deadline that doesn't outlast the test's patience.
	call := func(to *metaProc, code string, q tbin.Encoder, r tbin.Decoder) error {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		return c.pool.Call(ctx, to.name, rpc.Outgoing{Code: code, Arg: q, Framing: rpc.THFT0}, r)
	}
	c.net.isolate(old.name)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var mu sync.Mutex
	var lastAck time.Time // when the last beacon was sent that the cut-off leader acknowledged as master
	granted := map[string]base.ErrorCode{}
	asked := map[string]int{}
	try := func(what string, f func() (base.ErrorCode, error)) {
		wg.Go(func() {
			for {
				code, err := f()
				mu.Lock()
				asked[what]++
				if err == nil && code == base.ErrOK {
					granted[what] = code
				}
				mu.Unlock()
				select {
				case <-stop:
					return
				case <-time.After(10 * time.Millisecond):
				}
			}
		})
	}
	wg.Go(func() {
		for {
			var ack fd.BeaconAck
			sent := time.Now()
			err := call(old, "RPC_FD_FAILURE_DETECTOR_PING", &fd.BeaconMsg{ClusterId: base.Some(id), Version: base.Some(int32(version.Newest)), FromNode: 0x7f00000100630001, StartTime: base.Some(int64(1))}, &ack)
			if err == nil && ack.IsMaster {
				mu.Lock()
				lastAck = sent
				mu.Unlock()
			}
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	})
	try("create", func() (base.ErrorCode, error) {
		var r metaadmin.ConfigurationCreateAppResponse
		err := call(old, "RPC_CM_CREATE_APP", &metaadmin.ConfigurationCreateAppRequest{AppName: "ghost", Options: metaadmin.CreateAppOptions{
			PartitionCount: 1, ReplicaCount: 1, AppType: "pegasus", IsStateful: true}}, &r)
		return r.Err, err
	})
	try("drop", func() (base.ErrorCode, error) {
		var r metaadmin.ConfigurationDropAppResponse
		err := call(old, "RPC_CM_DROP_APP", &metaadmin.ConfigurationDropAppRequest{AppName: "temp"}, &r)
		return r.Err, err
	})
	try("env", func() (base.ErrorCode, error) {
		var r metaadmin.ConfigurationUpdateAppEnvResponse
		err := call(old, "RPC_CM_UPDATE_APP_ENV", &metaadmin.ConfigurationUpdateAppEnvRequest{AppName: "temp", Op: metaadmin.APP_ENV_OP_SET,
			Keys: base.Some([]string{"default_ttl"}), Values: base.Some([]string{"1"})}, &r)
		return r.Err, err
	})
	try("quorum", func() (base.ErrorCode, error) {
		var r metaquorum.QuorumChangeResponse
		err := call(old, "RPC_CM_QUORUM_CHANGE", &metaquorum.QuorumChangeRequest{Address: c.metas[0].name, Remove: true}, &r)
		return r.Err, err
	})
	try("partition", func() (base.ErrorCode, error) {
		p := before.Partitions[0]
		p.Ballot++
		var r metaadmin.ConfigurationUpdateResponse
		err := call(old, "RPC_CM_UPDATE_PARTITION_CONFIGURATION", &metaadmin.ConfigurationUpdateRequest{ClusterId: base.Some(id),
			Config: p, Type: metaadmin.CT_PRIMARY_FORCE_UPDATE_BALLOT, Node: p.Primary}, &r)
		return r.Err, err
	})

	// Another leads.
	var next *metaProc
	until(t, "another meta leads", func() bool {
		for _, m := range c.metas {
			if m != old && m.srv.Leading() {
				next = m
			}
		}
		return next != nil
	})
	led := time.Now()
	ask := func(code string, q tbin.Encoder, r tbin.Decoder) {
		t.Helper()
		if err := call(next, code, q, r); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "the new leader knows the replica server", func() bool {
		var r metaadmin.ConfigurationListNodesResponse
		ask("RPC_CM_LIST_NODES", &metaadmin.ConfigurationListNodesRequest{Status: metaadmin.NS_ALIVE}, &r)
		for _, n := range r.Infos {
			if n.Node == rep.addr {
				return true
			}
		}
		return false
	})
	var env metaadmin.ConfigurationUpdateAppEnvResponse
	ask("RPC_CM_UPDATE_APP_ENV", &metaadmin.ConfigurationUpdateAppEnvRequest{AppName: "temp", Op: metaadmin.APP_ENV_OP_SET,
		Keys: base.Some([]string{"default_ttl"}), Values: base.Some([]string{"86400"})}, &env)
	if env.Err != base.ErrOK {
		t.Fatal(env)
	}
	until(t, "the old leader was asked for everything often enough", func() bool {
		mu.Lock()
		defer mu.Unlock()
		for _, what := range []string{"create", "drop", "env", "quorum", "partition"} {
			if asked[what] < 3 {
				return false
			}
		}
		return true
	})
	c.net.isolate()
	until(t, "the old leader follows", func() bool {
		st := c.status(old.name)
		return st.Leader != "" && st.Role == roleFollower && st.Applied >= c.status(next.name).Applied
	})
	// Raft counts an entry as applied when it hands it to the state.
	until(t, "both have the setting", func() bool {
		n := 0
		for _, m := range []*metaProc{old, next} {
			m.srv.fsm.read(func(st *state.State) {
				if x := st.TableNamed("temp"); x != nil {
					if v, _ := x.Env("default_ttl"); v == "86400" {
						n++
					}
				}
			})
		}
		return n == 2
	})
	close(stop)
	wg.Wait()
	if len(granted) > 0 {
		t.Errorf("the leader that was cut off granted %v", granted)
	}
	if !lastAck.Before(led.Add(c.cfg.FD.Grace.D() - c.cfg.FD.Lease.D())) {
		t.Errorf("it acknowledged a beacon that was sent %v after another led", lastAck.Sub(led))
	}
	// Both have the same, and only what the new one decided.
	for _, m := range []*metaProc{old, next} {
		var names []string
		m.srv.fsm.read(func(st *state.State) {
			st.Tables(func(x *state.Table) { names = append(names, x.Name) })
			x := st.TableNamed("temp")
			if x == nil {
				t.Errorf("%s: the table is gone", m.name)
				return
			}
			if v, _ := x.Env("default_ttl"); v != "86400" {
				t.Errorf("%s: the setting is %q", m.name, v)
			}
			for i, p := range x.Parts {
				if p.Ballot != before.Partitions[i].Ballot || p.Primary != before.Partitions[i].Primary {
					t.Errorf("%s: partition %d was %+v, is %+v", m.name, i, before.Partitions[i], p)
				}
			}
		})
		if len(names) != 1 {
			t.Errorf("%s has the tables %v", m.name, names)
		}
		if n := len(m.srv.quorum.servers()); n != 3 {
			t.Errorf("%s: the quorum has %d members", m.name, n)
		}
	}
	var q layer2.QueryCfgResponse
	if err := c.call(c.leader().name, "RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX", rpc.THFT0, &layer2.QueryCfgRequest{AppName: "ghost"}, &q); err != nil || q.Err != base.ErrObjectNotFound {
		t.Errorf("the table that the old leader was asked for: %+v %v", q, err)
	}
}
