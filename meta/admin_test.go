package meta

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/gen/command"
	"pegasus/gen/layer2"
	"pegasus/gen/metaadmin"
	"pegasus/gen/registry"
	"pegasus/gen/security"
	"pegasus/gen/utils"
	"pegasus/rpc"
)

func (c *cluster) env(name string, op metaadmin.AppEnvOperation, args ...string) (base.ErrorCode, string) {
	c.t.Helper()
	q := &metaadmin.ConfigurationUpdateAppEnvRequest{AppName: name, Op: op}
	switch op {
	case metaadmin.APP_ENV_OP_SET:
		q.Keys, q.Values = base.Some([]string{}), base.Some([]string{})
		for i, a := range args {
			if i%2 == 0 {
				q.Keys.V = append(q.Keys.V, a)
			} else {
				q.Values.V = append(q.Values.V, a)
			}
		}
	case metaadmin.APP_ENV_OP_DEL:
		q.Keys = base.Some(args)
	case metaadmin.APP_ENV_OP_CLEAR:
		if len(args) > 0 {
			q.ClearPrefix = base.Some(args[0])
		}
	}
	var r metaadmin.ConfigurationUpdateAppEnvResponse
	c.ask("RPC_CM_UPDATE_APP_ENV", q, &r)
	return r.Err, r.HintMessage
}

func TestEnvs(t *testing.T) {
	c := newCluster(t, 1, 1, nil)
	c.mustCreate("adm", 1, 1)
	const set, del, clr = metaadmin.APP_ENV_OP_SET, metaadmin.APP_ENV_OP_DEL, metaadmin.APP_ENV_OP_CLEAR
	for _, tc := range []struct {
		table string
		op    metaadmin.AppEnvOperation
		args  []string
		err   base.ErrorCode
		hint  string
	}{ // the first ones as recorded from upstream
		{"adm", set, []string{"replica.slow_query_threshold", "100"}, base.ErrOK, ""},
		{"adm", set, []string{"user_specified_compaction", `{"ops":{}}`}, base.ErrInvalidParameters, "the value is not the JSON of operations: field ops can't be of type object: ERR_INVALID_PARAMETERS"},
		{"adm", set, []string{"nosuch.env", "1"}, base.ErrInvalidParameters, "app_env 'nosuch.env' is not supported"},
		{"adm", set, []string{"default_ttl", "86400", "rocksdb.checkpoint.reserve_min_count", "2"}, base.ErrOK, ""},
		{"adm", set, []string{"manual_compact.once.trigger_time", "1"}, base.ErrOK, ""},
		{"adm", set, []string{"replica.write_throttling", "1000*delay*100"}, base.ErrOK, ""},
		{"adm", del, []string{"nosuch"}, base.ErrOK, "no key needs to be deleted"},
		{"adm", del, []string{"default_ttl"}, base.ErrOK, "deleted keys:\n    default_ttl"},
		{"adm", del, []string{"rocksdb.checkpoint.reserve_min_count", "replica.slow_query_threshold"}, base.ErrOK, "deleted keys:\n    rocksdb.checkpoint.reserve_min_count\n    replica.slow_query_threshold"},
		{"adm", clr, []string{"manual_compact"}, base.ErrOK, "deleted keys:\n    manual_compact.once.trigger_time"},
		{"adm", clr, []string{"nosuch"}, base.ErrOK, "no key needs to be deleted"},
		{"adm", clr, []string{""}, base.ErrOK, "deleted keys:\n    replica.write_throttling"},
		{"adm", clr, []string{""}, base.ErrOK, "no key needs to be deleted"},
		{"adm", clr, nil, base.ErrInvalidParameters, "no prefix: an empty one clears all"},
		{"adm", set, nil, base.ErrInvalidParameters, "0 keys and 0 values: name at least one key, and a value for each"},
		{"adm", set, []string{"default_ttl"}, base.ErrInvalidParameters, "1 keys and 0 values: name at least one key, and a value for each"},
		{"adm", del, nil, base.ErrInvalidParameters, "no keys: name at least one to delete"},
		{"nosuch", set, []string{"default_ttl", "1"}, base.ErrAppNotExist, "app cannot be found"},
		{"nosuch", del, []string{"default_ttl"}, base.ErrAppNotExist, "app cannot be found"},
		{"nosuch", clr, []string{""}, base.ErrAppNotExist, "app cannot be found"},
		{"adm", metaadmin.APP_ENV_OP_INVALID, nil, base.ErrInvalidParameters, "recv a invalid update_app_env request with op = APP_ENV_OP_INVALID"},
	} {
		if err, hint := c.env(tc.table, tc.op, tc.args...); err != tc.err || hint != tc.hint {
			t.Errorf("%s %v %q: %v %q; want %v %q", tc.table, tc.op, tc.args, err, hint, tc.err, tc.hint)
		}
	}
	var mc metaadmin.StartAppManualCompactResponse
	c.ask("RPC_CM_START_MANUAL_COMPACT", &metaadmin.StartAppManualCompactRequest{AppName: "adm", TriggerTime: base.Some(int64(77)), Bottommost: base.Some(true)}, &mc)
	if mc.Err != base.ErrOK || mc.HintMsg != "succeed" {
		t.Errorf("manual compaction: %+v", mc)
	}
	info := c.list(layer2.AS_AVAILABLE)[0]
	want := []base.Pair[string, string]{{Key: "manual_compact.once.bottommost_level_compaction", Val: "force"}, {Key: "manual_compact.once.target_level", Val: "-1"}, {Key: "manual_compact.once.trigger_time", Val: "77"}}
	if !slices.Equal(info.Envs, want) {
		t.Errorf("envs: %+v", info.Envs)
	}
	c.env("adm", set, "manual_compact.disabled", "true")
	c.ask("RPC_CM_START_MANUAL_COMPACT", &metaadmin.StartAppManualCompactRequest{AppName: "adm"}, &mc)
	if mc.Err != base.ErrOperationDisabled {
		t.Errorf("disabled manual compaction: %+v", mc)
	}
}

