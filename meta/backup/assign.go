package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"pegasus/base"
	wire "pegasus/gen/backup"
	"pegasus/meta/state"
	"pegasus/rpc"
)

const (
	mostLost  = 3                // calls in a row without an answer, until another server is asked
	mostPause = 30 * time.Second // until servers are asked again that have refused
	mostLook  = 256              // partitions that are looked at in one step
	mostNotes = 10               // things that are told of what a backup waits for
)

// errFailed is that trying on is of no use.
var errFailed = errors.New("the backup failed")

// partition is a partition that is to be backed up.
type partition struct {
	gpid  base.Gpid
	table int // index in the backup

	node     base.RPCAddress // who is asked; 0: nobody
	busy     bool            // a call is under way
	next     time.Time       // not before
	moved    time.Time       // when it made progress
	mille    int32
	lost     int
	tried    map[base.RPCAddress]bool
	rounds   int // how often all members were tried
	failures int
	why      string // what it waits for
}

// answer is what a server said of a partition, or that a table was finished.
type answer struct {
	p     *partition // nil: a table
	node  base.RPCAddress
	table int
	resp  wire.BackupResponse
	err   error
}

// upload has servers write the partitions of a backup. One goroutine runs it.
type upload struct {
	s       *Service
	j       *job
	b       *state.Backup
	finish  func(ctx context.Context, table int) error // when all partitions of a table are there
	answers chan answer
	open    []int        // partitions by table that aren't there
	left    int          // tables that aren't finished
	waiting []*partition // for a server
	active  []*partition // that a server is asked for
	gone    []string     // by table: why it can't be in the backup
	splits  map[int]splitting
	total   int64 // how far all is: per mille of partitions, and a thousand for each table that is finished
}

// splitting is how far the split of a table is that a backup waits for.
type splitting struct {
	left  int       // partitions that haven't switched
	since time.Time // when there were more, or it was first seen
}

func (s *Service) newUpload(j *job, b *state.Backup, finish func(context.Context, int) error) *upload {
	return &upload{s: s, j: j, b: b, finish: finish, answers: make(chan answer), open: make([]int, len(b.Tables)), gone: make([]string, len(b.Tables)), splits: map[int]splitting{}}
}

// skip notes that a table is finished already.
func (u *upload) skip(table int) { u.total += 1000 * (int64(u.b.Tables[table].Partitions) + 1) }

// add has the partitions of a table backed up.
func (u *upload) add(table int) {
	t := &u.b.Tables[table]
	u.open[table], u.left = int(t.Partitions), u.left+1
	for i := range t.Partitions {
		u.waiting = append(u.waiting, &partition{gpid: base.Gpid{AppID: t.ID, PartitionIndex: i}, table: table, tried: map[base.RPCAddress]bool{}})
	}
	u.s.mu.Lock()
	u.j.tables[t.ID] = &progress{}
	u.s.mu.Unlock()
}

// run returns when all tables are finished, or can't be in the backup (gone). An error wraps errFailed if another attempt
// is of no use. moved is told how far all is, when something went on.
func (u *upload) run(ctx context.Context, moved func(total int64)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		cancel()
		for _, p := range u.active {
			u.release(p, true)
		}
	}()
	tick := time.NewTicker(max(u.s.o.Poll/2, time.Millisecond))
	defer tick.Stop()
	for u.left > 0 {
		u.step(ctx)
		if u.left == 0 {
			break
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		case a := <-u.answers:
			on, err := u.take(ctx, &a)
			if err != nil {
				return err
			}
			if on {
				moved(u.total)
			}
		}
	}
	return nil
}

// view is what is looked up for a step.
type view struct {
	alive   map[base.RPCAddress]bool
	configs map[base.Gpid]state.Config
	gone    map[int]string
}

