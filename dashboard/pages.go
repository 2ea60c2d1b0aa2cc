package dashboard

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"pegasus/base"
	"pegasus/base/appenv"
	"pegasus/base/judge"
	"pegasus/client"
	"pegasus/gen/backupadmin"
	"pegasus/gen/bulkload"
	"pegasus/gen/duplication"
	"pegasus/gen/layer2"
	"pegasus/gen/metadata"
	"pegasus/gen/placement"
	"pegasus/gen/restore"
	"pegasus/gen/split"
	"pegasus/meta/probe"
	"pegasus/meta/usage"
	"pegasus/remotecmd/answer"
)

// asked bounds what a page asks for that isn't shared.
func asked(q *http.Request) (context.Context, context.CancelFunc) {
	return context.WithTimeout(q.Context(), askTime)
}

// part is something on a page, or why it isn't there.
type part[T any] struct {
	V   T
	Err string
}

func partOf[T any](v T, err error) part[T] {
	if err != nil {
		var none T
		return part[T]{none, err.Error()}
	}
	return part[T]{V: v}
}

// sentence says how a cluster is.
func sentence(v *placement.ClusterVerdict, nodes []placement.NodePlacement) string {
	dead := 0
	for i := range nodes {
		if !nodes[i].Alive {
			dead++
		}
	}
	ill := 0
	for i := range v.Tables {
		if judge.Health(v.Tables[i].State) != judge.Healthy {
			ill++
		}
	}
	switch h := judge.Health(v.State); {
	case h == judge.Healthy:
		return fmt.Sprintf("Everything is in order: %s on %s.", count(len(v.Tables), "table"), count(len(nodes), "server"))
	case h == judge.Ill:
		return fmt.Sprintf("All data can be read and written, and something is missing: %s of %s, %d of %s dead.", count(ill, "table"), fmt.Sprint(len(v.Tables)), dead, count(len(nodes), "server"))
	default:
		return fmt.Sprintf("Some data can't be used (%s): %s of %d, %d of %s dead.", h, count(ill, "table"), len(v.Tables), dead, count(len(nodes), "server"))
	}
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

const (
	shownIll    = 20 // tables that aren't in order, on the overview
	shownEvents = 10
)

func (d *Dashboard) overview(q *http.Request) (page, error) {
	ctx, cancel := asked(q)
	defer cancel()
	type data struct {
		Health               part[*placement.ClusterVerdict]
		Sentence             string
		State                int32
		Ill                  []placement.TableVerdict
		More                 int
		Nodes                part[*placement.NodeRoleResponse]
		Alive                int
		Bytes, Free, Total   int64
		Tables               part[int]
		Parts                int64
		Moves                part[*placement.RebalanceResponse]
		Metas                []client.MetaAnswer
		Leader               string
		Events               []happened
		Silent               []string
		Primaries, Replicas_ int64
		Probes               part[*probe.Answer]
		Available            string // the last hour; "": nothing was probed
		Failing              int
	}
	v := data{State: int32(judge.InDoubt)}
	var wait [4]func()
	wait[0] = func() { v.Health = partOf(d.answers.health.get()) }
	wait[1] = func() { v.Nodes = partOf(d.answers.nodes.get()) }
	wait[2] = func() { v.Moves = partOf(d.answers.moves.get()) }
	wait[3] = func() { v.Probes = partOf(d.answers.probes.get()) }
	each(len(wait), func(i int) { wait[i]() })
	if v.Health.V != nil {
		v.State = v.Health.V.State
		for i := range v.Health.V.Tables {
			t := &v.Health.V.Tables[i]
			v.Parts += int64(t.Partitions)
			if judge.Health(t.State) != judge.Healthy {
				v.Ill = append(v.Ill, *t)
			}
		}
		slices.SortStableFunc(v.Ill, func(a, b placement.TableVerdict) int { return cmp.Compare(b.State, a.State) })
		if len(v.Ill) > shownIll {
			v.Ill, v.More = v.Ill[:shownIll], len(v.Ill)-shownIll
		}
		var nodes []placement.NodePlacement
		if v.Nodes.V != nil {
			nodes = v.Nodes.V.Nodes
		}
		v.Sentence = sentence(v.Health.V, nodes)
		v.Tables.V = len(v.Health.V.Tables)
	} else {
		v.Sentence = "The metas don't say how the cluster is."
	}
	if v.Nodes.V != nil {
		for i := range v.Nodes.V.Nodes {
			n := &v.Nodes.V.Nodes[i]
			if n.Alive {
				v.Alive++
			}
			v.Primaries += int64(n.Primaries)
			v.Replicas_ += int64(n.Replicas)
			v.Bytes += n.Bytes
			v.Free += n.AvailableMb << 20
			v.Total += n.CapacityMb << 20
		}
	}
	if a := v.Probes.V; a != nil {
		good, all := 0.0, int64(0)
		for i := range a.Tables {
			t := &a.Tables[i]
			v.Failing += t.Failing
			all += t.HourProbes
			good += t.Hour * float64(t.HourProbes)
		}
		if all > 0 {
			v.Available = parts(good / float64(all))
		}
	}
	v.Metas, _ = d.answers.metas.get()
	v.Leader = d.answers.leader()
	v.Events, v.Silent = eventsOf(ctx, d.s, v.Metas, shownEvents, false)
	return page{name: "overview", Title: "Overview", Data: &v}, nil
}

func (d *Dashboard) servers(q *http.Request) (page, error) {
	r, err := d.answers.nodes.get()
	if err != nil {
		return page{}, err
	}
	by := func(name string, f func(a, b *placement.NodePlacement) int) order[placement.NodePlacement] {
		return order[placement.NodePlacement]{name, f}
	}
	rows, l := cut(q, r.Nodes, func(n *placement.NodePlacement) string { return n.Node.String() + " " + n.Rack }, []order[placement.NodePlacement]{
		by("worst first", func(a, b *placement.NodePlacement) int {
			return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.Node, b.Node))
		}),
		by("address", func(a, b *placement.NodePlacement) int { return cmp.Compare(a.Node, b.Node) }),
		by("primaries", func(a, b *placement.NodePlacement) int { return cmp.Compare(b.Primaries, a.Primaries) }),
		by("replicas", func(a, b *placement.NodePlacement) int { return cmp.Compare(b.Replicas, a.Replicas) }),
		by("bytes", func(a, b *placement.NodePlacement) int { return cmp.Compare(b.Bytes, a.Bytes) }),
		by("free", func(a, b *placement.NodePlacement) int { return cmp.Compare(a.AvailableMb, b.AvailableMb) }),
	})
	return page{name: "servers", Title: "Servers", Data: map[string]any{"Rows": rows, "List": l, "Hint": r.HintMessage, "Stuck": r.Stuck}}, nil
}

