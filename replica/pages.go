package replica

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"pegasus/base/config"
	"pegasus/httpapi"
	"pegasus/remotecmd"
)

// dataVersion is upstream's number of the encoding of rows that package rrdb has.
const dataVersion = "1"

func itoa(n int32) string { return strconv.Itoa(int(n)) }

// http serves the pages of operators, and checkpoints to learners.
func (s *Server) http() http.Handler {
	learn := http.NewServeMux()
	s.send.register(learn)
	r := httpapi.NewRouter()
	r.Raw(strings.TrimPrefix(pathCheckpoint, "/"), learn) // and the paths below
	r.Common(httpapi.Server{
		Version: remotecmd.Version, Revision: remotecmd.Revision(), Started: s.started, Role: "replica",
		Port: int(s.addr.AddrPort().Port()), Config: s.cfg, Collect: s.collect,
		Mutable: s.mutable(),
		Ready: func() string {
			if !s.lease.valid() {
				return "no meta leader acknowledges this server"
			}
			return ""
		},
	})
	r.Page("replica/data_version", "app_id=<app_id>: the version of the rows of each partition here.", s.dataVersionPage)
	r.Page("replica/duplication", "appid=<app_id>: the duplications of a table.", s.duplicationPage)
	r.Page("replica/manual_compaction", "app_id=<app_id>: how many replicas of a table are being compacted by hand.", s.compactionPage)
	return r
}

// mutable are the keys that can be changed while the server runs.
func (s *Server) mutable() map[string]func(config.Config) {
	m := map[string]func(config.Config){
		"logging.level":                        func(c config.Config) { setLogLevel(s.log.Logger, c.Log.Level) },
		"replica.learn_bytes_per_second":       func(c config.Config) { s.pace.limit(c.Replica.LearnRate) },
		"replica.learn_least_bytes_per_second": func(c config.Config) { s.pace.least.Store(c.Replica.LearnLeast) },
	}
	for _, key := range []string{"max_allowed_write_size", "slow_query_threshold", "abnormal_get_size", "abnormal_multi_get_size", "abnormal_multi_get_rows",
		"abnormal_batch_get_size", "abnormal_batch_get_rows", "redact_keys", "disk_min_available_space_ratio", "reject_write_when_disk_insufficient",
		"hot_bucket_variance_threshold", "hot_key_variance_threshold", "hotkey_analyse_time_interval", "max_time_to_detect_hotkey"} {
		m["replica."+key] = func(c config.Config) { s.abnormal.cfg.Store(&c.Replica) }
	}
	return m
}

// appID reads an argument that is a table's id.
func appID(q *httpapi.Request, name string) (int32, *httpapi.Response) {
	v := q.Get(name)
	n, err := strconv.ParseInt(v, 10, 32)
	bad := func(why string) *httpapi.Response {
		r := httpapi.Text(http.StatusBadRequest, why)
		return &r
	}
	switch {
	case !q.Has(name):
		return 0, bad(name + " should not be empty")
	case err != nil || n < 0:
		return 0, bad(fmt.Sprintf("invalid %s=%s", name, v))
	}
	return int32(n), nil
}

// of returns the replicas of a table here, by index.
func (s *Server) of(app int32) []*replica {
	list := slices.DeleteFunc(s.all(), func(r *replica) bool { return r.gpid.AppID != app })
	slices.SortFunc(list, func(a, b *replica) int { return cmp.Compare(a.gpid.PartitionIndex, b.gpid.PartitionIndex) })
	return list
}

// compact is JSON without a newline, as these pages end upstream.
func compact(v any) httpapi.Response {
	b, err := json.Marshal(v)
	if err != nil {
		return httpapi.Text(http.StatusInternalServerError, err.Error())
	}
	return httpapi.Response{Body: b}
}

func (s *Server) dataVersionPage(q *httpapi.Request) httpapi.Response {
	app, bad := appID(q, "app_id")
	if bad != nil {
		return *bad
	}
	list := s.of(app)
	if len(list) == 0 {
		return httpapi.Text(http.StatusNotFound, fmt.Sprintf("app_id=%s not found", q.Get("app_id")))
	}
	m := map[string]map[string]string{}
	for _, r := range list {
		m[itoa(r.gpid.PartitionIndex)] = map[string]string{"data_version": dataVersion}
	}
	return compact(m)
}

func (s *Server) duplicationPage(q *httpapi.Request) httpapi.Response {
	app, bad := appID(q, "appid")
	if bad != nil {
		return *bad
	}
	return httpapi.Text(http.StatusNotFound, fmt.Sprintf("no duplication assigned for app [appid=%d]", app))
}

func (s *Server) compactionPage(q *httpapi.Request) httpapi.Response {
	app, bad := appID(q, "app_id")
	if bad != nil {
		return *bad
	}
	return compact(map[string]any{"status": map[string]int{"finished": 0, "idle": len(s.of(app)), "queuing": 0, "running": 0}})
}
