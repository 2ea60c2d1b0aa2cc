package client

import (
	"context"
	"errors"
	"fmt"

	"pegasus/base"
	"pegasus/gen/placement"
)

// Rebalance plans (placement.REBALANCE_PLAN), begins, watches or ends the evening out of
// replicas over the servers; of one table, or of all if table is "". With primariesOnly
// nothing is copied.
func (a Admin) Rebalance(ctx context.Context, action placement.RebalanceAction, table string, primariesOnly bool) (*placement.RebalanceResponse, error) {
	return admin(ctx, a.c, "rebalance", base.RPCRebalance,
		&placement.RebalanceRequest{Action: action, AppName: table, PrimariesOnly: primariesOnly},
		func(r *placement.RebalanceResponse) (base.ErrorCode, string) { return r.Err, r.HintMessage })
}

// NodeRoles returns what each replica server holds and may hold.
func (a Admin) NodeRoles(ctx context.Context) (*placement.NodeRoleResponse, error) {
	return a.nodeRole(ctx, "list the roles of nodes", &placement.NodeRoleRequest{})
}

// SetNodeRole says what a replica server may hold; the meta moves what it may not.
func (a Admin) SetNodeRole(ctx context.Context, node base.RPCAddress, role placement.NodeRole) (*placement.NodeRoleResponse, error) {
	return a.nodeRole(ctx, fmt.Sprintf("set the role of node %v", node), &placement.NodeRoleRequest{Node: node, Role: role, Change: true})
}

// ForgetNode makes the metas forget a dead replica server, until it comes back.
func (a Admin) ForgetNode(ctx context.Context, node base.RPCAddress) error {
	_, err := a.nodeRole(ctx, fmt.Sprintf("forget node %v", node), &placement.NodeRoleRequest{Node: node, Role: placement.NODE_FORGOTTEN, Change: true})
	return err
}

func (a Admin) nodeRole(ctx context.Context, op string, q *placement.NodeRoleRequest) (*placement.NodeRoleResponse, error) {
	return admin(ctx, a.c, op, base.RPCNodeRole, q,
		func(r *placement.NodeRoleResponse) (base.ErrorCode, string) { return r.Err, r.HintMessage })
}

// Explain tells of a table's partitions, or of one (partition; -1: all), how they are, why,
// and what was done about them last. Metas of an older version give no verdict with it.
func (a Admin) Explain(ctx context.Context, table string, partition int) (*placement.ExplainResponse, error) {
	op := fmt.Sprintf("explain table %q", table)
	if table == "" {
		op = "ask for the cluster's health"
	}
	if err := (base.Range{Min: -1, Max: base.Partitions.Max - 1}).Check("the partition", int64(partition)); err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	return admin(ctx, a.c, op, base.RPCExplain,
		&placement.ExplainRequest{AppName: table, Partition: int32(partition)},
		func(r *placement.ExplainResponse) (base.ErrorCode, string) { return r.Err, r.HintMessage })
}

// ErrOldMeta is returned where a meta server of an older version doesn't know a request.
var ErrOldMeta = errors.New("the meta servers run an older program, which doesn't tell")

// Health tells what clients can do with the cluster's tables, why, and what to do about it. It is
// ErrOldMeta if the metas don't judge.
func (a Admin) Health(ctx context.Context) (*placement.ClusterVerdict, error) {
	r, err := a.Explain(ctx, "", -1)
	if base.CodeOf(err) == base.ErrAppNotExist || err == nil && !r.Cluster.Set {
		return nil, fmt.Errorf("ask for the cluster's health: %w", ErrOldMeta)
	}
	if err != nil {
		return nil, err
	}
	return &r.Cluster.V, nil
}
