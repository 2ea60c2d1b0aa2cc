package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"pegasus/base"
	"pegasus/client"
	"pegasus/gen/layer2"
	"pegasus/gen/metaadmin"
)

// TableAdmin are the rarer commands about tables, and those about what the metas do with them.
type TableAdmin struct{ *Env }

// Recall brings a dropped table back: which is its name or its id, as its new name, "" for the one that it had.
func (e TableAdmin) Recall(ctx context.Context, which, as string) error {
	id, err := e.dropped(ctx, which)
	if err != nil {
		return err
	}
	info, err := e.Client.Admin().RecallTable(ctx, id, as)
	if err != nil {
		return err
	}
	return e.print(describe(info), "table %s is back: id %d, %d partitions", Escape([]byte(info.AppName)), info.AppId, info.PartitionCount)
}

// dropped finds the dropped table of a name or id. Of several with one name the id has to be given.
func (e TableAdmin) dropped(ctx context.Context, which string) (int32, error) {
	infos, err := e.Client.Admin().ListTables(ctx, layer2.AS_INVALID)
	if err != nil {
		return 0, err
	}
	var ids []string
	for i := range infos {
		a := &infos[i]
		if id := strconv.Itoa(int(a.AppId)); a.Status == layer2.AS_DROPPED && (a.AppName == which || id == which) {
			ids = append(ids, id)
		}
	}
	switch len(ids) {
	case 0:
		return 0, fmt.Errorf("no dropped table %q can be recalled: `pegasus table ls --all` lists them; it takes a name or an id: %w", which, base.ErrObjectNotFound)
	case 1:
	default:
		if !slices.Contains(ids, which) {
			return 0, fmt.Errorf("%d dropped tables are called %q: give the id of one, %s", len(ids), which, strings.Join(ids, " or "))
		}
		ids = []string{which}
	}
	id, err := strconv.ParseInt(ids[0], 10, 32)
	return int32(id), err
}

// Rename gives a table another name.
func (e TableAdmin) Rename(ctx context.Context, name, to string) error {
	if e.DryRun {
		if _, err := e.tableNamed(ctx, name); err != nil {
			return err
		}
		switch _, err := e.tableNamed(ctx, to); {
		case err == nil:
			return fmt.Errorf("there is a table %q already: give another name: %w", to, base.ErrAppExist)
		case base.CodeOf(err) != base.ErrObjectNotFound:
			return err
		}
		return e.would(map[string]any{"was": name, "name": to}, "table %s is called %s", Escape([]byte(name)), Escape([]byte(to)))
	}
	if err := e.Client.Admin().RenameTable(ctx, name, to); err != nil {
		return err
	}
	e.Client.Forget(name)
	return e.print(map[string]string{"was": name, "name": to}, "table %s is called %s now", Escape([]byte(name)), Escape([]byte(to)))
}

// Replicas shows how many replicas a table's partitions are to have, or sets it (to > 0).
func (e TableAdmin) Replicas(ctx context.Context, name string, to int32) error {
	a := e.Client.Admin()
	if to == 0 {
		n, err := a.ReplicaCount(ctx, name)
		if err != nil {
			return err
		}
		return e.print(map[string]any{"name": name, "replicas": n}, "table %s: %d replicas", Escape([]byte(name)), n)
	}
	if e.DryRun {
		n, err := a.ReplicaCount(ctx, name)
		if err != nil {
			return err
		}
		return e.would(map[string]any{"name": name, "replicas": to, "was": n}, "table %s has %d replicas, now: %d", Escape([]byte(name)), to, n)
	}
	was, err := a.SetReplicaCount(ctx, name, to)
	if err != nil {
		return err
	}
	return e.print(map[string]any{"name": name, "replicas": to, "was": was}, "table %s: %d replicas, before: %d; `pegasus table show %s` shows them come and go", Escape([]byte(name)), to, was, name)
}

