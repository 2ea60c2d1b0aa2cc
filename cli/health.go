package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"pegasus/base"
	"pegasus/base/judge"
	"pegasus/client"
	"pegasus/gen/placement"
)

type reasonJSON struct {
	What string `json:"what"`
	Do   string `json:"to_do,omitempty"`
}

func reasons(l []placement.Reason) []reasonJSON {
	list := make([]reasonJSON, len(l))
	for i, r := range l {
		list[i] = reasonJSON{r.What, r.ToDo}
	}
	return list
}

// printReasons writes each reason, and what to do about it.
func printReasons(w io.Writer, l []placement.Reason) {
	for _, r := range l {
		fmt.Fprintln(w, r.What)
		if r.ToDo != "" {
			fmt.Fprintf(w, "  what to do: %s\n", r.ToDo)
		}
	}
}

type tableHealthJSON struct {
	Name       string       `json:"name"`
	Health     string       `json:"health"`
	Partitions int32        `json:"partitions"`
	Healthy    int32        `json:"healthy"`
	Readable   int32        `json:"readable"`
	Writable   int32        `json:"writable"`
	Fewest     int32        `json:"fewest_copies"`
	Why        []reasonJSON `json:"why"`
}

func tableHealth(t *placement.TableVerdict) tableHealthJSON {
	return tableHealthJSON{t.AppName, judge.Health(t.State).String(), t.Partitions, t.Healthy, t.Readable, t.Writable, t.FewestCopies, reasons(t.Why)}
}

// Health shows what clients can do with each table, why, and what to do. It fails if some partition
// can't be read or written.
func (e *Env) Health(ctx context.Context) error {
	v, err := e.Client.Admin().Health(ctx)
	if err != nil {
		return err
	}
	bad := judge.Health(v.State) >= judge.InDoubt
	list := make([]tableHealthJSON, len(v.Tables))
	g := newGrid("table", "state", "#partitions", "#readable", "#writable", "#healthy", "#fewest copies")
	for i := range v.Tables {
		t := &list[i]
		*t = tableHealth(&v.Tables[i])
		g.add(Escape([]byte(t.Name)), t.Health, t.Partitions, t.Readable, t.Writable, t.Healthy, t.Fewest)
	}
	if e.JSON {
		err = e.json(map[string]any{"health": judge.Health(v.State).String(), "why": reasons(v.Why), "tables": list})
	} else {
		err = g.print(e.Out)
		printReasons(e.Out, v.Why)
		for i := range v.Tables {
			if t := &v.Tables[i]; len(t.Why) > 0 {
				fmt.Fprintf(e.Out, "table %s:\n", Escape([]byte(t.AppName)))
				printReasons(e.Out, t.Why)
			}
		}
	}
	if err == nil && bad {
		err = errors.New("some data can't be read or written, or isn't known to be")
	}
	return err
}

type explanationJSON struct {
	Partition int32       `json:"partition"`
	Health    string      `json:"health"`
	Reads     string      `json:"reads,omitempty"`
	Writes    string      `json:"writes,omitempty"`
	Safety    string      `json:"safety,omitempty"`
	Why       []string    `json:"why"`
	Events    []eventJSON `json:"events"`
}

type eventJSON struct {
	Time string `json:"time"`
	What string `json:"what"`
	Why  string `json:"why,omitempty"`
}

// TableWhy tells of a table's partitions what clients can do with them, why, and what was done last; of
// one, or with partition -1 of all. Without all those that are in order and were left alone are
// only counted.
func (e *Env) TableWhy(ctx context.Context, name string, partition int) error {
	r, err := e.Client.Admin().Explain(ctx, name, partition)
	if err != nil {
		return err
	}
	list := r.Partitions
	out := make([]explanationJSON, len(list))
	quiet := 0
	for i := range list {
		p := &list[i]
		x := &out[i]
		*x = explanationJSON{Partition: p.Pid.PartitionIndex, Health: p.Health, Why: append([]string{}, p.Why...), Events: []eventJSON{}}
		if v := &p.Verdict.V; p.Verdict.Set {
			told := judge.Verdict{Copies: int(v.Copies), Wanted: int(v.Wanted)}
			x.Reads, x.Writes, x.Safety = judge.Can(v.Reads).String(), judge.Can(v.Writes).String(), told.Safety()
		}
		for _, v := range p.Events {
			x.Events = append(x.Events, eventJSON{time.UnixMilli(v.TimeMs).UTC().Format("2006-01-02T15:04:05.000Z"), v.What, v.Why})
		}
		if e.JSON {
			continue
		}
		if p.Health == judge.Healthy.String() && len(p.Why) == 0 && len(p.Events) == 0 {
			quiet++
			continue
		}
		printExplanation(e, x)
	}
	if e.JSON {
		return e.json(out)
	}
	if quiet > 0 {
		fmt.Fprintf(e.Out, "%d partitions are healthy, without events since this meta server became the leader\n", quiet)
	}
	return nil
}

func printExplanation(e *Env, x *explanationJSON) {
	fmt.Fprintf(e.Out, "partition %d: %s", x.Partition, x.Health)
	if x.Reads != "" {
		fmt.Fprintf(e.Out, " (reads: %s; writes: %s; %s)", x.Reads, x.Writes, x.Safety)
	}
	fmt.Fprintln(e.Out)
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

// judgedError is an error with what the metas say about what it met.
type judgedError struct {
	error
	why []placement.Reason
}

func (e *judgedError) Unwrap() error { return e.error }

// judgeTime bounds the question to the metas why something failed.
const judgeTime = 2 * time.Second

// Judged adds to an error what the metas know of the partition, or the table, that it is about.
func (e *Env) Judged(ctx context.Context, err error) error {
	var failed *client.Error
	var refused *client.AdminError
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), judgeTime)
	defer cancel()
	switch code := base.CodeOf(err); {
	case errors.As(err, &failed):
		switch code {
		case base.ErrTimeout, base.ErrNetworkFailure, base.ErrInactiveState, base.ErrInvalidState, base.ErrNotEnoughMember, base.ErrDiskInsufficient:
		default:
			return err
		}
		r, rerr := e.Client.Admin().Explain(ctx, failed.Table, int(failed.Partition.PartitionIndex))
		if rerr != nil || len(r.Partitions) != 1 || !r.Partitions[0].Verdict.Set || len(r.Partitions[0].Verdict.V.Why) == 0 {
			return err
		}
		return &judgedError{err, r.Partitions[0].Verdict.V.Why}
	case errors.As(err, &refused) && (code == base.ErrObjectNotFound || code == base.ErrAppNotExist):
		v, verr := e.Client.Admin().Health(ctx)
		if verr != nil || !v.Lost {
			return err
		}
		return &judgedError{err, v.Why[:1]}
	}
	return err
}
