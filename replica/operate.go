package replica

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"pegasus/base"
	"pegasus/httpapi"
	"pegasus/pacifica"
	"pegasus/remotecmd"
	"pegasus/replica/part"
)

// operatorHold is the name under which an administrator's command keeps the log of a replica.
const operatorHold = "replica.disable-plog-gc"

// dataVersion is upstream's number of the encoding of rows that package rrdb has.
const dataVersion = "1"

// operator serves what operators of upstream's replica server know: its remote commands and pages.
type operator struct {
	part.Quiet
	srv *Server
}

func newOperator(s *Server) part.Part { return operator{srv: s} }

// Register implements part.Part.
func (o operator) Register(rt *part.Routes) {
	rt.Page("replica/data_version", "app_id=<app_id>: the version of the rows of each partition here.", o.dataVersionPage)
	const ids = "[id1,id2,...]"
	each := func(name, help string, f func(*replica) string) remotecmd.Command {
		shows := remotecmd.Never
		if strings.HasPrefix(name, "replica.query-") {
			shows = remotecmd.Always
		}
		return remotecmd.Command{Name: name, Args: ids, Help: help + " for replicas by app_id or app_id.partition_id, or all", Shows: shows, Run: func(args []string) string {
			return o.eachReplica(args, f)
		}}
	}
	gc := func(on bool, word string) func(*replica) string {
		return func(r *replica) string {
			if on {
				r.kept.Release(operatorHold)
			} else {
				r.kept.Hold(operatorHold, 0)
			}
			return word
		}
	}
	rt.Command(
		each("replica.query-app-envs", "Query app envs", func(r *replica) string { return envText(r.look().info.Envs) }),
		each("replica.query-compact", "Query full compact status", func(r *replica) string { return r.compactions.describe() }),
		each("replica.query-progress", "Query the progress of decrees", (*replica).progress),
		each("replica.trigger-checkpoint", "Trigger a flush of everything that is committed", o.triggerFlush),
		each("replica.disable-plog-gc", "Keep all of the log", gc(false, "disabled")),
		each("replica.enable-plog-gc", "Let the log go as far as it isn't needed", gc(true, "enabled")),
		each("replica.query-plog-gc-enabled-status", "Query if the log goes as far as it isn't needed", func(r *replica) string {
			if r.kept.Held(operatorHold) {
				return "disabled"
			}
			return "enabled"
		}),
		remotecmd.Command{Name: "replica.kill_partition", Args: "[app_id [partition_index]]", Help: "Kill partitions by (all, one app, one partition): close and reopen them, as if the server was restarted", Run: o.killCommand},
		remotecmd.Command{Name: "server-stat", Help: "Query selected metrics", Run: o.statCommand, Shows: remotecmd.Always},
	)
}

// eachReplica calls f for the primaries and secondaries that args name, and gathers what it
// says in upstream's form.
func (o operator) eachReplica(args []string, f func(*replica) string) string {
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
	for _, r := range o.srv.all() {
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
		fmt.Fprintf(&b, "\n    %v@%s%s : %s", g, o.srv.name, results[g].role, results[g].text)
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
	}{v.Last, v.Last, r.dir.Log().State(r.gpid).Last, r.dir.Log().State(r.gpid).Committed, v.Committed, v.applied, flushed, flushed,
		max(0, r.dir.Log().State(r.gpid).First-1)}, "", "    ")
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// triggerFlush makes everything that is committed durable in the store.
func (o operator) triggerFlush(r *replica) string {
	r.flushSoon()
	return "triggered"
}

// killCommand answers ERR_OK whatever it found, as upstream's does.
func (o operator) killCommand(args []string) string {
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
	for _, r := range o.srv.all() {
		if (app == -1 || r.gpid.AppID == app) && (part == -1 || r.gpid.PartitionIndex == part) {
			o.reopen(r)
		}
	}
	return string(base.ErrOK)
}

// reopen closes a replica and opens it again from its disk.
func (o operator) reopen(r *replica) {
	g := r.gpid
	if o.srv.takeOut(g, func(now *replica) bool { return now == r }) == nil {
		return
	}
	r.log.Warn("killed by remote command, opens again")
	o.srv.spawn(func() {
		if err := r.close(); err != nil {
			o.srv.log.Warn(err)
		}
		next, err := o.srv.openReplica(g, r.dir.Dir, nil)
		if err != nil {
			o.srv.log.Errorf("replica %v is not usable and stays as it is: %v", g, err)
			o.srv.noteBroken(g, r.dir.Dir, err)
		}
		o.srv.endOpening(g, next)
		o.srv.meta.SyncSoon()
	})
}

func (o operator) statCommand([]string) string {
	var n roles
	all := o.srv.all()
	for _, r := range all {
		n.add(r.look())
	}
	st := o.srv.rpc.Stats()
	return fmt.Sprintf("replicas=%d, primaries=%d, secondaries=%d, learners=%d, inactive=%d, errors=%d, serving=%t, connections=%d, requests=%d, in_flight_bytes=%d",
		len(all), n.primary, n.secondary, n.learner, n.inactive, n.failed, o.srv.meta.Lease.Valid(), st.Connections, st.Requests, st.InFlightBytes)
}

func (o operator) dataVersionPage(q *httpapi.Request) httpapi.Response {
	app, bad := appID(q, "app_id")
	if bad != nil {
		return *bad
	}
	list := o.srv.of(app)
	if len(list) == 0 {
		return httpapi.Text(http.StatusNotFound, fmt.Sprintf("app_id=%s not found", q.Get("app_id")))
	}
	m := map[string]map[string]string{}
	for _, r := range list {
		m[itoa(r.gpid.PartitionIndex)] = map[string]string{"data_version": dataVersion}
	}
	return compact(m)
}
