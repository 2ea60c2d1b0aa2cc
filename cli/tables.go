package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"pegasus/base"
	"pegasus/base/appenv"
	"pegasus/base/judge"
	"pegasus/client"
	"pegasus/gen/layer2"
	"pegasus/gen/placement"
)

// CreateTable are the arguments of `table create`.
type CreateTable struct {
	Name                 string
	Partitions, Replicas int
	IfNotExists          bool
	Envs                 []string      // KEY=VALUE
	Wait                 time.Duration // for all replicas of all partitions; 0: don't
}

type tableJSON struct {
	ID         int32             `json:"id"`
	Name       string            `json:"name"`
	Status     string            `json:"status"`
	Partitions int32             `json:"partitions"`
	Replicas   int32             `json:"replicas"`
	Created    string            `json:"created,omitempty"`
	Dropped    string            `json:"dropped,omitempty"`
	Envs       map[string]string `json:"envs,omitempty"`
	// Invalid are those settings that the servers ignore, and why.
	Invalid map[string]string `json:"invalid_envs,omitempty"`
	// Health is what the metas say of it, "" if they don't.
	Health string `json:"health,omitempty"`
}

// TableCreate makes a table and waits until it is whole.
func (e *Env) TableCreate(ctx context.Context, a CreateTable) error {
	var envs []base.Pair[string, string]
	for _, kv := range a.Envs {
		k, v, ok := strings.Cut(kv, "=")
		if !ok || k == "" {
			return fmt.Errorf("--env %q: write KEY=VALUE", kv)
		}
		envs = append(envs, base.Pair[string, string]{Key: k, Val: v})
	}
	if v, err := e.Client.Admin().Health(ctx); err == nil && v.Lost {
		return fmt.Errorf("table %q isn't created: %s", a.Name, judge.Reason{What: v.Why[0].What, Do: v.Why[0].ToDo})
	}
	id, err := e.Client.Admin().CreateTable(ctx, a.Name, a.Partitions, a.Replicas, client.CreateOptions{SuccessIfExists: a.IfNotExists, Envs: envs})
	if err != nil {
		return err
	}
	made := tableJSON{ID: id, Name: a.Name, Status: "available", Partitions: int32(a.Partitions), Replicas: int32(a.Replicas)}
	if a.Wait > 0 {
		q, err := e.awaitWhole(ctx, a.Name, a.Wait)
		if err != nil {
			return err
		}
		made.Partitions, made.Replicas = q.PartitionCount, q.Partitions[0].MaxReplicaCount
	}
	return e.print(made, "table %s: id %d, %d partitions with %d replicas", Escape([]byte(a.Name)), id, made.Partitions, made.Replicas)
}

