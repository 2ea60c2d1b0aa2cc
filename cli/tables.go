package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"pegasus/base"
	"pegasus/client"
	"pegasus/gen/layer2"
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
	return e.print(made, "table %s: id %d, %d partitions of %d replicas", Escape([]byte(a.Name)), id, made.Partitions, made.Replicas)
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
			return nil, fmt.Errorf("table %q is made, but after %v %d of its %d partitions still lack replicas; see `pegasus nodes` and `pegasus table show %s`",
				name, wait, lacking, len(q.Partitions), name)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// TableDrop drops a table.
func (e *Env) TableDrop(ctx context.Context, name string, reserve time.Duration, ifExists bool) error {
	if err := e.Client.Admin().DropTable(ctx, name, reserve, ifExists); err != nil {
		return err
	}
	return e.print(map[string]any{"name": name, "status": "dropped"}, "table %s is dropped", name)
}

// TableList lists tables; all takes in those that are dropped or on their way.
func (e *Env) TableList(ctx context.Context, all bool) error {
	status := layer2.AS_AVAILABLE
	if all {
		status = layer2.AS_INVALID
	}
	infos, err := e.Client.Admin().ListTables(ctx, status)
	if err != nil {
		return err
	}
	list := make([]tableJSON, len(infos))
	g := newGrid("#id", "name", "status", "#partitions", "#replicas", "created")
	for i := range infos {
		list[i] = describe(&infos[i])
		t := &list[i]
		g.add(t.ID, Escape([]byte(t.Name)), t.Status, t.Partitions, t.Replicas, t.Created)
	}
	if e.JSON {
		return e.json(list)
	}
	return g.print(e.Out)
}

func describe(a *layer2.AppInfo) tableJSON {
	t := tableJSON{ID: a.AppId, Name: a.AppName, Status: strings.ToLower(strings.TrimPrefix(a.Status.String(), "AS_")),
		Partitions: a.PartitionCount, Replicas: a.MaxReplicaCount, Created: moment(a.CreateSecond), Dropped: moment(a.DropSecond)}
	for _, kv := range a.Envs {
		if t.Envs == nil {
			t.Envs = map[string]string{}
		}
		t.Envs[kv.Key] = kv.Val
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
}

// TableShow shows where a table's partitions are.
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
	parts := make([]partitionJSON, len(q.Partitions))
	g := newGrid("#partition", "#ballot", "primary", "secondaries")
	whole := 0
	for i := range q.Partitions {
		p := &q.Partitions[i]
		parts[i] = partitionJSON{Partition: p.Pid.PartitionIndex, Ballot: p.Ballot, Secondaries: []string{}}
		primary := "-"
		if !p.Primary.IsZero() {
			primary = p.Primary.String()
			parts[i].Primary = primary
			if 1+len(p.Secondaries) >= int(p.MaxReplicaCount) {
				whole++
			}
		}
		for _, s := range p.Secondaries {
			parts[i].Secondaries = append(parts[i].Secondaries, s.String())
		}
		g.add(p.Pid.PartitionIndex, p.Ballot, primary, strings.Join(parts[i].Secondaries, " "))
	}
	if e.JSON {
		return e.json(struct {
			tableJSON
			Where []partitionJSON `json:"where"`
		}{info, parts})
	}
	fmt.Fprintf(e.Out, "table %s: id %d, %d partitions of %d replicas, %d of them whole\n", Escape([]byte(name)), info.ID, info.Partitions, info.Replicas, whole)
	return g.print(e.Out)
}

type nodeJSON struct {
	Address     string `json:"address"`
	Status      string `json:"status"`
	Primaries   int    `json:"primaries"`
	Secondaries int    `json:"secondaries"`
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
		list[i] = nodeJSON{n.Addr.String(), "dead", primaries[n.Addr], secondaries[n.Addr]}
		if n.Alive {
			list[i].Status = "alive"
		}
		g.add(list[i].Address, list[i].Status, list[i].Primaries, list[i].Secondaries)
	}
	if e.JSON {
		return e.json(list)
	}
	return g.print(e.Out)
}
