package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"pegasus/base"
	"pegasus/client"
	"pegasus/meta/probe"
)

// askAvailability asks the leading one of the metas for what its probes found, of one table or with "" of all.
func askAvailability(ctx context.Context, a client.Admin, metas []client.MetaAnswer, table string) (*probe.Answer, error) {
	leader := client.Leader(metas)
	if leader == nil {
		return nil, fmt.Errorf("no meta server says that it leads: %w", base.ErrServiceNotActive)
	}
	args := url.Values{}
	if table != "" {
		args.Set("name", table)
	}
	b, err := a.Page(ctx, leader.Addr, "meta/availability", args)
	if err != nil {
		return nil, err
	}
	v := new(probe.Answer)
	if err := json.Unmarshal(b, v); err != nil {
		return nil, fmt.Errorf("meta server %s answers %.200q: %w", leader.Addr, b, err)
	}
	return v, nil
}

// Availability shows which part of the probes of tables succeeded, and what fails now.
func (e *Env) Availability(ctx context.Context, metas []string, table string) error {
	if table != "" {
		if _, err := e.Client.Admin().QueryConfig(ctx, table); err != nil { // a table that isn't there is no table without probes
			return err
		}
	}
	if _, err := e.leadingMeta(ctx); err != nil { // says what was tried, if nobody answers
		return err
	}
	v, err := askAvailability(ctx, e.Client.Admin(), askMetas(e, ctx, metas), table)
	if err != nil {
		return err
	}
	if e.JSON {
		return e.json(v)
	}
	if v.Every == 0 {
		fmt.Fprintln(e.Out, "partitions aren't probed (probe.interval is 0)")
		return nil
	}
	g := newGrid("table", "#last hour %", "#probes", "#last day %", "#probes", "#failing now")
	for i := range v.Tables {
		t := &v.Tables[i]
		g.add(t.Name, percent(t.Hour), t.HourProbes, percent(t.Day), t.DayProbes, t.Failing)
	}
	if err := g.print(e.Out); err != nil {
		return err
	}
	for i := range v.Tables {
		t := &v.Tables[i]
		for _, f := range t.Now {
			var what []string
			if f.Read != "" {
				what = append(what, "reads: "+f.Read)
			}
			if f.Write != "" {
				what = append(what, "writes: "+f.Write)
			}
			fmt.Fprintf(e.Out, "table %s, partition %d fails since %s (%s)\n", Escape([]byte(t.Name)), f.Partition, f.Since.Format("2006-01-02 15:04:05 UTC"), strings.Join(what, ", "))
		}
	}
	if len(v.Tables) == 0 {
		fmt.Fprintln(e.Out, "nothing was probed yet")
	}
	if v.Unknown > 0 {
		fmt.Fprintf(e.Out, "%d partitions are on servers that are too old to be asked\n", v.Unknown)
	}
	return nil
}

// percent writes a part of 1 so that 100 is never said of less.
func percent(part float64) string {
	if part >= 1 {
		return "100"
	}
	return fmt.Sprintf("%.4f", float64(int64(part*1e6))/1e4)
}
