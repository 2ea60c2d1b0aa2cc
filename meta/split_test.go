package meta

import (
	"strings"
	"testing"

	"pegasus/base"
	"pegasus/base/appenv"
	"pegasus/base/config"
	"pegasus/base/version"
	"pegasus/gen/layer2"
	"pegasus/gen/metaadmin"
	"pegasus/gen/split"
	"pegasus/meta/balance"
	"pegasus/meta/state"
	"pegasus/rpc"
)

func (c *cluster) startSplit(table string, count int32) (r split.StartPartitionSplitResponse) {
	c.t.Helper()
	until(c.t, "a leader that is ready", func() bool {
		r = split.StartPartitionSplitResponse{}
		err := c.call(c.leader().name, base.RPCStartPartitionSplit, rpc.THFT0, &split.StartPartitionSplitRequest{AppName: table, NewPartitionCount: count}, &r)
		// Without a hint it is that of who doesn't lead, or isn't ready, see ask.
		return err == nil && r.Err != base.ErrForwardToOthers && (r.Err != base.ErrServiceNotActive || r.HintMsg != "")
	})
	return r
}

// checkListing: clients that speak THFT are told a table that is being split under an id that says how many partitions it has, and that a child
// that isn't registered is where its parent is. Others get what upstream answers.
func checkListing(t *testing.T, c *cluster) {
	t.Helper()
	for _, f := range []rpc.Framing{rpc.RDSN, rpc.THFT0, rpc.THFT1} {
		var r layer2.QueryCfgResponse
		until(t, "an answer", func() bool {
			r = layer2.QueryCfgResponse{}
			err := c.call(c.leader().name, base.RPCQueryPartitionConfigByIndex, f, &layer2.QueryCfgRequest{AppName: "temp"}, &r)
			return err == nil && r.Err == base.ErrOK
		})
		id, l := base.TableID(r.AppId)
		if n := l.Count(2); len(r.Partitions) != 4 || id != r.Partitions[0].Pid.AppID || f.Thrift() != (l > 0) || f.Thrift() && n != 4 {
			t.Fatalf("%v: %d partitions, id %d, by %d", f, len(r.Partitions), r.AppId, n)
		}
		for i := range int32(2) {
			parent, child := r.Partitions[i], r.Partitions[i+2]
			if child.Pid != (base.Gpid{AppID: id, PartitionIndex: i + 2}) {
				t.Errorf("%v: partition %d is %v", f, i+2, child.Pid)
			}
			if is := child.Primary == parent.Primary && child.Ballot == parent.Ballot; is != f.Thrift() || !is && (child.Ballot != -1 || child.Primary != 0) {
				t.Errorf("%v: partition %d is at %v with ballot %d, its parent at %v with %d", f, i+2, child.Primary, child.Ballot, parent.Primary, parent.Ballot)
			}
		}
	}
}

// A split is begun only where meta.partition_split is on, and the cluster's version allows it; else the answer says what to do, and the
// table is as before. A child of a table that isn't being split isn't registered.
func TestSplitBegins(t *testing.T) {
	for _, x := range []struct {
		on    bool
		begin version.Version
		err   base.ErrorCode
		hint  string
		parts int32
	}{
		{false, 0, base.ErrServiceNotActive, "partition_split = false", 2},
		{true, version.Splits.Since() - 1, base.ErrServiceNotActive, "pegasus meta upgrade-version", 2},
		{true, 0, base.ErrOK, "", 4},
	} {
		c := newClusterAt(t, x.begin, 1, 3, func(c *config.Config) { c.Meta.PartitionSplit = x.on })
		c.mustCreate("temp", 2, 3)
		parts := c.whole("temp", 3).Partitions
		if r := c.startSplit("nosuch", 4); r.Err != base.ErrAppNotExist {
			t.Errorf("%+v: a table that there isn't: %+v", x, r)
		}
		var reg split.RegisterChildResponse
		c.ask(base.RPCRegisterChildReplica, &split.RegisterChildRequest{App: layer2.NewAppInfo(), ParentConfig: parts[0], ChildConfig: parts[1]}, &reg)
		if reg.Err != base.ErrInvalidState {
			t.Errorf("%+v: a child that nobody waits for: %+v", x, reg)
		}
		r := c.startSplit("temp", 4)
		if n := c.query("temp").PartitionCount; r.Err != x.err || !strings.Contains(r.HintMsg, x.hint) || n != x.parts {
			t.Errorf("%+v: %+v, and there are %d partitions", x, r, n)
		}
		if x.err == base.ErrOK {
			checkListing(t, c)
			// Nothing of it is moved, and the others are balanced meanwhile.
			c.mustCreate("other", 2, 3)
			c.whole("other", 3)
			var v *balance.View
			ill := 0
			until(t, "a view of both tables", func() bool {
				v, ill, _ = c.leader().srv.leader.Load().bal.balanceView(nil)
				return len(v.Tables) == 2
			})
			for _, b := range v.Tables {
				if b.Fixed != (b.Name == "temp") {
					t.Errorf("table %s: fixed %v", b.Name, b.Fixed)
				}
			}
			if ill != 0 {
				t.Errorf("%d partitions aren't whole", ill)
			}
		}
	}
}