// Atomic shows whether a table has atomic_idempotent, or sets it; word is "", "on" or "off".
func (e TableAdmin) Atomic(ctx context.Context, name, word string) error {
	a := e.Client.Admin()
	switch word {
	case "":
		on, err := a.AtomicIdempotent(ctx, name)
		if err != nil {
			return err
		}
		return e.print(map[string]any{"name": name, "atomic_idempotent": on}, "table %s: atomic_idempotent is %s", Escape([]byte(name)), onOff(on))
	case "on", "off":
	default:
		return fmt.Errorf("%q: give on or off", word)
	}
	was, err := a.SetAtomicIdempotent(ctx, name, word == "on")
	if err != nil {
		return err
	}
	return e.print(map[string]any{"name": name, "atomic_idempotent": word == "on", "was": was}, "table %s: atomic_idempotent is %s, before: %s", Escape([]byte(name)), word, onOff(was))
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// levels are the words for how much the metas do by themselves, and what that is.
var levels = []struct {
	name  string
	level metaadmin.MetaFunctionLevel
	means string
}{
	{"stopped", metaadmin.FlStopped, "the meta servers answer nothing but this"},
	{"blind", metaadmin.FlBlind, "no configuration changes, also when servers die"},
	{"freezed", metaadmin.FlFreezed, "primaries are replaced; nothing else is repaired"},
	{"steady", metaadmin.FlSteady, "everything is repaired; replicas are moved when somebody asks"},
	{"lively", metaadmin.FlLively, "replicas are moved all the time, to be even"},
}

// Levels are the words that MetaLevel takes.
func Levels() (names []string) {
	for _, l := range levels {
		names = append(names, l.name)
	}
	return names
}

func levelWord(l metaadmin.MetaFunctionLevel) (name, means string) {
	for _, x := range levels {
		if x.level == l {
			return x.name, x.means
		}
	}
	return l.String(), "unknown"
}

// MetaLevel shows how much the metas do by themselves, or sets it.
func (e TableAdmin) MetaLevel(ctx context.Context, to string) error {
	if to == "" {
		l, err := e.Client.Admin().Level(ctx, metaadmin.FlInvalid)
		if err != nil {
			return err
		}
		name, means := levelWord(l)
		return e.print(map[string]string{"level": name, "means": means}, "%s: %s", name, means)
	}
	for _, l := range levels {
		if l.name == to {
			was, err := e.Client.Admin().Level(ctx, l.level)
			if err != nil {
				return err
			}
			before, _ := levelWord(was)
			return e.print(map[string]string{"level": to, "means": l.means, "was": before}, "%s: %s; before: %s", to, l.means, before)
		}
	}
	return fmt.Errorf("there is no level %q: give one of %s", to, strings.Join(Levels(), ", "))
}

// Proposal are the arguments of `table propose`.
type Proposal struct {
	Partition string // TABLE.PARTITION
	Do        string // primary, secondary, remove
	Node      string
	DryRun    bool
}

// proposals are what can be done with a partition and a server.
var proposals = map[string]metaadmin.ConfigType{
	"secondary": metaadmin.CT_ADD_SECONDARY_FOR_LB, "remove": metaadmin.CT_DOWNGRADE_TO_INACTIVE,
}

// Propose asks the meta for a change of one partition.
func (e TableAdmin) Propose(ctx context.Context, p Proposal) error {
	node, err := nodeAddr(p.Node)
	if err != nil {
		return err
	}
	a := e.Client.Admin()
	tables, err := a.ListTables(ctx, layer2.AS_AVAILABLE)
	if err != nil {
		return err
	}
	g, err := partitionNamed(tables, p.Partition)
	if err != nil {
		return err
	}
	if g.PartitionIndex < 0 {
		return fmt.Errorf("%q is a table: name one of its partitions, as %s.0", p.Partition, p.Partition)
	}
	i := slices.IndexFunc(tables, func(t layer2.AppInfo) bool { return t.AppId == g.AppID })
	q, err := a.QueryConfig(ctx, tables[i].AppName)
	if err != nil {
		return err
	}
	c := &q.Partitions[g.PartitionIndex]
	secondary := slices.Contains(c.Secondaries, node)
	var say string
	var do func() error
	switch p.Do {
	case "primary":
		if !secondary {
			return fmt.Errorf("%v is no secondary of partition %s, so it can't become its primary: `pegasus table show %s` shows who is; `pegasus table propose %s secondary %v` makes it one",
				node, p.Partition, tables[i].AppName, p.Partition, node)
		}
		say = fmt.Sprintf("partition %s: %v becomes the primary in place of %v", p.Partition, node, c.Primary)
		do = func() error { return a.ProposeMovePrimary(ctx, g, c.Primary, node) }
	case "secondary", "remove":
		switch {
		case p.Do == "secondary" && (secondary || c.Primary == node):
			return fmt.Errorf("%v has a replica of partition %s already", node, p.Partition)
		case p.Do == "remove" && c.Primary == node:
			return fmt.Errorf("%v is the primary of partition %s: make a secondary the primary first (`pegasus table propose %s primary HOST:PORT`)", node, p.Partition, p.Partition)
		case p.Do == "remove" && !secondary:
			return fmt.Errorf("%v has no replica of partition %s", node, p.Partition)
		}
		say = fmt.Sprintf("partition %s: %v becomes a secondary", p.Partition, node)
		if p.Do == "remove" {
			say = fmt.Sprintf("partition %s: %v gives up its replica; %d are left", p.Partition, node, len(c.Secondaries))
		}
		do = func() error { return a.Propose(ctx, g, proposals[p.Do], c.Primary, node) }
	default:
		return fmt.Errorf("%q: give primary, secondary or remove", p.Do)
	}
	if p.DryRun {
		return e.print(map[string]any{"would": say}, "would be proposed: %s", say)
	}
	if err := do(); err != nil {
		return err
	}
	return e.print(map[string]any{"proposed": say}, "proposed: %s; `pegasus table show %s --partition %d` tells what came of it", say, tables[i].AppName, g.PartitionIndex)
}

// Compact are the arguments of `table compact`.
type Compact struct {
	Table  string
	Status bool
	client.CompactOptions
	Wait time.Duration
}

// compactTold is how long it takes at most until the metas have heard that replicas have begun: two config syncs.
const compactTold = 25 * time.Second

// Compact has all replicas of a table compact what they have, or tells how far that is.
func (e TableAdmin) Compact(ctx context.Context, c Compact) error {
	a := e.Client.Admin()
	name := Escape([]byte(c.Table))
	if c.Status {
		p, err := a.CompactProgress(ctx, c.Table)
		if base.CodeOf(err) == base.ErrInvalidState {
			return e.print(map[string]any{"name": c.Table, "compacting": false}, "table %s isn't being compacted", name)
		}
		if err != nil {
			return err
		}
		return e.print(map[string]any{"name": c.Table, "compacting": p < 100, "percent": p}, "table %s: %d %% of its replicas are compacted", name, p)
	}
	before, berr := a.CompactProgress(ctx, c.Table)
	if err := a.StartCompact(ctx, c.Table, c.CompactOptions); err != nil {
		return err
	}
	if c.Wait <= 0 {
		return e.print(map[string]any{"name": c.Table, "started": true}, "table %s is being compacted; `pegasus table compact %s --status` tells how far it is", name, c.Table)
	}
	// If one was finished before, all may be told to have finished until the servers have told of this one.
	began := time.Now()
	stale := berr == nil && before == 100
	err := e.watch(ctx, c.Wait, "the servers go on; `pegasus table compact "+c.Table+" --status` tells how far they are", func() (string, bool, error) {
		p, err := a.CompactProgress(ctx, c.Table)
		if base.CodeOf(err) == base.ErrInvalidState {
			return "no server has begun yet", false, nil
		}
		if err != nil {
			return "", false, err
		}
		if stale = stale && p == 100 && time.Since(began) < compactTold; stale {
			return "the servers haven't told of it yet", false, nil
		}
		return e.meter(int64(p), 100) + fmt.Sprintf("%d %% of the replicas are compacted", p), p >= 100, nil
	})
	if err != nil {
		return err
	}
	return e.print(map[string]any{"name": c.Table, "percent": 100}, "table %s is compacted", name)
}

// Ddd are the arguments of `ddd`.
type Ddd struct {
	What        string // TABLE or TABLE.PARTITION; "": all
	Fix, DryRun bool
	With        string
}

type dddJSON struct {
	Table     string           `json:"table"`
	Partition int32            `json:"partition"`
	Why       string           `json:"why"`
	Replicas  []dddReplicaJSON `json:"replicas"`
	Best      string           `json:"best,omitempty"` // the server whose replica would be taken
}

type dddReplicaJSON struct {
	Server    string `json:"server"`
	Alive     bool   `json:"alive"`
	Usable    bool   `json:"usable"`
	Ballot    int64  `json:"ballot"`
	Prepared  int64  `json:"prepared"`
	Committed int64  `json:"committed"`
	Words     string `json:"words"`
}

// Diagnose lists the partitions that go on only when somebody does something, with what can be done.
func (e TableAdmin) Diagnose(ctx context.Context, d Ddd) error {
	if d.Fix {
		if d.What == "" {
			return errors.New("--fix gives up rows that may have been acknowledged: name the table, or the partition TABLE.PARTITION")
		}
		return e.AcceptLoss(ctx, d.What, d.With, d.DryRun)
	}
	a := e.Client.Admin()
	tables, err := a.ListTables(ctx, layer2.AS_AVAILABLE)
	if err != nil {
		return err
	}
	g := base.Gpid{AppID: -1, PartitionIndex: -1}
	if d.What != "" {
		if g, err = partitionNamed(tables, d.What); err != nil {
			return err
		}
	}
	lost, err := a.Diagnose(ctx, g)
	if err != nil {
		return err
	}
	list := []dddJSON{}
	for i := range lost {
		l := &lost[i]
		x := dddJSON{Table: l.Config.Pid.String(), Partition: l.Config.Pid.PartitionIndex, Why: l.Reason, Replicas: []dddReplicaJSON{}}
		for j := range tables {
			if tables[j].AppId == l.Config.Pid.AppID {
				x.Table = tables[j].AppName
			}
		}
		for j := range l.Dropped {
			n := &l.Dropped[j]
			x.Replicas = append(x.Replicas, dddReplicaJSON{n.Node.String(), n.IsAlive, n.IsAlive && n.IsCollected, n.Ballot, n.LastPreparedDecree, n.LastCommittedDecree, replicaWords(n)})
		}
		if best := choice(l, 0); best != nil {
			x.Best = best.Node.String()
		}
		list = append(list, x)
	}
	if e.JSON {
		return e.json(list)
	}
	if len(list) == 0 {
		_, err := fmt.Fprintln(e.Out, "no partition waits for somebody to do something")
		return err
	}
	for _, x := range list {
		at := fmt.Sprintf("%s.%d", x.Table, x.Partition)
		fmt.Fprintf(e.Out, "partition %s: %s\n", Escape([]byte(at)), x.Why)
		for _, r := range x.Replicas {
			fmt.Fprintf(e.Out, "  %s: %s\n", r.Server, r.Words)
		}
		if x.Best == "" {
			fmt.Fprintf(e.Out, "  what to do: start the servers that had a replica; none that lives has one that can be used\n")
		} else {
			fmt.Fprintf(e.Out, "  what to do: start the dead servers; if they are gone for good, `pegasus ddd %s --fix` goes on with the replica on %s, and loses what it lacks\n", Escape([]byte(at)), x.Best)
		}
	}
	return nil
}
