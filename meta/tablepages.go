package meta

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"pegasus/base"
	"pegasus/base/appenv"
	"pegasus/gen/layer2"
	"pegasus/gen/metaadmin"
	"pegasus/httpapi"
	"pegasus/meta/service"
)

func (ts *tables) appPage(c *service.Call, q *httpapi.Request) httpapi.Response {
	if !q.Only("name", "detail") {
		return badRequest
	}
	name, bad := nameOf(q)
	if bad != nil {
		return *bad
	}
	cfg := ts.nodes.queryConfig(&layer2.QueryCfgRequest{AppName: name}, nil)
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
		ts.appDetail(c, &page, name, cfg.Partitions)
	}
	return httpapi.JSON(page)
}

// appDetail adds the members of each partition, the replicas of each node, and the health.
func (ts *tables) appDetail(c *service.Call, page *httpapi.Object, table string, parts []layer2.PartitionConfiguration) {
	replicas, nodes := httpapi.Object{}, httpapi.Object{}
	type load struct{ primary, secondary int }
	loads := map[string]*load{}
	of := func(a base.RPCAddress) (string, *load) {
		n := c.Names.Of(a).String()
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
	v, _ := ts.parts.judgeTable(table)
	h := healthOf(&v)
	h.fields(&healthy, "fully_healthy_partition_count", "unhealthy_partition_count", "write_unhealthy_partition_count", "read_unhealthy_partition_count")
	page.Add("replicas", replicas)
	page.Add("nodes", nodes)
	page.Add("healthy", healthy)
}

func (ts *tables) appsPage(_ *service.Call, q *httpapi.Request) httpapi.Response {
	if !q.Only("detail") {
		return badRequest
	}
	var list metaadmin.ConfigurationListAppsResponse
	ts.listApps(nil, &metaadmin.ConfigurationListAppsRequest{Status: layer2.AS_AVAILABLE}, &list)
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
		v, _ := ts.parts.judgeTable(a.AppName)
		h := healthOf(&v)
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

func (ts *tables) appEnvsPage(_ *service.Call, q *httpapi.Request) httpapi.Response {
	name, bad := nameOf(q)
	if bad != nil {
		return *bad
	}
	o := httpapi.Object{}
	_, envs := ts.envsOf(name)
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

// setEnvPage carries out a page that sets envs.
func (ts *tables) setEnvPage(c *service.Call, name string, pairs ...string) httpapi.Response {
	q := &metaadmin.ConfigurationUpdateAppEnvRequest{AppName: name, Op: metaadmin.APP_ENV_OP_SET}
	var keys, values []string
	for i := 0; i+1 < len(pairs); i += 2 {
		keys, values = append(keys, pairs[i]), append(values, pairs[i+1])
	}
	q.Keys, q.Values = base.Some(keys), base.Some(values)
	var r metaadmin.ConfigurationUpdateAppEnvResponse
	ts.updateEnvs(c, q, &r)
	return outcome(r.Err, r.HintMessage)
}

func (ts *tables) scenarioPage(c *service.Call, q *httpapi.Request) httpapi.Response {
	var a struct {
		App      string `json:"app_name"`
		Scenario string `json:"scenario"`
	}
	if bad := body(q, &a); bad != nil {
		return *bad
	}
	if a.Scenario != "bulk_load" && a.Scenario != "normal" {
		return outcome(base.ErrInvalidParameters, "scenario should ony be 'normal' or 'bulk_load'")
	}
	return ts.setEnvPage(c, a.App, "rocksdb.usage_scenario", a.Scenario)
}

func (ts *tables) compactionPage(c *service.Call, q *httpapi.Request) httpapi.Response {
	a := struct {
		App         string `json:"app_name"`
		Type        string `json:"type"`
		Level       int    `json:"target_level"`
		Bottommost  string `json:"bottommost_level_compaction"`
		Running     int    `json:"max_concurrent_running_count"`
		TriggerTime string `json:"trigger_time"`
	}{Level: -1, Bottommost: "skip"}
	if bad := body(q, &a); bad != nil {
		return *bad
	}
	switch {
	case a.Type != "once" && a.Type != "periodic":
		return outcome(base.ErrInvalidParameters, fmt.Sprintf("type '%s' should ony be 'once' or 'periodic'", a.Type))
	case a.Level < -1:
		return outcome(base.ErrInvalidParameters, "target_level should be >= -1")
	case a.Bottommost != "" && a.Bottommost != "skip" && a.Bottommost != "force":
		return outcome(base.ErrInvalidParameters, "bottommost_level_compaction should ony be 'skip' or 'force'")
	case a.Running < 0:
		return outcome(base.ErrInvalidParameters, "max_running_count should be >= 0")
	}
	prefix := "manual_compact." + a.Type + "."
	if a.TriggerTime == "" && a.Type == "once" {
		a.TriggerTime = strconv.FormatInt(ts.second(), 10)
	}
	pairs := []string{prefix + "trigger_time", a.TriggerTime, prefix + "target_level", strconv.Itoa(a.Level), prefix + "bottommost_level_compaction", a.Bottommost}
	if a.Running > 0 {
		pairs = append(pairs, "manual_compact.max_concurrent_running_count", strconv.Itoa(a.Running))
	}
	return ts.setEnvPage(c, a.App, pairs...)
}
