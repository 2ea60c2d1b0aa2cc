package dirs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"pegasus/base"
	"pegasus/base/appenv"
	"pegasus/base/durable"
	"pegasus/client"
	"pegasus/gen/layer2"
	"pegasus/rows"
)

// LiveOptions say how rows are written into a running cluster.
type LiveOptions struct {
	rows.Pace
	State      string // directory that says how far it is
	Replicas   int    // of the tables; 0: as many as they had
	Partitions int    // that are read at the same time; 0: 4
	AcceptLoss bool   // take what is there
	Now        time.Time
	Bad        func(rows.BadRow) error
	Progress   func(t *Table, p rows.Progress)
}

// Written is what became of a table.
type Written struct {
	Table    string      `json:"table"`
	To       string      `json:"to"`
	ID       int32       `json:"id"` // that it has there
	Result   rows.Result `json:"result"`
	Expired  int64       `json:"expired"`               // rows that were left out
	Foreign  int64       `json:"foreign"`               // likewise, of other partitions
	Settings []string    `json:"settings,omitempty"`    // that it has there
	Unset    []string    `json:"unset,omitempty"`       // settings that weren't taken, and why
	Lacking  []string    `json:"lacking,omitempty"`     // partitions of which rows are missing
	Before   bool        `json:"done_before,omitempty"` // by an earlier run
}

const (
	stateFile   = "tables.json"
	stateFormat = 1
)

// progress is the file of the state directory: what was made of which table. Beside it is a file for each table, of package rows.
type progress struct {
	Format int             `json:"format"`
	Tables map[string]made `json:"tables"` // by id there was
}

type made struct {
	To   string `json:"to"`
	ID   int32  `json:"id"`
	Done bool   `json:"done,omitempty"`
	// Lacking are partitions of which only a part was read, and why, as far as it was found by reading; Bad are rows that couldn't be written.
	Lacking map[int]string `json:"lacking,omitempty"`
	Bad     int64          `json:"bad,omitempty"`
}

func readProgress(dir string) (progress, error) {
	p := progress{Format: stateFormat, Tables: map[string]made{}}
	name := filepath.Join(dir, stateFile)
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &p)
	}
	if err == nil && p.Format != stateFormat {
		err = fmt.Errorf("it has format %d, this program reads %d", p.Format, stateFormat)
	}
	if err != nil {
		return p, fmt.Errorf("read %s, which says how far a migration is: %w; give another --state to begin anew", name, err)
	}
	return p, nil
}

