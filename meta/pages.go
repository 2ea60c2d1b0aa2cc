package meta

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"pegasus/base"
	"pegasus/base/appenv"
	"pegasus/base/config"
	"pegasus/gen/layer2"
	"pegasus/gen/metaadmin"
	"pegasus/httpapi"
	"pegasus/meta/state"
	"pegasus/remotecmd"
)

// httpHandler serves the pages of operators.
func (s *Server) httpHandler() http.Handler {
	r := httpapi.NewRouter()
	r.Common(httpapi.Server{
		Version: remotecmd.Version, Revision: remotecmd.Revision(), Started: s.started, Role: "meta",
		Port: int(s.self.AddrPort().Port()), Config: s.cfg, Collect: s.collect,
		Mutable: map[string]func(config.Config){
			"logging.level": func(c config.Config) { setLogLevel(s.log.Logger, c.Log.Level) },
		},
		Ready: func() string {
			if s.leaderAddr() == 0 {
				return "no meta server leads"
			}
			return ""
		},
	})
	r.Page("envs/list", "List every table setting with its type, limits and a sample.", envsPage)
	for _, p := range []struct {
		path, help string
		serve      func(*call, *httpapi.Request) httpapi.Response
	}{
		{"meta/app", "name=<table>[&detail]: show one table.", (*call).appPage},
		{"meta/apps", "[detail]: list the available tables.", (*call).appsPage},
		{"meta/nodes", "[detail]: list the replica servers.", (*call).nodesPage},
		{"meta/cluster", "Show the cluster.", (*call).clusterPage},
		{"meta/app_envs", "name=<table>: show the settings of a table.", (*call).appEnvsPage},
		{"meta/backup_policy", "[name=<policy>]: show backup policies.", (*call).backupPage},
		{"meta/app/duplication", "name=<table>: show the duplications of a table.", (*call).duplicationPage},
		{"meta/app/query_bulk_load", "name=<table>: show the bulk load of a table.", (*call).bulkLoadPage},
		{"meta/app/start_bulk_load", "Load files into a table (POST).", absentPage},
		{"meta/app/start_compaction", "Compact a table (POST).", (*call).compactionPage},
		{"meta/app/usage_scenario", "Set what a table is used for (POST).", (*call).scenarioPage},
	} {
		r.Page(p.path, p.help, s.leaderPage(p.serve))
	}
	return r
}

// leaderPage is a page that only the leader has; others lead there.
func (s *Server) leaderPage(serve func(*call, *httpapi.Request) httpapi.Response) httpapi.Page {
	return func(q *httpapi.Request) httpapi.Response {
		if l := s.leader.Load(); l != nil {
			return serve(&call{leader: l, names: &names{l.view.Load().hosts}}, q)
		}
		to := s.leaderAddr()
		if to == 0 || to == s.self {
			return httpapi.Text(http.StatusServiceUnavailable, "no meta server leads at present; try again")
		}
		r := httpapi.Text(http.StatusTemporaryRedirect, "")
		r.Location = "http://" + to.String() + "/" + q.Path
		if q.URL.RawQuery != "" {
			r.Location += "?" + q.URL.RawQuery
		}
		return r
	}
}

var badRequest = httpapi.Text(http.StatusBadRequest, "")

// nameOf returns the argument that names a table, or why it can't be answered.
func nameOf(q *httpapi.Request) (string, *httpapi.Response) {
	if n := q.Get("name"); n != "" {
		return n, nil
	}
	r := httpapi.Text(http.StatusBadRequest, "app name shouldn't be empty")
	return "", &r
}

// at writes a second as upstream's lists do; "-" for none.
func at(sec int64) string {
	if sec <= 0 {
		return "-"
	}
	return time.Unix(sec, 0).Format("2006-01-02 15:04:05.000")
}

// health counts a table's partitions by what they can do, as upstream's pages count them.
type health struct{ full, unhealthy, writeIll, readIll int }

// needed is below how many members upstream's pages call a partition unwritable, whatever
// the table needs in truth.
const needed = 2

func healthOf(parts []layer2.PartitionConfiguration) (h health) {
	for i := range parts {
		p := &parts[i]
		n := len(p.Secondaries)
		switch {
		case p.Primary == 0:
			h.unhealthy, h.writeIll, h.readIll = h.unhealthy+1, h.writeIll+1, h.readIll+1
		case n+1 >= int(p.MaxReplicaCount):
			h.full++
		default:
			h.unhealthy++
			if n+1 < needed {
				h.writeIll++
			}
		}
	}
	return h
}

