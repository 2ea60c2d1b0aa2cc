package send

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"pegasus/base"
	"pegasus/base/version"
	"pegasus/client"
	"pegasus/duplication/ship"
	"pegasus/gen/duplication"
	"pegasus/metrics"
	"pegasus/pacifica"
	"pegasus/replica/part"
	"pegasus/rpc"
)

// firstHold is the name by which a replica's log is held until the meta has said what is to be held.
const firstHold = "duplication"

// outsiderTime is how long the log of a replica that is no member is held: the meta says nothing of it,
// and it may become one again soon after the start of its server.
const outsiderTime = 10 * time.Minute

// Sender sends what is written here to other clusters.
type Sender struct {
	part.Quiet
	host part.Host
	opt  Options
	log  *logrus.Entry

	begin sync.Once
	polls sync.Once // from the first stream on: a server that sends nothing isn't woken for it
	soon  chan struct{}
	asked atomic.Int64 // when the last exchange began that the meta answered, nanoseconds since base; 0: none did
	base  time.Time

	duplicated atomic.Pointer[map[int32]bool] // duplicated tables; nil: the meta hasn't told yet

	mu      sync.Mutex
	streams map[key]*stream
	seen    map[part.Replica]time.Time // held as a whole since then, until the meta has said something; zero: not any more
	remotes map[string]*client.Client
	slots   chan struct{} // of copies
}

// New returns a part that does nothing before its first Tick.
func New(host part.Host, opt Options) *Sender {
	opt.EnsureDefaults()
	return &Sender{host: host, opt: opt, log: opt.Log.WithField("part", "duplication"), soon: make(chan struct{}, 1), base: time.Now(),
		streams: map[key]*stream{}, seen: map[part.Replica]time.Time{}, remotes: map[string]*client.Client{}, slots: make(chan struct{}, copies)}
}

// Tick implements part.Part.
func (s *Sender) Tick(time.Time) {
	s.begin.Do(func() {
		s.host.Go(s.syncLoop)
	})
	if !s.possible() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	here := map[part.Replica]bool{} // one that was closed and opened again is another one, whose log nobody holds
	for _, r := range s.host.Replicas() {
		here[r] = true
		if _, ok := s.seen[r]; !ok {
			r.Hold(firstHold, 1)
			s.seen[r] = time.Now()
		}
	}
	for r := range s.seen {
		if !here[r] {
			delete(s.seen, r)
		}
	}
	for k, st := range s.streams {
		if !here[st.r] {
			st.end()
			delete(s.streams, k)
		}
	}
	s.share()
}

// share gives each stream that sends its part of the memory. mu is held.
func (s *Sender) share() {
	var list []*stream
	for _, st := range s.streams {
		st.mu.Lock()
		if st.leads {
			list = append(list, st)
		}
		st.mu.Unlock()
	}
	for _, st := range list {
		st.mu.Lock()
		st.core.Resize(min(windowBytes, s.opt.Memory/int64(len(list))))
		st.mu.Unlock()
	}
}

func (s *Sender) copySlots() chan struct{} { return s.slots }

// possible tells whether there can be duplications in this cluster.
func (s *Sender) possible() bool { return s.opt.Version().Allows(version.Duplications) }

// Close implements part.Part.
func (s *Sender) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.streams {
		st.stop()
	}
	for _, c := range s.remotes {
		c.Close()
	}
	return nil
}

// pollLoop has streams make a step when there is something to do.
func (s *Sender) pollLoop(ctx context.Context) {
	t := time.NewTicker(poll)
	defer t.Stop()
	var list []*stream
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-t.C:
			list = s.all(list[:0])
			for _, st := range list {
				if v := st.r.View(); st.due(&v, now) {
					st.wake()
				}
			}
		}
	}
}

func (s *Sender) background(f func()) { s.host.Go(func(context.Context) { f() }) }

func (s *Sender) now() time.Time { return s.host.Now() }

func (s *Sender) all(list []*stream) []*stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.streams {
		list = append(list, st)
	}
	return list
}

// fresh tells whether the meta was heard of lately.
func (s *Sender) fresh() bool {
	at := s.asked.Load()
	return at != 0 && time.Since(s.base)-time.Duration(at) < s.opt.Fresh
}

// syncSoon has the meta asked soon.
func (s *Sender) syncSoon() {
	select {
	case s.soon <- struct{}{}:
	default:
	}
}

func (s *Sender) syncLoop(ctx context.Context) {
	every := time.NewTicker(s.opt.Every)
	defer every.Stop()
	for {
		began := time.Since(s.base)
		if !s.possible() {
			// The next look is soon enough.
		} else if err := s.exchange(ctx, began); err != nil && ctx.Err() == nil {
			s.log.Debugf("%v", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(soonest):
		}
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		case <-s.soon:
		}
	}
}

