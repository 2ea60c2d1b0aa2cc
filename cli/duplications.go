package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"pegasus/base"
	"pegasus/client"
	"pegasus/gen/duplication"
)

// Dups are the commands about duplications.
type Dups struct{ *Env }

type duplicationJSON struct {
	Table       string                     `json:"table"`
	ID          int32                      `json:"id"`
	Cluster     string                     `json:"cluster"`
	RemoteTable string                     `json:"remote_table"`
	Status      string                     `json:"status"`
	FailMode    string                     `json:"fail_mode"`
	Created     string                     `json:"created"`
	Behind      int64                      `json:"behind"` // mutations that the other cluster isn't known to have
	Partitions  []duplicationPartitionJSON `json:"partitions,omitempty"`
}

type duplicationPartitionJSON struct {
	Partition int32  `json:"partition"`
	Confirmed int64  `json:"confirmed"` // -1: nothing
	Committed int64  `json:"committed"` // -1: not known
	Behind    int64  `json:"behind"`
	Skipped   int64  `json:"skipped"`
	Gaps      int64  `json:"gaps"`     // how often the log lacked what the other cluster did
	LogRoom   int32  `json:"log_room"` // percent of the room for the log that it takes, 0 if it isn't kept for this
	Why       string `json:"why,omitempty"`
}

// duplicationStatus are the words for a status.
var duplicationStatus = map[duplication.DuplicationStatus]string{
	duplication.DS_INIT: "begins", duplication.DS_PREPARE: "preparing", duplication.DS_APP: "copying", duplication.DS_LOG: "sending", duplication.DS_PAUSE: "paused", duplication.DS_REMOVED: "removed",
}

var failModes = map[duplication.DuplicationFailMode]string{duplication.FAIL_SLOW: "slow", duplication.FAIL_SKIP: "skip", duplication.FAIL_FAST: "fast"}

func duplicationOf(table string, d *duplication.DuplicationEntry) duplicationJSON {
	j := duplicationJSON{Table: table, ID: d.Dupid, Cluster: d.Remote, RemoteTable: d.RemoteAppName.Or(table), Status: duplicationStatus[d.Status], FailMode: failModes[d.FailMode.V],
		Created: time.UnixMilli(d.CreateTs).UTC().Format(time.RFC3339)}
	for _, p := range d.PartitionStates.V {
		x := duplicationPartitionJSON{Partition: p.Key, Confirmed: p.Val.ConfirmedDecree, Committed: p.Val.LastCommittedDecree, Skipped: p.Val.Skipped.V, Gaps: p.Val.Gaps.V, LogRoom: p.Val.Room.V, Why: p.Val.Why.V}
		x.Behind = max(0, x.Committed-max(x.Confirmed, 0))
		j.Behind += x.Behind
		j.Partitions = append(j.Partitions, x)
	}
	slices.SortFunc(j.Partitions, func(a, b duplicationPartitionJSON) int { return cmp.Compare(a.Partition, b.Partition) })
	return j
}

// Add begins to send a table to another cluster.
func (e Dups) Add(ctx context.Context, table, cluster string, o client.DuplicationOptions) error {
	r, err := e.Client.Admin().AddDuplication(ctx, table, cluster, o)
	if err != nil {
		return err
	}
	return e.print(map[string]any{"table": table, "id": r.Dupid, "cluster": cluster, "remote_table": r.RemoteAppName.V},
		"duplication %d of table %s to table %s of cluster %s is added; `pegasus dup show %s` shows how far it is", r.Dupid, Escape([]byte(table)), Escape([]byte(r.RemoteAppName.V)), cluster, Escape([]byte(table)))
}

// List lists all duplications.
func (e Dups) List(ctx context.Context) error {
	tables, err := e.Client.Admin().ListDuplications(ctx)
	if err != nil {
		return err
	}
	list := []duplicationJSON{}
	for i := range tables {
		for k := range tables[i].Duplications {
			d := duplicationOf(tables[i].AppName, &tables[i].Duplications[k].Val)
			d.Partitions = nil
			list = append(list, d)
		}
	}
	slices.SortFunc(list, func(a, b duplicationJSON) int { return cmp.Or(cmp.Compare(a.Table, b.Table), cmp.Compare(a.ID, b.ID)) })
	if e.JSON {
		return e.json(list)
	}
	if len(list) == 0 {
		fmt.Fprintln(e.Out, "no table is duplicated; `pegasus dup add` begins it")
		return nil
	}
	g := newGrid("table", "#id", "cluster", "remote table", "status", "mode", "#behind", "created")
	for _, d := range list {
		g.add(Escape([]byte(d.Table)), d.ID, d.Cluster, Escape([]byte(d.RemoteTable)), d.Status, d.FailMode, d.Behind, d.Created)
	}
	return g.print(e.Out)
}