func (h *health) fields(o *httpapi.Object, names ...string) {
	for i, n := range []int{h.full, h.unhealthy, h.writeIll, h.readIll} {
		o.Add(names[i], strconv.Itoa(n))
	}
}

func (c *call) appPage(q *httpapi.Request) httpapi.Response {
	if !q.Only("name", "detail") {
		return badRequest
	}
	name, bad := nameOf(q)
	if bad != nil {
		return *bad
	}
	cfg := c.queryConfig(&layer2.QueryCfgRequest{AppName: name}, nil)
	if cfg.Err == base.ErrObjectNotFound {
		return httpapi.Text(http.StatusNotFound, fmt.Sprintf(`table not found: "%s"`, name))
	}
	max := int32(0)
	if len(cfg.Partitions) > 0 {
		max = cfg.Partitions[0].MaxReplicaCount
	}
	page := httpapi.Object{{Name: "general", Value: httpapi.Object{
		{Name: "app_name", Value: name}, {Name: "app_id", Value: itoa(cfg.AppId)},
		{Name: "partition_count", Value: itoa(cfg.PartitionCount)}, {Name: "max_replica_count", Value: itoa(max)}}}}
	if q.Has("detail") {
		c.appDetail(&page, cfg.Partitions)
	}
	return httpapi.JSON(page)
}

func itoa(n int32) string { return strconv.Itoa(int(n)) }

// appDetail adds the members of each partition, the replicas of each node, and the health.
func (c *call) appDetail(page *httpapi.Object, parts []layer2.PartitionConfiguration) {
	replicas, nodes := httpapi.Object{}, httpapi.Object{}
	type load struct{ primary, secondary int }
	loads := map[string]*load{}
	of := func(a base.RPCAddress) (string, *load) {
		n := c.names.of(a).String()
		if loads[n] == nil {
			loads[n] = &load{}
		}
		return n, loads[n]
	}
	var total load
	for i := range parts {
		p := &parts[i]
		primary, count := "-", len(p.Secondaries)
		if p.Primary != 0 {
			n, l := of(p.Primary)
			primary, count = n, count+1
			l.primary++
			total.primary++
		}
		var second []string
		for _, a := range p.Secondaries {
			n, l := of(a)
			second = append(second, n)
			l.secondary++
			total.secondary++
		}
		idx := itoa(p.Pid.PartitionIndex)
		replicas.Add(idx, httpapi.Object{{Name: "pidx", Value: idx}, {Name: "ballot", Value: strconv.FormatInt(p.Ballot, 10)},
			{Name: "replica_count", Value: fmt.Sprintf("%d/%d", count, p.MaxReplicaCount)},
			{Name: "primary", Value: primary}, {Name: "secondaries", Value: "[" + strings.Join(second, ",") + "]"}})
	}
	row := func(name string, l load) {
		nodes.Add(name, httpapi.Object{{Name: "node", Value: name}, {Name: "primary", Value: strconv.Itoa(l.primary)},
			{Name: "secondary", Value: strconv.Itoa(l.secondary)}, {Name: "total", Value: strconv.Itoa(l.primary + l.secondary)}})
	}
	var sorted []string
	for n := range loads {
		sorted = append(sorted, n)
	}
	slices.Sort(sorted)
	for _, n := range sorted {
		row(n, *loads[n])
	}
	row("total", total)
	var healthy httpapi.Object
	h := healthOf(parts)
	h.fields(&healthy, "fully_healthy_partition_count", "unhealthy_partition_count", "write_unhealthy_partition_count", "read_unhealthy_partition_count")
	page.Add("replicas", replicas)
	page.Add("nodes", nodes)
	page.Add("healthy", healthy)
}

