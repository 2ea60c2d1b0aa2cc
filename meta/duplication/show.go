package duplication

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"pegasus/base"
	"pegasus/base/judge"
	"pegasus/gen/duplication"
	"pegasus/httpapi"
	"pegasus/meta/service"
	"pegasus/meta/state"
	"pegasus/meta/wire"
)

// entry is a duplication in its wire form, without progress.
func entry(d *state.Duplication) duplication.DuplicationEntry {
	return duplication.DuplicationEntry{Dupid: d.ID, Status: duplication.DuplicationStatus(d.Status), Remote: d.Remote, CreateTs: d.Created,
		FailMode: base.Some(duplication.DuplicationFailMode(d.Mode)), RemoteAppName: base.Some(d.RemoteTable), RemoteReplicaCount: base.Some(d.RemoteReplicas)}
}

// listed is entry with the state of each partition; with reasons and the other table's id if why is set.
func (s *Service) listed(d *state.Duplication, why bool) duplication.DuplicationEntry {
	e := entry(d)
	if why {
		e.RemoteAppId = base.NonZero(d.RemoteID)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k := key{d.Table, d.ID}
	parts := make([]base.Pair[int32, duplication.DuplicationPartitionState], len(d.Confirmed))
	for i := range parts {
		p := int32(i)
		v := duplication.DuplicationPartitionState{ConfirmedDecree: d.Confirms(p), LastCommittedDecree: state.NotConfirmed}
		t, ok := s.told[told{k, p}]
		if ok {
			v.LastCommittedDecree = t.committed
		}
		if why {
			reason := t.why
			switch {
			case d.Status == state.DupPrepare:
				reason = "the table is being made in the other cluster"
				if x := s.problems[k]; x != "" {
					reason = x
				}
			case d.Waits(p) && reason == "":
				reason = "waits for its parent: " + waitsFor(d, p)
			case !ok:
				reason = "no primary has told yet"
			}
			v.Why, v.Skipped = base.Some(reason), base.Some(t.skipped)
			v.Gaps, v.Room = base.Some(t.gaps), base.Some(t.room)
		}
		parts[i] = base.Pair[int32, duplication.DuplicationPartitionState]{Key: p, Val: v}
	}
	e.PartitionStates = base.Some(parts)
	return e
}

// waitsFor says what of a partition's parent is to be sent first.
func waitsFor(d *state.Duplication, partition int32) string {
	for _, h := range d.Halves {
		if h.Child == partition {
			return fmt.Sprintf("partition %d has sent decree %d, and is to send decree %d before", h.Parent, d.Confirms(h.Parent), h.Cut)
		}
	}
	return ""
}

// Strained returns the duplications of a table for which a partition's primary keeps much of the log, as it said last.
func (s *Service) Strained(ds []state.Duplication, partition int32) (list []judge.Sending) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range ds {
		if t, ok := s.told[told{key{ds[i].Table, ds[i].ID}, partition}]; ok && t.room >= judge.LogRoomStrained {
			list = append(list, judge.Sending{Cluster: ds[i].Remote, Room: int(t.room)})
		}
	}
	return list
}

// query lists the duplications of a table.
func (s *Service) query(_ *service.Call, q *duplication.DuplicationQueryRequest, r *duplication.DuplicationQueryResponse) {
	var ds []state.Duplication
	s.Read(func(st *state.State) {
		if t := st.TableNamed(q.AppName); t != nil {
			r.Appid, ds = t.ID, st.DuplicationsOf(t.ID)
		}
	})
	if r.Appid == 0 {
		r.Err = base.ErrAppNotExist
		return
	}
	r.Err = base.ErrOK
	for i := range ds {
		r.EntryList = append(r.EntryList, s.listed(&ds[i], q.Why.V))
	}
}

// list lists the tables whose name matches, with their duplications.
func (s *Service) list(_ *service.Call, q *duplication.DuplicationListRequest, r *duplication.DuplicationListResponse) {
	type table struct {
		duplication.DuplicationAppState
		ds []state.Duplication
	}
	var ts []table
	r.Err = base.ErrOK
	s.Read(func(st *state.State) {
		st.Tables(func(t *state.Table) {
			if t.Status != state.Available {
				return
			}
			ok, known := wire.MatchName(t.Name, q.AppNamePattern, q.MatchType)
			if !known {
				r.Err, r.HintMessage = base.ErrNotImplemented, fmt.Sprintf("match type %d is not supported", int32(q.MatchType))
			}
			if ok {
				ts = append(ts, table{duplication.DuplicationAppState{Appid: t.ID, AppName: t.Name, PartitionCount: int32(len(t.Parts))}, st.DuplicationsOf(t.ID)})
			}
		})
	})
	// Tools show them as they come, upstream's map has them by name.
	slices.SortFunc(ts, func(a, b table) int { return strings.Compare(a.AppName, b.AppName) })
	for i := range ts {
		a := ts[i].DuplicationAppState
		for k := range ts[i].ds {
			d := &ts[i].ds[k]
			a.Duplications = append(a.Duplications, base.Pair[int32, duplication.DuplicationEntry]{Key: d.ID, Val: s.listed(d, false)})
		}
		r.AppStates = append(r.AppStates, base.Pair[string, duplication.DuplicationAppState]{Key: a.AppName, Val: a})
	}
}

// page is query as upstream's page: the duplications by number from 1 on.
func (s *Service) page(c *service.Call, q *httpapi.Request) httpapi.Response {
	name := q.Get("name")
	if !q.Only("name") || name == "" {
		return httpapi.Text(http.StatusBadRequest, "name should not be empty")
	}
	var a duplication.DuplicationQueryResponse
	s.query(c, &duplication.DuplicationQueryRequest{AppName: name}, &a)
	if a.Err != base.ErrOK {
		return httpapi.Text(http.StatusNotFound, string(a.Err))
	}
	if len(a.EntryList) == 0 {
		return httpapi.JSON(nil)
	}
	var o httpapi.Object
	for i := range a.EntryList {
		e := &a.EntryList[i]
		var parts httpapi.Object
		for _, p := range e.PartitionStates.V {
			parts.Add(strconv.Itoa(int(p.Key)), httpapi.Object{{Name: "confirmed_decree", Value: p.Val.ConfirmedDecree}, {Name: "last_committed_decree", Value: p.Val.LastCommittedDecree}})
		}
		o.Add(strconv.Itoa(i+1), httpapi.Object{
			{Name: "create_ts", Value: time.UnixMilli(e.CreateTs).Format(time.DateTime)}, {Name: "dupid", Value: e.Dupid}, {Name: "fail_mode", Value: e.FailMode.V.String()},
			{Name: "partition_states", Value: parts}, {Name: "remote", Value: e.Remote}, {Name: "remote_app_name", Value: e.RemoteAppName.V},
			{Name: "remote_replica_count", Value: e.RemoteReplicaCount.V}, {Name: "status", Value: e.Status.String()}})
	}
	o.Add("appid", a.Appid)
	return httpapi.JSON(o)
}
