package cli

import (
	"cmp"
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
		return e.print(map[string]bool{"stopped": true}, "stopped; running moves complete")
	case a.DryRun:
		return e.planRebalance(ctx, a)
	case a.Status:
		return e.rebalanceStatus(ctx)
	}
	before, err := adm.Rebalance(ctx, placement.REBALANCE_STATUS, "", false)
	if err != nil {
		return err
	}
	_, err = adm.Rebalance(ctx, placement.REBALANCE_START, a.Table, a.PrimariesOnly)
	if base.CodeOf(err) == base.ErrBusy {
		if before, err = e.attach(ctx, &a, err); err == nil && before == nil {
			return e.Rebalance(ctx, a) // it ended meanwhile
		}
	}
	if err != nil {
		return err
	}
	if a.Wait <= 0 {
		return e.print(map[string]bool{"started": true}, "started; `pegasus rebalance --status` shows the progress, `--stop` stops it")
	}
	return e.watchRebalance(ctx, before.Runs, a.Wait)
}

// attach returns the rebalance that is under way if it is the one that is wanted, and nil if there is
// none any more.
func (e *Env) attach(ctx context.Context, a *Rebalance, busy error) (*placement.RebalanceResponse, error) {
	r, err := e.Client.Admin().Rebalance(ctx, placement.REBALANCE_STATUS, "", false)
	switch {
	case err != nil:
		return nil, err
	case !r.Active:
		return nil, nil
	case r.AppName != a.Table || r.PrimariesOnly != a.PrimariesOnly:
		return nil, fmt.Errorf("a rebalance of %s has been running since %s: wait for it (`pegasus rebalance --status` shows the progress), or stop it with `pegasus rebalance --stop`: %w",
			scope(r), moment(r.Began), base.CodeOf(busy))
	}
	if !e.JSON {
		fmt.Fprintf(e.Out, "a rebalance of %s has been running since %s; this is its progress\n", scope(r), moment(r.Began))
	}
	return r, nil
}

// scope says what is rebalanced.
func scope(r *placement.RebalanceResponse) string {
	what := "all tables"
	if r.AppName != "" {
		what = "table " + Escape([]byte(r.AppName))
	}
	if r.PrimariesOnly {
		what += ", primaries only"
	}
	return what
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
		out := map[string]any{"moves": moves, "copies": copies, "bytes": bytes, "stuck": append([]string{}, p.Stuck...), "note": p.HintMessage}
		if p.Load.Set {
			out["load"], out["load_after"] = []int64{p.Load.V.Min, p.Load.V.Max}, []int64{p.LoadAfter.V.Min, p.LoadAfter.V.Max}
		}
		return e.json(out)
	}
	if len(moves) > 0 {
		if err := g.print(e.Out); err != nil {
			return err
		}
	}
	fmt.Fprintf(e.Out, "%d moves, including %d copies of %s in total\n", len(moves), copies, size(bytes))
	fmt.Fprintf(e.Out, "primaries per server: %s, afterwards %s; replicas: %s, afterwards %s\n", span(p.Primaries), span(p.PrimariesAfter), span(p.Replicas), span(p.ReplicasAfter))
	if p.Load.Set {
		fmt.Fprintf(e.Out, "load per server in units/s: %s, afterwards %s\n", span(p.Load.V), span(p.LoadAfter.V))
	}
	for _, s := range p.Stuck {
		fmt.Fprintln(e.Out, "cannot be moved:", s)
	}
	if p.HintMessage != "" {
		fmt.Fprintln(e.Out, p.HintMessage)
	}
	sayAnyRoles(e, ctx)
	return nil
}

func span(s placement.Span) string { return fmt.Sprintf("%d to %d", s.Min, s.Max) }

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
	err := e.watch(ctx, wait, "the rebalance continues in the background", func() (line string, done bool, err error) {
		if r, err = e.Client.Admin().Rebalance(ctx, placement.REBALANCE_STATUS, "", false); err != nil {
			return "", false, err
		}
		if !r.Active && r.Runs == runs {
			return "", false, fmt.Errorf("the meta servers no longer know the rebalance: their state was replaced; start it again")
		}
		line = e.meter(r.Done, r.Done+int64(len(r.Moves))) + progress(r)
		if r.HintMessage != "" && r.Active {
			line += "; waits: " + r.HintMessage
		}
		return line, !r.Active, nil
	})
	if err != nil {
		return err
	}
	if e.JSON {
		return e.json(map[string]any{"done": r.Done, "failed": r.Failed, "bytes": r.BytesDone, "stuck": append([]string{}, r.Stuck...), "failures": append([]string{}, r.Failures...)})
	}
	fmt.Fprintln(e.Out, "ended:", r.EndedWhy)
	sayProblems(e, r)
	sayAnyRoles(e, ctx)
	return nil
}

