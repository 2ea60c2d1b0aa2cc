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
	res, err := admin(ctx, a.c, fmt.Sprintf("recover from %v", nodes), base.RPCStartRecovery,
		&metaadmin.ConfigurationRecoveryRequest{RecoveryNodes: nodes, SkipBadNodes: o.SkipBadNodes, SkipLostPartitions: o.SkipLostPartitions},
		func(r *metaadmin.ConfigurationRecoveryResponse) (base.ErrorCode, string) { return r.Err, r.HintMessage })
	if err != nil {
		return "", err
	}
	return res.HintMessage, nil
}

// Diagnose lists the partitions of a table (tableID -1: of all tables; partition -1: all of
// it) that go on only when somebody does something, with the replicas of each that are known.
func (a Admin) Diagnose(ctx context.Context, p base.Gpid) ([]metaadmin.DddPartitionInfo, error) {
	res, err := admin(ctx, a.c, fmt.Sprintf("diagnose %v", p), base.RPCDDDDiagnose, &metaadmin.DddDiagnoseRequest{Pid: p},
		func(r *metaadmin.DddDiagnoseResponse) (base.ErrorCode, string) { return r.Err, "" })
	if err != nil {
		return nil, err
	}
	return res.Partitions, nil
}

// AcceptLoss has a partition of which no member can be used begin anew with the replica of one
// server: what that lacks is lost. It is done some time after the answer.
func (a Admin) AcceptLoss(ctx context.Context, p base.Gpid, with base.RPCAddress) error {
	_, err := admin(ctx, a.c, fmt.Sprintf("continue partition %v with the replica on %v", p, with), base.RPCProposeBalancer,
		&metaadmin.ConfigurationBalancerRequest{Gpid: p, Force: base.Some(true), ActionList: []metaadmin.ConfigurationProposalAction{
			{Target: with, Node: with, Type: metaadmin.CT_ASSIGN_PRIMARY},
		}},
		func(r *metaadmin.ConfigurationBalancerResponse) (base.ErrorCode, string) { return r.Err, "" })
	return err
}