// rank orders servers by what they need: the dead first.
func rank(n *placement.NodePlacement) int {
	switch {
	case !n.Alive:
		return 0
	case n.DisksBroken > 0:
		return 1
	case n.DisksShort > 0:
		return 2
	case n.Role != placement.NODE_FULL:
		return 3
	}
	return 4
}

func (d *Dashboard) server(q *http.Request) (page, error) {
	node, err := base.ParseAddr(q.PathValue("address"))
	if err != nil {
		return page{}, fmt.Errorf("%w: %w", errAbsent, err)
	}
	r, err := d.answers.nodes.get()
	if err != nil {
		return page{}, err
	}
	i := slices.IndexFunc(r.Nodes, func(n placement.NodePlacement) bool { return n.Node == node })
	if i < 0 {
		return page{}, fmt.Errorf("%w: the cluster has no replica server %v", errAbsent, node)
	}
	type data struct {
		Node     placement.NodePlacement
		Names    map[int32]string
		Disks    part[[]answer.Disk]
		Replicas part[[]metadata.ReplicaInfo]
		List     *list
		Sparks   part[[]spark]
	}
	v := data{Node: r.Nodes[i], Names: map[int32]string{}}
	if tables, err := d.answers.tables.get(); err == nil {
		for i := range tables {
			v.Names[tables[i].AppId] = tables[i].AppName
		}
	}
	if !v.Node.Alive {
		v.Disks.Err, v.Replicas.Err = "The server is dead, so it isn't asked.", "The server is dead, so it isn't asked."
		return page{name: "server", Title: "Server " + node.String(), Data: &v}, nil
	}
	ctx, cancel := asked(q)
	defer cancel()
	ask := []func(){
		func() { v.Disks = partOf(command[[]answer.Disk](ctx, d.s, node.String(), "replica.disks")) },
		func() { v.Replicas = partOf(d.s.Replicas(ctx, node)) },
		func() { v.Sparks = partOf(sparks(ctx, d.s, d.answers.leader(), "server", node.String())) },
	}
	each(len(ask), func(i int) { ask[i]() })
	v.Replicas.V, v.List = cut(q, v.Replicas.V, func(r *metadata.ReplicaInfo) string { return v.Names[r.Pid.AppID] + " " + r.Pid.String() }, []order[metadata.ReplicaInfo]{
		{"table", func(a, b *metadata.ReplicaInfo) int {
			return cmp.Or(cmp.Compare(a.Pid.AppID, b.Pid.AppID), cmp.Compare(a.Pid.PartitionIndex, b.Pid.PartitionIndex))
		}},
		{"bytes", func(a, b *metadata.ReplicaInfo) int { return cmp.Compare(b.Bytes.V, a.Bytes.V) }},
		{"status", func(a, b *metadata.ReplicaInfo) int { return cmp.Compare(a.Status, b.Status) }},
	})
	return page{name: "server", Title: "Server " + node.String(), Data: &v}, nil
}