// sayProblems names the moves that failed and those that can't be made.
func sayProblems(e *Env, r *placement.RebalanceResponse) {
	for _, s := range r.Failures {
		fmt.Fprintln(e.Out, "failed:", s)
	}
	if n := r.Failed - int64(len(r.Failures)); n > 0 && r.Failed > 0 {
		fmt.Fprintf(e.Out, "the log of the leading meta server names %d more failed moves\n", n)
	}
	for _, s := range r.Stuck {
		fmt.Fprintln(e.Out, "cannot be moved:", s)
	}
}

// progress says how far a rebalancing is.
func progress(r *placement.RebalanceResponse) string {
	running := 0
	for i := range r.Moves {
		if r.Moves[i].Running {
			running++
		}
	}
	return fmt.Sprintf("%d moves done, %d running, %d waiting, %d failed; %s copied", r.Done, running, len(r.Moves)-running, r.Failed, size(r.BytesDone))
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
			"table": r.AppName, "primaries_only": r.PrimariesOnly, "carried_on": r.CarriedOn, "waits": r.HintMessage, "stuck": append([]string{}, r.Stuck...), "failures": append([]string{}, r.Failures...)}
		if r.Began != 0 {
			out["began"] = at(r.Began)
		}
		if r.Ended != 0 {
			out["ended"], out["ended_why"] = at(r.Ended), r.EndedWhy
		}
		return e.json(out)
	}
	what := scope(r)
	switch {
	case r.Began == 0:
		fmt.Fprintln(e.Out, "there was no rebalance yet")
	case r.Active:
		fmt.Fprintf(e.Out, "running since %s, for %s: %s\n", at(r.Began), what, progress(r))
		if r.CarriedOn {
			fmt.Fprintln(e.Out, "another meta server started it; this one continues, and counts only its own moves")
		}
	default:
		fmt.Fprintf(e.Out, "ended %s (%s), started %s, for %s: %s\n", at(r.Ended), r.EndedWhy, at(r.Began), what, progress(r))
	}
	if r.HintMessage != "" {
		fmt.Fprintln(e.Out, "waits:", r.HintMessage)
	}
	sayProblems(e, r)
	sayAnyRoles(e, ctx)
	return nil
}

// watch calls look again and again until it is done, and prints its line when that changed.
// otherwise says what is so when the wait is over.
func (e *Env) watch(person context.Context, wait time.Duration, otherwise string, look func() (line string, done bool, err error)) error {
	ctx, cancel := context.WithTimeout(person, wait)
	defer cancel()
	began := time.Now()
	last := ""
	failures := 0
	if !e.JSON {
		defer e.told()
	}
	for {
		line, done, err := look()
		switch {
		case person.Err() != nil: // Ctrl-C, perhaps while the meta was asked
			return fmt.Errorf("interrupted after %v: %s; %s", time.Since(began).Round(100*time.Millisecond), orNothing(last), otherwise)
		case err != nil && ctx.Err() == nil && passing(err) && failures < 100:
			failures++ // the meta that leads may just be changing
		case err != nil:
			return err
		case line != last:
			failures = 0
			last = line
			if !e.JSON {
				e.tell(line)
			}
		}
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			if person.Err() != nil {
				continue
			}
			return fmt.Errorf("after %v: %s; %s", wait, orNothing(last), otherwise)
		case <-time.After(poll):
		}
	}
}

func orNothing(line string) string {
	return cmp.Or(strings.TrimSpace(line), "nothing is known yet")
}

func passing(err error) bool {
	switch base.CodeOf(err) {
	case base.ErrTimeout, base.ErrNetworkFailure, base.ErrForwardToOthers, base.ErrServiceNotActive:
		return true
	}
	return strings.Contains(err.Error(), "no leading meta server") || errors.Is(err, context.DeadlineExceeded)
}
