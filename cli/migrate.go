package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"pegasus/client"
	"pegasus/compare"
	"pegasus/migrate"
	"pegasus/migrate/live"
)

// Move moves a table to another cluster.
type Move struct {
	*Env    // its client is of the cluster that the table is moved from
	There   *client.Client
	MetasTo []string // of the other cluster, for what is said
	Options migrate.Options

	DryRun, Abort, Finish bool // at most one
}

type migrationJSON struct {
	Step     migrate.Step `json:"step"`
	Text     string       `json:"text,omitempty"`
	Alarm    bool         `json:"writes_refused,omitempty"` // and stay so
	Behind   *int64       `json:"behind,omitempty"`
	Rate     float64      `json:"confirmed_per_second,omitempty"`
	Verified string       `json:"verified,omitempty"`
	Rows     *int64       `json:"rows,omitempty"`
	Copied   float64      `json:"copy_seconds,omitempty"`
	Refused  float64      `json:"refused_seconds,omitempty"`
	Error    string       `json:"error,omitempty"`
	Next     string       `json:"next,omitempty"`
	Done     bool         `json:"done,omitempty"`
}

// comparedAfter is how long a row may be on its way while the tables are compared in use.
const comparedAfter = 5 * time.Second

// Run moves the table, or does what else is asked. JSON is one event a line.
func (m *Move) Run(ctx context.Context, table string) error {
	o := m.Options
	o.Table, o.Tell, o.Compare = table, m.tell, m.compare(table)
	g := migrate.New(live.New(m.Client), live.New(m.There), o)
	switch {
	case m.DryRun:
		return m.judge(g.Plan(ctx))
	case m.Abort:
		return m.judge(g.Abort(ctx))
	case m.Finish:
		return m.judge(g.Finish(ctx))
	}
	r, err := g.Run(ctx)
	if err != nil {
		return m.judge(err)
	}
	next := fmt.Sprintf("let the clients use table %s of the cluster at %s; when all of them do, run the same command with --finish. If none does and they shall stay where they are, run it with --abort",
		m.there(table), strings.Join(m.MetasTo, ","))
	if m.JSON {
		j := migrationJSON{Step: migrate.Done, Done: true, Alarm: true, Verified: r.Verified, Copied: r.Copied.Seconds(), Refused: r.Refused.Seconds(), Next: next}
		if r.Rows >= 0 {
			j.Rows = &r.Rows
		}
		return m.json(j)
	}
	fmt.Fprintf(m.Out, "done: the other cluster has all of the table (%s)", r.Verified)
	if r.Refused > 0 {
		fmt.Fprintf(m.Out, "; writes have been refused for %v", r.Refused.Round(time.Millisecond))
	}
	fmt.Fprintln(m.Out)
	m.red("WRITES TO THE TABLE ARE REFUSED AT THE SOURCE, and stay so")
	_, err = fmt.Fprintf(m.Out, "now: %s\n", next)
	return err
}

func (m *Move) there(table string) string {
	if m.Options.TableThere != "" {
		return m.Options.TableThere
	}
	return table
}

// judge prints what an error says of writes in red letters.
func (m *Move) judge(err error) error {
	var s *migrate.StepError
	if !errors.As(err, &s) {
		return err
	}
	switch {
	case m.JSON:
		if e := m.json(migrationJSON{Step: s.Step, Error: s.Err.Error(), Alarm: s.Denied, Next: s.Next}); e != nil {
			return e
		}
	case s.Denied:
		m.red("WRITES TO THE TABLE ARE REFUSED AT THE SOURCE")
	}
	return err
}

func (m *Move) red(text string) {
	if columnsOf(m.Out) > 0 {
		text = "\x1b[1;31m" + text + "\x1b[0m"
	}
	fmt.Fprintln(m.Out, text)
}

func (m *Move) tell(e migrate.Event) {
	text := strings.Join(strings.Fields(e.Text), " ")
	switch {
	case m.JSON:
		j := migrationJSON{Step: e.Step, Text: text, Alarm: e.Alarm, Rate: e.Rate}
		if e.Of > 0 {
			j.Behind = &e.Behind
		}
		_ = m.json(j)
	case e.Alarm:
		m.red(string(e.Step) + ": " + text)
	default:
		fmt.Fprintf(m.Out, "%s: %s\n", e.Step, text)
	}
}

// compare compares the tables by their rows.
func (m *Move) compare(table string) func(context.Context, time.Duration) (int64, string, error) {
	return func(ctx context.Context, within time.Duration) (int64, string, error) {
		from, err := m.Client.Table(ctx, table)
		if err != nil {
			return 0, "", fmt.Errorf("the source: %w", err)
		}
		to, err := m.There.Table(ctx, m.there(table))
		if err != nil {
			return 0, "", fmt.Errorf("the destination: %w", err)
		}
		o := compare.Options{Tolerance: comparedAfter}
		inner := ctx
		if within > 0 {
			// What stands still needs no second look.
			o.Tolerance = 0
			var cancel context.CancelFunc
			inner, cancel = context.WithTimeout(ctx, within)
			defer cancel()
		}
		r, err := compare.Tables(inner, compare.Of(from), compare.Of(to), o)
		part := ""
		if err != nil && ctx.Err() == nil && inner.Err() != nil {
			part, err = ", as many as there was time for", nil
		}
		if err != nil {
			return 0, "", err
		}
		return r.Different(), fmt.Sprintf("%d rows, and %d there, compared%s: %d missing, %d only there, %d with another value, %d with another expiry, %d changing",
			r.From, r.To, part, r.Missing, r.Extra, r.Values, r.Expiries, r.Changing), nil
	}
}