// tableRow is a table in the list of all.
type tableRow struct {
	layer2.AppInfo
	Verdict placement.TableVerdict
	Judged  bool
	Use     usage.Table
	Used    bool
	Probes  probe.Table
	Probed  bool
}

func (d *Dashboard) tables(q *http.Request) (page, error) {
	infos, err := d.answers.tables.get()
	if err != nil {
		return page{}, err
	}
	all := make([]tableRow, len(infos))
	at := map[int32]*tableRow{}
	for i := range infos {
		all[i].AppInfo = infos[i]
		at[infos[i].AppId] = &all[i]
	}
	health, healthErr := d.answers.health.get()
	if healthErr == nil {
		for i := range health.Tables {
			if r := at[health.Tables[i].AppId]; r != nil {
				r.Verdict, r.Judged = health.Tables[i], true
			}
		}
	}
	used, usedErr := d.answers.usage.get()
	for _, u := range used {
		if r := at[u.ID]; r != nil {
			r.Use, r.Used = u, true
		}
	}
	probed, probedErr := d.answers.probes.get()
	if probedErr == nil {
		for i := range probed.Tables {
			if r := at[probed.Tables[i].ID]; r != nil {
				r.Probes, r.Probed = probed.Tables[i], probed.Tables[i].HourProbes > 0
			}
		}
	}
	rows, l := cut(q, all, func(t *tableRow) string { return t.AppName }, []order[tableRow]{
		{"worst first", func(a, b *tableRow) int {
			return cmp.Or(cmp.Compare(b.Verdict.State, a.Verdict.State), cmp.Compare(a.AppName, b.AppName))
		}},
		{"name", func(a, b *tableRow) int { return cmp.Compare(a.AppName, b.AppName) }},
		{"id", func(a, b *tableRow) int { return cmp.Compare(a.AppId, b.AppId) }},
		{"reads", func(a, b *tableRow) int { return cmp.Compare(b.Use.ReadPerSec, a.Use.ReadPerSec) }},
		{"writes", func(a, b *tableRow) int { return cmp.Compare(b.Use.WritePerSec, a.Use.WritePerSec) }},
		{"size", func(a, b *tableRow) int { return cmp.Compare(b.Use.Bytes, a.Use.Bytes) }},
		{"partitions", func(a, b *tableRow) int { return cmp.Compare(b.PartitionCount, a.PartitionCount) }},
		{"least available", func(a, b *tableRow) int {
			return cmp.Or(cmp.Compare(b.Probes.Failing, a.Probes.Failing), cmp.Compare(available(a), available(b)))
		}},
	})
	return page{name: "tables", Title: "Tables", Data: map[string]any{"Rows": rows, "List": l, "Unjudged": partOf(0, errors.Join(healthErr, usedErr, probedErr)).Err}}, nil
}

