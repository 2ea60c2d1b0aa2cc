package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"

	"pegasus/meta/usage"
)

// UsageHistory shows by hour what tables used, or one of them, as far as the leading meta has heard of it.
func (s Servers) UsageHistory(ctx context.Context, table string) error {
	args := url.Values{}
	if table != "" {
		if _, err := s.tableNamed(ctx, table); err != nil {
			return err
		}
		args.Set("name", table)
	}
	leader, err := s.leadingMeta(ctx)
	if err != nil {
		return err
	}
	b, err := s.Client.Admin().Page(ctx, leader, "meta/usage", args)
	if err != nil {
		return err
	}
	var v struct{ Tables []usage.Table }
	if err := json.Unmarshal(b, &v); err != nil {
		return fmt.Errorf("meta server %s answers %.200q: %w", leader, b, err)
	}
	if s.JSON {
		return s.json(append([]usage.Table{}, v.Tables...))
	}
	g := newGrid("table", "hour (UTC)", "#read units", "#write units", "#a copy")
	n := 0
	for i := range v.Tables {
		t := &v.Tables[i]
		for _, h := range t.Hours {
			g.add(Escape([]byte(t.Name)), h.Began.UTC().Format("2006-01-02 15:04"), h.ReadUnits, h.WriteUnits, size(h.Bytes))
			n++
		}
	}
	if n == 0 {
		_, err := fmt.Fprintln(s.Out, "nothing is known yet: servers report every few seconds, and the history begins anew with each leading meta server")
		return err
	}
	if err := g.print(s.Out); err != nil {
		return err
	}
	for i := range v.Tables {
		for _, h := range v.Tables[i].Hot {
			fmt.Fprintf(s.Out, "table %s: partition %d on %s has far more %ss than the others, %.0f units a second: `pegasus table hotkeys %s` says whether it is one key\n",
				Escape([]byte(v.Tables[i].Name)), h.Partition, h.Node, h.Kind, h.PerSec, Escape([]byte(v.Tables[i].Name)))
		}
	}
	return nil
}