// exchange tells the meta what is confirmed, and takes what is to be sent.
func (s *Sender) exchange(ctx context.Context, began time.Duration) error {
	q := &duplication.DuplicationSyncRequest{}
	epochs := map[key]int64{}
	members := s.members()
	at := map[base.Gpid]int{}
	for _, st := range s.all(nil) {
		e, epoch, leads := st.confirmation()
		epochs[st.key] = epoch
		if !leads {
			continue
		}
		i, ok := at[st.gpid]
		if !ok {
			i = len(q.ConfirmList)
			at[st.gpid] = i
			q.ConfirmList = append(q.ConfirmList, base.Pair[base.Gpid, []duplication.DuplicationConfirmEntry]{Key: st.gpid})
		}
		q.ConfirmList[i].Val = append(q.ConfirmList[i].Val, e)
	}
	a, err := s.opt.Ask(ctx, q)
	if err != nil {
		return err
	}
	s.asked.Store(int64(max(began, 1)))
	s.reconcile(ctx, a, epochs, members)
	return nil
}

// members returns the replicas here that are members of their partitions. Of those the meta says what is to be held. It says nothing
// of a partition that isn't split off from another one yet, nor of a learner.
func (s *Sender) members() map[part.Replica]bool {
	m := map[part.Replica]bool{}
	for _, r := range s.host.Replicas() {
		if role := r.View().Role; role == pacifica.Primary || role == pacifica.Secondary {
			m[r] = true
		}
	}
	return m
}

// reconcile makes the streams that the meta wants, and ends the others. epochs and members are as they were when it was asked.
func (s *Sender) reconcile(ctx context.Context, a *duplication.DuplicationSyncResponse, epochs map[key]int64, members map[part.Replica]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	wanted := map[key]bool{}
	for _, t := range a.DupMap {
		for _, d := range t.Val {
			for _, p := range d.Val.Progress.V {
				k := key{base.Gpid{AppID: t.Key, PartitionIndex: p.Key}, d.Key}
				r, ok := s.host.Replica(k.gpid)
				if !ok {
					continue
				}
				wanted[k] = true
				st := s.streams[k]
				if st != nil && st.r != r {
					st.end() // it was opened again
					delete(epochs, k)
					st = nil
				}
				if st == nil {
					st = newStream(ctx, s, s.opt, s.log, k, r, p.Val)
					st.bring = func(ctx context.Context, id uint64) { bringAll(ctx, st, id) }
					s.streams[k] = st
					s.polls.Do(func() { s.host.Go(s.pollLoop) })
					s.host.Go(func(context.Context) { st.run() })
					s.log.Infof("duplication %d of %v to table %q of cluster %s: decree %d is confirmed", k.dup, k.gpid, d.Val.RemoteAppName.V, d.Val.Remote, p.Val)
				}
				asked, ok := epochs[k]
				if !ok {
					asked = -1
				}
				e := d.Val
				if _, id, ok := s.opt.Remote(e.Remote); (!ok || id == 0 || s.opt.ID == 0) && e.Status != duplication.DS_PREPARE {
					e.Status = duplication.DS_PAUSE
					st.cannot(fmt.Sprintf("this server's configuration lacks the number of this cluster (cluster.id) or the section clusters.%s", e.Remote))
				}
				st.configure(&e, p.Val, asked)
			}
		}
	}
	// By table: a partition that was split off just now is sent, too, though nobody has said so yet.
	duplicated := map[int32]bool{}
	for _, t := range a.DupMap {
		duplicated[t.Key] = len(t.Val) > 0
	}
	s.duplicated.Store(&duplicated)
	for k, st := range s.streams {
		if !wanted[k] {
			st.end()
			delete(s.streams, k)
		}
	}
	for r, since := range s.seen {
		if !since.IsZero() && (members[r] || time.Since(since) > outsiderTime) {
			r.Release(firstHold)
			s.seen[r] = time.Time{}
		}
	}
}

// Duplicated tells whether a partition is of a table that is sent to other clusters, and whether the meta has told
// which are.
func (s *Sender) Duplicated(g base.Gpid) (yes, known bool) {
	if m := s.duplicated.Load(); m != nil {
		return (*m)[g.AppID], true
	}
	return false, false
}

// table finds a table of another cluster. What an earlier duplication knew of one with that name is looked up again.
func (s *Sender) table(ctx context.Context, remote, name string) (*client.Table, error) {
	metas, _, ok := s.opt.Remote(remote)
	if !ok || len(metas) == 0 {
		return nil, fmt.Errorf("the meta servers of cluster %s are not known: write clusters.%s.meta_servers in the configuration of this server", remote, remote)
	}
	s.mu.Lock()
	c := s.remotes[remote]
	if c == nil {
		c = client.New(metas, client.Options{Framing: rpc.RDSN, Log: s.log})
		s.remotes[remote] = c
	}
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, findTime)
	defer cancel()
	t, err := c.Table(ctx, name)
	if err == nil {
		err = t.Refresh(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("table %q of cluster %s: %w", name, remote, err)
	}
	return t, nil
}