func (u *upload) look(list []*partition) view {
	v := view{map[base.RPCAddress]bool{}, map[base.Gpid]state.Config{}, map[int]string{}}
	for _, n := range u.s.leader.Nodes() {
		v.alive[n.Addr] = n.Alive
	}
	u.s.leader.Read(func(st *state.State) {
		for i := range u.b.Tables {
			if u.open[i] > 0 {
				if why := cmp.Or(missing(st, &u.b.Tables[i]), u.held(st, i)); why != "" {
					v.gone[i] = why
				}
			}
		}
		for _, p := range list {
			_, c, ok := st.Config(p.gpid)
			if !ok {
				continue
			}
			// Before its partition has switched a parent has the rows of its child, too, and the child none.
			if sp, is := splitOf(st, &u.b.Tables[p.table]); is && !sp.Switched(p.gpid.PartitionIndex) {
				p.why = "its table is being split, and it hasn't switched yet"
				continue
			}
			v.configs[p.gpid] = c
		}
	})
	return v
}

// splitOf returns the split of a table of whose partitions those that haven't switched aren't backed up yet.
func splitOf(st *state.State, t *state.BackupTable) (state.Split, bool) {
	sp, ok := st.SplitOf(t.ID)
	return sp, ok && int(t.Partitions) == 2*len(sp.Status)
}

// held says why a policy's backup doesn't wait any longer for the split of a table, "" if it does: the policy has other tables, which would
// not be backed up as long as that one's split is paused.
func (u *upload) held(st *state.State, table int) string {
	t := &u.b.Tables[table]
	sp, ok := splitOf(st, t)
	if u.b.Policy == "" || !ok {
		return ""
	}
	now, left := time.Now(), 0
	for p := range sp.Status {
		if !sp.Switched(int32(p)) {
			left++
		}
	}
	if is, seen := u.splits[table]; !seen || left < is.left {
		u.splits[table] = splitting{left, now}
	} else if most := u.s.o.Patience / 2; now.Sub(is.since) > most {
		return fmt.Sprintf("table %s (%d) is being split, and for %v none of the %d partitions switched that had to", t.Name, t.ID, most, left)
	}
	return ""
}

// missing says why a table can't be backed up any more, "" if it can.
func missing(st *state.State, t *state.BackupTable) string {
	switch is := st.Table(t.ID); {
	case is == nil || is.Status != state.Available:
		return fmt.Sprintf("table %s (%d) was dropped", t.Name, t.ID)
	case len(is.Parts) != int(t.Partitions):
		if sp, ok := st.SplitOf(t.ID); ok && len(sp.Status) == int(t.Partitions) && !sp.Begun() {
			return "" // the split waits for the backup
		}
		return fmt.Sprintf("table %s (%d) had %d partitions, and has %d", t.Name, t.ID, t.Partitions, len(is.Parts))
	}
	return ""
}

// step asks servers what is to be asked.
func (u *upload) step(ctx context.Context) {
	now := time.Now()
	v := u.look(u.waiting[:min(len(u.waiting), mostLook)])
	for table, why := range v.gone {
		u.drop(table, why)
	}
	for _, p := range slices.Clone(u.active) {
		switch {
		case p.busy || now.Before(p.next):
		case !v.alive[p.node]:
			u.leave(p, fmt.Sprintf("server %v is dead", p.node), false)
		case u.stalled(p, now):
			u.leave(p, fmt.Sprintf("server %v makes no progress", p.node), true)
		default:
			u.ask(ctx, p)
		}
	}
	look := min(len(u.waiting), mostLook)
	rest := u.waiting[look:]
	var stay []*partition
	for _, p := range u.waiting[:look] {
		if now.Before(p.next) || !u.assign(p, &v) {
			stay = append(stay, p)
			continue
		}
		p.moved, p.mille, p.lost = now, 0, 0
		u.active = append(u.active, p)
		u.ask(ctx, p)
	}
	u.waiting = append(slices.Clip(rest), stay...) // the others' turn
	u.tell()
}

// stalled tells whether a server does nothing for a partition: neither for it nor for others, for which it may wait.
func (u *upload) stalled(p *partition, now time.Time) bool {
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	return now.Sub(p.moved) > u.s.o.Stall && now.Sub(u.s.server(p.node).moved) > u.s.o.Stall
}

