package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"pegasus/client"
	"pegasus/compare"
)

// Comparison compares a table with that of another cluster.
type Comparison struct {
	*Env        // its client is of the first cluster
	There       *client.Client
	TableThere  string // "": the same name
	Values      bool   // print them
	Options     compare.Options
	ProgressOut io.Writer // nil: none
}

// DifferentError: two tables differ.
type DifferentError struct{ Rows int64 }

func (e *DifferentError) Error() string {
	return fmt.Sprintf("the tables differ in %d rows", e.Rows)
}

// UnsureError: of some rows it isn't known whether they are equal.
type UnsureError struct{ Rows int64 }

func (e *UnsureError) Error() string {
	return fmt.Sprintf("%d rows changed at each look: it isn't known whether they are equal", e.Rows)
}

// ExitStatus tells this from rows that differ, and a command that failed (1).
func (e *UnsureError) ExitStatus() int { return 2 }

type comparisonJSON struct {
	RowsFrom    int64 `json:"rows_from"`
	RowsTo      int64 `json:"rows_to"`
	Sampled     int64 `json:"sampled,omitempty"`
	Missing     int64 `json:"missing"`
	Extra       int64 `json:"extra"`
	Values      int64 `json:"different_values"`
	Expiries    int64 `json:"different_expiries"`
	Changing    int64 `json:"changing"`
	LookedAgain int64 `json:"looked_at_again"`
	Stopped     bool  `json:"stopped,omitempty"`

	Seconds     float64          `json:"seconds"`
	Differences []differenceJSON `json:"differences"`
}

type differenceJSON struct {
	Kind compare.Kind `json:"kind"`
	rowJSON
	From *sideJSON `json:"from,omitempty"` // absent: there is no such row
	To   *sideJSON `json:"to,omitempty"`
}

type sideJSON struct {
	Value   *string `json:"value,omitempty"`
	Expires string  `json:"expires,omitempty"`
}

// Run compares table, and prints what differs. Tables that do are a *DifferentError, and those that may an *UnsureError.
func (c *Comparison) Run(ctx context.Context, name string) error {
	there := c.TableThere
	if there == "" {
		there = name
	}
	from, err := c.Client.Table(ctx, name)
	if err != nil {
		return fmt.Errorf("the cluster of --from: %w", err)
	}
	to, err := c.There.Table(ctx, there)
	if err != nil {
		return fmt.Errorf("the cluster of --to: %w", err)
	}
	o := c.Options
	if bar := c.ProgressOut; bar != nil && !c.JSON {
		var last time.Time
		o.Progress = func(r compare.Report) {
			if time.Since(last) >= 5*time.Second {
				last = time.Now()
				fmt.Fprintf(bar, "%d rows compared with %d, %d differ\n", r.From, r.To, r.Different())
			}
		}
	}
	r, err := compare.Tables(ctx, compare.Of(from), compare.Of(to), o)
	if err != nil {
		return fmt.Errorf("compare table %s with table %s, after %d and %d rows: %w", Escape([]byte(name)), Escape([]byte(there)), r.From, r.To, err)
	}
	if err := c.print(&r); err != nil {
		return err
	}
	if n := r.Different(); n > 0 {
		return &DifferentError{n}
	}
	if r.Changing > 0 {
		return &UnsureError{r.Changing}
	}
	return nil
}

func (c *Comparison) print(r *compare.Report) error {
	if c.JSON {
		j := comparisonJSON{RowsFrom: r.From, RowsTo: r.To, Sampled: r.Sampled, Missing: r.Missing, Extra: r.Extra, Values: r.Values, Expiries: r.Expiries,
			Changing: r.Changing, LookedAgain: r.Again, Stopped: r.Stopped, Seconds: r.Took.Seconds(), Differences: []differenceJSON{}}
		for _, d := range r.Differences {
			j.Differences = append(j.Differences, differenceJSON{d.Kind, rowJSON{HashKey: Escape(d.HashKey), SortKey: Escape(d.SortKey)}, c.side(d.From), c.side(d.To)})
		}
		return c.json(j)
	}
	w := c.Out
	if len(r.Differences) > 0 {
		head := []string{"what", "hash key", "sort key"}
		if c.Values {
			head = append(head, "from", "to")
		}
		g := newGrid(head...)
		for _, d := range r.Differences {
			row := []any{string(d.Kind), Quote(d.HashKey), Quote(d.SortKey)}
			if c.Values {
				row = append(row, c.words(d.From), c.words(d.To))
			}
			g.add(row...)
		}
		if err := g.print(w); err != nil {
			return err
		}
		if more := r.Different() - int64(len(r.Differences)); more > 0 {
			fmt.Fprintf(w, "and %d more; --limit shows more of them\n", more)
		}
	}
	fmt.Fprintf(w, "%d rows, and %d in the other table, in %v", r.From, r.To, r.Took.Round(time.Millisecond))
	if c.Options.Sample > 0 && c.Options.Sample < 1 {
		fmt.Fprintf(w, "; values of %d rows compared", r.Sampled)
	}
	fmt.Fprintf(w, "\n%d are missing there, %d are only there, %d have another value, %d another expiry\n", r.Missing, r.Extra, r.Values, r.Expiries)
	if r.Changing > 0 {
		fmt.Fprintf(w, "%d rows changed at each look, and count as neither equal nor different: stop writing, or raise --tolerance, to know\n", r.Changing)
	}
	if r.Stopped {
		fmt.Fprintln(w, "so many differ that the rest isn't compared")
	}
	return nil
}

func (c *Comparison) side(r *client.Row) *sideJSON {
	if r == nil {
		return nil
	}
	s := &sideJSON{}
	if c.Values {
		v := Escape(r.Value)
		s.Value = &v
	}
	s.Expires = expiryOf(r)
	return s
}

// words describes a row in a cell.
func (c *Comparison) words(r *client.Row) string {
	if r == nil {
		return "-"
	}
	if e := expiryOf(r); e != "" {
		return Quote(r.Value) + " until " + e
	}
	return Quote(r.Value)
}
