package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"pegasus/migrate/dirs"
	"pegasus/migrate/inplace"
	"pegasus/rows"
)

// Dirs moves tables out of the directories of C++ servers that were stopped.
type Dirs struct {
	Transfer // its client is of the cluster that the tables get to; nil with DryRun
	Look     dirs.Options
	Live     dirs.LiveOptions
	InPlace  *inplace.Options // nil: into a running cluster
	Rejects  string
	MaxBad   int64
	DryRun   bool
}

type plannedJSON struct {
	Table      string   `json:"table"`
	ID         int32    `json:"id"`
	To         string   `json:"to"`
	Partitions int32    `json:"partitions"`
	Replicas   int      `json:"replicas"` // found
	Bytes      int64    `json:"bytes"`
	Whole      bool     `json:"whole"`
	Notes      []string `json:"notes,omitempty"`
}

// Run says what is there, and writes it into the cluster or makes data directories of it, unless that is all that is asked for.
func (d *Dirs) Run(ctx context.Context) error {
	bar := NewBar(d.Progress, "look")
	d.Look.Looked = func(done, all int) {
		bar.Permille(int64(done)*1000/int64(max(all, 1)), fmt.Sprintf("%d of %d replicas", done, all))
	}
	p, err := dirs.Look(ctx, d.Look)
	bar.End()
	if err != nil {
		return err
	}
	if err := d.show(p); err != nil {
		return err
	}
	if err := p.Whole(); err != nil && !(d.Live.AcceptLoss && errors.As(err, new(*dirs.Lacking))) {
		if errors.As(err, new(*dirs.Lacking)) {
			return fmt.Errorf("%w; nothing was written. Give the directories of servers that have other replicas, or --accept-loss to take what can be read", err)
		}
		return err
	}
	switch {
	case d.DryRun:
		return nil
	case d.InPlace != nil:
		return d.fill(ctx, p)
	}
	return d.write(ctx, p)
}

// show tells what is there.
func (d *Dirs) show(p *dirs.Plan) error {
	for i := range p.Tables {
		t := &p.Tables[i]
		j := plannedJSON{Table: t.Name, ID: t.ID, To: t.To, Partitions: t.Partitions, Bytes: t.Bytes(), Whole: true, Notes: t.Notes()}
		for i := range t.Parts {
			j.Replicas += len(t.Parts[i].All)
			j.Whole = j.Whole && t.Parts[i].Whole()
		}
		as := ""
		if t.To != t.Name {
			as = ", to be called " + Escape([]byte(t.To))
		}
		if err := d.print(j, "table %s (id %d)%s: %d partitions, %d replicas found, %d bytes to be read", Escape([]byte(t.Name)), t.ID, as, t.Partitions, j.Replicas, j.Bytes); err != nil {
			return err
		}
		if !d.JSON {
			for _, n := range j.Notes {
				fmt.Fprintln(d.Out, "  "+n)
			}
		}
	}
	if d.JSON {
		return nil
	}
	for _, l := range p.Left {
		fmt.Fprintln(d.Out, l)
	}
	for _, a := range p.Found.Aside {
		fmt.Fprintf(d.Out, "%s is left out: a server has put it aside\n", a)
	}
	for _, o := range p.Orphans {
		fmt.Fprintf(d.Out, "%s is left out: %v\n", o.Path, o.Err)
	}
	return nil
}

// write writes the tables into the cluster.
func (d *Dirs) write(ctx context.Context, p *dirs.Plan) error {
	bad, err := d.rejects(d.Rejects, d.Live.State, d.MaxBad)
	if err != nil {
		return err
	}
	d.Live.Bad, d.Live.Now = bad.add, time.Now()
	bar := NewBar(d.Progress, "write")
	began, last := time.Now(), time.Now()
	d.Live.Progress = func(t *dirs.Table, p rows.Progress) {
		bar.Permille(int64(p.Done)*1000/int64(max(p.Partitions, 1)), fmt.Sprintf("table %s, %d rows", Escape([]byte(t.Name)), p.Written))
		if bar == nil && d.Progress != nil && time.Since(last) > lineEvery {
			last = time.Now()
			d.line(d.Progress, t, p, time.Since(began))
		}
	}
	all, err := dirs.Live(ctx, p, d.Client, d.Live)
	bar.End()
	err = errors.Join(err, bad.close())
	lacking, badRows := 0, int64(0)
	for i := range all {
		w := &all[i]
		lacking += len(w.Lacking)
		badRows += w.Result.Bad
		ended := err != nil && i == len(all)-1
		if e := d.told(w, ended, time.Since(began)); e != nil {
			return e
		}
	}
	switch {
	case err != nil:
		return fmt.Errorf("%w; the same command goes on where it was", err)
	case badRows > 0:
		return &BadRowsError{badRows, d.Rejects}
	case lacking > 0:
		return fmt.Errorf("the tables are there, but rows of %d partitions may be missing, as was accepted", lacking)
	}
	return nil
}

