package duplication

import (
	"slices"

	"pegasus/base"
	"pegasus/base/version"
	"pegasus/gen/duplication"
	"pegasus/meta/service"
	"pegasus/meta/state"
	"pegasus/meta/wire"
)

// maxWhy bounds the reason that a replica server gives, or why a request is refused.
const maxWhy = 1024

// sync takes what the primaries of a replica server confirm, and answers with all
// duplications. Upstream answers with those of tables that the server has a primary of.
func (s *Service) sync(_ *service.Call, q *duplication.DuplicationSyncRequest, r *duplication.DuplicationSyncResponse) {
	node := wire.Resolve(q.Node, base.NonZero(q.HpNode))
	known := false
	for _, n := range s.Nodes() {
		known = known || n.Addr == node
	}
	if !known {
		r.Err = base.ErrObjectNotFound
		return
	}
	var news []state.Confirmation
	var notes []state.NoteRemoteTable
	s.Read(func(st *state.State) { news, notes = s.hear(st, node, q) })
	if len(news) > 0 {
		if r.Err = s.Apply(&state.ConfirmDuplications{List: news}).Err; r.Err != base.ErrOK {
			return
		}
	}
	for i := range notes {
		if r.Err = s.Apply(&notes[i]).Err; r.Err != base.ErrOK {
			return
		}
	}
	r.Err = base.ErrOK
	s.Read(func(st *state.State) { answer(st, r) })
}

// hear notes what a server tells, and returns what is new of it.
func (s *Service) hear(st *state.State, node base.RPCAddress, q *duplication.DuplicationSyncRequest) (news []state.Confirmation, notes []state.NoteRemoteTable) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range q.ConfirmList {
		g := p.Key
		if _, c, ok := st.Config(g); !ok || c.Primary != node {
			continue // another one leads now: what it confirms is no business of this one
		}
		ds := st.DuplicationsOf(g.AppID)
		for _, e := range p.Val {
			for i := range ds {
				d := &ds[i]
				if d.ID != e.Dupid {
					continue
				}
				why := e.Why.V
				s.told[told{key{d.Table, d.ID}, g.PartitionIndex}] = tale{e.LastCommittedDecree.V, e.Skipped.V, e.Gaps.V, min(max(e.Room.V, 0), 100), why[:min(len(why), maxWhy)]}
				note := state.NoteRemoteTable{Table: d.Table, ID: d.ID, RemoteID: e.RemoteAppId.V}
				if note.RemoteID > 0 && d.RemoteID == 0 && st.Version().Allows(version.RemoteTables) && !slices.ContainsFunc(notes, func(n state.NoteRemoteTable) bool { return n.Table == d.Table && n.ID == d.ID }) {
					notes = append(notes, note)
				}
				if e.ConfirmedDecree > d.Confirms(g.PartitionIndex) && d.Status != state.DupPrepare {
					news = append(news, state.Confirmation{Table: d.Table, ID: d.ID, Partition: g.PartitionIndex, Decree: e.ConfirmedDecree, Ballot: e.Ballot.V, Copied: copiedOf(st, e.Copied.V)})
				}
			}
		}
	}
	return news, notes
}

// copiedOf is the decree of a copy that is remembered.
func copiedOf(st *state.State, decree int64) int64 {
	if st.Version().Allows(version.DuplicatedSplits) && decree > 0 {
		return decree
	}
	return 0
}

// answer has all duplications, with what is confirmed of each partition. A server that was a member and will be one again must not
// let go of its log meanwhile, so what it is told doesn't depend on where it is a member.
func answer(st *state.State, r *duplication.DuplicationSyncResponse) {
	ds := st.Duplications() // by table
	for i := 0; i < len(ds); {
		id := ds[i].Table
		var of []base.Pair[int32, duplication.DuplicationEntry]
		for ; i < len(ds) && ds[i].Table == id; i++ {
			e := entry(&ds[i])
			progress := make([]base.Pair[int32, int64], 0, len(ds[i].Confirmed))
			for n, d := range ds[i].Confirmed {
				p := int32(n)
				if unborn(st, id, p) {
					continue // nobody knows yet where it will begin
				}
				progress = append(progress, base.Pair[int32, int64]{Key: p, Val: d})
				if ds[i].Waits(p) {
					e.Waits = base.Some(append(e.Waits.V, p))
				}
				if ds[i].Copies(p) {
					e.Copies = base.Some(append(e.Copies.V, p))
				}
			}
			e.Progress, e.RemoteAppId, e.RemoteMade = base.Some(progress), base.NonZero(ds[i].RemoteID), base.NonZero(ds[i].RemoteMade)
			of = append(of, base.Pair[int32, duplication.DuplicationEntry]{Key: e.Dupid, Val: e})
		}
		r.DupMap = append(r.DupMap, base.Pair[int32, []base.Pair[int32, duplication.DuplicationEntry]]{Key: id, Val: of})
	}
}

// unborn tells whether a partition isn't split off from its parent yet.
func unborn(st *state.State, table, partition int32) bool {
	_, c, ok := st.Config(base.Gpid{AppID: table, PartitionIndex: partition})
	return ok && c.Unborn()
}
