package bulkload

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"pegasus/base"
	"pegasus/gen/loading"
	"pegasus/meta/state"
)

const (
	// askEvery is Options.Every if that is 0.
	askEvery = time.Second
	// askTime bounds one question. takeTime bounds an order to take: sets are moved, and writes are held meanwhile.
	askTime, takeTime = 5 * time.Second, 30 * time.Second
	// mostWait is how long a partition waits at most after a member failed, see waitAfter.
	mostWait = 30 * time.Second
	// deadTime is how long a load that has ended waits for members that are dead, or can't remove what they have. They ask by themselves later (Service.ended).
	deadTime = time.Minute
	// maxCalls is how many members are asked at a time, maxNotes how many partitions one entry of the log is about.
	maxCalls, maxNotes = 256, 256
)

// job is a load that something is to be done for.
type job struct {
	state.BulkLoad
	gone    bool                // there is no such table
	idle    bool                // the function level lets nothing go on
	members [][]base.RPCAddress // by partition, the primary first
	primary []base.RPCAddress
}

// look does what is to be done now, and doesn't wait for it.
func (s *Service) look(ctx context.Context, wg *sync.WaitGroup) {
	alive := map[base.RPCAddress]bool{}
	for _, n := range s.Nodes() {
		if n.Alive {
			alive[n.Addr] = true
		}
	}
	var jobs []job
	taking := 0
	s.Read(func(st *state.State) {
		for _, l := range st.BulkLoads() {
			if !l.Loading() {
				continue
			}
			j := job{BulkLoad: l, idle: st.Level() < state.LevelSteady}
			t := st.Table(l.Table)
			if j.gone = t == nil || t.Status != state.Available; !j.gone {
				for p := range min(len(t.Parts), len(l.Parts)) {
					j.members = append(j.members, t.Parts[p].AppendMembers(nil))
					j.primary = append(j.primary, t.Parts[p].Primary)
					if l.Parts[p].Status == state.PartTaking {
						taking++
					}
				}
			}
			jobs = append(jobs, j)
		}
	})
	s.forgetRuns(jobs)
	for i := range jobs {
		switch j := &jobs[i]; {
		case j.gone:
			s.end(j)
		case j.Status >= state.LoadDone:
			s.finish(ctx, wg, j, alive)
		case !j.idle:
			s.advance(ctx, wg, j, alive, &taking)
		}
	}
}

// forgetRuns forgets what is known of loads that have ended.
func (s *Service) forgetRuns(jobs []job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	live := map[int32]int64{}
	for i := range jobs {
		live[jobs[i].Table] = jobs[i].ID
	}
	for t, r := range s.runs {
		if live[t] != r.id {
			delete(s.runs, t)
		}
	}
}

// runOf returns what is known of a load, with its present members. The caller holds mu.
func (s *Service) runOf(j *job, alive map[base.RPCAddress]bool) *run {
	r := s.runs[j.Table]
	if r == nil || r.id != j.ID {
		r = &run{id: j.ID, parts: make([]part, len(j.members))}
		s.runs[j.Table] = r
	}
	if r.status != j.Status {
		r.status, r.since, r.pace = j.Status, time.Now(), pace{}
		for p := range r.parts {
			for _, m := range r.parts[p].members {
				m.paused, m.asked = false, time.Time{}
			}
		}
	}
	r.looked = true
	for p := range r.parts {
		is := &r.parts[p]
		for _, a := range j.members[p] {
			if is.members[a] == nil {
				if is.members == nil {
					is.members = map[base.RPCAddress]*member{}
				}
				is.members[a] = &member{}
			}
		}
		for a, m := range is.members {
			if m.alive = alive[a]; !m.alive || !slices.Contains(j.members[p], a) {
				m.state = 0 // what it has is asked anew
			}
		}
	}
	return r
}

// question is one that a member is asked.
type question struct {
	job    *job
	part   int
	to     base.RPCAddress
	step   loading.LoadStep
	forget bool // to begin anew
	settle bool // the load has ended: did it take?
}

