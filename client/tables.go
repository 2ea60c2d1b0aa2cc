package client

import (
	"bytes"
	"context"
	"fmt"

	"pegasus/base"
	"pegasus/gen/layer2"
	"pegasus/gen/metaadmin"
)

// RecallTable brings a dropped table back, as name, or as it was called if name is "".
func (a Admin) RecallTable(ctx context.Context, id int32, name string) (*layer2.AppInfo, error) {
	r, err := admin(ctx, a.c, fmt.Sprintf("recall table %d", id), base.RPCRecallApp, &metaadmin.ConfigurationRecallAppRequest{AppId: id, NewAppName: name},
		func(r *metaadmin.ConfigurationRecallAppResponse) (base.ErrorCode, string) { return r.Err, "" })
	if err != nil {
		return nil, err
	}
	return &r.Info, nil
}

// RenameTable gives a table another name.
func (a Admin) RenameTable(ctx context.Context, name, to string) error {
	_, err := admin(ctx, a.c, fmt.Sprintf("rename table %q", name), base.RPCRenameApp, &metaadmin.ConfigurationRenameAppRequest{OldAppName: name, NewAppName: to},
		func(r *metaadmin.ConfigurationRenameAppResponse) (base.ErrorCode, string) {
			return r.Err, r.HintMessage
		})
	return err
}

// ReplicaCount tells how many replicas the partitions of a table are to have.
func (a Admin) ReplicaCount(ctx context.Context, table string) (int32, error) {
	r, err := admin(ctx, a.c, fmt.Sprintf("look at the replica count of table %q", table), base.RPCGetMaxReplicaCount, &metaadmin.ConfigurationGetMaxReplicaCountRequest{AppName: table},
		func(r *metaadmin.ConfigurationGetMaxReplicaCountResponse) (base.ErrorCode, string) {
			return r.Err, r.HintMessage
		})
	if err != nil {
		return 0, err
	}
	return r.MaxReplicaCount, nil
}

// SetReplicaCount says how many replicas the partitions of a table are to have. It returns how many it was.
func (a Admin) SetReplicaCount(ctx context.Context, table string, count int32) (int32, error) {
	op := fmt.Sprintf("set the replica count of table %q", table)
	if err := base.Replicas.Check("the number of replicas", int64(count)); err != nil {
		return 0, fmt.Errorf("%s: %w", op, err)
	}
	r, err := admin(ctx, a.c, op, base.RPCSetMaxReplicaCount, &metaadmin.ConfigurationSetMaxReplicaCountRequest{AppName: table, MaxReplicaCount: count},
		func(r *metaadmin.ConfigurationSetMaxReplicaCountResponse) (base.ErrorCode, string) {
			return r.Err, r.HintMessage
		})
	if err != nil {
		return 0, err
	}
	return r.OldMaxReplicaCount, nil
}

// AtomicIdempotent tells whether a table has its atomic writes made idempotent for C++ servers.
func (a Admin) AtomicIdempotent(ctx context.Context, table string) (bool, error) {
	r, err := admin(ctx, a.c, fmt.Sprintf("look at atomic_idempotent of table %q", table), base.RPCGetAtomicIdempotent, &metaadmin.ConfigurationGetAtomicIdempotentRequest{AppName: table},
		func(r *metaadmin.ConfigurationGetAtomicIdempotentResponse) (base.ErrorCode, string) {
			return r.Err, r.HintMessage
		})
	if err != nil {
		return false, err
	}
	return r.AtomicIdempotent, nil
}

// SetAtomicIdempotent switches that. It returns what it was.
func (a Admin) SetAtomicIdempotent(ctx context.Context, table string, on bool) (bool, error) {
	r, err := admin(ctx, a.c, fmt.Sprintf("set atomic_idempotent of table %q", table), base.RPCSetAtomicIdempotent, &metaadmin.ConfigurationSetAtomicIdempotentRequest{AppName: table, AtomicIdempotent: on},
		func(r *metaadmin.ConfigurationSetAtomicIdempotentResponse) (base.ErrorCode, string) {
			return r.Err, r.HintMessage
		})
	if err != nil {
		return false, err
	}
	return r.OldAtomicIdempotent, nil
}

