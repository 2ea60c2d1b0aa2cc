package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"pegasus/base"
	"pegasus/base/appenv"
	"pegasus/base/tbin"
	"pegasus/gen/command"
	"pegasus/gen/layer2"
	"pegasus/gen/metaadmin"
	"pegasus/rpc"
)

// Admin is the administration of a cluster. Errors of the meta server are *AdminError.
type Admin struct {
	c *Client
	backups
	duplications
}

// backups is what Admin does about backups and restores.
type backups struct{ c *Client }

// duplications is what Admin does about duplications.
type duplications struct{ c *Client }

// Admin returns the administration of the cluster.
func (c *Client) Admin() Admin { return Admin{c, backups{c}, duplications{c}} }

// answer fits any response struct of the meta to metaCall.
type answer[T any, P interface {
	*T
	tbin.Decoder
}] struct {
	v   T
	get func(*T) (base.ErrorCode, string)
}

func (a *answer[T, P]) ReadThrift(r *tbin.Reader) { P(&a.v).ReadThrift(r) }

func (a *answer[T, P]) outcome() (base.ErrorCode, base.RPCAddress) {
	code, _ := a.get(&a.v)
	return code, 0
}

// admin calls the meta and turns an error code in the answer into an *AdminError. get
// takes the code and the server's words out of an answer.
func admin[T any, P interface {
	*T
	tbin.Decoder
}](ctx context.Context, c *Client, op, code string, arg tbin.Encoder, get func(*T) (base.ErrorCode, string)) (*T, error) {
	return adminWithin[T, P](ctx, c, c.opts.RangeTimeout, op, code, arg, get)
}

// adminWithin is admin for what may take one meta as long as try.
func adminWithin[T any, P interface {
	*T
	tbin.Decoder
}](ctx context.Context, c *Client, try time.Duration, op, code string, arg tbin.Encoder, get func(*T) (base.ErrorCode, string)) (*T, error) {
	ans, addr, err := c.metaCall(ctx, op, code, try, arg, func() metaAnswer { return &answer[T, P]{get: get} })
	if err != nil {
		return nil, err
	}
	v := &ans.(*answer[T, P]).v
	if result, hint := get(v); result != base.ErrOK {
		return v, &AdminError{Op: op, Meta: addr, Code: result, Hint: hint}
	}
	return v, nil
}

// CreateOptions are the rarer properties of a new table.
type CreateOptions struct {
	SuccessIfExists bool
	Envs            []base.Pair[string, string]
}

// CreateTable makes a table and returns its id. When it returns the partitions may still
// be on their way; Table waits for them.
func (a Admin) CreateTable(ctx context.Context, name string, partitions, replicas int, o CreateOptions) (int32, error) {
	op := fmt.Sprintf("create table %q", name)
	if err := errors.Join(base.Partitions.Check("the number of partitions", int64(partitions)), base.Replicas.Check("the number of replicas", int64(replicas)), checkEnvs(o.Envs)); err != nil {
		return 0, fmt.Errorf("%s: %w", op, err)
	}
	req := &metaadmin.ConfigurationCreateAppRequest{AppName: name, Options: metaadmin.CreateAppOptions{
		PartitionCount: int32(partitions), ReplicaCount: int32(replicas), SuccessIfExist: o.SuccessIfExists,
		AppType: "pegasus", IsStateful: true, Envs: o.Envs}}
	res, err := admin(ctx, a.c, op, base.RPCCreateApp, req,
		func(r *metaadmin.ConfigurationCreateAppResponse) (base.ErrorCode, string) {
			return r.Err, r.HintMessage.Or("")
		})
	if err != nil {
		return 0, err
	}
	return res.Appid, nil
}