// A table isn't split, nor told under another id, where that could be taken for the id of another table; and its servers hear of it.
func TestSplitOfATableWhoseOtherIDIsUsed(t *testing.T) {
	c := newClusterAt(t, version.Listings.Since()-1, 1, 3, func(c *config.Config) { c.Meta.PartitionSplit = true })
	temp, other := c.mustCreate("temp", 2, 3), c.mustCreate("other", 2, 3)
	apply := func(cmd state.Command) {
		t.Helper()
		if r := c.leader().srv.leader.Load().Apply(cmd); r.Err != base.ErrOK {
			t.Fatalf("%+v: %v", cmd, r.Err)
		}
	}
	told := func(name string) int32 {
		t.Helper()
		if id := c.query(name).AppId; id != temp && id != other {
			return id
		}
		return 0
	}
	apply(&state.ReserveIDs{Last: base.ListedID(temp, 4) - 1})
	ranged := c.mustCreate("ranged", 2, 3)
	if ranged != base.ListedID(temp, 4) {
		t.Fatalf("the table has id %d", ranged)
	}
	for _, name := range []string{"temp", "other", "ranged"} {
		c.whole(name, 3)
	}
	apply(&state.SetEnvs{ID: temp, Set: []state.Env{{Key: appenv.ValidateHash, Val: "true"}}})
	apply(&state.SetEnvs{ID: other, Set: []state.Env{{Key: appenv.ValidateHash, Val: "true"}}})
	if told("temp") != 0 || told("other") != 0 {
		t.Error("a table is told under another id although the cluster's version doesn't allow it")
	}
	apply(&state.SetVersion{To: version.Newest})
	if id := told("temp"); id != 0 {
		t.Errorf("a table is told under the id %d, which is another's", id)
	}
	if id, l := base.TableID(told("other")); id != other || l.Count(2) != 2 {
		t.Errorf("the table is told as %d", told("other"))
	}
	for name, err := range map[string]base.ErrorCode{"temp": base.ErrInvalidParameters, "ranged": base.ErrInvalidParameters, "other": base.ErrOK} {
		if r := c.startSplit(name, 4); r.Err != err || err != base.ErrOK && !strings.Contains(r.HintMsg, "copy it into a new table") {
			t.Errorf("split of %s: %+v", name, r)
		}
	}
	var sync metaadmin.ConfigurationQueryByNodeResponse
	_, cluster := c.leader().srv.fsm.cluster()
	c.ask(base.RPCConfigSync, &metaadmin.ConfigurationQueryByNodeRequest{Node: c.query("temp").Partitions[0].Primary, ClusterId: base.NonZero(cluster)}, &sync)
	heard := map[int32]bool{}
	for _, p := range sync.Partitions {
		if heard[p.Config.Pid.AppID] = true; p.MayList != base.Some(p.Config.Pid.AppID == other) {
			t.Errorf("of partition %v its member hears %+v", p.Config.Pid, p.MayList)
		}
	}
	if !heard[temp] || !heard[other] || !heard[ranged] {
		t.Errorf("a member hears of tables %v", heard)
	}
}