// ours implements owner. A meta server of C++ doesn't know the question.
func (s *Sender) ours(ctx context.Context, remote string) bool {
	metas, _, _ := s.opt.Remote(remote)
	s.mu.Lock()
	c := s.remotes[remote]
	s.mu.Unlock()
	if c == nil {
		return false
	}
	return slices.ContainsFunc(metas, func(m string) bool {
		ctx, cancel := context.WithTimeout(ctx, askTime)
		defer cancel()
		_, err := c.Admin().MetaStatus(ctx, m)
		return err == nil
	})
}

// The metrics, with upstream's names.
var (
	readBytesMetric     = metrics.Define(metrics.Replica, "dup_log_read_bytes", metrics.Counter, "bytes", "Bytes read from the log to be sent to other clusters.")
	readMutationsMetric = metrics.Define(metrics.Replica, "dup_log_read_mutations", metrics.Counter, "mutations", "Mutations read from the log to be sent to other clusters.")
	confirmedMetric     = metrics.Define(metrics.Replica, "dup_confirmed_mutations", metrics.Counter, "mutations", "Mutations that other clusters said that they have.").
				Worry("It stops while dup_pending_mutations isn't 0.")
	pendingMetric = metrics.Define(metrics.Replica, "dup_pending_mutations", metrics.Gauge, "mutations", "Mutations that are committed, and that other clusters aren't known to have. 0 on secondaries.").Sum().
			Worry("It grows for minutes: the other cluster gets less than is written.")
	lostMetric = metrics.Define(metrics.Replica, "dup_recent_lost_mutations", metrics.Gauge, "mutations", "Mutations and operations that were left out, in mode skip only, since the server started.").Sum().
			Worry("Any: the clusters differ. Compare the tables.")
	sentBytesMetric = metrics.Define(metrics.Replica, "dup_shipped_bytes", metrics.Counter, "bytes", "Bytes that other clusters took.")
	sentOKMetric    = metrics.Define(metrics.Replica, "dup_shipped_successful_requests", metrics.Counter, "requests", "Requests to other clusters that succeeded.")
	gapsMetric      = metrics.Define(metrics.Replica, "dup_log_gaps", metrics.Counter, "gaps", "How often the log lacked what another cluster did: all rows are copied to it, or in mode skip what is missing is left out.").
			Worry("Any: all rows were copied.")
	copiesMetric = metrics.Define(metrics.Replica, "dup_copies", metrics.Counter, "copies", "Copies of all rows to other clusters that were begun.")
	sweptMetric  = metrics.Define(metrics.Replica, "dup_swept_rows", metrics.Counter, "rows", "Rows that copies removed in other clusters, since they were removed here in a gap of the log.")
	roomMetric   = metrics.Define(metrics.Replica, "dup_log_room_percent", metrics.Gauge, "percent", "How much of the room for the log (wal.held_bytes, or the disk) is used while a primary keeps it for another cluster; 0 if it doesn't. At 100 the log is let go, and all rows are copied.").Max().
			Worry("Above 50: the other cluster has been behind for long.")
	sentFailedMetric = metrics.Define(metrics.Replica, "dup_shipped_failed_requests", metrics.Counter, "requests", "Requests to other clusters that failed.").
				Worry("It grows for minutes: the other cluster can't be reached, or refuses.")
)

// Collect implements part.Part.
func (s *Sender) Collect(sn *metrics.Snapshot) {
	type sums struct{ v [12]int64 }
	by := map[base.Gpid]*sums{}
	for _, st := range s.all(nil) {
		x := by[st.gpid]
		if x == nil {
			x = &sums{}
			by[st.gpid] = x
		}
		st.mu.Lock()
		status := st.core.Status()
		leads, room := st.leads, st.room
		st.mu.Unlock()
		c := &st.counts
		for i, n := range []int64{c.readBytes.Load(), c.readMutations.Load(), c.confirmed.Load(), 0, status.SkippedDecrees + status.SkippedOps, c.sentBytes.Load(), c.sentOK.Load(), c.sentFailed.Load(),
			status.Gaps, status.Bootstraps, c.swept.Load()} {
			x.v[i] += n
		}
		if leads && status.Acked != ship.Unknown {
			x.v[3] += status.Committed - status.Acked
			x.v[11] = max(x.v[11], int64(room))
		}
	}
	for _, r := range s.host.Replicas() {
		g := r.Gpid()
		x := by[g]
		if x == nil {
			x = &sums{}
		}
		e := sn.Entity(metrics.Replica, g.String(), "table_id", strconv.Itoa(int(g.AppID)), "partition_id", strconv.Itoa(int(g.PartitionIndex)))
		for i, m := range []*metrics.Metric{readBytesMetric, readMutationsMetric, confirmedMetric, pendingMetric, lostMetric, sentBytesMetric, sentOKMetric, sentFailedMetric,
			gapsMetric, copiesMetric, sweptMetric, roomMetric} {
			e.Set(m, x.v[i])
		}
	}
}