// DropTable drops a table. Its data is kept for reserve (0: the cluster's default), during
// which it can be recalled.
func (a Admin) DropTable(ctx context.Context, name string, reserve time.Duration, successIfAbsent bool) error {
	op := fmt.Sprintf("drop table %q", name)
	seconds := int64(reserve / time.Second)
	if reserve%time.Second > 0 {
		seconds++ // less than a second isn't 0, which is the cluster's default
	}
	if reserve < 0 {
		seconds = min(seconds, -1)
	}
	if err := base.Reserve.Check("the seconds to keep it", seconds); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	req := &metaadmin.ConfigurationDropAppRequest{AppName: name, Options: metaadmin.DropAppOptions{SuccessIfNotExist: successIfAbsent}}
	if seconds > 0 {
		req.Options.ReserveSeconds = base.Some(seconds)
	}
	_, err := admin(ctx, a.c, op, base.RPCDropApp, req,
		func(r *metaadmin.ConfigurationDropAppResponse) (base.ErrorCode, string) { return r.Err, "" })
	return err
}

// ListTables lists the tables; with status layer2.AS_INVALID those of every status.
func (a Admin) ListTables(ctx context.Context, status layer2.AppStatus) ([]layer2.AppInfo, error) {
	infos, _, err := a.ListTablesHint(ctx, status)
	return infos, err
}

// ListTablesHint is ListTables with what a person should mind about them, "" if nothing.
func (a Admin) ListTablesHint(ctx context.Context, status layer2.AppStatus) (infos []layer2.AppInfo, hint string, err error) {
	res, err := admin(ctx, a.c, "list tables", base.RPCListApps, &metaadmin.ConfigurationListAppsRequest{Status: status},
		func(r *metaadmin.ConfigurationListAppsResponse) (base.ErrorCode, string) {
			return r.Err, r.HintMessage.Or("")
		})
	if err != nil {
		return nil, "", err
	}
	slices.SortFunc(res.Infos, func(x, y layer2.AppInfo) int { return int(x.AppId) - int(y.AppId) })
	return res.Infos, res.HintMessage.Or(""), nil
}

// Node is a replica server as the meta sees it.
type Node struct {
	Addr  base.RPCAddress
	Host  base.HostPort // zero if the answer didn't carry it
	Alive bool
	// Refused is why the meta doesn't let it serve, "" if it does. It may not be known otherwise.
	Refused string
}

// ListNodes lists the replica servers, in the order of their addresses.
func (a Admin) ListNodes(ctx context.Context) ([]Node, error) {
	res, err := admin(ctx, a.c, "list nodes", base.RPCListNodes, &metaadmin.ConfigurationListNodesRequest{},
		func(r *metaadmin.ConfigurationListNodesResponse) (base.ErrorCode, string) { return r.Err, "" })
	if err != nil {
		return nil, err
	}
	nodes := make([]Node, len(res.Infos))
	for i, n := range res.Infos {
		nodes[i] = Node{n.Node, n.HpNode.Or(base.HostPort{}), n.Status == metaadmin.NS_ALIVE, ""}
	}
	for _, n := range res.Refused.V {
		i := slices.IndexFunc(nodes, func(x Node) bool { return x.Addr == n.Node })
		if i < 0 {
			i = len(nodes)
			nodes = append(nodes, Node{Addr: n.Node})
		}
		nodes[i].Refused = n.Why
	}
	slices.SortFunc(nodes, func(x, y Node) int {
		if x.Addr < y.Addr {
			return -1
		}
		return 1
	})
	return nodes, nil
}

// QueryConfig returns a table's partitions and who serves them.
func (a Admin) QueryConfig(ctx context.Context, table string) (*layer2.QueryCfgResponse, error) {
	ctx, cancel := a.c.withDeadline(ctx)
	defer cancel()
	return a.c.queryConfig(ctx, table)
}

// ClusterInfo returns the meta's description of the cluster, as names and values.
func (a Admin) ClusterInfo(ctx context.Context) ([]base.Pair[string, string], error) {
	res, err := admin(ctx, a.c, "cluster info", base.RPCClusterInfo, &metaadmin.ConfigurationClusterInfoRequest{},
		func(r *metaadmin.ConfigurationClusterInfoResponse) (base.ErrorCode, string) { return r.Err, "" })
	if err != nil {
		return nil, err
	}
	out := make([]base.Pair[string, string], min(len(res.Keys), len(res.Values)))
	for i := range out {
		out[i] = base.Pair[string, string]{Key: res.Keys[i], Val: res.Values[i]}
	}
	return out, nil
}

