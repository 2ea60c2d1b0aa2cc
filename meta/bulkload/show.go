package bulkload

import (
	"fmt"
	"strings"
	"time"

	"pegasus/base"
	"pegasus/gen/bulkload"
	"pegasus/gen/loading"
	"pegasus/meta/service"
	"pegasus/meta/state"
)

type (
	byAddr = base.Pair[base.RPCAddress, bulkload.PartitionBulkLoadState]
	byHost = base.Pair[base.HostPort, bulkload.PartitionBulkLoadState]
)

// status is how far a load is, in upstream's words. The caller holds the State.
func (s *Service) status(l *state.BulkLoad) bulkload.BulkLoadStatus {
	switch l.Status {
	case state.LoadReads:
		return bulkload.BLS_DOWNLOADING
	case state.LoadPaused:
		if s.stands(l) {
			return bulkload.BLS_PAUSED
		}
		return bulkload.BLS_PAUSING
	case state.LoadTakes:
		return bulkload.BLS_INGESTING
	case state.LoadDone:
		return bulkload.BLS_SUCCEED
	case state.LoadCanceled:
		return bulkload.BLS_CANCELED
	}
	return bulkload.BLS_FAILED
}

// stands tells whether each member that was asked knows that the load is paused.
func (s *Service) stands(l *state.BulkLoad) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.runs[l.Table]
	if r == nil || r.id != l.ID {
		return false
	}
	for p := range r.parts {
		for _, m := range r.parts[p].members {
			if m.alive && !m.paused {
				return false
			}
		}
	}
	return r.looked
}

// partStatus is how far a partition is, whose load is at is. What took its rows keeps them, whatever became of the load.
func partStatus(l *state.BulkLoad, is bulkload.BulkLoadStatus, p *state.BulkPart) bulkload.BulkLoadStatus {
	switch {
	case p.Status == state.PartTaken:
		return bulkload.BLS_SUCCEED
	case is == bulkload.BLS_DOWNLOADING && p.Status == state.PartReady:
		return bulkload.BLS_DOWNLOADED
	}
	return is
}

// query tells how far a load is, or what came of the last one.
func (s *Service) query(c *service.Call, q *bulkload.QueryBulkLoadRequest, r *bulkload.QueryBulkLoadResponse) {
	r.AppName = q.AppName
	s.Read(func(st *state.State) {
		t := st.TableNamed(q.AppName)
		if t == nil {
			r.Err, r.HintMsg = base.ErrAppNotExist, base.Some(fmt.Sprintf(notThere, q.AppName))
			return
		}
		r.Err, r.MaxReplicaCount = base.ErrOK, t.MaxReplicas
		l, ok := st.BulkLoadOf(t.ID)
		n := len(t.Parts)
		// Tools look into the lists for each partition, whatever else the answer says.
		r.PartitionsStatus = make([]bulkload.BulkLoadStatus, n)
		r.BulkLoadStates = make([][]byAddr, n)
		r.HpBulkLoadStates = base.Some(make([][]byHost, n))
		r.IsBulkLoading = base.Some(ok && l.Loading())
		if !r.IsBulkLoading.V {
			hint := fmt.Sprintf("app(%s) is not during bulk load, return last time result", q.AppName)
			if ok && l.Status != state.LoadDone {
				hint += ": " + outcome(&l)
			}
			r.HintMsg = base.Some(hint)
		}
		if !ok {
			return
		}
		r.AppStatus = s.status(&l)
		if !l.Loading() && l.Status == state.LoadFailed {
			r.Err = l.Err
		}
		for p := range min(n, len(l.Parts)) {
			r.PartitionsStatus[p] = partStatus(&l, r.AppStatus, &l.Parts[p])
			for _, a := range t.Parts[p].AppendMembers(nil) {
				is, known := s.memberState(&l, p, a)
				if !known {
					continue
				}
				r.BulkLoadStates[p] = append(r.BulkLoadStates[p], byAddr{Key: a, Val: is})
				if c.Names != nil {
					r.HpBulkLoadStates.V[p] = append(r.HpBulkLoadStates.V[p], byHost{Key: c.Names.Of(a), Val: is})
				}
			}
		}
		switch {
		case !l.Loading():
		case l.Status > state.LoadDone:
			r.HintMsg = base.Some(outcome(&l))
		default:
			r.HintMsg = base.NonZero(s.trouble(&l))
			s.tellProgress(&l, r)
		}
	})
}

