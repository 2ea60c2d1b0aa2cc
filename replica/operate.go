package replica

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"pegasus/base"
	"pegasus/pacifica"
	"pegasus/remotecmd"
)

// flushTime bounds a flush that was asked for, see flushSoon.
const flushTime = 10 * time.Minute

func setLogLevel(l *logrus.Logger, level string) {
	if v, err := logrus.ParseLevel(level); err == nil { // the configuration's check has spoken
		l.SetLevel(v)
	}
}

// upstreamCommands are the remote commands that upstream's replica server has too.
func (s *Server) upstreamCommands() []remotecmd.Command {
	const ids = "[id1,id2,...]"
	each := func(name, help string, f func(*replica) string) remotecmd.Command {
		return remotecmd.Command{Name: name, Args: ids, Help: help + " for replicas by app_id or app_id.partition_id, or all", Run: func(args []string) string {
			return s.eachReplica(args, f)
		}}
	}
	gc := func(on bool, word string) func(*replica) string {
		return func(r *replica) string {
			r.keepLog.Store(!on)
			return word
		}
	}
	return []remotecmd.Command{
		remotecmd.Bool("replica.deny-client", "control if deny client read & write request", &s.denied),
		each("replica.query-app-envs", "Query app envs", func(r *replica) string { return envText(r.look().info.Envs) }),
		each("replica.query-compact", "Query full compact status", func(r *replica) string { return r.compactions.describe() }),
		each("replica.query-progress", "Query the progress of decrees", (*replica).progress),
		each("replica.trigger-checkpoint", "Trigger a flush of everything that is committed", s.triggerFlush),
		each("replica.disable-plog-gc", "Keep all of the log", gc(false, "disabled")),
		each("replica.enable-plog-gc", "Let the log go as far as it isn't needed", gc(true, "enabled")),
		each("replica.query-plog-gc-enabled-status", "Query if the log goes as far as it isn't needed", func(r *replica) string {
			if r.keepLog.Load() {
				return "disabled"
			}
			return "enabled"
		}),
		{Name: "replica.kill_partition", Args: "[app_id [partition_index]]", Help: "Kill partitions by (all, one app, one partition): close and reopen them, as if the server was restarted", Run: s.killCommand},
		{Name: "nfs.max_send_rate_megabytes_per_disk", Args: "[num | DEFAULT]", Help: "The bandwidth (MB/s) of sending checkpoints to learners, 0 means no limit", Run: s.sendRateCommand},
		{Name: "server-stat", Help: "Query selected metrics", Run: s.statCommand},
	}
}

