package client

import (
	"context"
	"fmt"

	"pegasus/base"
	"pegasus/gen/duplication"
	"pegasus/gen/utils"
)

// DuplicationOptions are the rarer properties of a new duplication.
type DuplicationOptions struct {
	RemoteTable string // "": the name of the table here
	Replicas    int    // of the table in the other cluster if it is made; 0: as many as here
	// NoCopy sends only what is written from now on, to a table that is there.
	NoCopy bool
}

// AddDuplication begins to send what is written to a table to another cluster, which the configuration names.
func (a duplications) AddDuplication(ctx context.Context, table, cluster string, o DuplicationOptions) (*duplication.DuplicationAddResponse, error) {
	q := &duplication.DuplicationAddRequest{AppName: table, RemoteClusterName: cluster, IsDuplicatingCheckpoint: base.Some(!o.NoCopy), RemoteReplicaCount: base.NonZero(int32(o.Replicas)), RemoteAppName: base.NonZero(o.RemoteTable), MustAnswer: base.Some(true)}
	return admin(ctx, a.c, fmt.Sprintf("duplicate table %q to cluster %q", table, cluster), base.RPCAddDuplication, q,
		func(r *duplication.DuplicationAddResponse) (base.ErrorCode, string) { return r.Err, r.Hint.V })
}

// ListDuplications returns the tables with their duplications, and how far each partition is.
func (a duplications) ListDuplications(ctx context.Context) ([]duplication.DuplicationAppState, error) {
	r, err := admin(ctx, a.c, "list duplications", base.RPCListDuplication, &duplication.DuplicationListRequest{MatchType: utils.PMT_MATCH_ALL},
		func(r *duplication.DuplicationListResponse) (base.ErrorCode, string) { return r.Err, r.HintMessage })
	if err != nil {
		return nil, err
	}
	list := make([]duplication.DuplicationAppState, len(r.AppStates))
	for i := range r.AppStates {
		list[i] = r.AppStates[i].Val
	}
	return list, nil
}

// Duplications returns those of a table, with the reason why each partition stands where it does.
func (a duplications) Duplications(ctx context.Context, table string) ([]duplication.DuplicationEntry, error) {
	r, err := admin(ctx, a.c, fmt.Sprintf("show the duplications of table %q", table), base.RPCQueryDuplication, &duplication.DuplicationQueryRequest{AppName: table, Why: base.Some(true)},
		func(r *duplication.DuplicationQueryResponse) (base.ErrorCode, string) { return r.Err, "" })
	if err != nil {
		return nil, err
	}
	return r.EntryList, nil
}

// SetDuplication changes the status of a duplication: duplication.DS_PAUSE, DS_LOG (it goes on) or DS_REMOVED.
func (a duplications) SetDuplication(ctx context.Context, table string, id int32, to duplication.DuplicationStatus) error {
	return a.modifyDuplication(ctx, &duplication.DuplicationModifyRequest{AppName: table, Dupid: id, Status: base.Some(to)})
}

// SetDuplicationMode says what happens with what can't be sent.
func (a duplications) SetDuplicationMode(ctx context.Context, table string, id int32, to duplication.DuplicationFailMode) error {
	return a.modifyDuplication(ctx, &duplication.DuplicationModifyRequest{AppName: table, Dupid: id, FailMode: base.Some(to)})
}

func (a duplications) modifyDuplication(ctx context.Context, q *duplication.DuplicationModifyRequest) error {
	_, err := admin(ctx, a.c, fmt.Sprintf("change duplication %d of table %q", q.Dupid, q.AppName), base.RPCModifyDuplication, q,
		func(r *duplication.DuplicationModifyResponse) (base.ErrorCode, string) { return r.Err, "" })
	return err
}