// available is the part of the probes that succeeded; 1 if there were none.
func available(t *tableRow) float64 {
	if !t.Probed {
		return 1
	}
	return t.Probes.Hour
}

// setting is a setting of a table with what it means.
type setting struct {
	Key, Value, Wrong string
	appenv.Info
}

// shownCells is how many partitions the map of a page has.
const shownCells = 1024

// cell is a partition on the map.
type cell struct {
	Index   int32
	State   int32
	Primary base.RPCAddress
	Members int
	Words   string
}

func (d *Dashboard) table(q *http.Request) (page, error) {
	name := q.PathValue("name")
	infos, err := d.answers.tables.get()
	if err != nil {
		return page{}, err
	}
	i := slices.IndexFunc(infos, func(t layer2.AppInfo) bool { return t.AppName == name })
	if i < 0 {
		return page{}, fmt.Errorf("%w: the cluster has no table %q", errAbsent, name)
	}
	ctx, cancel := asked(q)
	defer cancel()
	type data struct {
		Table    layer2.AppInfo
		Verdict  *placement.TableVerdict
		Explain  part[[]placement.PartitionExplanation] // of partitions that aren't in order
		Config   part[*layer2.QueryCfgResponse]
		Cells    []cell
		Hidden   int
		Settings []setting
		Others   []setting // that aren't set
		Split    part[*split.QuerySplitResponse]
		Load     part[*bulkload.QueryBulkLoadResponse]
		Use      part[[]usage.Table]
		Bars     []bar
		Probes   part[*probe.Answer]
		Sparks   part[[]spark]
	}
	v := data{Table: infos[i]}
	var why part[*placement.ExplainResponse]
	ask := []func(){
		func() { why = partOf(d.s.Explain(ctx, name, -1)) },
		func() { v.Config = partOf(d.s.QueryConfig(ctx, name)) },
		func() { v.Use = partOf(askUsage(ctx, d.s, d.answers.leader(), name)) },
		func() { v.Probes = partOf(askAvailability(ctx, d.s, d.answers.leader(), name)) },
		func() { v.Sparks = partOf(sparks(ctx, d.s, d.answers.leader(), "name", name)) },
		func() {
			s, err := d.s.QuerySplit(ctx, name)
			if errors.Is(err, base.ErrInvalidState) { // none is under way
				err = nil
			}
			v.Split = partOf(s, err)
		},
		func() {
			if v.Table.IsBulkLoading.V {
				v.Load = partOf(d.s.QueryBulkLoad(ctx, name))
			}
		},
	}
	each(len(ask), func(i int) { ask[i]() })
	v.Explain.Err = why.Err
	if len(v.Use.V) > 0 {
		v.Bars = chart(v.Use.V[0].Hours)
	}
	states := map[int32]int32{}
	if why.V != nil {
		if why.V.Table.Set {
			v.Verdict = &why.V.Table.V
		}
		for _, p := range why.V.Partitions {
			states[p.Pid.PartitionIndex] = p.Verdict.V.State
			if p.Verdict.Set && judge.Health(p.Verdict.V.State) != judge.Healthy && len(v.Explain.V) < shownIll {
				v.Explain.V = append(v.Explain.V, p)
			}
		}
	}
	if v.Config.V != nil {
		for i := range v.Config.V.Partitions {
			if i == shownCells {
				v.Hidden = len(v.Config.V.Partitions) - i
				break
			}
			p := &v.Config.V.Partitions[i]
			c := cell{Index: int32(i), State: states[int32(i)], Primary: p.Primary, Members: len(p.Secondaries)}
			who := "no primary"
			if !p.Primary.IsZero() {
				c.Members++
				who = "primary " + p.Primary.String()
			}
			for _, a := range p.Secondaries {
				who += ", " + a.String()
			}
			c.Words = fmt.Sprintf("partition %d: %s; %s; ballot %d", i, judge.Health(c.State), who, p.Ballot)
			v.Cells = append(v.Cells, c)
		}
	}
	set := map[string]bool{}
	for _, e := range v.Table.Envs {
		s := setting{Key: e.Key, Value: e.Val}
		s.Info, _ = appenv.Describe(e.Key)
		s.Wrong = appenv.Validate(e.Key, e.Val)
		set[e.Key] = true
		v.Settings = append(v.Settings, s)
	}
	for key, info := range appenv.All() {
		if !set[key] && info.Effect == appenv.AtOnce {
			v.Others = append(v.Others, setting{Key: key, Info: info})
		}
	}
	for _, l := range [][]setting{v.Settings, v.Others} {
		slices.SortFunc(l, func(a, b setting) int { return strings.Compare(a.Key, b.Key) })
	}
	return page{name: "table", Title: "Table " + name, Data: &v}, nil
}