func (p *progress) write(dir string) error {
	b, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	name := filepath.Join(dir, stateFile)
	if err := durable.File(name, func(w io.Writer) error { _, err := w.Write(append(b, '\n')); return err }); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// Live writes the tables of a plan into a cluster. What it returns with an error is what was done.
func Live(ctx context.Context, p *Plan, to *client.Client, o LiveOptions) (all []Written, err error) {
	if err := p.Whole(); err != nil && !(o.AcceptLoss && errors.As(err, new(*Lacking))) {
		return nil, err
	}
	if o.Bad == nil {
		o.Bad = func(b rows.BadRow) error { return fmt.Errorf("a row of %s can't be written: %w", b.File, b.Err) }
	}
	if err := os.MkdirAll(o.State, 0o755); err != nil {
		return nil, fmt.Errorf("make the state directory: %w", err)
	}
	pr, err := readProgress(o.State)
	if err != nil {
		return nil, err
	}
	there, err := to.Admin().ListTables(ctx, layer2.AS_INVALID)
	if err != nil {
		return nil, err
	}
	// All names are looked at before anything is made.
	for i := range p.Tables {
		if err := free(&p.Tables[i], &pr, there); err != nil {
			return nil, err
		}
	}
	for i := range p.Tables {
		w, err := live(ctx, &p.Tables[i], to, &pr, &o)
		all = append(all, w)
		if err != nil {
			return all, fmt.Errorf("table %s: %w", p.Tables[i].Name, err)
		}
	}
	return all, nil
}

// free returns an error if the name of a table is another's in the cluster.
func free(t *Table, pr *progress, there []layer2.AppInfo) error {
	was, ours := pr.Tables[strconv.Itoa(int(t.ID))]
	if ours && was.To != t.To {
		return fmt.Errorf("table %s (id %d) was begun as %s, and is to be %s now: give the same name, or another --state", t.Name, t.ID, was.To, t.To)
	}
	for i := range there {
		a := &there[i]
		if a.AppName != t.To || a.Status == layer2.AS_DROPPED || a.Status == layer2.AS_DROPPING {
			continue
		}
		switch {
		case !ours:
			return fmt.Errorf("the cluster has a table %s, with id %d: rename one of them, or drop that if it is of a migration that is to begin anew", t.To, a.AppId)
		case was.ID != a.AppId:
			return fmt.Errorf("the cluster's table %s has id %d, the one that was begun has %d: it was made anew by somebody; give another --state, and rename or drop it", t.To, a.AppId, was.ID)
		}
		return nil
	}
	if ours {
		return fmt.Errorf("the table %s with id %d, which was begun, isn't in the cluster any more: give another --state to begin anew", t.To, was.ID)
	}
	return nil
}

func live(ctx context.Context, t *Table, to *client.Client, pr *progress, o *LiveOptions) (Written, error) {
	w := Written{Table: t.Name, To: t.To, Lacking: t.Lacking()}
	key := strconv.Itoa(int(t.ID))
	m, begun := pr.Tables[key]
	if !begun {
		replicas := o.Replicas
		if replicas == 0 {
			replicas = int(t.Info.MaxReplicaCount)
		}
		id, err := to.Admin().CreateTable(ctx, t.To, int(t.Partitions), replicas, client.CreateOptions{})
		if err != nil {
			return w, err
		}
		m = made{To: t.To, ID: id}
		pr.Tables[key] = m
		if err := pr.write(o.State); err != nil {
			return w, err
		}
	}
	w.ID = m.ID
	// What is found by reading is kept before a row is taken: a run that goes on doesn't read what was written.
	tell := func() {
		for i, why := range m.Lacking {
			if !slices.ContainsFunc(w.Lacking, func(s string) bool { return strings.HasPrefix(s, t.Partition(i)) }) {
				w.Lacking = append(w.Lacking, t.Partition(i)+why)
			}
		}
		slices.Sort(w.Lacking)
	}
	if m.Done {
		w.Before, w.Result.Bad = true, m.Bad
		tell()
		return w, nil
	}
	target, err := to.Table(ctx, t.To)
	if err != nil {
		return w, err
	}
	if target.AppID() != m.ID {
		return w, fmt.Errorf("the cluster's table %s has id %d now, not %d", t.To, target.AppID(), m.ID)
	}
	src := t.Source(o.AcceptLoss, uint32(max(o.Now.Unix()-base.EpochBegin, 0)))
	var mu sync.Mutex
	src.late = func(partition int, why error) error {
		mu.Lock()
		defer mu.Unlock()
		m.Lacking = maps.Clone(m.Lacking)
		if m.Lacking == nil {
			m.Lacking = map[int]string{}
		}
		m.Lacking[partition] = why.Error()
		pr.Tables[key] = m
		return pr.write(o.State)
	}
	c := rows.CopyOptions{Choice: rows.Choice{Parallel: o.Partitions}, Pace: o.Pace, From: t.Choice(), FromID: t.ID, To: t.To, ToID: m.ID,
		State: filepath.Join(o.State, "table-"+key+".json"), Bad: o.Bad}
	if o.Progress != nil {
		c.Progress = func(p rows.Progress) { o.Progress(t, p) }
	}
	w.Result, err = rows.Copy(ctx, src, target, c)
	w.Expired, w.Foreign = src.Expired.Load(), src.Foreign.Load()
	tell()
	if err != nil {
		return w, err
	}
	if w.Settings, w.Unset, err = settings(ctx, t, to); err != nil {
		return w, err
	}
	m.Done, m.Bad = true, w.Result.Bad
	pr.Tables[key] = m
	return w, pr.write(o.State)
}

// passing are settings that say what is going on, and not how a table is.
func passing(name string) bool {
	return strings.HasPrefix(name, "manual_compact.once.") || strings.HasPrefix(name, "restore.") || strings.HasPrefix(name, "duplication.") || name == "max_replica_count.update"
}

// Settings returns the settings that the replicas know of, by name, and those that aren't taken, and why.
func (t *Table) Settings() (take []base.Pair[string, string], unset []string) {
	envs := slices.Clone(t.Info.Envs)
	slices.SortFunc(envs, func(a, b base.Pair[string, string]) int { return strings.Compare(a.Key, b.Key) })
	for _, e := range envs {
		if passing(e.Key) {
			unset = append(unset, e.Key+"="+e.Val+": it is of something that went on")
		} else if hint := appenv.Validate(e.Key, e.Val); hint != "" {
			unset = append(unset, e.Key+"="+e.Val+": "+hint)
		} else {
			take = append(take, e)
		}
	}
	return take, unset
}

// settings gives the table there the settings that the replicas know of.
func settings(ctx context.Context, t *Table, to *client.Client) (set, unset []string, err error) {
	take, unset := t.Settings()
	for _, e := range take {
		text := e.Key + "=" + e.Val
		var no *client.AdminError
		switch err := to.Admin().SetEnvs(ctx, t.To, []base.Pair[string, string]{e}); {
		case errors.As(err, &no) && no.Code == base.ErrInvalidParameters:
			unset = append(unset, text+": "+no.Hint)
		case err != nil:
			return set, unset, err
		default:
			set = append(set, text)
		}
	}
	return set, unset, nil
}