// fill makes data directories of the tables.
func (d *Dirs) fill(ctx context.Context, p *dirs.Plan) error {
	bar := NewBar(d.Progress, "make")
	began, last := time.Now(), time.Now()
	o := *d.InPlace
	o.AcceptLoss, o.Replicas, o.Partitions, o.Now = d.Live.AcceptLoss, d.Live.Replicas, d.Live.Partitions, began
	o.Progress = func(p inplace.Progress) {
		bar.Permille(p.Bytes*1000/max(p.AllBytes, 1), fmt.Sprintf("%d of %d partitions, %d rows", p.Done, p.Partitions, p.Rows))
		if bar == nil && d.Progress != nil && (time.Since(last) > lineEvery || p.Done == p.Partitions) {
			last = time.Now()
			passed := time.Since(began)
			left := (time.Duration(float64(passed) / float64(max(p.Bytes, 1)) * float64(p.AllBytes-p.Bytes))).Round(time.Second)
			fmt.Fprintf(d.Progress, "%d of %d partitions, %d rows (%.0f a second), about %v left\n", p.Done, p.Partitions, p.Rows, float64(p.Rows)/passed.Seconds(), left)
		}
	}
	all, err := inplace.Make(ctx, p, o)
	bar.End()
	lacking := 0
	for i := range all {
		m := &all[i]
		lacking += len(m.Lacking)
		if e := d.filled(m, err != nil); e != nil {
			return e
		}
	}
	switch {
	case err != nil:
		return fmt.Errorf("%w; the directories aren't complete, and the same command goes on where this one ended", err)
	case lacking > 0:
		return fmt.Errorf("the directories are complete, but rows of %d partitions may be missing, as was accepted", lacking)
	}
	return nil
}

// filled tells what became of a table.
func (d *Dirs) filled(m *inplace.Made, ended bool) error {
	if d.JSON {
		return d.json(struct {
			*inplace.Made
			Done bool `json:"done"`
		}{m, !ended})
	}
	state := "done"
	switch {
	case ended:
		state = "NOT DONE"
	case len(m.Lacking) > 0:
		state = "done, WITH ROWS MISSING"
	case m.Before == m.Partitions:
		state = "was done before"
	}
	fmt.Fprintf(d.Out, "table %s (id %d): %s: %d partitions of %d replicas (%d made before), %d rows, %d had expired, %d are of other partitions\n",
		Escape([]byte(m.To)), m.ID, state, m.Partitions, m.Replicas, m.Before, m.Rows, m.Expired, m.Foreign)
	d.besides(m.Settings, m.Unset, m.Lacking)
	return nil
}

// besides tells of a table which settings it has, which it doesn't get, and which rows are missing.
func (d *Dirs) besides(settings, unset, lacking []string) {
	for _, s := range settings {
		fmt.Fprintln(d.Out, "  setting "+s)
	}
	for _, s := range unset {
		fmt.Fprintln(d.Out, "  setting left out: "+s)
	}
	for _, s := range lacking {
		fmt.Fprintln(d.Out, "  missing: "+s)
	}
}

// line tells the progress where there is no terminal.
func (d *Dirs) line(w io.Writer, t *dirs.Table, p rows.Progress, passed time.Duration) {
	left := ""
	if p.Done > 0 {
		left = fmt.Sprintf(", about %v left", (passed * time.Duration(p.Partitions-p.Done) / time.Duration(p.Done)).Round(time.Second))
	}
	fmt.Fprintf(w, "table %s: %d rows written (%.0f a second), %d of %d partitions%s\n", Escape([]byte(t.Name)), p.Written, float64(p.Written)/passed.Seconds(), p.Done, p.Partitions, left)
}

// told tells what became of a table.
func (d *Dirs) told(w *dirs.Written, ended bool, passed time.Duration) error {
	if d.JSON {
		type done struct {
			*dirs.Written
			Done bool `json:"done"`
		}
		return d.json(done{w, !ended})
	}
	state := "done"
	switch {
	case w.Before:
		missing := ""
		if len(w.Lacking) > 0 || w.Result.Bad > 0 {
			missing = ", WITH ROWS MISSING"
		}
		fmt.Fprintf(d.Out, "table %s: was done before%s\n", Escape([]byte(w.To)), missing)
		return nil
	case ended:
		state = "NOT DONE"
	case len(w.Lacking) > 0 || w.Result.Bad > 0:
		state = "done, WITH ROWS MISSING"
	}
	fmt.Fprintf(d.Out, "table %s (id %d): %s: %d rows written (%.0f a second), %d had expired, %d are of other partitions, %d can't be written\n", Escape([]byte(w.To)), w.ID, state, w.Result.Written,
		float64(w.Result.Written)/passed.Seconds(), w.Expired, w.Foreign, w.Result.Bad)
	d.besides(w.Settings, w.Unset, w.Lacking)
	return nil
}