// hotServers is how many servers are asked for the hot keys of a table.
const hotServers = 64

// hotRow is a hash key that takes much of its partition's requests.
type hotRow struct {
	Partition, Server, Kind, Key string
	PerSecond, Percent           float64
}

// leastHot is the percentage of its partition's requests from which on a key is shown.
const leastHot = 5

func (d *Dashboard) hot(q *http.Request) (page, error) {
	ctx, cancel := asked(q)
	defer cancel()
	name := q.PathValue("name")
	cfg, err := d.s.QueryConfig(ctx, name)
	if err != nil {
		return page{}, err
	}
	var servers []string
	for i := range cfg.Partitions {
		if p := cfg.Partitions[i].Primary; !p.IsZero() && len(servers) < hotServers && !slices.Contains(servers, p.String()) {
			servers = append(servers, p.String())
		}
	}
	lists, errs := make([][]answer.HotKeys, len(servers)), make([]error, len(servers))
	each(len(servers), func(i int) {
		lists[i], errs[i] = command[[]answer.HotKeys](ctx, d.s, servers[i], "replica.hotkeys", fmt.Sprint(cfg.AppId))
	})
	var rows []hotRow
	for i, l := range lists {
		for _, h := range l {
			for kind, keys := range map[string][]answer.HotKey{"reads": h.Reads, "writes": h.Writes} {
				for _, k := range keys {
					if k.Percent >= leastHot {
						rows = append(rows, hotRow{h.Partition, servers[i], kind, fmt.Sprintf("%.200q", k.Key), k.PerSecond, k.Percent})
					}
				}
			}
		}
	}
	slices.SortFunc(rows, func(a, b hotRow) int {
		return cmp.Or(cmp.Compare(b.PerSecond, a.PerSecond), cmp.Compare(a.Key, b.Key), cmp.Compare(a.Kind, b.Kind))
	})
	return page{name: "hot", Title: "Hot keys of " + name, Data: map[string]any{"Name": name, "Rows": rows[:min(len(rows), pageRows)], "Least": leastHot, "Err": partOf(0, errors.Join(errs...)).Err}}, nil
}

// shownWork is how many of each kind of work are shown.
const shownWork = 50

// loading is a table into which files are loaded.
type loading struct {
	Table string
	part[*bulkload.QueryBulkLoadResponse]
}

// splitting is a table that is being split.
type splitting struct {
	Table       string
	To          int32 // partitions
	Done, Total int64 // of the partitions that there were
	Hint        string
}

// splits asks how far the splits are of tables that may be being split: those that don't have the partitions with which they were made.
func (d *Dashboard) splits(ctx context.Context, infos []layer2.AppInfo) (list []splitting) {
	var may []string
	for i := range infos {
		if t := &infos[i]; t.InitPartitionCount > 0 && t.PartitionCount != t.InitPartitionCount && len(may) < shownWork {
			may = append(may, t.AppName)
		}
	}
	answers := make([]*split.QuerySplitResponse, len(may))
	each(len(may), func(i int) {
		if a, err := d.s.QuerySplit(ctx, may[i]); err == nil {
			answers[i] = a
		}
	})
	for i, a := range answers {
		if a != nil {
			total := int64(a.NewPartitionCount) / 2
			list = append(list, splitting{may[i], a.NewPartitionCount, max(0, total-int64(len(a.Status))), total, a.HintMsg.V})
		}
	}
	return list
}

