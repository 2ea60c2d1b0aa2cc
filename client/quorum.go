package client

import (
	"context"
	"fmt"
	"time"

	"pegasus/base"
	"pegasus/gen/metaquorum"
	"pegasus/rpc"
)

// changeTimeout bounds one attempt to change the quorum: a new member has to catch up.
const changeTimeout = 2 * time.Minute

// MetaStatus asks one meta server ("host:port"), leading or not, for its word about itself.
func (a Admin) MetaStatus(ctx context.Context, addr string) (*metaquorum.QuorumStatusResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, a.c.opts.RangeTimeout)
	defer cancel()
	r := &metaquorum.QuorumStatusResponse{}
	err := a.c.pool.Call(ctx, addr, rpc.Outgoing{Code: base.RPCQuorumStatus, Arg: &metaquorum.QuorumStatusRequest{}, Framing: a.c.opts.Framing}, r)
	if err == nil && r.Err != base.ErrOK {
		err = r.Err
	}
	if err != nil {
		return nil, fmt.Errorf("status of meta server %s: %w", addr, err)
	}
	return r, nil
}

// AddMeta makes the meta server at addr, which was started to join, a member of the quorum.
// It returns the members.
func (a Admin) AddMeta(ctx context.Context, addr string) ([]metaquorum.QuorumMember, error) {
	return a.changeQuorum(ctx, "add meta server "+addr, &metaquorum.QuorumChangeRequest{Address: addr})
}

// RemoveMeta takes the meta server at addr out of the quorum. It returns the members.
func (a Admin) RemoveMeta(ctx context.Context, addr string) ([]metaquorum.QuorumMember, error) {
	return a.changeQuorum(ctx, "remove meta server "+addr, &metaquorum.QuorumChangeRequest{Address: addr, Remove: true})
}

func (a Admin) changeQuorum(ctx context.Context, op string, q *metaquorum.QuorumChangeRequest) ([]metaquorum.QuorumMember, error) {
	r, err := adminWithin(ctx, a.c, changeTimeout, op, base.RPCQuorumChange, q,
		func(r *metaquorum.QuorumChangeResponse) (base.ErrorCode, string) { return r.Err, r.Hint })
	if err != nil {
		return nil, err
	}
	return r.Members, nil
}

// TransferMeta has the meta server at addr lead, "": the one that is best at it. It returns who led and who leads.
func (a Admin) TransferMeta(ctx context.Context, addr string) (was, leader string, err error) {
	r, err := admin(ctx, a.c, "hand over to another meta server", base.RPCQuorumTransfer, &metaquorum.QuorumTransferRequest{Address: addr},
		func(r *metaquorum.QuorumTransferResponse) (base.ErrorCode, string) { return r.Err, r.Hint })
	if err != nil {
		return "", "", err
	}
	return r.Was, r.Leader, nil
}

// BackupMeta returns the state of the meta servers as a file of package base/metabackup.
func (a Admin) BackupMeta(ctx context.Context) ([]byte, error) {
	r, err := admin(ctx, a.c, "back up the meta servers", base.RPCQuorumBackup, &metaquorum.QuorumBackupRequest{},
		func(r *metaquorum.QuorumBackupResponse) (base.ErrorCode, string) { return r.Err, r.Hint })
	if err != nil {
		return nil, err
	}
	return r.Data, nil
}

// UpgradeVersion raises the version of the cluster to `to`, 0: the newest that the leader
// understands. With dryRun it only asks the members. If it is refused, the answer, which is
// returned too, says what each member understands.
func (a Admin) UpgradeVersion(ctx context.Context, to int32, dryRun bool) (*metaquorum.VersionUpgradeResponse, error) {
	var got *metaquorum.VersionUpgradeResponse
	r, err := admin(ctx, a.c, "upgrade the cluster's version", base.RPCUpgradeVersion, &metaquorum.VersionUpgradeRequest{To: to, DryRun: dryRun},
		func(r *metaquorum.VersionUpgradeResponse) (base.ErrorCode, string) { got = r; return r.Err, r.Hint })
	if err != nil {
		return got, err
	}
	return r, nil
}