// advance has the members of a load prepare, and those that are ready take. taking counts the partitions of the cluster that do.
func (s *Service) advance(ctx context.Context, wg *sync.WaitGroup, j *job, alive map[base.RPCAddress]bool, taking *int) {
	var ask []question
	var notes []state.PartNote
	differ := ""
	now := time.Now()
	s.mu.Lock()
	r := s.runOf(j, alive)
	for p := range r.parts {
		is := &r.parts[p]
		if j.Parts[p].Status == state.PartTaken {
			continue
		}
		g := s.gather(j, p, is)
		is.why = cmp.Or(g.why, is.refusal)
		if differ == "" {
			differ = g.differ
		}
		for _, a := range j.members[p] {
			m := is.members[a]
			due := s.o.Every
			if m.state == loading.LOAD_READY || m.state == loading.LOAD_TAKEN || j.Status == state.LoadPaused && m.paused {
				due = 5 * s.o.Every // it may lose what it has
			}
			if !m.alive || m.busy || now.Before(is.wait) || now.Sub(m.asked) < due {
				continue
			}
			q := question{job: j, part: p, to: a, step: loading.LOAD_PREPARE}
			if m.fails {
				q.step, q.forget = loading.LOAD_FORGET, true
			}
			m.busy, m.asked = true, now
			ask = append(ask, q)
		}
		switch note := (state.PartNote{Partition: int32(p), BulkPart: state.BulkPart{Digest: g.digest, Rows: g.rows, Bytes: g.bytes}}); {
		case j.Parts[p].Status == state.PartTaking:
			if a := j.primary[p]; a != 0 && alive[a] && !is.taking && !now.Before(is.wait) && now.Sub(is.told) >= s.o.Every/2 {
				is.taking, is.told = true, now
				ask = append(ask, question{job: j, part: p, to: a, step: loading.LOAD_TAKE})
			}
		case !g.ready || len(notes) >= maxNotes:
		case j.Parts[p].Status == state.PartReads:
			note.Status = state.PartReady
			notes = append(notes, note)
		case j.Status == state.LoadTakes && *taking < s.o.AtOnce:
			*taking++
			note.Status = state.PartTaking
			notes = append(notes, note)
		}
	}
	r.progress(now)
	s.mu.Unlock()
	if differ != "" {
		s.fail(j, base.ErrCorruption, differ)
	} else if len(notes) > 0 {
		s.note(j, notes)
	}
	for _, q := range ask {
		wg.Go(func() { s.ask(ctx, q) })
	}
}

// gathered is what the members of a partition said, together.
type gathered struct {
	ready       bool
	digest      string
	rows, bytes int64
	why         string // what it waits for, beside work
	differ      string // two members have other sets
}

// gather looks at what the members of a partition said. The caller holds mu.
func (s *Service) gather(j *job, p int, is *part) (g gathered) {
	if j.primary[p] == 0 || len(j.members[p]) == 0 {
		g.why = "it has no primary"
		return g
	}
	g.ready = true
	digest, of := j.Parts[p].Digest, "the sets that were ready before"
	for _, a := range j.members[p] {
		m := is.members[a]
		if m.state == loading.LOAD_TAKEN && j.Parts[p].Status < state.PartTaking && g.differ == "" {
			g.differ = fmt.Sprintf("partition %d: %v says that it took the rows, and wasn't told to", p, a)
		}
		if m.why != "" || !m.alive {
			g.why = cmp.Or(g.why, m.why, fmt.Sprintf("its member %v doesn't live", a))
		}
		if m.state != loading.LOAD_READY || !m.alive {
			g.ready = false
			continue
		}
		if digest == "" {
			digest, of = m.digest, a.String()
		}
		if m.digest != digest && g.differ == "" {
			g.differ = fmt.Sprintf("partition %d: %v made another set of rows (%d rows, %s) of the files than %s (%s); the files may have been replaced meanwhile: make them anew, and load them again",
				p, a, m.rows, m.digest, of, digest)
		}
		g.digest, g.rows, g.bytes = m.digest, m.rows, m.total
	}
	if now := time.Now(); is.wait.After(now) {
		g.why = fmt.Sprintf("attempt %d of %d failed, the next is in %v: %s", is.tries, s.o.Tries, is.wait.Sub(now).Round(time.Second), g.why)
	}
	return g
}