// eachReplica calls f for the primaries and secondaries that args name, and gathers what it
// says in upstream's form.
func (s *Server) eachReplica(args []string, f func(*replica) string) string {
	type result struct{ role, text string }
	results := map[base.Gpid]result{}
	apps, ids := map[int32]bool{}, map[base.Gpid]bool{}
	for _, arg := range args {
		list := slices.DeleteFunc(strings.Split(arg, ","), func(s string) bool { return s == "" })
		if len(list) == 0 {
			return "invalid arguments"
		}
		for _, id := range list {
			if g, err := base.ParseGpid(id); err == nil {
				ids[g] = true
				continue
			}
			app, err := strconv.ParseInt(id, 10, 32)
			if err != nil {
				return "invalid arguments"
			}
			apps[int32(app)] = true
		}
	}
	done := 0
	for _, r := range s.all() {
		role := ""
		switch r.view.Load().Status {
		case pacifica.Primary:
			role = "@P"
		case pacifica.Secondary:
			role = "@S"
		}
		if role != "" && (len(args) == 0 || apps[r.gpid.AppID] || ids[r.gpid]) {
			results[r.gpid] = result{role, f(r)}
			done++
		}
	}
	lost := 0
	for g := range ids {
		if _, ok := results[g]; !ok {
			results[g] = result{"", "not found"}
			lost++
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d processed, %d not found", done, lost)
	for _, g := range slices.SortedFunc(maps.Keys(results), base.Gpid.Compare) {
		fmt.Fprintf(&b, "\n    %v@%s%s : %s", g, s.name, results[g].role, results[g].text)
	}
	return b.String()
}

func envText(envs map[string]string) string {
	var b strings.Builder
	for i, k := range slices.Sorted(maps.Keys(envs)) {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(k + "=" + envs[k])
	}
	return b.String()
}

// progress tells the decrees under upstream's names.
func (r *replica) progress() string {
	v, flushed := r.look(), r.store.Load().LastFlushed()
	b, err := json.MarshalIndent(struct {
		Prepared  int64 `json:"max_prepared_decree"`
		Log       int64 `json:"max_plog_decree"`
		LogDisk   int64 `json:"max_plog_decree_on_disk"`
		Commit    int64 `json:"max_plog_commit_on_disk"`
		Committed int64 `json:"last_committed_decree"`
		Applied   int64 `json:"last_applied_decree"`
		Flushed   int64 `json:"last_flushed_decree"`
		Durable   int64 `json:"last_durable_decree"`
		GC        int64 `json:"max_gc_decree"`
	}{v.Last, v.Last, r.dir.log().State(r.gpid).Last, r.dir.log().State(r.gpid).Committed, v.Committed, v.applied, flushed, flushed,
		max(0, r.dir.log().State(r.gpid).First-1)}, "", "    ")
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// triggerFlush makes everything that is committed durable in the store.
func (s *Server) triggerFlush(r *replica) string {
	r.flushSoon()
	return "triggered"
}

// killCommand answers ERR_OK whatever it found, as upstream's does.
func (s *Server) killCommand(args []string) string {
	var app, part int32 = -1, -1
	for i, dst := range []*int32{&app, &part} {
		if i < len(args) {
			// "99.0" names table 99, and "x" table 0, as C's atoi has it upstream.
			digits := strings.IndexFunc(args[i]+"x", func(c rune) bool { return c < '0' || c > '9' })
			n, _ := strconv.ParseInt(args[i][:digits], 10, 32)
			*dst = int32(n)
		}
	}
	if len(args) > 2 {
		return string(base.ErrInvalidParameters)
	}
	for _, r := range s.all() {
		if (app == -1 || r.gpid.AppID == app) && (part == -1 || r.gpid.PartitionIndex == part) {
			s.reopen(r)
		}
	}
	return string(base.ErrOK)
}

// reopen closes a replica and opens it again from its disk.
func (s *Server) reopen(r *replica) {
	g := r.gpid
	s.mu.Lock()
	if s.closed || s.replicas[g] != r {
		s.mu.Unlock()
		return
	}
	delete(s.replicas, g)
	s.opening[g] = true
	s.mu.Unlock()
	r.log.Warn("killed by remote command, opens again")
	s.spawn(func() {
		if err := r.close(); err != nil {
			s.log.Warn(err)
		}
		next, err := s.openReplica(g, r.dir, nil)
		if err != nil {
			s.log.Errorf("replica %v is not usable and stays as it is: %v", g, err)
		}
		s.endOpening(g, next)
		s.syncSoon()
	})
}

// sendRateCommand shows and sets the highest rate of checkpoint copies, in upstream's unit.
func (s *Server) sendRateCommand(args []string) string {
	const name = "nfs.max_send_rate_megabytes_per_disk"
	def := s.cfg.Replica.LearnRate
	switch {
	case len(args) == 0:
		return remotecmd.Show(name, strconv.FormatInt(s.pace.most.Load()>>20, 10))
	case len(args) > 1:
		return remotecmd.Fail("ERR: invalid arguments '%s', only one argument is acceptable", strings.Join(args, " "))
	case strings.EqualFold(args[0], "DEFAULT"):
		s.pace.limit(def)
		return remotecmd.Show(name, strconv.FormatInt(def>>20, 10))
	}
	n, err := strconv.ParseInt(args[0], 10, 32)
	if err != nil || n < 0 {
		return remotecmd.Fail("ERR: invalid argument '%s', the value is not acceptable", args[0])
	}
	s.pace.limit(n << 20)
	return remotecmd.OK()
}

func (s *Server) statCommand([]string) string {
	var n roles
	all := s.all()
	for _, r := range all {
		n.add(r.look())
	}
	st := s.rpc.Stats()
	return fmt.Sprintf("replicas=%d, primaries=%d, secondaries=%d, learners=%d, inactive=%d, errors=%d, serving=%t, connections=%d, requests=%d, in_flight_bytes=%d",
		len(all), n.primary, n.secondary, n.learner, n.inactive, n.failed, s.lease.valid(), st.Connections, st.Requests, st.InFlightBytes)
}