// assign chooses a server for a partition: a secondary if there is one, of those that which is asked for least.
func (u *upload) assign(p *partition, v *view) bool {
	c, ok := v.configs[p.gpid]
	if !ok {
		return false // it isn't looked at, or is gone
	}
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	var best base.RPCAddress
	alive, full, untried := 0, false, 0
	for _, a := range append(slices.Clone(c.Secondaries), c.Primary) {
		if a == 0 || !v.alive[a] {
			continue
		}
		alive++
		if p.tried[a] {
			continue
		}
		untried++
		if a == c.Primary && (best != 0 || full) {
			continue // for want of a secondary, or of one that hasn't failed
		}
		n := u.s.server(a).asked
		if n >= perServer {
			full = true
			continue
		}
		if best == 0 || n < u.s.server(best).asked {
			best = a
		}
	}
	switch {
	case best != 0:
		p.node = best
		u.s.server(best).asked++
		return true
	case full:
		return false
	case alive == 0:
		p.why = "it has no living member"
		p.next = time.Now().Add(u.s.o.Poll)
	case untried == 0:
		p.rounds++
		p.tried = map[base.RPCAddress]bool{}
		p.next = time.Now().Add(min(u.s.o.Poll<<min(p.rounds-1, 10), mostPause))
	}
	return false
}

// ask asks the partition's server, which begins with it or says how far it is.
func (u *upload) ask(ctx context.Context, p *partition) {
	p.busy = true
	q := &wire.BackupRequest{Pid: p.gpid, AppName: u.b.Tables[p.table].Name, BackupId: u.b.ID, BackupRoot: base.Some(u.b.Root),
		Policy: wire.PolicyInfo{PolicyName: policyOf(u.b), BackupProviderType: u.b.Provider}}
	if u.b.Path != "" {
		q.BackupPath = base.Some(u.b.Path)
	}
	a := answer{p: p, node: p.node, table: p.table}
	go func() {
		call, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		a.err = u.s.leader.Call(call, a.node, base.RPCColdBackup, q, &a.resp)
		select {
		case u.answers <- a:
		case <-ctx.Done():
		}
	}()
}

// take takes an answer, and tells whether something went on.
func (u *upload) take(ctx context.Context, a *answer) (on bool, err error) {
	if a.p == nil {
		if a.err != nil {
			return false, a.err
		}
		u.left--
		u.total += 1000
		return true, nil
	}
	p := a.p
	p.busy = false
	now := time.Now()
	p.next = now.Add(u.s.o.Poll)
	if u.gone[p.table] != "" || p.node != a.node {
		return false, nil // it isn't asked for any more
	}
	reason := a.resp.Reason.Or("")
	switch code := a.resp.Err; {
	case a.err != nil && base.CodeOf(a.err) == base.ErrHandlerNotFound:
		return false, u.refused(p, "it runs a program that can't back up", true)
	case a.err != nil:
		if p.lost++; p.lost >= mostLost {
			return false, u.refused(p, "it doesn't answer: "+a.err.Error(), false)
		}
		return false, nil
	case (code == base.ErrOK || code == base.ErrBusy) && (a.resp.BackupId != u.b.ID || a.resp.Pid != p.gpid):
		return false, u.refused(p, fmt.Sprintf("it answers for backup %d of partition %v", a.resp.BackupId, a.resp.Pid), true)
	case code == base.ErrOK && a.resp.Progress >= 1000:
		u.written(ctx, p, max(a.resp.CheckpointTotalSize, 0))
		return true, nil
	case code == base.ErrOK || code == base.ErrBusy:
		p.lost, p.why = 0, reason
		if m := min(max(a.resp.Progress, 0), 1000); m > p.mille {
			u.count(p, m, 0)
			p.moved = now
			u.s.mu.Lock()
			u.s.server(p.node).moved = now
			u.s.mu.Unlock()
			return true, nil
		}
		return false, nil
	case code == base.ErrInvalidState || code == base.ErrObjectNotFound:
		return false, u.refused(p, because("it isn't a member that is up", reason), false)
	default:
		return false, u.refused(p, because(string(code), reason), true)
	}
}

