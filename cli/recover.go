package cli

import (
	"context"
	"errors"
	"fmt"

	"pegasus/base"
	"pegasus/client"
	"pegasus/gen/layer2"
)

// Recover rebuilds the tables of meta servers that lost their state. Without nodes all
// replica servers that live are asked.
func (e *Env) Recover(ctx context.Context, nodes []string, o client.RecoverOptions) error {
	a := e.Client.Admin()
	var addrs []base.RPCAddress
	for _, n := range nodes {
		addr, err := base.ParseAddr(n)
		if err != nil {
			return err
		}
		addrs = append(addrs, addr)
	}
	if len(addrs) == 0 {
		list, err := a.ListNodes(ctx)
		if err != nil {
			return err
		}
		for _, n := range list {
			if !n.Alive && n.Refused == "" { // who is refused is there, and what it has may be what is to be recovered
				if !o.SkipBadNodes {
					return fmt.Errorf("replica server %v is dead: start it, or skip it with --skip-bad-nodes", n.Addr)
				}
				continue
			}
			addrs = append(addrs, n.Addr)
		}
	}
	if len(addrs) == 0 {
		return errors.New("there is no live replica server: start them first, or give their addresses with --nodes")
	}
	hint, err := a.Recover(ctx, addrs, o)
	if base.CodeOf(err) == base.ErrServiceAlreadyRunning {
		return fmt.Errorf("%w: the meta servers know all tables of these replica servers; there is nothing to recover, and nothing was changed", err)
	}
	if err != nil {
		return err
	}
	fmt.Fprint(e.Out, hint)
	tables, err := a.ListTables(ctx, layer2.AS_AVAILABLE)
	if err != nil {
		return err
	}
	for i := range tables {
		fmt.Fprintf(e.Out, "recovered table %s (id %d, %d partitions)\n", tables[i].AppName, tables[i].AppId, tables[i].PartitionCount)
	}
	if len(tables) == 0 {
		fmt.Fprintln(e.Out, "the replica servers have no tables")
	}
	return nil
}
