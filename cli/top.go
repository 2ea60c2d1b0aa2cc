package cli

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"pegasus/base"
	"pegasus/base/judge"
	"pegasus/gen/layer2"
	"pegasus/gen/placement"
)

// Top are the arguments of `top`.
type Top struct {
	Every time.Duration
	Once  bool
	Rows  int // of each list
}

type topServerJSON struct {
	Address  string `json:"address"`
	Status   string `json:"status"`
	Primary  int32  `json:"primaries"`
	Replicas int32  `json:"replicas"`
	Free     int64  `json:"available_mb"`
	Load
}

type hotPartitionJSON struct {
	Table     string  `json:"table"`
	Partition int32   `json:"partition"`
	Server    string  `json:"server"`
	Percent   float64 `json:"percent_of_table"`
	Load
}

type topJSON struct {
	Time    string             `json:"time"`
	Health  string             `json:"health"`
	Servers []topServerJSON    `json:"servers"`
	Tables  []tableStatsJSON   `json:"tables"`
	Hot     []hotPartitionJSON `json:"hot_partitions"`
}

// Top shows tables, servers and hot partitions again and again: on a terminal in place, elsewhere one after the other.
func (s Servers) Top(ctx context.Context, t Top) error {
	old, err := s.sampleAll(ctx)
	if err != nil {
		return err
	}
	live := !s.JSON && !t.Once && IsTerminal(s.Out)
	for {
		select {
		case <-ctx.Done():
			if t.Once {
				return context.Cause(ctx)
			}
			return nil // Ctrl-C is how it ends
		case <-time.After(t.Every):
		}
		now, err := s.sampleAll(ctx)
		if err != nil {
			if ctx.Err() != nil || t.Once || !passing(err) {
				return err
			}
			fmt.Fprintln(s.Out, Explain(err))
			continue
		}
		page, err := s.topPage(ctx, now, now.rates(old), t.Rows)
		if err != nil {
			if ctx.Err() != nil || t.Once || !passing(err) {
				return err
			}
			fmt.Fprintln(s.Out, Explain(err))
			continue
		}
		if s.JSON {
			err = s.json(page)
		} else {
			var b bytes.Buffer
			sayTop(&b, page)
			text := b.String()
			if live {
				text = "\x1b[H\x1b[2J" + fit(text, s.Out)
			}
			_, err = io.WriteString(s.Out, text)
		}
		if err != nil || t.Once {
			return err
		}
		if !live && !s.JSON {
			fmt.Fprintln(s.Out)
		}
		old = now
	}
}

// fit cuts a text to the lines and columns of a terminal.
func fit(text string, w io.Writer) string {
	f, ok := w.(*os.File)
	if !ok {
		return text
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil || size.Row < 2 || size.Col < 2 {
		return text
	}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if most := int(size.Row) - 1; len(lines) > most {
		lines = lines[:most]
	}
	for i, l := range lines {
		if r := []rune(l); len(r) >= int(size.Col) {
			lines[i] = string(r[:size.Col-1])
		}
	}
	return strings.Join(lines, "\n") + "\n"
}

func (s Servers) topPage(ctx context.Context, now *sample, rates map[base.Gpid]map[string]Load, rows int) (*topJSON, error) {
	a := s.Client.Admin()
	tables, err := a.ListTables(ctx, layer2.AS_AVAILABLE)
	if err != nil {
		return nil, err
	}
	roles, err := a.NodeRoles(ctx)
	if err != nil {
		return nil, err
	}
	page := &topJSON{Time: now.at.UTC().Format(time.RFC3339), Health: "not told", Servers: []topServerJSON{}, Hot: []hotPartitionJSON{}}
	if v, err := a.Health(ctx); err == nil {
		page.Health = judge.Health(v.State).String()
	}
	by := map[string]Load{}
	names := map[int32]*layer2.AppInfo{}
	for i := range tables {
		names[tables[i].AppId] = &tables[i]
	}
	page.Tables = tableRates(tables, rates)
	of := map[int32]float64{}
	for _, t := range page.Tables {
		of[t.ID] = t.Reads + t.Writes
	}
	for g, on := range rates {
		for addr, l := range on {
			sum := by[addr]
			sum.add(l)
			by[addr] = sum
			if t := names[g.AppID]; t != nil && l.Reads+l.Writes > 0 {
				page.Hot = append(page.Hot, hotPartitionJSON{t.AppName, g.PartitionIndex, addr, 100 * (l.Reads + l.Writes) / of[g.AppID], l})
			}
		}
	}
	for i := range roles.Nodes {
		n := &roles.Nodes[i]
		status := "dead"
		if n.Alive {
			if status = roleNames[n.Role]; n.Role == placement.NODE_FULL {
				status = "alive"
			}
		}
		page.Servers = append(page.Servers, topServerJSON{n.Node.String(), status, n.Primaries, n.Replicas, n.AvailableMb, by[n.Node.String()]})
	}
	slices.SortFunc(page.Hot, func(x, y hotPartitionJSON) int {
		return cmp.Or(cmp.Compare(y.Reads+y.Writes, x.Reads+x.Writes), strings.Compare(x.Table, y.Table), cmp.Compare(x.Partition, y.Partition))
	})
	page.Hot = page.Hot[:min(rows, len(page.Hot))]
	page.Tables = page.Tables[:min(rows, len(page.Tables))]
	return page, nil
}

func sayTop(w io.Writer, p *topJSON) {
	fmt.Fprintf(w, "%s  %s\n", p.Time, p.Health)
	g := newGrid("server", "status", "#primaries", "#replicas", "#free", "#reads/s", "#writes/s", "#slow/s")
	for _, x := range p.Servers {
		g.add(x.Address, x.Status, x.Primary, x.Replicas, size(x.Free<<20), perSecond(x.Reads), perSecond(x.Writes), perSecond(x.Slow))
	}
	_ = g.print(w)
	fmt.Fprintln(w)
	g = newGrid("table", "#partitions", "#reads/s", "#writes/s", "#throttled/s", "#slow/s")
	for _, x := range p.Tables {
		g.add(Escape([]byte(x.Name)), x.Partitions, perSecond(x.Reads), perSecond(x.Writes), perSecond(x.Throttled), perSecond(x.Slow))
	}
	_ = g.print(w)
	if len(p.Hot) > 0 {
		fmt.Fprintln(w)
		g = newGrid("busiest partitions", "#partition", "server", "#reads/s", "#writes/s", "#% of table")
		for _, x := range p.Hot {
			g.add(Escape([]byte(x.Table)), x.Partition, x.Server, perSecond(x.Reads), perSecond(x.Writes), int64(x.Percent))
		}
		_ = g.print(w)
	}
}