func (d *Dashboard) work(q *http.Request) (page, error) {
	ctx, cancel := asked(q)
	defer cancel()
	type data struct {
		Moves    part[*placement.RebalanceResponse]
		Backups  part[[]backupadmin.BackupState]
		Restores part[[]restore.RestoreState]
		Dups     part[[]dupRow]
		Loads    part[[]loading]
		Splits   part[[]splitting]
	}
	v := data{}
	ask := []func(){
		func() { v.Moves = partOf(d.answers.moves.get()) },
		func() { v.Backups = partOf(d.s.ListBackups(ctx, backupadmin.ListBackupsRequest{})) },
		func() { v.Restores = partOf(d.s.Restores(ctx, 0)) },
		func() {
			l, err := d.s.ListDuplications(ctx)
			v.Dups = partOf(dupRows(l), err)
		},
		func() {
			infos, err := d.answers.tables.get()
			v.Loads = partOf([]loading(nil), err)
			for i := range infos {
				if infos[i].IsBulkLoading.V && len(v.Loads.V) < shownWork {
					v.Loads.V = append(v.Loads.V, loading{Table: infos[i].AppName})
				}
			}
			each(len(v.Loads.V), func(i int) { v.Loads.V[i].part = partOf(d.s.QueryBulkLoad(ctx, v.Loads.V[i].Table)) })
		},
	}
	ask = append(ask, func() {
		infos, err := d.answers.tables.get()
		v.Splits = partOf(d.splits(ctx, infos), err)
	})
	each(len(ask), func(i int) { ask[i]() })
	v.Backups.V = v.Backups.V[:min(len(v.Backups.V), shownWork)]
	v.Restores.V = v.Restores.V[:min(len(v.Restores.V), shownWork)]
	v.Dups.V = v.Dups.V[:min(len(v.Dups.V), shownWork)]
	return page{name: "work", Title: "Work", Data: &v}, nil
}

// dupRow is a table that is sent to another cluster.
type dupRow struct {
	Table, Cluster, Remote, Status string
	Behind                         int64
	Why                            string
}

func dupRows(l []duplication.DuplicationAppState) (rows []dupRow) {
	for i := range l {
		for k := range l[i].Duplications {
			e := &l[i].Duplications[k].Val
			r := dupRow{Table: l[i].AppName, Cluster: e.Remote, Remote: e.RemoteAppName.Or(l[i].AppName), Status: strings.ToLower(strings.TrimPrefix(e.Status.String(), "DS_"))}
			for _, p := range e.PartitionStates.V {
				r.Behind += max(0, p.Val.LastCommittedDecree-max(0, p.Val.ConfirmedDecree))
				if r.Why == "" && p.Val.Why.V != "" {
					r.Why = fmt.Sprintf("partition %d: %s", p.Key, p.Val.Why.V)
				}
			}
			rows = append(rows, r)
		}
	}
	slices.SortFunc(rows, func(a, b dupRow) int { return cmp.Or(cmp.Compare(a.Table, b.Table), cmp.Compare(a.Cluster, b.Cluster)) })
	return rows
}

func (d *Dashboard) quorum(*http.Request) (page, error) {
	metas, err := d.answers.metas.get()
	if err != nil {
		return page{}, err
	}
	return page{name: "quorum", Title: "Metas", Data: map[string]any{"Metas": metas, "Is": client.JudgeMetas(metas)}}, nil
}

// maxShownEvents is how many events the page has.
const maxShownEvents = 300

func (d *Dashboard) events(q *http.Request) (page, error) {
	ctx, cancel := asked(q)
	defer cancel()
	metas, err := d.answers.metas.get()
	if err != nil {
		return page{}, err
	}
	worse := q.URL.Query().Get("worse") != ""
	l, silent := eventsOf(ctx, d.s, metas, maxShownEvents, worse)
	return page{name: "events", Title: "Events", Data: map[string]any{"Events": l, "Silent": silent, "Worse": worse}}, nil
}
