package meta

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/base/tbin"
	"pegasus/gen/layer2"
	"pegasus/gen/metaadmin"
	"pegasus/gen/registry"
	"pegasus/gen/utils"
	"pegasus/meta/state"
	"pegasus/rpc"
)

// codeAndHint returns the code of an answer, and its hint; has is false if the struct has no
// field for one.
func codeAndHint(r any) (code base.ErrorCode, hint string, has bool) {
	v := reflect.ValueOf(r).Elem()
	code = v.FieldByName("Err").Interface().(base.ErrorCode)
	for _, name := range []string{"HintMessage", "HintMsg", "Hint"} {
		switch f := v.FieldByName(name); {
		case !f.IsValid():
		case f.Kind() == reflect.String:
			return code, f.String(), true
		default:
			return code, f.Interface().(base.Opt[string]).V, true
		}
	}
	return code, "", false
}

type (
	createQ  = metaadmin.ConfigurationCreateAppRequest
	dropQ    = metaadmin.ConfigurationDropAppRequest
	recallQ  = metaadmin.ConfigurationRecallAppRequest
	renameQ  = metaadmin.ConfigurationRenameAppRequest
	envQ     = metaadmin.ConfigurationUpdateAppEnvRequest
	compactQ = metaadmin.StartAppManualCompactRequest
	maxQ     = metaadmin.ConfigurationSetMaxReplicaCountRequest
	atomicQ  = metaadmin.ConfigurationSetAtomicIdempotentRequest
	proposeQ = metaadmin.ConfigurationBalancerRequest
	updateQ  = metaadmin.ConfigurationUpdateRequest
)

