package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"pegasus/base"
	"pegasus/gen/placement"
)

// poll is how often a command that waits looks again.
const poll = 300 * time.Millisecond

// Rebalance are the arguments of `rebalance`.
type Rebalance struct {
	Table         string // "": all
	PrimariesOnly bool
	DryRun, Stop  bool
	Status        bool          // tell how the one under way, or the last one, is
	Wait          time.Duration // 0: don't
}

type moveJSON struct {
	Partition string `json:"partition"`
	What      string `json:"what"`
	From      string `json:"from"`
	To        string `json:"to"`
	Primary   bool   `json:"becomes_primary"`
	Bytes     int64  `json:"bytes"`
	Why       string `json:"why"`
}

func (m *moveJSON) fill(v *placement.Move) {
	what := "copy replica"
	if v.Kind == placement.MOVE_PROMOTE {
		what = "move primary"
	}
	*m = moveJSON{v.Pid.String(), what, v.Source.String(), v.Target.String(), v.Primary || v.Kind == placement.MOVE_PROMOTE, v.Bytes, v.Why}
}

// Rebalance evens out replicas and primaries over the servers, or says how it would.
func (e *Env) Rebalance(ctx context.Context, a Rebalance) error {
	adm := e.Client.Admin()
	switch {
	case a.Stop:
		if _, err := adm.Rebalance(ctx, placement.REBALANCE_STOP, "", false); err != nil {
			return err
		}
		return e.print(map[string]bool{"stopped": true}, "stopped; moves that are under way end by themselves")
	case a.DryRun:
		return e.planRebalance(ctx, a)
	case a.Status:
		return e.rebalanceStatus(ctx)
	}
	before, err := adm.Rebalance(ctx, placement.REBALANCE_STATUS, "", false)
	if err != nil {
		return err
	}
	if _, err := adm.Rebalance(ctx, placement.REBALANCE_START, a.Table, a.PrimariesOnly); err != nil {
		return err
	}
	if a.Wait <= 0 {
		return e.print(map[string]bool{"started": true}, "started; `pegasus rebalance --status` shows how it goes, `--stop` ends it")
	}
	return e.watchRebalance(ctx, before.Runs, a.Wait)
}

func (e *Env) planRebalance(ctx context.Context, a Rebalance) error {
	p, err := e.Client.Admin().Rebalance(ctx, placement.REBALANCE_PLAN, a.Table, a.PrimariesOnly)
	if err != nil {
		return err
	}
	moves := make([]moveJSON, len(p.Moves))
	g := newGrid("partition", "move", "from", "to", "#bytes", "why")
	var bytes int64
	copies := 0
	for i := range p.Moves {
		m := &moves[i]
		m.fill(&p.Moves[i])
		what := m.What
		if m.What != "move primary" {
			bytes += m.Bytes
			copies++
			if m.Primary {
				what += ", as primary"
			}
		} else {
			m.Bytes = 0
		}
		g.add(m.Partition, what, m.From, m.To, size(m.Bytes), m.Why)
	}
	if e.JSON {
		return e.json(map[string]any{"moves": moves, "copies": copies, "bytes": bytes, "stuck": append([]string{}, p.Stuck...), "note": p.HintMessage})
	}
	if len(moves) > 0 {
		if err := g.print(e.Out); err != nil {
			return err
		}
	}
	fmt.Fprintf(e.Out, "%d moves, %d of them copies of together %s\n", len(moves), copies, size(bytes))
	fmt.Fprintf(e.Out, "primaries on a server: %s, then %s; replicas: %s, then %s\n", span(p.Primaries), span(p.PrimariesAfter), span(p.Replicas), span(p.ReplicasAfter))
	for _, s := range p.Stuck {
		fmt.Fprintln(e.Out, "can't be moved:", s)
	}
	if p.HintMessage != "" {
		fmt.Fprintln(e.Out, p.HintMessage)
	}
	return nil
}

func span(s placement.Span) string { return fmt.Sprintf("%d to %d", s.Least, s.Most) }

// size writes a number of bytes for people.
func size(n int64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 10<<10:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d B", n)
}

// watchRebalance shows how a rebalancing goes on, until the run after those that had ended
// before has ended.
func (e *Env) watchRebalance(ctx context.Context, runs int64, wait time.Duration) error {
	var r *placement.RebalanceResponse
	err := e.watch(ctx, wait, "the rebalancing goes on by itself", func() (line string, done bool, err error) {
		if r, err = e.Client.Admin().Rebalance(ctx, placement.REBALANCE_STATUS, "", false); err != nil {
			return "", false, err
		}
		if !r.Active && r.Runs == runs {
			return "", false, fmt.Errorf("the metas know nothing of the rebalancing any more: their state was replaced; begin again")
		}
		line = progress(r)
		if r.HintMessage != "" && r.Active {
			line += "; waits: " + r.HintMessage
		}
		return line, !r.Active, nil
	})
	if err != nil {
		return err
	}
	if e.JSON {
		return e.json(map[string]any{"done": r.Done, "failed": r.Failed, "bytes": r.BytesDone, "stuck": append([]string{}, r.Stuck...)})
	}
	fmt.Fprintln(e.Out, "ended:", r.EndedWhy)
	for _, s := range r.Stuck {
		fmt.Fprintln(e.Out, "can't be moved:", s)
	}
	return nil
}