// note notes steps of partitions.
func (s *Service) note(j *job, notes []state.PartNote) {
	code := s.Apply(&state.NoteBulkLoad{Table: j.Table, ID: j.ID, Notes: notes}).Err
	for _, n := range notes {
		if code != base.ErrOK {
			s.Log().Debugf("bulk load of table %d, partition %d, step %d: %v", j.Table, n.Partition, n.Status, code)
		} else if n.Status == state.PartTaken {
			s.Log().Infof("partition %d.%d took %d rows at decree %d; writes waited for %d ms", j.Table, n.Partition, j.Parts[n.Partition].Rows, n.Decree, n.HeldMS)
		}
	}
}

// fail ends a load that can't succeed.
func (s *Service) fail(j *job, code base.ErrorCode, reason string) {
	if s.Apply(&state.FailBulkLoad{Table: j.Table, ID: j.ID, Err: code, Reason: reason}).Err == base.ErrOK {
		s.Log().Errorf("bulk load of table %q (%d) fails: %v: %s", j.Name, j.Table, code, reason)
	}
}

// end ends a load that nobody has anything of any more.
func (s *Service) end(j *job) {
	if s.Apply(&state.EndBulkLoad{Table: j.Table, ID: j.ID, Now: max(s.o.Now().UnixMilli(), 1)}).Err == base.ErrOK {
		s.Log().Infof("bulk load of table %q (%d) has ended", j.Name, j.Table)
	}
}

// done tells whether a load that has ended needn't wait for a member: is, if it is one still; late, if the load ended long ago. One that lives and doesn't answer, because its disk hangs, is like one that can't.
func (m *member) done(is, late bool) bool {
	return m.forgot || !m.alive && (!is || late) || m.stuck && late
}

// finish has members forget a load that is done, failed or canceled, and ends it when they have.
func (s *Service) finish(ctx context.Context, wg *sync.WaitGroup, j *job, alive map[base.RPCAddress]bool) {
	var ask []question
	now := time.Now()
	left := 0
	s.mu.Lock()
	r := s.runOf(j, alive)
	for p := range r.parts {
		is := &r.parts[p]
		if is.taking { // its answer tells whether it took
			left++
			continue
		}
		before := left
		for a, m := range is.members {
			if m.done(slices.Contains(j.members[p], a), now.Sub(r.since) > deadTime) {
				continue
			}
			left++
			if !m.alive || m.busy || now.Sub(m.asked) < s.o.Every {
				continue
			}
			m.busy, m.asked = true, now
			ask = append(ask, question{job: j, part: p, to: a, step: loading.LOAD_FORGET})
		}
		// Whether it took, and the answer got lost, its primary tells. It can't take any more: the sets are gone.
		if left == before && j.Parts[p].Status == state.PartTaking && !is.settled && now.Sub(r.since) <= deadTime {
			left++
			if a := j.primary[p]; a != 0 && alive[a] && now.Sub(is.told) >= s.o.Every/2 {
				is.taking, is.told = true, now
				ask = append(ask, question{job: j, part: p, to: a, step: loading.LOAD_TAKE, settle: true})
			}
		}
	}
	s.mu.Unlock()
	if left == 0 {
		s.end(j)
	}
	for _, q := range ask {
		wg.Go(func() { s.ask(ctx, q) })
	}
}

// request is what a member is sent.
func (s *Service) request(q *question) *loading.LoadRequest {
	j := q.job
	r := &loading.LoadRequest{Pid: base.Gpid{AppID: j.Table, PartitionIndex: int32(q.part)}, LoadId: j.ID, Step: q.step, ClusterId: base.NonZero(s.o.Cluster())}
	switch q.step {
	case loading.LOAD_PREPARE:
		r.Source = base.Some(loading.LoadSource{Provider: j.Provider, RootPath: j.Root, ClusterName: j.Cluster, AppName: j.Name, PartitionCount: int32(len(j.Parts)), AppId: j.Table,
			IngestBehind: j.Behind, TimetagUs: j.Timetag, BytesPerSecond: j.Rate})
		r.Paused = base.Some(j.Status == state.LoadPaused)
	case loading.LOAD_TAKE:
		r.Digest = base.Some(j.Parts[q.part].Digest)
	}
	return r
}