func (e *Env) awaitWhole(ctx context.Context, name string, wait time.Duration) (*layer2.QueryCfgResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		q, err := e.Client.Admin().QueryConfig(ctx, name)
		lacking := 0
		if err == nil {
			for i := range q.Partitions {
				if p := &q.Partitions[i]; p.Primary.IsZero() || 1+len(p.Secondaries) < int(p.MaxReplicaCount) {
					lacking++
				}
			}
			if lacking == 0 {
				return q, nil
			}
		}
		select {
		case <-ctx.Done():
			if err != nil {
				return nil, err
			}
			return nil, fmt.Errorf("table %q exists, but after %v %d of its %d partitions still lack replicas; see `pegasus nodes` and `pegasus table show %s`",
				name, wait, lacking, len(q.Partitions), name)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// TableDrop drops a table.
func (e *Env) TableDrop(ctx context.Context, name string, reserve time.Duration, ifExists bool) error {
	if e.DryRun {
		t, err := e.tableNamed(ctx, name)
		if ifExists && base.CodeOf(err) == base.ErrObjectNotFound {
			return e.would(map[string]any{"name": name}, "nothing: table %s doesn't exist", Escape([]byte(name)))
		}
		if err != nil {
			return err
		}
		return e.would(map[string]any{"name": name, "id": t.AppId, "partitions": t.PartitionCount},
			"table %s (id %d, %d partitions) is dropped; `pegasus table recall %d` brings it back for %s", Escape([]byte(name)), t.AppId, t.PartitionCount, t.AppId, reserveText(reserve))
	}
	if err := e.Client.Admin().DropTable(ctx, name, reserve, ifExists); err != nil {
		return err
	}
	return e.print(map[string]any{"name": name, "status": "dropped"}, "table %s is dropped", Escape([]byte(name)))
}

func reserveText(d time.Duration) string {
	if d == 0 {
		return "as long as the cluster's default says"
	}
	return d.String()
}

// tableNamed finds an available table.
func (e *Env) tableNamed(ctx context.Context, name string) (*layer2.AppInfo, error) {
	list, err := e.Client.Admin().ListTables(ctx, layer2.AS_AVAILABLE)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(list, func(a layer2.AppInfo) bool { return a.AppName == name })
	if i < 0 {
		return nil, fmt.Errorf("table %q doesn't exist (`pegasus table ls` lists tables): %w", name, base.ErrObjectNotFound)
	}
	return &list[i], nil
}

// TableList lists tables; all takes in those that are dropped or on their way.
func (e *Env) TableList(ctx context.Context, all bool) error {
	status := layer2.AS_AVAILABLE
	if all {
		status = layer2.AS_INVALID
	}
	infos, hint, err := e.Client.Admin().ListTablesHint(ctx, status)
	if err != nil {
		return err
	}
	said := map[int32]string{}
	v, verr := e.Client.Admin().Health(ctx)
	if verr == nil {
		for i := range v.Tables {
			said[v.Tables[i].AppId] = judge.Health(v.Tables[i].State).String()
		}
	}
	list := make([]tableJSON, len(infos))
	head := []string{"#id", "name", "status", "#partitions", "#replicas", "created"}
	if verr == nil {
		head = append(head, "health")
	}
	g := newGrid(head...)
	for i := range infos {
		list[i] = describe(&infos[i])
		t := &list[i]
		t.Health = said[t.ID]
		row := []any{t.ID, Escape([]byte(t.Name)), t.Status, t.Partitions, t.Replicas, t.Created}
		if verr == nil {
			row = append(row, t.Health)
		}
		g.add(row...)
	}
	if e.JSON {
		return e.json(list)
	}
	if err := g.print(e.Out); err != nil {
		return err
	}
	if verr == nil {
		printReasons(e.Out, v.Why)
		return nil
	}
	if hint != "" {
		_, err = fmt.Fprintln(e.Out, hint)
	}
	return err
}

func describe(a *layer2.AppInfo) tableJSON {
	t := tableJSON{ID: a.AppId, Name: a.AppName, Status: strings.ToLower(strings.TrimPrefix(a.Status.String(), "AS_")),
		Partitions: a.PartitionCount, Replicas: a.MaxReplicaCount, Created: moment(a.CreateSecond), Dropped: moment(a.DropSecond)}
	t.Envs = map[string]string{}
	for _, kv := range a.Envs {
		t.Envs[kv.Key] = kv.Val
		if hint := appenv.Check(kv.Key, kv.Val); hint != "" {
			if t.Invalid == nil {
				t.Invalid = map[string]string{}
			}
			t.Invalid[kv.Key] = hint
		}
	}
	return t
}

// moment writes a Unix time in UTC, and nothing for none.
func moment(sec int64) string {
	if sec <= 0 {
		return ""
	}
	return time.Unix(sec, 0).UTC().Format(time.RFC3339)
}

type partitionJSON struct {
	Partition   int32    `json:"partition"`
	Ballot      int64    `json:"ballot"`
	Primary     string   `json:"primary"` // "" if there is none
	Secondaries []string `json:"secondaries"`
	Health      string   `json:"health,omitempty"`
	Reads       string   `json:"reads,omitempty"`
	Writes      string   `json:"writes,omitempty"`
}

// TableShow shows where a table's partitions are, and what clients can do with them.
func (e *Env) TableShow(ctx context.Context, name string) error {
	a := e.Client.Admin()
	q, err := a.QueryConfig(ctx, name)
	if err != nil {
		return err
	}
	info := tableJSON{ID: q.AppId, Name: name, Status: "available", Partitions: q.PartitionCount}
	if infos, err := a.ListTables(ctx, layer2.AS_AVAILABLE); err == nil {
		for i := range infos {
			if infos[i].AppId == q.AppId {
				info = describe(&infos[i])
			}
		}
	}
	said := map[int32]*placement.Verdict{}
	x, err := a.Explain(ctx, name, -1)
	if err != nil {
		x = &placement.ExplainResponse{} // where partitions are is worth showing all the same
	}
	if base.CodeOf(err) == base.ErrHandlerNotFound {
		err = nil
	}
	for i := range x.Partitions {
		if p := &x.Partitions[i]; p.Verdict.Set {
			said[p.Pid.PartitionIndex] = &p.Verdict.V
		}
	}
	parts := make([]partitionJSON, len(q.Partitions))
	head := []string{"#partition", "#ballot", "primary", "secondaries"}
	if x.Table.Set {
		head = slices.Insert(head, 1, "state", "reads", "writes")
	}
	g := newGrid(head...)
	for i := range q.Partitions {
		p := &q.Partitions[i]
		row := &parts[i]
		*row = partitionJSON{Partition: p.Pid.PartitionIndex, Ballot: p.Ballot, Secondaries: []string{}}
		if v := said[row.Partition]; v != nil {
			row.Health, row.Reads, row.Writes = judge.Health(v.State).String(), judge.Can(v.Reads).String(), judge.Can(v.Writes).String()
		}
		primary := "-"
		if !p.Primary.IsZero() {
			primary = p.Primary.String()
			row.Primary = primary
		}
		for _, s := range p.Secondaries {
			row.Secondaries = append(row.Secondaries, s.String())
		}
		cells := []any{row.Partition, p.Ballot, primary, strings.Join(row.Secondaries, " ")}
		if x.Table.Set {
			cells = slices.Insert(cells, 1, any(row.Health), any(row.Reads), any(row.Writes))
		}
		g.add(cells...)
	}
	t := &x.Table.V
	info.Health = judge.Health(t.State).String()
	if !x.Table.Set {
		info.Health = ""
	}
	if e.JSON {
		return e.json(struct {
			tableJSON
			Why   []reasonJSON    `json:"why"`
			Where []partitionJSON `json:"where"`
		}{info, reasons(t.Why), parts})
	}
	fmt.Fprintf(e.Out, "table %s: id %d, %d partitions with %d replicas", Escape([]byte(name)), info.ID, info.Partitions, info.Replicas)
	if x.Table.Set {
		fmt.Fprintf(e.Out, ", %d healthy, %d readable, %d writable", t.Healthy, t.Readable, t.Writable)
	}
	fmt.Fprintln(e.Out)
	if err := g.print(e.Out); err != nil {
		return err
	}
	if !x.Table.Set {
		fmt.Fprintln(e.Out, "what clients can do isn't shown:", cmp.Or(err, client.ErrOldMeta))
	}
	printReasons(e.Out, t.Why)
	sayInvalid(e, &info)
	return nil
}

type nodeJSON struct {
	Address     string `json:"address"`
	Status      string `json:"status"`
	Primaries   int    `json:"primaries"`
	Secondaries int    `json:"secondaries"`
	// Refused is why the meta doesn't let it serve.
	Refused string `json:"refused,omitempty"`
}

// Nodes lists the replica servers and how many replicas each has.
func (e *Env) Nodes(ctx context.Context) error {
	a := e.Client.Admin()
	nodes, err := a.ListNodes(ctx)
	if err != nil {
		return err
	}
	infos, err := a.ListTables(ctx, layer2.AS_AVAILABLE)
	if err != nil {
		return err
	}
	primaries, secondaries := map[base.RPCAddress]int{}, map[base.RPCAddress]int{}
	for i := range infos {
		q, err := a.QueryConfig(ctx, infos[i].AppName)
		if err != nil {
			return err
		}
		for j := range q.Partitions {
			if p := &q.Partitions[j]; !p.Primary.IsZero() {
				primaries[p.Primary]++
			}
			for _, s := range q.Partitions[j].Secondaries {
				secondaries[s]++
			}
		}
	}
	list := make([]nodeJSON, len(nodes))
	g := newGrid("address", "status", "#primaries", "#secondaries")
	for i, n := range nodes {
		list[i] = nodeJSON{n.Addr.String(), "dead", primaries[n.Addr], secondaries[n.Addr], n.Refused}
		switch {
		case n.Refused != "":
			list[i].Status = "refused"
		case n.Alive:
			list[i].Status = "alive"
		}
		g.add(list[i].Address, list[i].Status, list[i].Primaries, list[i].Secondaries)
	}
	if e.JSON {
		return e.json(list)
	}
	if err := g.print(e.Out); err != nil {
		return err
	}
	for _, n := range list {
		if n.Refused != "" {
			fmt.Fprintf(e.Out, "%s is refused: %s\n", n.Address, n.Refused)
		}
	}
	sayAnyRoles(e, ctx)
	return nil
}
