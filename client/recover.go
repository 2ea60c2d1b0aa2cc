package client

import (
	"context"
	"fmt"

	"pegasus/base"
	"pegasus/gen/metaadmin"
)

// RecoverOptions say what a recovery does without.
type RecoverOptions struct {
	// SkipBadNodes goes on without servers that can't be asked.
	SkipBadNodes bool
	// SkipLostPartitions makes partitions that no server has empty.
	SkipLostPartitions bool
}

// Recover rebuilds the tables of meta servers that lost their state from what the replica
// servers have. It returns what the meta says about servers and partitions that it did
// without.
func (a Admin) Recover(ctx context.Context, nodes []base.RPCAddress, o RecoverOptions) (hint string, err error) {
	res, err := admin(ctx, a.c, fmt.Sprintf("recover from %v", nodes), "RPC_CM_START_RECOVERY",
		&metaadmin.ConfigurationRecoveryRequest{RecoveryNodes: nodes, SkipBadNodes: o.SkipBadNodes, SkipLostPartitions: o.SkipLostPartitions},
		func(r *metaadmin.ConfigurationRecoveryResponse) (base.ErrorCode, string) { return r.Err, r.HintMessage })
	if err != nil {
		return "", err
	}
	return res.HintMessage, nil
}