// ProposeMovePrimary asks the meta to make the secondary to the primary of a partition, in
// place of from. The move is done some time after the answer.
func (a Admin) ProposeMovePrimary(ctx context.Context, p base.Gpid, from, to base.RPCAddress) error {
	req := &metaadmin.ConfigurationBalancerRequest{Gpid: p, Force: base.Some(true), BalanceType: base.Some(metaadmin.MovePrimary),
		ActionList: []metaadmin.ConfigurationProposalAction{
			{Target: from, Node: from, Type: metaadmin.CT_DOWNGRADE_TO_SECONDARY},
			{Target: to, Node: to, Type: metaadmin.CT_UPGRADE_TO_PRIMARY},
		}}
	_, err := admin(ctx, a.c, fmt.Sprintf("move primary of %v from %v to %v", p, from, to), base.RPCProposeBalancer, req,
		func(r *metaadmin.ConfigurationBalancerResponse) (base.ErrorCode, string) { return r.Err, "" })
	return err
}

// SetEnvs sets environment keys of a table.
func (a Admin) SetEnvs(ctx context.Context, table string, envs []base.Pair[string, string]) error {
	op := fmt.Sprintf("set envs of table %q", table)
	if err := checkEnvs(envs); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	req := &metaadmin.ConfigurationUpdateAppEnvRequest{AppName: table, Op: metaadmin.APP_ENV_OP_SET}
	var keys, vals []string
	for _, e := range envs {
		keys, vals = append(keys, e.Key), append(vals, e.Val)
	}
	req.Keys, req.Values = base.Some(keys), base.Some(vals)
	_, err := admin(ctx, a.c, op, base.RPCUpdateAppEnv, req,
		func(r *metaadmin.ConfigurationUpdateAppEnvResponse) (base.ErrorCode, string) {
			return r.Err, r.HintMessage
		})
	return err
}

// checkEnvs refuses settings that the servers would keep and not act on.
func checkEnvs(envs []base.Pair[string, string]) error {
	for _, e := range envs {
		if hint := appenv.Check(e.Key, e.Val); hint != "" {
			return &SettingError{e.Key, hint}
		}
	}
	return nil
}

// DelEnvs deletes environment keys of a table; those that it doesn't have are left alone.
func (a Admin) DelEnvs(ctx context.Context, table string, keys []string) error {
	req := &metaadmin.ConfigurationUpdateAppEnvRequest{AppName: table, Op: metaadmin.APP_ENV_OP_DEL, Keys: base.Some(keys)}
	_, err := admin(ctx, a.c, fmt.Sprintf("delete envs of table %q", table), base.RPCUpdateAppEnv, req,
		func(r *metaadmin.ConfigurationUpdateAppEnvResponse) (base.ErrorCode, string) {
			return r.Err, r.HintMessage
		})
	return err
}

// RemoteCommand runs a command of a server ("ip:port", meta or replica) and returns its
// text.
func (a Admin) RemoteCommand(ctx context.Context, addr, cmd string, args ...string) (string, error) {
	ctx, cancel := a.c.withDeadline(ctx)
	defer cancel()
	var text rpc.Str
	err := a.c.reachServer(ctx, addr)
	if err == nil {
		err = a.c.pool.Call(ctx, addr, rpc.Outgoing{Code: base.RPCCLICall, Arg: &command.Command{Cmd: cmd, Arguments: args}, Framing: a.c.opts.Framing, Who: a.c.opts.Who}, &text)
	}
	if err != nil {
		return "", fmt.Errorf("command %q at %s: %w", cmd, addr, err)
	}
	return string(text), nil
}