// ask asks a member, and takes its answer.
func (s *Service) ask(ctx context.Context, q question) {
	select {
	case s.calls <- struct{}{}:
	case <-ctx.Done():
		return
	}
	defer func() { <-s.calls }()
	limit := askTime
	if q.step == loading.LOAD_TAKE {
		limit = takeTime
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var r loading.LoadResponse
	err := s.Call(ctx, q.to, base.RPCLoadRows, s.request(&q), &r)
	s.answered(&q, &r, err)
}

// waitAfter is how long a partition waits after a member failed: twice as long each time.
func (s *Service) waitAfter(tries int) time.Duration {
	return min(s.o.Every<<min(tries-1, 10), mostWait)
}

// answered takes the answer of a member.
func (s *Service) answered(q *question, r *loading.LoadResponse, err error) {
	j, note, code, reason := q.job, (*state.PartNote)(nil), base.ErrOK, ""
	s.mu.Lock()
	m := s.runs[j.Table].member(j.ID, q.part, q.to)
	if m == nil { // the load has ended
		s.mu.Unlock()
		return
	}
	is := &s.runs[j.Table].parts[q.part]
	if q.step == loading.LOAD_TAKE {
		is.taking, is.refusal = false, ""
	} else {
		m.busy = false
	}
	why := ""
	is.settled = is.settled || q.settle && err == nil
	switch {
	case err != nil && q.step == loading.LOAD_FORGET && base.CodeOf(err) == base.ErrHandlerNotFound: // an older program has nothing to forget
	case err != nil:
		why = fmt.Sprintf("its member %v: %v", q.to, err)
	case r.Err != base.ErrOK && !(q.step == loading.LOAD_FORGET && r.Err == base.ErrObjectNotFound): // who has no replica has nothing to forget
		why = fmt.Sprintf("its member %v: %v", q.to, cmp.Or(r.Err, base.ErrUnknown))
		if r.HintMsg != "" {
			why += ": " + r.HintMsg
		}
	}
	switch {
	case why != "" && q.step == loading.LOAD_TAKE:
		is.refusal = why
		if r.Err == base.ErrInconsistentState && !q.settle { // the digests of the sets differ
			code, reason = base.ErrCorruption, fmt.Sprintf("partition %d: %s", q.part, why)
		}
	case why != "":
		m.why = why
		m.stuck = q.step == loading.LOAD_FORGET && base.CodeOf(err) != base.ErrBusy && r.Err != base.ErrBusy
		if q.step == loading.LOAD_PREPARE {
			m.state = 0
			if r.Err == base.ErrInvalidParameters { // it will never do that
				code, reason = r.Err, fmt.Sprintf("partition %d: %s", q.part, why)
			}
		}
	case q.step == loading.LOAD_FORGET:
		m.why = ""
		if q.forget {
			m.fails, m.state, m.asked = false, loading.LOAD_NONE, time.Time{}
			break
		}
		m.heard, m.forgot = true, true
	default:
		m.heard, m.why = true, ""
		m.state, m.read, m.total, m.rows, m.digest = r.State, r.BytesRead, r.BytesTotal, r.Rows, r.Digest
		if q.step == loading.LOAD_PREPARE {
			m.paused = j.Status == state.LoadPaused
		}
		switch {
		case r.State == loading.LOAD_FAILED:
			m.why = fmt.Sprintf("%v: %s", q.to, cmp.Or(r.Reason, string(r.LoadErr)))
			m.fails = true
			if r.BadFiles {
				code, reason = cmp.Or(r.LoadErr, base.ErrCorruption), fmt.Sprintf("partition %d on %s", q.part, m.why)
			} else if is.tries++; is.tries >= s.o.Tries {
				code, reason = cmp.Or(r.LoadErr, base.ErrRetryExhausted), fmt.Sprintf("partition %d failed %d times, the last time on %s", q.part, is.tries, m.why)
			} else {
				is.wait = time.Now().Add(s.waitAfter(is.tries))
			}
		case q.step == loading.LOAD_TAKE && r.State == loading.LOAD_TAKEN:
			note = &state.PartNote{Partition: int32(q.part), BulkPart: state.BulkPart{Status: state.PartTaken, Decree: r.Decree, HeldMS: int64(r.HeldMs)}}
		case r.State == loading.LOAD_READY && r.Digest == "":
			m.state, m.why = 0, fmt.Sprintf("its member %v says that its set is ready, and not which one", q.to)
		}
	}
	s.mu.Unlock()
	switch {
	case reason != "":
		s.fail(j, code, reason)
	case note != nil:
		s.note(j, []state.PartNote{*note})
	case why != "":
		s.Log().Debugf("bulk load of partition %d.%d, %v: %s", j.Table, q.part, q.step, why)
	}
}
