package cli

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"pegasus/base"
	"pegasus/gen/layer2"
	"pegasus/gen/metaadmin"
)

// AcceptLoss has partitions that serve nothing begin anew with the replica that has most: what
// names a table, or one partition of it as TABLE.PARTITION. with, if not empty, is the server
// whose replica is taken instead. dry only says what would be done.
func (e *Env) AcceptLoss(ctx context.Context, what, with string, dry bool) error {
	a := e.Client.Admin()
	tables, err := a.ListTables(ctx, layer2.AS_AVAILABLE)
	if err != nil {
		return err
	}
	p, err := partitionNamed(tables, what)
	if err != nil {
		return err
	}
	var chosen base.RPCAddress
	if with != "" {
		if chosen, err = base.ParseAddr(with); err != nil {
			return err
		}
	}
	list, err := a.Diagnose(ctx, p)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return e.print([]acceptedJSON{}, "%s is available: nothing was changed", what)
	}
	out := make([]acceptedJSON, len(list))
	text := e.Out
	if e.JSON {
		text = io.Discard
	}
	left := 0
	for i := range list {
		d := &list[i]
		g := d.Config.Pid
		fmt.Fprintf(text, "partition %d: %s\n", g.PartitionIndex, d.Reason)
		best := choice(d, chosen)
		out[i] = acceptedJSON{Partition: g.PartitionIndex, Why: d.Reason, Done: best != nil && !dry}
		if best != nil {
			out[i].With = best.Node.String()
		}
		for j := range d.Dropped {
			n := &d.Dropped[j]
			fmt.Fprintf(text, "  %v: %s\n", n.Node, replicaWords(n))
		}
		switch {
		case best == nil:
			left++
			fmt.Fprintf(text, "  no usable replica: start the servers that had one\n")
		case dry:
			fmt.Fprintf(text, "  would continue with the replica on %v\n", best.Node)
		default:
			if err := a.AcceptLoss(ctx, g, best.Node); err != nil {
				return err
			}
			fmt.Fprintf(text, "  continues with the replica on %v\n", best.Node)
		}
	}
	if e.JSON {
		if err := e.json(out); err != nil {
			return err
		}
	}
	if left > 0 {
		return fmt.Errorf("%d partitions have no usable live replica: %w", left, base.ErrObjectNotFound)
	}
	return nil
}

// acceptedJSON is what became of a partition.
type acceptedJSON struct {
	Partition int32  `json:"partition"`
	Why       string `json:"why"`
	With      string `json:"with,omitempty"` // the server whose replica it goes on with
	Done      bool   `json:"done"`
}

// partitionNamed finds a table by its name, or a partition as TABLE.PARTITION.
func partitionNamed(tables []layer2.AppInfo, what string) (base.Gpid, error) {
	find := func(name string) *layer2.AppInfo {
		for i := range tables {
			if tables[i].AppName == name {
				return &tables[i]
			}
		}
		return nil
	}
	if t := find(what); t != nil {
		return base.Gpid{AppID: t.AppId, PartitionIndex: -1}, nil
	}
	name, index := what, ""
	if i := strings.LastIndexByte(what, '.'); i >= 0 {
		name, index = what[:i], what[i+1:]
	}
	t := find(name)
	if t == nil {
		return base.Gpid{}, fmt.Errorf("table %q doesn't exist (`pegasus table ls` lists tables): %w", what, base.ErrObjectNotFound)
	}
	n, err := strconv.ParseInt(index, 10, 32)
	if err != nil || n < 0 || int32(n) >= t.PartitionCount {
		return base.Gpid{}, fmt.Errorf("%q is no partition: table %s has partitions 0 to %d: %w", what, name, t.PartitionCount-1, base.ErrObjectNotFound)
	}
	return base.Gpid{AppID: t.AppId, PartitionIndex: int32(n)}, nil
}

// choice returns the replica to go on with: that of the chosen server, or the best one.
func choice(d *metaadmin.DddPartitionInfo, chosen base.RPCAddress) *metaadmin.DddNodeInfo {
	for i := len(d.Dropped) - 1; i >= 0; i-- { // the best is last
		n := &d.Dropped[i]
		if n.IsAlive && n.IsCollected && (chosen == 0 || n.Node == chosen) {
			return n
		}
	}
	return nil
}

func replicaWords(n *metaadmin.DddNodeInfo) string {
	switch {
	case !n.IsAlive:
		return fmt.Sprintf("dead; was a member at ballot %d", n.Ballot)
	case !n.IsCollected:
		return "has no usable replica"
	}
	return fmt.Sprintf("replica of ballot %d, prepared up to decree %d, committed at least up to decree %d", n.Ballot, n.LastPreparedDecree, n.LastCommittedDecree)
}