// TestBadAdminInput: each RPC of an administrator with an unknown table, node or id, a
// duplicate or illegal name, count or value, or in a wrong state gets upstream's code, a word
// where the answer has room for one, and changes nothing; a follower changes nothing either.
func TestBadAdminInput(t *testing.T) {
	c := newCluster(t, 3, 2, func(c *config.Config) {
		steady(c)
		c.Meta.MaxPartitionCount = 100
	})
	id := c.mustCreate("temp", 2, 2)
	c.mustCreate("other", 1, 1)
	gone := c.mustCreate("gone", 1, 1)
	late := c.mustCreate("late", 1, 1)
	if code := c.drop("gone", false, 3600); code != base.ErrOK {
		t.Fatal(code)
	}
	if code := c.drop("late", false, 1); code != base.ErrOK {
		t.Fatal(code)
	}
	c.whole("temp", 2)
	until(t, "the second dropped table can't be recalled any more", func() (over bool) {
		c.leader().srv.fsm.read(func(st *state.State) { over = time.Now().Unix() > st.Table(late).ExpireSecond })
		return over
	})

	make := func(change func(*metaadmin.CreateAppOptions)) metaadmin.CreateAppOptions {
		o := metaadmin.CreateAppOptions{PartitionCount: 1, ReplicaCount: 1, AppType: "pegasus", IsStateful: true}
		if change != nil {
			change(&o)
		}
		return o
	}
	long := strings.Repeat("n", 257)
	kv := func(k ...string) base.Opt[[]string] { return base.Some(k) }
	const set, del, clr = metaadmin.APP_ENV_OP_SET, metaadmin.APP_ENV_OP_DEL, metaadmin.APP_ENV_OP_CLEAR
	p := c.query("temp").Partitions[0]
	node := p.Primary
	step := func(target, node base.RPCAddress, typ metaadmin.ConfigType) []metaadmin.ConfigurationProposalAction {
		return []metaadmin.ConfigurationProposalAction{{Target: target, Node: node, Type: typ}}
	}
	stranger := base.RPCAddress(0x7f000001_00630001)
	next := func(change func(*layer2.PartitionConfiguration)) layer2.PartitionConfiguration {
		n := p
		n.Ballot++
		if change != nil {
			change(&n)
		}
		return n
	}
	cases := []struct {
		what, code string
		q          tbin.Encoder
		want       base.ErrorCode
	}{
		{"a name in use", "RPC_CM_CREATE_APP", &createQ{AppName: "temp", Options: make(nil)}, base.ErrAppExist},
		{"a name in use, with another shape", "RPC_CM_CREATE_APP", &createQ{AppName: "temp", Options: make(func(o *metaadmin.CreateAppOptions) { o.SuccessIfExist = true })}, base.ErrInvalidParameters},
		{"no name", "RPC_CM_CREATE_APP", &createQ{Options: make(nil)}, base.ErrInvalidParameters},
		{"a long name", "RPC_CM_CREATE_APP", &createQ{AppName: long, Options: make(nil)}, base.ErrInvalidParameters},
		{"0 partitions", "RPC_CM_CREATE_APP", &createQ{AppName: "n", Options: make(func(o *metaadmin.CreateAppOptions) { o.PartitionCount = 0 })}, base.ErrInvalidParameters},
		{"-1 partitions", "RPC_CM_CREATE_APP", &createQ{AppName: "n", Options: make(func(o *metaadmin.CreateAppOptions) { o.PartitionCount = -1 })}, base.ErrInvalidParameters},
		{"101 partitions", "RPC_CM_CREATE_APP", &createQ{AppName: "n", Options: make(func(o *metaadmin.CreateAppOptions) { o.PartitionCount = 101 })}, base.ErrInvalidParameters},
		{"0 replicas", "RPC_CM_CREATE_APP", &createQ{AppName: "n", Options: make(func(o *metaadmin.CreateAppOptions) { o.ReplicaCount = 0 })}, base.ErrInvalidParameters},
		{"more replicas than nodes", "RPC_CM_CREATE_APP", &createQ{AppName: "n", Options: make(func(o *metaadmin.CreateAppOptions) { o.ReplicaCount = 3 })}, base.ErrInvalidParameters},
		{"a bad setting", "RPC_CM_CREATE_APP", &createQ{AppName: "n", Options: make(func(o *metaadmin.CreateAppOptions) {
			o.Envs = []state.Env{{Key: "rocksdb.num_levels", Val: "99"}}
		})}, base.ErrInvalidParameters},
		{"a long type", "RPC_CM_CREATE_APP", &createQ{AppName: "n", Options: make(func(o *metaadmin.CreateAppOptions) { o.AppType = long })}, base.ErrInvalidParameters},
		{"no table", "RPC_CM_DROP_APP", &dropQ{AppName: "none"}, base.ErrAppNotExist},
		{"no name", "RPC_CM_DROP_APP", &dropQ{}, base.ErrAppNotExist},
		{"dropped before", "RPC_CM_DROP_APP", &dropQ{AppName: "gone"}, base.ErrAppNotExist},
		{"no id", "RPC_CM_RECALL_APP", &recallQ{AppId: 999}, base.ErrAppNotExist},
		{"id 0", "RPC_CM_RECALL_APP", &recallQ{}, base.ErrAppNotExist},
		{"id -1", "RPC_CM_RECALL_APP", &recallQ{AppId: -1}, base.ErrAppNotExist},
		{"an id in use", "RPC_CM_RECALL_APP", &recallQ{AppId: id}, base.ErrAppExist},
		{"a name in use", "RPC_CM_RECALL_APP", &recallQ{AppId: gone, NewAppName: "temp"}, base.ErrInvalidParameters},
		{"a long name", "RPC_CM_RECALL_APP", &recallQ{AppId: gone, NewAppName: long}, base.ErrInvalidParameters},
		{"too late", "RPC_CM_RECALL_APP", &recallQ{AppId: late}, base.ErrAppNotExist},
		{"no table", "RPC_CM_RENAME_APP", &renameQ{OldAppName: "none", NewAppName: "n"}, base.ErrAppNotExist},
		{"dropped before", "RPC_CM_RENAME_APP", &renameQ{OldAppName: "gone", NewAppName: "n"}, base.ErrAppNotExist},
		{"a name in use", "RPC_CM_RENAME_APP", &renameQ{OldAppName: "temp", NewAppName: "other"}, base.ErrInvalidParameters},
		{"its own name", "RPC_CM_RENAME_APP", &renameQ{OldAppName: "temp", NewAppName: "temp"}, base.ErrInvalidParameters},
		{"no new name", "RPC_CM_RENAME_APP", &renameQ{OldAppName: "temp"}, base.ErrInvalidParameters},
		{"a long name", "RPC_CM_RENAME_APP", &renameQ{OldAppName: "temp", NewAppName: long}, base.ErrInvalidParameters},
		{"set of no table", "RPC_CM_UPDATE_APP_ENV", &envQ{AppName: "none", Op: set, Keys: kv("default_ttl"), Values: kv("5")}, base.ErrAppNotExist},
		{"set of a dropped table", "RPC_CM_UPDATE_APP_ENV", &envQ{AppName: "gone", Op: set, Keys: kv("default_ttl"), Values: kv("5")}, base.ErrAppNotExist},
		{"set of a bad value", "RPC_CM_UPDATE_APP_ENV", &envQ{AppName: "temp", Op: set, Keys: kv("default_ttl"), Values: kv("-5")}, base.ErrInvalidParameters},
		{"set of a good and a bad value", "RPC_CM_UPDATE_APP_ENV", &envQ{AppName: "temp", Op: set, Keys: kv("default_ttl", "replica.slow_query_threshold"), Values: kv("5", "x")}, base.ErrInvalidParameters},
		{"set of an unknown key", "RPC_CM_UPDATE_APP_ENV", &envQ{AppName: "temp", Op: set, Keys: kv("no.such"), Values: kv("5")}, base.ErrInvalidParameters},
		{"set of a long value", "RPC_CM_UPDATE_APP_ENV", &envQ{AppName: "temp", Op: set, Keys: kv("user_specified_compaction"), Values: kv(strings.Repeat(" ", maxEnvValue) + "{}")}, base.ErrInvalidParameters},
		{"set of nothing", "RPC_CM_UPDATE_APP_ENV", &envQ{AppName: "temp", Op: set, Keys: kv(), Values: kv()}, base.ErrInvalidParameters},
		{"set without keys", "RPC_CM_UPDATE_APP_ENV", &envQ{AppName: "temp", Op: set}, base.ErrInvalidParameters},
		{"a value too few", "RPC_CM_UPDATE_APP_ENV", &envQ{AppName: "temp", Op: set, Keys: kv("default_ttl", "replica.slow_query_threshold"), Values: kv("5")}, base.ErrInvalidParameters},
		{"delete of no table", "RPC_CM_UPDATE_APP_ENV", &envQ{AppName: "none", Op: del, Keys: kv("default_ttl")}, base.ErrAppNotExist},
		{"delete without keys", "RPC_CM_UPDATE_APP_ENV", &envQ{AppName: "temp", Op: del}, base.ErrInvalidParameters},
		{"clear of no table", "RPC_CM_UPDATE_APP_ENV", &envQ{AppName: "none", Op: clr, ClearPrefix: base.Some("")}, base.ErrAppNotExist},
		{"clear without a prefix", "RPC_CM_UPDATE_APP_ENV", &envQ{AppName: "temp", Op: clr}, base.ErrInvalidParameters},
		{"no operation", "RPC_CM_UPDATE_APP_ENV", &envQ{AppName: "temp"}, base.ErrInvalidParameters},
		{"operation 99", "RPC_CM_UPDATE_APP_ENV", &envQ{AppName: "temp", Op: 99}, base.ErrInvalidParameters},
		{"no table", "RPC_CM_START_MANUAL_COMPACT", &compactQ{AppName: "none"}, base.ErrAppNotExist},
		{"level -2", "RPC_CM_START_MANUAL_COMPACT", &compactQ{AppName: "temp", TargetLevel: base.Some(int32(-2))}, base.ErrInvalidParameters},
		{"count -1", "RPC_CM_START_MANUAL_COMPACT", &compactQ{AppName: "temp", MaxRunningCount: base.Some(int32(-1))}, base.ErrInvalidParameters},
		{"no table", "RPC_CM_QUERY_MANUAL_COMPACT_STATUS", &metaadmin.QueryAppManualCompactRequest{AppName: "none"}, base.ErrAppNotExist},
		{"never begun", "RPC_CM_QUERY_MANUAL_COMPACT_STATUS", &metaadmin.QueryAppManualCompactRequest{AppName: "temp"}, base.ErrInvalidState},
		{"no table", "RPC_CM_GET_MAX_REPLICA_COUNT", &metaadmin.ConfigurationGetMaxReplicaCountRequest{AppName: "none"}, base.ErrAppNotExist},
		{"no table", "RPC_CM_SET_MAX_REPLICA_COUNT", &maxQ{AppName: "none", MaxReplicaCount: 1}, base.ErrAppNotExist},
		{"0 replicas", "RPC_CM_SET_MAX_REPLICA_COUNT", &maxQ{AppName: "temp"}, base.ErrInvalidParameters},
		{"-1 replicas", "RPC_CM_SET_MAX_REPLICA_COUNT", &maxQ{AppName: "temp", MaxReplicaCount: -1}, base.ErrInvalidParameters},
		{"more than nodes", "RPC_CM_SET_MAX_REPLICA_COUNT", &maxQ{AppName: "temp", MaxReplicaCount: 3}, base.ErrInvalidParameters},
		{"no table", "RPC_CM_GET_ATOMIC_IDEMPOTENT", &metaadmin.ConfigurationGetAtomicIdempotentRequest{AppName: "none"}, base.ErrAppNotExist},
		{"no table", "RPC_CM_SET_ATOMIC_IDEMPOTENT", &atomicQ{AppName: "none", AtomicIdempotent: true}, base.ErrAppNotExist},
		{"no such match", "RPC_CM_LIST_APPS", &metaadmin.ConfigurationListAppsRequest{AppNamePattern: base.Some("x"), MatchType: base.Some(utils.PatternMatchType(77))}, base.ErrNotImplemented},
		{"level 7", "RPC_CM_CONTROL_META", &metaadmin.ConfigurationMetaControlRequest{Level: 7}, base.ErrInvalidParameters},
		{"no table", "RPC_CM_PROPOSE_BALANCER", &proposeQ{Gpid: base.Gpid{AppID: 99}, ActionList: step(node, node, metaadmin.CT_UPGRADE_TO_PRIMARY)}, base.ErrAppNotExist},
		{"no partition", "RPC_CM_PROPOSE_BALANCER", &proposeQ{Gpid: base.Gpid{AppID: id, PartitionIndex: 2}, ActionList: step(node, node, metaadmin.CT_UPGRADE_TO_PRIMARY)}, base.ErrInvalidParameters},
		{"partition -1", "RPC_CM_PROPOSE_BALANCER", &proposeQ{Gpid: base.Gpid{AppID: id, PartitionIndex: -1}, ActionList: step(node, node, metaadmin.CT_UPGRADE_TO_PRIMARY)}, base.ErrInvalidParameters},
		{"a dropped table", "RPC_CM_PROPOSE_BALANCER", &proposeQ{Gpid: base.Gpid{AppID: gone}, ActionList: step(node, node, metaadmin.CT_UPGRADE_TO_PRIMARY)}, base.ErrInvalidParameters},
		{"101 steps", "RPC_CM_PROPOSE_BALANCER", &proposeQ{Gpid: base.Gpid{AppID: id}, ActionList: slices.Repeat(step(node, node, metaadmin.CT_UPGRADE_TO_PRIMARY), 101)}, base.ErrInvalidParameters},
		{"no table", "RPC_CM_DDD_DIAGNOSE", &metaadmin.DddDiagnoseRequest{Pid: base.Gpid{AppID: 99, PartitionIndex: -1}}, base.ErrAppNotExist},
		{"tables are there", "RPC_CM_START_RECOVERY", &metaadmin.ConfigurationRecoveryRequest{RecoveryNodes: []base.RPCAddress{node}}, base.ErrServiceAlreadyRunning},
		{"no table", "RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX", &layer2.QueryCfgRequest{AppName: "none"}, base.ErrObjectNotFound},
		{"nobody", "RPC_CM_CONFIG_SYNC", &metaadmin.ConfigurationQueryByNodeRequest{}, base.ErrInvalidParameters},
		{"no address", "RPC_CM_CONFIG_SYNC", &metaadmin.ConfigurationQueryByNodeRequest{Node: 0x0a000001_00000001}, base.ErrInvalidParameters},
		{"a secondary without address", "RPC_CM_UPDATE_PARTITION_CONFIGURATION", &updateQ{Config: next(nil), Type: metaadmin.CT_UPGRADE_TO_SECONDARY, Node: 0x0a000001_87f10003}, base.ErrInvalidState},
		{"an old ballot", "RPC_CM_UPDATE_PARTITION_CONFIGURATION", &updateQ{Config: next(func(n *layer2.PartitionConfiguration) { n.Ballot = 1 }), Type: metaadmin.CT_PRIMARY_FORCE_UPDATE_BALLOT, Node: node}, base.ErrInvalidVersion},
		{"a ballot too far", "RPC_CM_UPDATE_PARTITION_CONFIGURATION", &updateQ{Config: next(func(n *layer2.PartitionConfiguration) { n.Ballot += 5 }), Type: metaadmin.CT_PRIMARY_FORCE_UPDATE_BALLOT, Node: node}, base.ErrInvalidVersion},
		{"no partition", "RPC_CM_UPDATE_PARTITION_CONFIGURATION", &updateQ{Config: next(func(n *layer2.PartitionConfiguration) { n.Pid.PartitionIndex = 9 }), Type: metaadmin.CT_PRIMARY_FORCE_UPDATE_BALLOT, Node: node}, base.ErrObjectNotFound},
		{"an assignment where there is a primary", "RPC_CM_UPDATE_PARTITION_CONFIGURATION", &updateQ{Config: next(func(n *layer2.PartitionConfiguration) { n.Primary = stranger }), Type: metaadmin.CT_ASSIGN_PRIMARY, Node: stranger}, base.ErrInvalidState},
		{"who isn't the primary", "RPC_CM_UPDATE_PARTITION_CONFIGURATION", &updateQ{Config: next(func(n *layer2.PartitionConfiguration) { n.Primary = stranger }), Type: metaadmin.CT_PRIMARY_FORCE_UPDATE_BALLOT, Node: stranger}, base.ErrInvalidState},
		{"a member again", "RPC_CM_UPDATE_PARTITION_CONFIGURATION", &updateQ{Config: next(nil), Type: metaadmin.CT_UPGRADE_TO_SECONDARY, Node: p.Secondaries[0]}, base.ErrInvalidState},
		{"removal of no member", "RPC_CM_UPDATE_PARTITION_CONFIGURATION", &updateQ{Config: next(nil), Type: metaadmin.CT_REMOVE, Node: stranger}, base.ErrInvalidState},
		{"no such change", "RPC_CM_UPDATE_PARTITION_CONFIGURATION", &updateQ{Config: next(nil), Type: 99, Node: node}, base.ErrInvalidParameters},
	}
	leader, follower := c.leader(), c.follower()
	snap := func(m *metaProc) (b []byte) {
		m.srv.fsm.read(func(st *state.State) { b = st.AppendSnapshot(nil) })
		return b
	}
	before := snap(leader)
	for _, tc := range cases {
		e, ok := registry.Lookup(tc.code)
		if !ok {
			t.Fatalf("%s isn't known", tc.code)
		}
		for _, f := range []rpc.Framing{rpc.THFT0, rpc.RDSN} {
			r := e.Result()
			if err := c.call(leader.name, tc.code, f, tc.q, r); err != nil {
				t.Errorf("%s, %s: %v", tc.code, tc.what, err)
				continue
			}
			code, hint, has := codeAndHint(r)
			if code != tc.want {
				t.Errorf("%s, %s: %v, want %v", tc.code, tc.what, code, tc.want)
			}
			if has && hint == "" && tc.code != "RPC_CM_START_RECOVERY" { // of which the recorded answer has none
				t.Errorf("%s, %s: %v without a word", tc.code, tc.what, code)
			}
		}
		// A follower answers the same to all of them, good or bad.
		r := e.Result()
		if err := c.call(follower.name, tc.code, rpc.THFT0, tc.q, r); err != nil {
			t.Errorf("%s to a follower, %s: %v", tc.code, tc.what, err)
		} else if code, _, _ := codeAndHint(r); code != base.ErrForwardToOthers {
			t.Errorf("%s to a follower, %s: %v", tc.code, tc.what, code)
		}
		if now := snap(leader); !bytes.Equal(before, now) {
			t.Fatalf("%s, %s changed the state", tc.code, tc.what)
		}
	}
}