func (c *cluster) list(status layer2.AppStatus) []layer2.AppInfo {
	c.t.Helper()
	var r metaadmin.ConfigurationListAppsResponse
	c.ask("RPC_CM_LIST_APPS", &metaadmin.ConfigurationListAppsRequest{Status: status}, &r)
	if r.Err != base.ErrOK {
		c.t.Fatal(r.Err)
	}
	return r.Infos
}

func TestReplicaCount(t *testing.T) {
	c := newCluster(t, 1, 4, nil)
	c.mustCreate("adm", 4, 3)
	stored := func() (n int) {
		for _, f := range c.reps {
			f.mu.Lock()
			n += len(f.stored)
			f.mu.Unlock()
		}
		return n
	}
	until(t, "all members hold their replicas", func() bool { return stored() == 12 })
	for _, tc := range []struct {
		table string
		count int32
		err   base.ErrorCode
		old   int32
		hint  string
	}{
		{"adm", 100, base.ErrInvalidParameters, 3, "requested replica count(100) must be within the range of [min=1, max=5]"},
		{"adm", 5, base.ErrInvalidParameters, 3, "there are not enough alive replica servers(4) for the requested replica count(5)"},
		{"nosuch", 3, base.ErrAppNotExist, 0, "app(nosuch) does not exist"},
		{"adm", 3, base.ErrOK, 3, "no need to update max_replica_count since it's not changed"},
		{"adm", 1, base.ErrOK, 3, ""},
	} {
		var r metaadmin.ConfigurationSetMaxReplicaCountResponse
		c.ask("RPC_CM_SET_MAX_REPLICA_COUNT", &metaadmin.ConfigurationSetMaxReplicaCountRequest{AppName: tc.table, MaxReplicaCount: tc.count}, &r)
		if r.Err != tc.err || r.OldMaxReplicaCount != tc.old || r.HintMessage != tc.hint {
			t.Errorf("%s %d: %+v", tc.table, tc.count, r)
		}
	}
	c.whole("adm", 1)
	var g metaadmin.ConfigurationGetMaxReplicaCountResponse
	c.ask("RPC_CM_GET_MAX_REPLICA_COUNT", &metaadmin.ConfigurationGetMaxReplicaCountRequest{AppName: "adm"}, &g)
	if g.Err != base.ErrOK || g.MaxReplicaCount != 1 || g.HintMessage != "" {
		t.Errorf("get: %+v", g)
	}
	// The surplus replicas may go.
	until(t, "the removed replicas are thrown away", func() bool { return stored() == 4 })
	var r metaadmin.ConfigurationSetMaxReplicaCountResponse
	c.ask("RPC_CM_SET_MAX_REPLICA_COUNT", &metaadmin.ConfigurationSetMaxReplicaCountRequest{AppName: "adm", MaxReplicaCount: 4}, &r)
	c.whole("adm", 4)
}