// tellProgress fills an answer about a load that goes on.
func (s *Service) tellProgress(l *state.BulkLoad, r *bulkload.QueryBulkLoadResponse) {
	if l.Status != state.LoadReads && l.Status != state.LoadPaused {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	is := s.runs[l.Table]
	if is == nil || is.id != l.ID {
		return
	}
	read, total, left := is.progress(time.Now())
	if total == 0 {
		return
	}
	r.BytesRead, r.BytesTotal = base.Some(read), base.Some(total)
	if left >= 0 && l.Status == state.LoadReads {
		r.SecondsLeft = base.Some(left)
	}
}

// outcome says what came of a load that failed or was canceled.
func outcome(l *state.BulkLoad) string {
	what := l.Reason
	switch taken := l.Taken(); {
	case len(taken) == 0:
		return what + "; no partition took rows, the table is as it was"
	case len(taken) == len(l.Parts):
		return what + "; by then all partitions had taken their rows, and keep them"
	default:
		return fmt.Sprintf("%s; partitions %s took their rows and keep them, the other %d are as they were: load the files again to have all of them", what, ranges(taken), len(l.Parts)-len(taken))
	}
}

// ranges writes numbers, in ascending order: 0-3, 7.
func ranges(list []int32) string {
	var parts []string
	for i := 0; i < len(list); {
		k := i
		for k+1 < len(list) && list[k+1] == list[k]+1 {
			k++
		}
		if k > i {
			parts = append(parts, fmt.Sprintf("%d-%d", list[i], list[k]))
		} else {
			parts = append(parts, fmt.Sprint(list[i]))
		}
		i = k + 1
	}
	return strings.Join(parts, ", ")
}

// memberState is how far a member is, as it said; known is false if it said nothing.
func (s *Service) memberState(l *state.BulkLoad, p int, a base.RPCAddress) (is bulkload.PartitionBulkLoadState, known bool) {
	is = bulkload.PartitionBulkLoadState{DownloadProgress: base.Some[int32](0), IngestStatus: base.Some(bulkload.IS_INVALID), IsCleanedUp: base.Some(false), IsPaused: base.Some(false)}
	if !l.Loading() {
		is.IsCleanedUp.V = true
		return is, true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.runs[l.Table].member(l.ID, p, a)
	if m == nil || !m.heard {
		return is, false
	}
	is.IsCleanedUp.V = m.forgot
	if l.Status >= state.LoadDone {
		return is, true
	}
	is.IsPaused.V = l.Status == state.LoadPaused && m.paused
	is.DownloadStatus = base.Some(base.ErrOK)
	switch {
	case m.state == loading.LOAD_READY || m.state == loading.LOAD_TAKEN:
		is.DownloadProgress.V = 100
	case m.total > 0:
		is.DownloadProgress.V = int32(min(max(m.read, 0)*99/m.total, 99)) // 100 is the set
	}
	switch {
	case l.Parts[p].Status == state.PartTaken || m.state == loading.LOAD_TAKEN:
		is.IngestStatus.V = bulkload.IS_SUCCEED
	case l.Parts[p].Status == state.PartTaking:
		is.IngestStatus.V = bulkload.IS_RUNNING
	}
	return is, true
}

// trouble says what a load waits for beside work; "" if nothing is wrong.
func (s *Service) trouble(l *state.BulkLoad) string {
	const most = 3
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.runs[l.Table]
	if r == nil || r.id != l.ID {
		return ""
	}
	var list []string
	more := 0
	for p := range r.parts {
		why := r.parts[p].why
		switch {
		case why == "" || p < len(l.Parts) && l.Parts[p].Status == state.PartTaken:
		case len(list) < most:
			list = append(list, fmt.Sprintf("partition %d: %s", p, why))
		default:
			more++
		}
	}
	if more > 0 {
		list = append(list, fmt.Sprintf("and %d partitions more", more))
	}
	return strings.Join(list, "; ")
}
