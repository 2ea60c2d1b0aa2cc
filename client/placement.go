package client

import (
	"context"
	"fmt"

	"pegasus/base"
	"pegasus/gen/placement"
)

// Rebalance plans (placement.REBALANCE_PLAN), begins, watches or ends the evening out of
// replicas over the servers; of one table, or of all if table is "". With primariesOnly
// nothing is copied.
func (a Admin) Rebalance(ctx context.Context, action placement.RebalanceAction, table string, primariesOnly bool) (*placement.RebalanceResponse, error) {
	return admin(ctx, a.c, "rebalance", "RPC_CM_REBALANCE",
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

func (a Admin) nodeRole(ctx context.Context, op string, q *placement.NodeRoleRequest) (*placement.NodeRoleResponse, error) {
	return admin(ctx, a.c, op, "RPC_CM_NODE_ROLE", q,
		func(r *placement.NodeRoleResponse) (base.ErrorCode, string) { return r.Err, r.HintMessage })
}

// Explain tells of a table's partitions, or of one (partition; -1: all), how they are, why,
// and what was done about them last.
func (a Admin) Explain(ctx context.Context, table string, partition int) ([]placement.PartitionExplanation, error) {
	r, err := admin(ctx, a.c, fmt.Sprintf("explain table %q", table), "RPC_CM_EXPLAIN",
		&placement.ExplainRequest{AppName: table, Partition: int32(partition)},
		func(r *placement.ExplainResponse) (base.ErrorCode, string) { return r.Err, r.HintMessage })
	if err != nil {
		return nil, err
	}
	return r.Partitions, nil
}