func TestAtomicAndRename(t *testing.T) {
	c := newCluster(t, 1, 1, nil)
	c.mustCreate("adm", 1, 1)
	c.mustCreate("idem", 1, 1)
	for _, tc := range []struct {
		table string
		on    bool
		err   base.ErrorCode
		old   bool
		hint  string
	}{
		{"adm", true, base.ErrOK, false, ""},
		{"adm", true, base.ErrOK, true, "no need to update atomic_idempotent since it's unchanged"},
		{"nosuch", true, base.ErrAppNotExist, false, "app(nosuch) does not exist"},
	} {
		var r metaadmin.ConfigurationSetAtomicIdempotentResponse
		c.ask("RPC_CM_SET_ATOMIC_IDEMPOTENT", &metaadmin.ConfigurationSetAtomicIdempotentRequest{AppName: tc.table, AtomicIdempotent: tc.on}, &r)
		if r.Err != tc.err || r.OldAtomicIdempotent != tc.old || r.HintMessage != tc.hint {
			t.Errorf("%s %v: %+v", tc.table, tc.on, r)
		}
	}
	var g metaadmin.ConfigurationGetAtomicIdempotentResponse
	c.ask("RPC_CM_GET_ATOMIC_IDEMPOTENT", &metaadmin.ConfigurationGetAtomicIdempotentRequest{AppName: "adm"}, &g)
	if g.Err != base.ErrOK || !g.AtomicIdempotent {
		t.Errorf("get: %+v", g)
	}
	for _, tc := range []struct {
		from, to string
		err      base.ErrorCode
		hint     string
	}{
		{"adm", "nosuch2", base.ErrOK, ""},
		{"nosuch2", "adm", base.ErrOK, ""},
		{"nosuch", "adm9", base.ErrAppNotExist, "ERROR: app(nosuch) not exist!"},
		{"adm", "idem", base.ErrInvalidParameters, "ERROR: app(idem) already exist!"},
		{"adm", "adm", base.ErrInvalidParameters, "ERROR: app(adm) already exist!"},
		{"adm", "", base.ErrInvalidParameters, "ERROR: a table name has 1 to 256 bytes"},
	} {
		var r metaadmin.ConfigurationRenameAppResponse
		c.ask("RPC_CM_RENAME_APP", &metaadmin.ConfigurationRenameAppRequest{OldAppName: tc.from, NewAppName: tc.to}, &r)
		if r.Err != tc.err || r.HintMessage != tc.hint {
			t.Errorf("%s to %s: %+v", tc.from, tc.to, r)
		}
	}
}

func (c *cluster) drop(name string, ok bool, reserve int64) base.ErrorCode {
	c.t.Helper()
	q := &metaadmin.ConfigurationDropAppRequest{AppName: name, Options: metaadmin.DropAppOptions{SuccessIfNotExist: ok}}
	if reserve != 0 {
		q.Options.ReserveSeconds = base.Some(reserve)
	}
	var r metaadmin.ConfigurationDropAppResponse
	c.ask("RPC_CM_DROP_APP", q, &r)
	return r.Err
}

func (c *cluster) recall(id int32, name string) *metaadmin.ConfigurationRecallAppResponse {
	c.t.Helper()
	r := &metaadmin.ConfigurationRecallAppResponse{}
	c.ask("RPC_CM_RECALL_APP", &metaadmin.ConfigurationRecallAppRequest{AppId: id, NewAppName: name}, r)
	return r
}

