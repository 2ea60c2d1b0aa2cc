package client

import (
	"context"
	"fmt"

	"pegasus/base"
	"pegasus/base/tbin"
	"pegasus/gen/metadata"
	"pegasus/gen/replicaadmin"
	"pegasus/gen/rrdb"
	"pegasus/rpc"
)

// askReplica asks one replica server ("ip:port").
func (a Admin) askReplica(ctx context.Context, op, addr, code string, q tbin.Encoder, r tbin.Decoder, result *base.ErrorCode) error {
	ctx, cancel := a.c.withDeadline(ctx)
	defer cancel()
	err := a.c.reachServer(ctx, addr)
	if err == nil {
		err = a.c.pool.Call(ctx, addr, rpc.Outgoing{Code: code, Arg: q, Framing: a.c.opts.Framing, Who: a.c.opts.Who}, r)
	}
	if err == nil && *result != base.ErrOK {
		err = *result
	}
	if err != nil {
		return fmt.Errorf("%s of %s: %w", op, addr, err)
	}
	return nil
}

// Replicas returns the replicas of a server, with the decrees that they have.
func (a Admin) Replicas(ctx context.Context, addr base.RPCAddress) ([]metadata.ReplicaInfo, error) {
	r := &replicaadmin.QueryReplicaInfoResponse{}
	err := a.askReplica(ctx, "replicas", addr.String(), base.RPCQueryReplicaInfo, &replicaadmin.QueryReplicaInfoRequest{Node1: addr}, r, &r.Err)
	return r.Replicas, err
}

// Disks returns the disks of a replica server.
func (a Admin) Disks(ctx context.Context, addr base.RPCAddress) (*replicaadmin.QueryDiskInfoResponse, error) {
	r := &replicaadmin.QueryDiskInfoResponse{}
	err := a.askReplica(ctx, "disks", addr.String(), base.RPCQueryDiskInfo, &replicaadmin.QueryDiskInfoRequest{Node1: addr}, r, &r.Err)
	return r, err
}

// MoveDisk has a replica server begin to move a replica between two of its data directories, which are named by their
// tags.
func (a Admin) MoveDisk(ctx context.Context, addr string, p base.Gpid, from, to string) error {
	r := &replicaadmin.ReplicaDiskMigrateResponse{}
	err := a.askReplica(ctx, "move between disks", addr, base.RPCReplicaDiskMigrate, &replicaadmin.ReplicaDiskMigrateRequest{Pid: p, OriginDisk: from, TargetDisk: to}, r, &r.Err)
	if err != nil && r.Hint.V != "" {
		err = fmt.Errorf("%s: %w", r.Hint.V, err)
	}
	return err
}

// TryWrites sends each partition of a table a remove of a row that nobody has, once and without a look at the answer's
// meaning: the error of each partition is that of its primary, nil if the write was taken.
func (a Admin) TryWrites(ctx context.Context, table string, name string) ([]error, error) {
	ctx, cancel := a.c.withDeadline(ctx)
	defer cancel()
	cfg, err := a.QueryConfig(ctx, table)
	if err != nil {
		return nil, err
	}
	n := len(cfg.Partitions)
	out := make([]error, n)
	done := make(chan struct{}, n)
	keys := make([][]byte, n)
	for i, left := 0, n; left > 0; i++ {
		hashKey := fmt.Appendf(nil, "%s-%d", name, i)
		if p := base.CRC64(hashKey) % uint64(n); keys[p] == nil {
			keys[p] = base.AppendKey(nil, hashKey, nil)
			left--
		}
	}
	for i := range cfg.Partitions {
		p := &cfg.Partitions[i]
		go func() {
			defer func() { done <- struct{}{} }()
			if p.Primary.IsZero() {
				out[i] = errNoPrimary
				return
			}
			out[i] = a.c.pool.Call(ctx, p.Primary.String(), rpc.Outgoing{Code: base.RPCRemove, Gpid: p.Pid, PartitionHash: base.HashOfKey(keys[i]),
				Arg: rpc.Blob(keys[i]), Framing: a.c.opts.Framing}, new(rrdb.UpdateResponse))
		}()
	}
	for range n {
		<-done
	}
	return out, nil
}