// progress says how far a rebalancing is.
func progress(r *placement.RebalanceResponse) string {
	running := 0
	for i := range r.Moves {
		if r.Moves[i].Running {
			running++
		}
	}
	return fmt.Sprintf("%d moves done, %d under way, %d waiting, %d failed; %s copied", r.Done, running, len(r.Moves)-running, r.Failed, size(r.BytesDone))
}

// rebalanceStatus tells of the rebalancing that is under way, or of the last one.
func (e *Env) rebalanceStatus(ctx context.Context) error {
	r, err := e.Client.Admin().Rebalance(ctx, placement.REBALANCE_STATUS, "", false)
	if err != nil {
		return err
	}
	at := func(sec int64) string { return time.Unix(sec, 0).UTC().Format(time.RFC3339) }
	if e.JSON {
		out := map[string]any{"active": r.Active, "done": r.Done, "failed": r.Failed, "bytes": r.BytesDone, "moves_open": len(r.Moves),
			"table": r.AppName, "primaries_only": r.PrimariesOnly, "carried_on": r.CarriedOn, "waits": r.HintMessage, "stuck": append([]string{}, r.Stuck...)}
		if r.Began != 0 {
			out["began"] = at(r.Began)
		}
		if r.Ended != 0 {
			out["ended"], out["ended_why"] = at(r.Ended), r.EndedWhy
		}
		return e.json(out)
	}
	what := "all tables"
	if r.AppName != "" {
		what = "table " + r.AppName
	}
	if r.PrimariesOnly {
		what += ", primaries only"
	}
	switch {
	case r.Began == 0:
		fmt.Fprintln(e.Out, "no rebalancing was asked for yet")
	case r.Active:
		fmt.Fprintf(e.Out, "under way since %s, of %s: %s\n", at(r.Began), what, progress(r))
		if r.CarriedOn {
			fmt.Fprintln(e.Out, "the meta that began it leads no more; this one carries on, and counts what it did itself")
		}
	default:
		fmt.Fprintf(e.Out, "ended %s (%s), begun %s, of %s: %s\n", at(r.Ended), r.EndedWhy, at(r.Began), what, progress(r))
	}
	if r.HintMessage != "" {
		fmt.Fprintln(e.Out, "waits:", r.HintMessage)
	}
	for _, s := range r.Stuck {
		fmt.Fprintln(e.Out, "can't be moved:", s)
	}
	return nil
}

// watch calls look again and again until it is done, and prints its line when that changed.
// otherwise says what is so when the wait is over.
func (e *Env) watch(ctx context.Context, wait time.Duration, otherwise string, look func() (line string, done bool, err error)) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	last := ""
	failures := 0
	for {
		line, done, err := look()
		switch {
		case err != nil && ctx.Err() == nil && passing(err) && failures < 100:
			failures++ // the meta that leads may just be changing
		case err != nil:
			return err
		case line != last:
			failures = 0
			last = line
			if !e.JSON {
				fmt.Fprintln(e.Out, line)
			}
		}
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("after %v: %s; %s", wait, last, otherwise)
		case <-time.After(poll):
		}
	}
}

func passing(err error) bool {
	switch base.CodeOf(err) {
	case base.ErrTimeout, base.ErrNetworkFailure, base.ErrForwardToOthers, base.ErrServiceNotActive:
		return true
	}
	return strings.Contains(err.Error(), "no leading meta server") || errors.Is(err, context.DeadlineExceeded)
}

type explanationJSON struct {
	Partition int32       `json:"partition"`
	Health    string      `json:"health"`
	Why       []string    `json:"why"`
	Events    []eventJSON `json:"events"`
}

type eventJSON struct {
	Time string `json:"time"`
	What string `json:"what"`
	Why  string `json:"why,omitempty"`
}

// TableWhy tells of a table's partitions how they are, why, and what was done last; of one,
// or with partition -1 of all. Without all those that are in order and were left alone are
// only counted.
func (e *Env) TableWhy(ctx context.Context, name string, partition int) error {
	list, err := e.Client.Admin().Explain(ctx, name, partition)
	if err != nil {
		return err
	}
	out := make([]explanationJSON, len(list))
	quiet := 0
	for i := range list {
		p := &list[i]
		x := &out[i]
		*x = explanationJSON{Partition: p.Pid.PartitionIndex, Health: p.Health, Why: append([]string{}, p.Why...), Events: []eventJSON{}}
		for _, v := range p.Events {
			x.Events = append(x.Events, eventJSON{time.UnixMilli(v.TimeMs).UTC().Format("2006-01-02T15:04:05.000Z"), v.What, v.Why})
		}
		if e.JSON {
			continue
		}
		if p.Health == "healthy" && len(p.Why) == 0 && len(p.Events) == 0 {
			quiet++
			continue
		}
		fmt.Fprintf(e.Out, "partition %d: %s\n", x.Partition, x.Health)
		for _, w := range x.Why {
			fmt.Fprintf(e.Out, "  now: %s\n", w)
		}
		for _, v := range x.Events {
			fmt.Fprintf(e.Out, "  %s  %s", v.Time, v.What)
			if v.Why != "" {
				fmt.Fprintf(e.Out, " (%s)", v.Why)
			}
			fmt.Fprintln(e.Out)
		}
	}
	if e.JSON {
		return e.json(out)
	}
	if quiet > 0 {
		fmt.Fprintf(e.Out, "%d partitions are healthy, and nothing was done about them since this meta server leads\n", quiet)
	}
	return nil
}