func TestDropAndRecall(t *testing.T) {
	c := newCluster(t, 1, 3, nil)
	id := c.mustCreate("temp", 4, 3)
	before := c.whole("temp", 3)
	if e := c.drop("nosuch", true, 0); e != base.ErrOK {
		t.Errorf("drop of an absent table, which is fine: %v", e)
	}
	if e := c.drop("nosuch", false, 0); e != base.ErrAppNotExist {
		t.Errorf("drop of an absent table: %v", e)
	}
	if e := c.drop("temp", false, 3600); e != base.ErrOK {
		t.Fatal(e)
	}
	if r := c.query("temp"); r.Err != base.ErrObjectNotFound {
		t.Errorf("query of a dropped table: %v", r.Err)
	}
	if e := c.drop("temp", false, 0); e != base.ErrAppNotExist {
		t.Errorf("second drop: %v", e)
	}
	if l := c.list(layer2.AS_AVAILABLE); len(l) != 0 {
		t.Errorf("available: %+v", l)
	}
	l := c.list(layer2.AS_INVALID)
	if len(l) != 1 || l[0].Status != layer2.AS_DROPPED || l[0].DropSecond == 0 || l[0].ExpireSecond-l[0].DropSecond != 3600 {
		t.Errorf("all: %+v", l)
	}
	for _, f := range c.reps {
		until(t, "members are told", func() bool { return f.told(metaadmin.CT_DROP_PARTITION) == 4 })
	}
	// The name is free at once; then the old table needs another one.
	if other := c.mustCreate("temp", 2, 1); other == id {
		t.Fatal("an id is used twice")
	}
	for _, tc := range []struct {
		id   int32
		name string
		want base.ErrorCode
	}{{99, "", base.ErrAppNotExist}, {id, "", base.ErrInvalidParameters}, {id, "temp", base.ErrInvalidParameters}, {2, "x", base.ErrAppExist}} {
		if r := c.recall(tc.id, tc.name); r.Err != tc.want || r.Info.AppId != 0 || r.Info.InitPartitionCount != -1 {
			t.Errorf("recall %d %q: %+v", tc.id, tc.name, r)
		}
	}
	r := c.recall(id, "old")
	if r.Err != base.ErrOK || r.Info.AppName != "old" || r.Info.Status != layer2.AS_AVAILABLE || r.Info.PartitionCount != 4 {
		t.Fatalf("recall: %+v", r)
	}
	after := c.whole("old", 3)
	for i, p := range after.Partitions {
		if was := before.Partitions[i]; p.Ballot <= was.Ballot || p.Primary != was.Primary || p.PartitionFlags != 0 {
			t.Errorf("partition %d was %+v, is %+v", i, was, p)
		}
	}
	if e := c.drop("old", false, -5); e != base.ErrOK {
		t.Fatal(e)
	}
	l = c.list(layer2.AS_DROPPED)
	if len(l) != 1 || l[0].ExpireSecond-l[0].DropSecond != 7*86400 {
		t.Errorf("default reserve time: %+v", l)
	}
}

func TestListApps(t *testing.T) {
	c := newCluster(t, 1, 1, nil)
	for _, n := range []string{"abc", "abd", "xab"} {
		c.mustCreate(n, 1, 1)
	}
	for _, tc := range []struct {
		pattern string
		typ     utils.PatternMatchType
		want    string
	}{
		{"", utils.PMT_MATCH_ALL, "abc abd xab"}, {"abc", utils.PMT_MATCH_EXACT, "abc"}, {"ab", utils.PMT_MATCH_PREFIX, "abc abd"},
		{"ab", utils.PMT_MATCH_POSTFIX, "xab"}, {"ab", utils.PMT_MATCH_ANYWHERE, "abc abd xab"}, {"", utils.PMT_MATCH_EXACT, ""},
		{"a.*", utils.PMT_MATCH_REGEX, "ERR_NOT_IMPLEMENTED"}, {"a", utils.PMT_INVALID, "ERR_NOT_IMPLEMENTED"}, {"a", 77, "ERR_NOT_IMPLEMENTED"},
	} {
		var r metaadmin.ConfigurationListAppsResponse
		c.ask("RPC_CM_LIST_APPS", &metaadmin.ConfigurationListAppsRequest{AppNamePattern: base.Some(tc.pattern), MatchType: base.Some(tc.typ)}, &r)
		var got []string
		for _, i := range r.Infos {
			got = append(got, i.AppName)
		}
		s := strings.Join(got, " ")
		if r.Err != base.ErrOK {
			s = string(r.Err)
			if !strings.HasPrefix(r.HintMessage.V, "match_type is not supported") {
				t.Errorf("hint %q", r.HintMessage.V)
			}
		}
		if s != tc.want {
			t.Errorf("%q %v: %q, want %q", tc.pattern, tc.typ, s, tc.want)
		}
	}
}