// CompactOptions are the rarer properties of a manual compaction.
type CompactOptions struct {
	Bottommost bool
	MaxRunning int32 // replicas of a server at a time; 0: as the table's settings say
}

// StartCompact has all replicas of a table compact what they have.
func (a Admin) StartCompact(ctx context.Context, table string, o CompactOptions) error {
	q := &metaadmin.StartAppManualCompactRequest{AppName: table, MaxRunningCount: base.NonZero(o.MaxRunning)}
	if o.Bottommost {
		q.Bottommost = base.Some(true)
	}
	_, err := admin(ctx, a.c, fmt.Sprintf("compact table %q", table), base.RPCStartManualCompact, q,
		func(r *metaadmin.StartAppManualCompactResponse) (base.ErrorCode, string) { return r.Err, r.HintMsg })
	return err
}

// CompactProgress tells how many percent of a table's replicas have finished a manual compaction.
// base.ErrInvalidState: there is none.
func (a Admin) CompactProgress(ctx context.Context, table string) (int32, error) {
	r, err := admin(ctx, a.c, fmt.Sprintf("look at the compaction of table %q", table), base.RPCQueryManualCompactStatus, &metaadmin.QueryAppManualCompactRequest{AppName: table},
		func(r *metaadmin.QueryAppManualCompactResponse) (base.ErrorCode, string) { return r.Err, r.HintMsg })
	if err != nil {
		return 0, err
	}
	return r.Progress.Or(0), nil
}

// Level sets how much the metas do by themselves, and returns how much it was;
// metaadmin.FlInvalid only asks.
func (a Admin) Level(ctx context.Context, to metaadmin.MetaFunctionLevel) (metaadmin.MetaFunctionLevel, error) {
	r, err := admin(ctx, a.c, "function level", base.RPCControlMeta, &metaadmin.ConfigurationMetaControlRequest{Level: to},
		func(r *metaadmin.ConfigurationMetaControlResponse) (base.ErrorCode, string) { return r.Err, "" })
	if err != nil {
		return metaadmin.FlInvalid, err
	}
	return r.OldLevel, nil
}

// Propose asks the meta to do one thing with a partition: to make node its primary, a secondary, or none. primary
// is the partition's primary, who does it. It is done some time after the answer.
func (a Admin) Propose(ctx context.Context, p base.Gpid, do metaadmin.ConfigType, primary, node base.RPCAddress) error {
	_, err := admin(ctx, a.c, fmt.Sprintf("propose %v of %v for partition %v", do, node, p), base.RPCProposeBalancer,
		&metaadmin.ConfigurationBalancerRequest{Gpid: p, Force: base.Some(true), ActionList: []metaadmin.ConfigurationProposalAction{{Target: primary, Node: node, Type: do}}},
		func(r *metaadmin.ConfigurationBalancerResponse) (base.ErrorCode, string) { return r.Err, "" })
	return err
}

// rangePage is how many rows DelRange removes at a time.
const rangePage = 100

// DelRange removes the rows of a hash key that o chooses, some at a time, and returns how many it removed, also with an
// error. With dry it only counts them.
func (t *Table) DelRange(ctx context.Context, hashKey []byte, o ScanOptions, dry bool) (n int64, err error) {
	o.NoValue, o.Batch = true, rangePage
	s, err := t.ScanHash(hashKey, o)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	var keys [][]byte
	remove := func() error {
		if len(keys) > 0 && !dry {
			if err := t.MultiDel(ctx, hashKey, keys); err != nil {
				return err
			}
		}
		n += int64(len(keys))
		keys = keys[:0]
		return nil
	}
	for s.Next(ctx) {
		if keys = append(keys, bytes.Clone(s.Row().SortKey)); len(keys) == rangePage {
			if err := remove(); err != nil {
				return n, err
			}
		}
	}
	if err := s.Err(); err != nil {
		return n, err
	}
	return n, remove()
}
