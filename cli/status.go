package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"pegasus/base/judge"
	"pegasus/gen/placement"
	"pegasus/meta/probe"
)

// StatusError says that the cluster isn't healthy, by which a script sees it.
type StatusError struct{ Health judge.Health }

func (e *StatusError) Error() string { return "the cluster is " + e.Health.String() }

// ExitStatus is ExitIll or ExitDown.
func (e *StatusError) ExitStatus() int {
	if e.Health >= judge.InDoubt {
		return ExitDown
	}
	return ExitIll
}

type statusJSON struct {
	Health     string            `json:"health"`
	Cluster    string            `json:"cluster,omitempty"`
	Metas      int               `json:"metas"`
	MetasUp    int               `json:"metas_answering"`
	Servers    int               `json:"servers"`
	Alive      int               `json:"servers_alive"`
	Tables     int               `json:"tables"`
	Partitions int32             `json:"partitions"`
	Healthy    int32             `json:"partitions_healthy"`
	Why        []reasonJSON      `json:"why"`
	Ill        []tableHealthJSON `json:"ill_tables"` // the worst first
	// Availability is absent if it isn't known.
	Availability *availabilityJSON `json:"availability,omitempty"`
}

// availabilityJSON is what the probes of all partitions found in the last hour.
type availabilityJSON struct {
	Part    float64 `json:"last_hour"` // of the probes that succeeded, from 0 to 1
	Probes  int64   `json:"probes"`
	Failing int     `json:"failing_partitions"` // now
}

// availability adds up what is known of all tables; nil if nothing is.
func availability(a *probe.Answer) *availabilityJSON {
	out, good := &availabilityJSON{}, 0.0
	for i := range a.Tables {
		t := &a.Tables[i]
		out.Probes += t.HourProbes
		out.Failing += t.Failing
		good += t.Hour * float64(t.HourProbes)
	}
	if out.Probes == 0 {
		return nil
	}
	out.Part = good / float64(out.Probes)
	return out
}

// Status says how the cluster is: in one word, then what is wrong with it, the worst first. A cluster that isn't
// healthy is a *StatusError.
func (e *Env) Status(ctx context.Context, metas []string) error {
	a := e.Client.Admin()
	v, err := a.Health(ctx)
	if err != nil {
		if e.JSON {
			_ = e.json(map[string]string{"health": "not known", "error": err.Error()})
		} else {
			fmt.Fprintln(e.Out, "not known")
		}
		return err
	}
	s := statusJSON{Health: judge.Health(v.State).String(), Tables: len(v.Tables), Why: reasons(v.Why), Ill: []tableHealthJSON{}}
	tables := slices.Clone(v.Tables)
	slices.SortStableFunc(tables, func(x, y placement.TableVerdict) int { return cmp.Compare(y.State, x.State) })
	for i := range tables {
		t := &tables[i]
		s.Partitions += t.Partitions
		s.Healthy += t.Healthy
		if judge.Health(t.State) != judge.Healthy {
			s.Ill = append(s.Ill, tableHealth(t))
		}
	}
	answers := askMetas(e, ctx, metas)
	if found, err := askAvailability(ctx, a, answers, ""); err == nil { // an older meta doesn't know
		s.Availability = availability(found)
	}
	for _, m := range answers {
		s.Metas++
		if m.Is != nil {
			s.MetasUp++
			s.Cluster = m.Is.Cluster
		}
	}
	nodes, err := a.ListNodes(ctx)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		s.Servers++
		if n.Alive {
			s.Alive++
		}
	}
	if e.JSON {
		err = e.json(s)
	} else {
		err = e.sayStatus(&s, v)
	}
	if err == nil && judge.Health(v.State) != judge.Healthy {
		err = &StatusError{judge.Health(v.State)}
	}
	return err
}

func (e *Env) sayStatus(s *statusJSON, v *placement.ClusterVerdict) error {
	fmt.Fprintf(e.Out, "%s\n", s.Health)
	printReasons(e.Out, v.Why)
	for _, t := range s.Ill {
		fmt.Fprintf(e.Out, "table %s: %s; of %d partitions %d are readable, %d writable, %d healthy\n", Escape([]byte(t.Name)), t.Health, t.Partitions, t.Readable, t.Writable, t.Healthy)
		for _, r := range t.Why {
			printReasons(e.Out, []placement.Reason{{What: "  " + r.What, ToDo: r.Do}})
		}
	}
	if p := s.Availability; p != nil {
		fmt.Fprintf(e.Out, "availability in the last hour: %s %% of %d probes", percent(p.Part), p.Probes)
		if p.Failing > 0 {
			fmt.Fprintf(e.Out, "; partitions that fail now: %d, see `pegasus table availability`", p.Failing)
		}
		fmt.Fprintln(e.Out)
	}
	_, err := fmt.Fprintf(e.Out, "cluster %s: %d of %d meta servers answer, %d of %d replica servers live, %d tables, %d of %d partitions are healthy\n",
		Escape([]byte(s.Cluster)), s.MetasUp, s.Metas, s.Alive, s.Servers, s.Tables, s.Healthy, s.Partitions)
	return err
}