func TestClusterInfoAndLevel(t *testing.T) {
	c := newCluster(t, 1, 3, nil)
	c.mustCreate("temp", 3, 1)
	level := func(l metaadmin.MetaFunctionLevel) metaadmin.ConfigurationMetaControlResponse {
		var r metaadmin.ConfigurationMetaControlResponse
		c.ask("RPC_CM_CONTROL_META", &metaadmin.ConfigurationMetaControlRequest{Level: l}, &r)
		return r
	}
	if r := level(metaadmin.FlInvalid); r.Err != base.ErrOK || r.OldLevel != metaadmin.FlSteady {
		t.Errorf("level: %+v", r)
	}
	if r := level(metaadmin.FlFreezed); r.Err != base.ErrOK || r.OldLevel != metaadmin.FlSteady {
		t.Errorf("level: %+v", r)
	}
	if r := level(1); r.Err != base.ErrInvalidParameters {
		t.Errorf("no such level: %+v", r)
	}
	if r := c.create("more", 1, 1); r.Err != base.ErrStateFreezed {
		t.Errorf("create while frozen: %v", r.Err)
	}
	var sr metaadmin.ConfigurationSetMaxReplicaCountResponse
	c.ask("RPC_CM_SET_MAX_REPLICA_COUNT", &metaadmin.ConfigurationSetMaxReplicaCountRequest{AppName: "temp", MaxReplicaCount: 2}, &sr)
	if sr.Err != base.ErrStateFreezed {
		t.Errorf("replica count while frozen: %+v", sr)
	}
	p := c.query("temp").Partitions[0]
	u := &metaadmin.ConfigurationUpdateRequest{Config: p, Type: metaadmin.CT_PRIMARY_FORCE_UPDATE_BALLOT, Node: p.Primary}
	u.Config.Ballot++
	var ur metaadmin.ConfigurationUpdateResponse
	c.ask("RPC_CM_UPDATE_PARTITION_CONFIGURATION", u, &ur)
	if ur.Err != base.ErrStateFreezed || ur.Config.Ballot != p.Ballot {
		t.Errorf("update while frozen: %+v", ur)
	}
	var ci metaadmin.ConfigurationClusterInfoResponse
	c.ask("RPC_CM_CLUSTER_INFO", &metaadmin.ConfigurationClusterInfoRequest{}, &ci)
	want := []string{"meta_servers", "primary_meta_server", "zookeeper_hosts", "zookeeper_root", "meta_function_level", "balance_operation_count",
		"primary_replica_count_stddev", "total_replica_count_stddev", "cluster_name"}
	if !slices.Equal(ci.Keys, want) || len(ci.Values) != len(want) {
		t.Fatalf("cluster info: %+v", ci)
	}
	m := c.metas[0].name
	if v := ci.Values; v[0] != m || v[1] != m || v[4] != "freezed" || v[6] != "0.00" || v[8] != "onebox" || !json.Valid([]byte(v[5])) {
		t.Errorf("cluster info: %q", v)
	}
	level(metaadmin.FlSteady)
	if id := c.mustCreate("more", 1, 1); id != 2 {
		t.Errorf("id %d", id)
	}
}

func TestPropose(t *testing.T) {
	c := newCluster(t, 1, 4, nil)
	c.mustCreate("temp", 1, 3)
	p := c.whole("temp", 3).Partitions[0]
	spare := c.reps[slices.IndexFunc(c.reps, func(f *fakeReplica) bool { return !slices.Contains(members(&p), f.addr) })].addr
	propose := func(g base.Gpid, steps ...metaadmin.ConfigurationProposalAction) base.ErrorCode {
		var r metaadmin.ConfigurationBalancerResponse
		c.ask("RPC_CM_PROPOSE_BALANCER", &metaadmin.ConfigurationBalancerRequest{Gpid: g, ActionList: steps}, &r)
		return r.Err
	}
	step := func(target, node base.RPCAddress, typ metaadmin.ConfigType) metaadmin.ConfigurationProposalAction {
		return metaadmin.ConfigurationProposalAction{Target: target, Node: node, Type: typ}
	}
	if e := propose(base.Gpid{AppID: 99}); e != base.ErrAppNotExist {
		t.Errorf("no such table: %v", e)
	}
	if e := propose(base.Gpid{AppID: 1, PartitionIndex: 9}); e != base.ErrInvalidParameters {
		t.Errorf("no such partition: %v", e)
	}
	// move_primary
	to := p.Secondaries[0]
	if e := propose(p.Pid, step(p.Primary, p.Primary, metaadmin.CT_DOWNGRADE_TO_SECONDARY), step(to, to, metaadmin.CT_UPGRADE_TO_PRIMARY)); e != base.ErrOK {
		t.Fatal(e)
	}
	until(t, "the primary is moved", func() bool { return c.query("temp").Partitions[0].Primary == to })
	p = c.query("temp").Partitions[0]
	if len(p.Secondaries) != 2 {
		t.Errorf("after move_primary: %+v", p)
	}
	// copy_secondary, as admin-cli sends it: without a target
	from := p.Secondaries[0]
	until(t, "the steps before are forgotten", func() bool {
		return propose(p.Pid, step(0, spare, metaadmin.CT_ADD_SECONDARY_FOR_LB), step(0, from, metaadmin.CT_DOWNGRADE_TO_INACTIVE)) == base.ErrOK
	})
	until(t, "the secondary is moved", func() bool {
		q := c.query("temp").Partitions[0]
		return len(q.Secondaries) == 2 && slices.Contains(q.Secondaries, spare) && !slices.Contains(q.Secondaries, from)
	})
	// copy_primary
	p = c.query("temp").Partitions[0]
	until(t, "the steps before are forgotten", func() bool {
		return propose(p.Pid, step(p.Primary, from, metaadmin.CT_ADD_SECONDARY_FOR_LB), step(p.Primary, p.Primary, metaadmin.CT_DOWNGRADE_TO_SECONDARY),
			step(from, from, metaadmin.CT_UPGRADE_TO_PRIMARY), step(from, p.Primary, metaadmin.CT_REMOVE)) == base.ErrOK
	})
	until(t, "the primary is copied", func() bool {
		q := c.query("temp").Partitions[0]
		return q.Primary == from && len(q.Secondaries) == 2 && !slices.Contains(q.Secondaries, p.Primary)
	})
}

