package cli

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"pegasus/client"
	"pegasus/cppmeta"
	"pegasus/cppmeta/live"
	"pegasus/migrate/tables"
)

// MoveTables makes the tables of a C++ cluster in the cluster of its client, without rows.
type MoveTables struct {
	*Env
	From   func(context.Context) (*cppmeta.State, error)
	DryRun bool
}

type tablesJSON struct {
	Tables       []tables.Item `json:"tables"`
	Duplications []string      `json:"duplications,omitempty"` // the commands that begin them
	Policies     []string      `json:"backup_policies,omitempty"`
	Level        string        `json:"level,omitempty"`
	Problems     []string      `json:"problems,omitempty"`
	Notes        []string      `json:"notes,omitempty"`
	DryRun       bool          `json:"dry_run,omitempty"`
}

// Run makes the tables, and tells what can't be taken over.
func (m MoveTables) Run(ctx context.Context) error {
	state, err := m.From(ctx)
	if err != nil {
		return err
	}
	there, err := live.Tables(ctx, m.Client)
	if err != nil {
		return err
	}
	j := tablesJSON{Tables: tables.Plan(state, there), Level: state.Level, Problems: state.Problems, Notes: state.Notes, DryRun: m.DryRun}
	for _, d := range state.Duplications {
		j.Duplications = append(j.Duplications, dupCommand(d))
	}
	for _, p := range state.Policies {
		j.Policies = append(j.Policies, policyCommand(p))
	}
	var stopped error
	if !m.DryRun {
		stopped = tables.Run(ctx, m.Client.Admin(), j.Tables, func(*tables.Item) {})
	}
	if m.JSON {
		err = m.json(j)
	} else {
		err = m.show(j)
	}
	if err != nil {
		return err
	}
	if stopped != nil {
		return fmt.Errorf("make the tables: %w; run the same command again: tables that are there are left as they are", stopped)
	}
	failed := len(state.Problems)
	for _, t := range j.Tables {
		if t.Action == tables.Conflict || t.Failed != "" {
			failed++
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d tables or nodes of the C++ metas are not taken over, see above", failed)
	}
	return nil
}

func (m MoveTables) show(j tablesJSON) error {
	g := newGrid("#ID", "NAME", "#PARTITIONS", "#REPLICAS", "WHAT", "#NEW ID")
	var notes []string
	for _, t := range j.Tables {
		id, what := "", string(t.Action)
		if t.NewID != 0 {
			id = strconv.Itoa(int(t.NewID))
		}
		switch {
		case t.Failed != "":
			what = "failed"
			notes = append(notes, fmt.Sprintf("table %s: %s", Escape([]byte(t.Name)), t.Failed))
		case t.Action == tables.Make && t.NewID != 0:
			what = "made"
		}
		if t.Why != "" {
			notes = append(notes, fmt.Sprintf("table %s (%d): %s", Escape([]byte(t.Name)), t.ID, t.Why))
		}
		for _, k := range slices.Sorted(maps.Keys(t.LeftOut)) {
			notes = append(notes, fmt.Sprintf("table %s: setting %s is left out: %s", Escape([]byte(t.Name)), Escape([]byte(k)), t.LeftOut[k]))
		}
		g.add(strconv.Itoa(int(t.ID)), Escape([]byte(t.Name)), strconv.Itoa(int(t.Partitions)), strconv.Itoa(int(t.Replicas)), what, id)
	}
	if err := g.print(m.Out); err != nil {
		return err
	}
	for _, p := range j.Problems {
		notes = append(notes, "not read: "+Escape([]byte(p)))
	}
	for _, d := range j.Duplications {
		notes = append(notes, "duplication, to be added by: "+d)
	}
	for _, p := range j.Policies {
		notes = append(notes, "backup policy, to be added by: "+p)
	}
	notes = append(notes, j.Notes...)
	if j.Level != "" {
		notes = append(notes, "function level of the C++ cluster: "+j.Level)
	}
	if j.DryRun {
		notes = append(notes, "nothing was made, since this is a dry run")
	}
	for _, n := range notes {
		if _, err := fmt.Fprintln(m.Out, n); err != nil {
			return err
		}
	}
	return nil
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_.:,/@%+-]+$`)

// word quotes an argument for a shell.
func word(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(Escape([]byte(s)), "'", `'\''`) + "'"
}

func dupCommand(d cppmeta.Duplication) string {
	s := "pegasus dup add " + word(d.Table) + " " + word(d.Remote)
	if d.RemoteTable != "" && d.RemoteTable != d.Table {
		s += " --remote-table " + word(d.RemoteTable)
	}
	return s
}

func policyCommand(p cppmeta.Policy) string {
	var names []string
	for _, id := range p.Apps {
		if n := p.AppNames[strconv.Itoa(int(id))]; n != "" {
			names = append(names, n)
		}
	}
	s := fmt.Sprintf("pegasus backup policy add %s --provider %s --tables %s --every %v --at %02d:%02d --keep %d", word(p.Name), word(p.Provider), word(strings.Join(names, ",")),
		time.Duration(p.Interval)*time.Second, p.Start.Hour, p.Start.Minute, p.Keep)
	if p.Disabled {
		s += " (it was disabled)"
	}
	return s
}

// FromCluster reads the state of a cluster that runs.
func FromCluster(c *client.Client) func(context.Context) (*cppmeta.State, error) {
	return func(ctx context.Context) (*cppmeta.State, error) { return live.Read(ctx, c) }
}