func (c *call) appsPage(q *httpapi.Request) httpapi.Response {
	if !q.Only("detail") {
		return badRequest
	}
	var list metaadmin.ConfigurationListAppsResponse
	c.listApps(&metaadmin.ConfigurationListAppsRequest{Status: layer2.AS_AVAILABLE}, &list)
	general, healthy := httpapi.Object{}, httpapi.Object{}
	var all struct{ full, unhealthy, write, read int }
	for i := range list.Infos {
		a := &list.Infos[i]
		id := itoa(a.AppId)
		general.Add(id, httpapi.Object{{Name: "app_id", Value: id}, {Name: "status", Value: "AVAILABLE"}, {Name: "app_name", Value: a.AppName},
			{Name: "app_type", Value: a.AppType}, {Name: "partition_count", Value: itoa(a.PartitionCount)},
			{Name: "replica_count", Value: itoa(a.MaxReplicaCount)}, {Name: "is_stateful", Value: strconv.FormatBool(a.IsStateful)},
			{Name: "create_time", Value: at(a.CreateSecond)}, {Name: "drop_time", Value: "-"}, {Name: "drop_expire", Value: "-"},
			{Name: "envs_count", Value: strconv.Itoa(len(a.Envs))}})
		if !q.Has("detail") {
			continue
		}
		h := healthOf(c.queryConfig(&layer2.QueryCfgRequest{AppName: a.AppName}, nil).Partitions)
		row := httpapi.Object{{Name: "app_id", Value: id}, {Name: "app_name", Value: a.AppName}, {Name: "partition_count", Value: itoa(a.PartitionCount)}}
		h.fields(&row, "fully_healthy", "unhealthy", "write_unhealthy", "read_unhealthy")
		healthy.Add(id, row)
		if h.unhealthy == 0 {
			all.full++
		} else {
			all.unhealthy++
		}
		if h.writeIll > 0 {
			all.write++
		}
		if h.readIll > 0 {
			all.read++
		}
	}
	summary := httpapi.Object{{Name: "total_app_count", Value: strconv.Itoa(len(list.Infos))}}
	page := httpapi.Object{{Name: "general_info", Value: general}}
	if q.Has("detail") && len(list.Infos) > 0 {
		page.Add("healthy_info", healthy)
		h := health{all.full, all.unhealthy, all.write, all.read}
		h.fields(&summary, "fully_healthy_app_count", "unhealthy_app_count", "write_unhealthy_app_count", "read_unhealthy_app_count")
	}
	page.Add("summary", summary)
	return httpapi.JSON(page)
}

func (c *call) nodesPage(q *httpapi.Request) httpapi.Response {
	if !q.Only("detail") {
		return badRequest
	}
	c.mu.Lock()
	nodes := c.det.Nodes()
	c.mu.Unlock()
	details := httpapi.Object{}
	alive := 0
	for _, n := range nodes {
		name, status := c.names.of(n.Addr).String(), "UNALIVE"
		if n.Alive {
			status = "ALIVE"
			alive++
		}
		row := httpapi.Object{{Name: "address", Value: name}, {Name: "status", Value: status}}
		if q.Has("detail") {
			var primaries, replicas int
			c.s.fsm.read(func(st *state.State) {
				l := st.Load(n.Addr)
				primaries, replicas = int(l.Primaries), int(l.Replicas)
			})
			row.Add("replica_count", strconv.Itoa(replicas))
			row.Add("primary_count", strconv.Itoa(primaries))
			row.Add("secondary_count", strconv.Itoa(replicas-primaries))
		}
		details.Add(name, row)
	}
	slices.SortFunc(details, func(a, b httpapi.Field) int { return strings.Compare(a.Name, b.Name) })
	return httpapi.JSON(httpapi.Object{{Name: "details", Value: details}, {Name: "summary", Value: httpapi.Object{
		{Name: "total_node_count", Value: strconv.Itoa(len(nodes))}, {Name: "alive_node_count", Value: strconv.Itoa(alive)},
		{Name: "unalive_node_count", Value: strconv.Itoa(len(nodes) - alive)}}}})
}

func (c *call) clusterPage(*httpapi.Request) httpapi.Response {
	var info metaadmin.ConfigurationClusterInfoResponse
	c.clusterInfo(nil, &info)
	var o httpapi.Object
	for i, k := range info.Keys {
		if k != "cluster_name" { // this page doesn't have it
			o.Add(k, info.Values[i])
		}
	}
	return httpapi.JSON(o)
}

func (c *call) appEnvsPage(q *httpapi.Request) httpapi.Response {
	name, bad := nameOf(q)
	if bad != nil {
		return *bad
	}
	o := httpapi.Object{}
	_, envs := c.envsOf(name)
	for _, e := range envs {
		o.Add(e.Key, e.Val)
	}
	return httpapi.JSON(o)
}

func envsPage(*httpapi.Request) httpapi.Response {
	var o httpapi.Object
	for name, i := range appenv.All() {
		o.Add(name, httpapi.Object{{Name: "type", Value: i.Type}, {Name: "limitation", Value: i.Limitation}, {Name: "sample", Value: i.Sample}})
	}
	slices.SortFunc(o, func(a, b httpapi.Field) int { return strings.Compare(a.Name, b.Name) })
	return httpapi.JSON(o)
}