// Every meta RPC is answered, by a leader and by a follower, and what upstream's meta doesn't
// serve is refused in the header.
func TestEveryRPCIsAnswered(t *testing.T) {
	c := newCluster(t, 3, 1, func(c *config.Config) {
		steady(c)
		c.Meta.CreateWait = config.Duration(1e8)
	})
	c.reported()
	c.mustCreate("temp", 1, 1)
	leader, follower := c.leader(), c.follower()
	codes := registry.Codes()
	n := 0
	for _, code := range codes {
		e, _ := registry.Lookup(code)
		if !strings.HasPrefix(code, "RPC_CM_") || e.Result == nil {
			continue
		}
		n++
		for _, f := range []rpc.Framing{rpc.THFT0, rpc.RDSN} {
			if err := c.call(leader.name, code, f, e.Arg(), e.Result()); err != nil {
				t.Errorf("%s to the leader over %v: %v", code, f, err)
			}
		}
		if err := c.call(follower.name, code, rpc.THFT0, e.Arg(), e.Result()); err != nil {
			t.Errorf("%s to a follower: %v", code, err)
		}
	}
	if n < 40 {
		t.Errorf("only %d RPCs tried", n)
	}
	for _, code := range []string{"RPC_QUERY_APP_INFO", "RPC_RRDB_RRDB_GET", "RPC_NOSUCH"} {
		if err := c.call(leader.name, code, rpc.THFT0, &metaadmin.QueryAppInfoRequest{}, nil); !errors.Is(err, base.ErrHandlerNotFound) {
			t.Errorf("%s: %v", code, err)
		}
	}
	// What any meta answers.
	for _, m := range c.metas {
		var s rpc.Str
		if err := c.call(m.name, "RPC_CLI_CLI_CALL", rpc.THFT0, &command.Command{Cmd: "nosuch"}, &s); err != nil || s != "unknown command 'nosuch'" {
			t.Errorf("unknown command: %q %v", s, err)
		}
		if err := c.call(m.name, "RPC_CLI_CLI_CALL", rpc.RDSN, &command.Command{Cmd: "server-info"}, &s); err != nil || !strings.Contains(string(s), `"version"`) {
			t.Errorf("server-info: %q %v", s, err)
		}
		var neg security.NegotiationResponse
		if err := c.call(m.name, "RPC_NEGOTIATION", rpc.THFT1, &security.NegotiationRequest{Status: security.SASL_LIST_MECHANISMS}, &neg); err != nil || neg.Status != security.SASL_AUTH_DISABLE {
			t.Errorf("negotiation: %+v %v", neg, err)
		}
		for path, status := range map[string]int{"/": 200, "/version": 200, "/nosuch": 404} {
			resp, err := http.Get("http://" + m.name + path)
			if err != nil {
				t.Fatal(err)
			}
			b, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode != status || len(b) == 0 {
				t.Errorf("%s: %d %q", path, resp.StatusCode, b)
			}
		}
	}
}
