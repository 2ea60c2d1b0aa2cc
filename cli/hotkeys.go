package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"pegasus/base"
	"pegasus/remotecmd/answer"
)

// hotKeysJSON is a partition as its server describes it, and which server that is.
type hotKeysJSON struct {
	Server string `json:"server"`
	answer.HotKeys
}

// HotKeys shows the hash keys of a table that take the largest part of their partition's
// requests, by the sketches that the servers always keep. least is a percentage.
func (e *Env) HotKeys(ctx context.Context, table string, least float64) error {
	a := e.Client.Admin()
	q, err := a.QueryConfig(ctx, table)
	if err != nil {
		return err
	}
	servers := map[base.RPCAddress]bool{}
	for i := range q.Partitions {
		p := &q.Partitions[i]
		for _, n := range append([]base.RPCAddress{p.Primary}, p.Secondaries...) {
			if !n.IsZero() {
				servers[n] = true
			}
		}
	}
	list := []hotKeysJSON{}
	for _, n := range slices.SortedFunc(maps.Keys(servers), func(a, b base.RPCAddress) int { return strings.Compare(a.String(), b.String()) }) {
		text, err := a.RemoteCommand(ctx, n.String(), "replica.hotkeys", strconv.Itoa(int(q.AppId)))
		if err != nil {
			return err
		}
		there, err := answer.Read[[]hotKeysJSON](n.String(), "replica.hotkeys", text)
		if err != nil {
			return err
		}
		for _, h := range there {
			h.Server = n.String()
			keep := func(k answer.HotKey) bool { return k.Percent < least }
			h.Reads, h.Writes = slices.DeleteFunc(h.Reads, keep), slices.DeleteFunc(h.Writes, keep)
			list = append(list, h)
		}
	}
	if e.JSON {
		return e.json(list)
	}
	g := newGrid("partition", "server", "of", "#rows/s", "#%", "hash key")
	n := 0
	for _, h := range list {
		for _, kind := range []struct {
			name string
			keys []answer.HotKey
		}{{"reads", h.Reads}, {"writes", h.Writes}} {
			for _, k := range kind.keys {
				g.add(h.Partition, h.Server, kind.name, int64(k.PerSecond), int64(k.Percent), Quote(k.Key))
				n++
			}
		}
	}
	if n == 0 {
		fmt.Fprintf(e.Out, "no hash key of table %s had %g %% of its partition's requests in the last seconds\n", Escape([]byte(table)), least)
		return nil
	}
	return g.print(e.Out)
}