// Show shows how far each partition of a table's duplications is, and with why set the reason.
func (e Dups) Show(ctx context.Context, table string, why bool) error {
	ds, err := e.Client.Admin().Duplications(ctx, table)
	if err != nil {
		return err
	}
	list := []duplicationJSON{}
	for i := range ds {
		list = append(list, duplicationOf(table, &ds[i]))
	}
	if e.JSON {
		return e.json(list)
	}
	if len(list) == 0 {
		fmt.Fprintf(e.Out, "table %s is not duplicated; `pegasus dup add` begins it\n", Escape([]byte(table)))
		return nil
	}
	for _, d := range list {
		fmt.Fprintf(e.Out, "duplication %d to table %s of cluster %s: %s, mode %s, created %s\n", d.ID, Escape([]byte(d.RemoteTable)), d.Cluster, d.Status, d.FailMode, d.Created)
		columns := []string{"#partition", "#confirmed", "#committed", "#behind", "#skipped", "#gaps", "#log room %"}
		if why {
			columns = append(columns, "why")
		}
		g := newGrid(columns...)
		for _, p := range d.Partitions {
			row := []any{p.Partition, p.Confirmed, p.Committed, p.Behind, p.Skipped, p.Gaps, p.LogRoom, p.Why}
			g.add(row[:len(columns)]...)
		}
		if err := g.print(e.Out); err != nil {
			return err
		}
	}
	return nil
}

// duplicationID is the id that is given, or the only one that the table has.
func (e Dups) id(ctx context.Context, table string, id int32) (int32, error) {
	if id != 0 {
		return id, nil
	}
	ds, err := e.Client.Admin().Duplications(ctx, table)
	switch {
	case err != nil:
		return 0, err
	case len(ds) == 1:
		return ds[0].Dupid, nil
	case len(ds) == 0:
		return 0, fmt.Errorf("table %q is not duplicated: %w", table, base.ErrObjectNotFound)
	}
	return 0, fmt.Errorf("table %q has %d duplications: say which with --id; `pegasus dup show` lists them: %w", table, len(ds), base.ErrInvalidParameters)
}

// Set pauses, resumes or removes a duplication; id 0 is the only one.
func (e Dups) Set(ctx context.Context, table string, id int32, to duplication.DuplicationStatus) error {
	id, err := e.id(ctx, table, id)
	if err == nil && e.DryRun {
		return e.would(map[string]any{"table": table, "id": id, "status": duplicationStatus[to]}, "duplication %d of table %s: %s", id, Escape([]byte(table)), duplicationStatus[to])
	}
	if err == nil {
		err = e.Client.Admin().SetDuplication(ctx, table, id, to)
	}
	if err != nil {
		return err
	}
	return e.print(map[string]any{"table": table, "id": id, "status": duplicationStatus[to]}, "duplication %d of table %s: %s", id, Escape([]byte(table)), duplicationStatus[to])
}

// FailMode says what happens with what can't be sent: "slow" or "skip".
func (e Dups) FailMode(ctx context.Context, table string, id int32, mode string) error {
	to, ok := map[string]duplication.DuplicationFailMode{"slow": duplication.FAIL_SLOW, "skip": duplication.FAIL_SKIP}[mode]
	if !ok {
		return fmt.Errorf("mode %q: write slow (it is tried until it succeeds) or skip (it is left out and counted): %w", mode, base.ErrInvalidParameters)
	}
	id, err := e.id(ctx, table, id)
	if err == nil {
		err = e.Client.Admin().SetDuplicationMode(ctx, table, id, to)
	}
	if err != nil {
		return err
	}
	return e.print(map[string]any{"table": table, "id": id, "fail_mode": mode}, "duplication %d of table %s: mode %s", id, Escape([]byte(table)), mode)
}