func because(what, why string) string {
	if why == "" {
		return what
	}
	return what + ": " + why
}

// count notes how far a partition is.
func (u *upload) count(p *partition, mille int32, done int) {
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	if t := u.j.tables[p.gpid.AppID]; t != nil {
		t.mille += int64(mille - p.mille)
		t.done += done
	}
	u.total += int64(mille - p.mille)
	p.mille = mille
}

// written notes that a partition is there, and finishes its table if it was the last one.
func (u *upload) written(ctx context.Context, p *partition, bytes int64) {
	u.s.mu.Lock()
	u.s.server(p.node).moved = time.Now()
	u.j.tables[p.gpid.AppID].bytes += bytes
	u.s.mu.Unlock()
	u.count(p, 1000, 1)
	u.release(p, false)
	u.active = slices.DeleteFunc(u.active, func(o *partition) bool { return o == p })
	if u.open[p.table]--; u.open[p.table] > 0 {
		return
	}
	a := answer{table: p.table}
	go func() {
		a.err = u.finish(ctx, a.table)
		select {
		case u.answers <- a:
		case <-ctx.Done():
		}
	}()
}

// refused notes that a server doesn't back up a partition; another one is asked. counts: the backup fails if that
// happens too often.
func (u *upload) refused(p *partition, why string, counts bool) error {
	text := fmt.Sprintf("server %v: %s", p.node, why)
	u.s.log(u.b).Warnf("partition %v isn't backed up by %s", p.gpid, text)
	u.leave(p, text, p.mille > 0 || !counts)
	if !counts {
		return nil
	}
	if p.failures++; p.failures >= mostFailures {
		return fmt.Errorf("partition %d of table %s failed %d times, last on %s: %w", p.gpid.PartitionIndex, u.b.Tables[p.table].Name, p.failures, text, errFailed)
	}
	return nil
}

// leave has another server asked for a partition.
func (u *upload) leave(p *partition, why string, clear bool) {
	u.release(p, clear)
	u.count(p, 0, 0)
	p.tried[p.node] = true
	p.node, p.busy, p.lost, p.why, p.next = 0, false, 0, why, time.Time{}
	u.active = slices.DeleteFunc(u.active, func(o *partition) bool { return o == p })
	u.waiting = append(u.waiting, p)
}

// release says that a server isn't asked for a partition any more; clear: and that it shall end it.
func (u *upload) release(p *partition, clear bool) {
	u.s.mu.Lock()
	u.s.server(p.node).asked--
	u.s.mu.Unlock()
	if clear {
		u.s.clear(p.node, u.b, p.gpid)
	}
}

// clear tells a server that a backup of a partition shall end.
func (s *Service) clear(a base.RPCAddress, b *state.Backup, g base.Gpid) {
	s.leader.Send(a, rpc.Outgoing{Code: base.RPCClearColdBackup, Arg: &wire.BackupClearRequest{Pid: g, PolicyName: policyOf(b)}})
}

// drop gives up a table.
func (u *upload) drop(table int, why string) {
	u.gone[table], u.open[table] = why, 0
	u.left--
	of := func(p *partition) bool { return p.table == table }
	for _, p := range u.active {
		if of(p) {
			u.release(p, true)
		}
	}
	u.active = slices.DeleteFunc(u.active, of)
	u.waiting = slices.DeleteFunc(u.waiting, of)
}

// tell notes what the backup waits for.
func (u *upload) tell() {
	var notes []string
	more := 0
	for _, list := range [][]*partition{u.waiting, u.active} {
		for _, p := range list {
			if p.why == "" {
				continue
			}
			if len(notes) == mostNotes {
				more++
				continue
			}
			notes = append(notes, fmt.Sprintf("partition %d of table %s: %s", p.gpid.PartitionIndex, u.b.Tables[p.table].Name, p.why))
		}
	}
	if more > 0 {
		notes = append(notes, fmt.Sprintf("and %d more partitions", more))
	}
	u.s.setWaiting(u.j, notes...)
}
