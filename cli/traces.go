package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"pegasus/base"
	"pegasus/remotecmd/answer"
)

// Traced says which traces are shown.
type Traced struct {
	ID      string
	Slowest bool
	Count   int
}

func (t Traced) args() []string {
	switch {
	case t.ID != "":
		return []string{"id", t.ID}
	case t.Slowest:
		return []string{"slowest", strconv.Itoa(t.Count)}
	}
	return []string{"last", strconv.Itoa(t.Count)}
}

// traces asks servers for their traces, and puts those of all together: with the same id the primary's is
// before those of the secondaries.
func (s Servers) traces(ctx context.Context, list []server, t Traced) ([]answer.Trace, error) {
	all := askEach(list, func(x server) (a answer.Traces, err error) {
		text, err := s.Client.Admin().RemoteCommand(ctx, x.Addr, "replica.traces", t.args()...)
		if err != nil {
			return a, err
		}
		if strings.HasPrefix(text, "unknown command '") {
			return a, fmt.Errorf("%s keeps no traces: it is no replica server, or of an older version: %w", x.Addr, base.ErrHandlerNotFound)
		}
		if a, err = answer.Read[answer.Traces](x.Addr, "replica.traces", text); err == nil && a.Error != "" {
			err = fmt.Errorf("%s: %s: %w", x.Addr, a.Error, base.ErrInvalidParameters)
		}
		return a, err
	})
	var out []answer.Trace
	for _, a := range all {
		out = append(out, a.got.Traces...)
	}
	slices.SortStableFunc(out, func(x, y answer.Trace) int {
		switch {
		case t.ID != "":
			return cmp.Or(cmp.Compare(x.Role, y.Role), x.Time.Compare(y.Time)) // primary, secondary
		case t.Slowest:
			return cmp.Compare(y.Took, x.Took)
		}
		return y.Time.Compare(x.Time)
	})
	if t.ID == "" && len(out) > t.Count {
		out = out[:t.Count]
	}
	return out, silent(all)
}

// Traces shows traces that replica servers keep.
func (s Servers) Traces(ctx context.Context, w Which, t Traced) error {
	if len(w.Addrs) == 0 {
		w.Replicas = true
	}
	list, err := s.find(ctx, w)
	if err != nil {
		return err
	}
	traces, err := s.traces(ctx, list, t)
	if len(traces) == 0 && err == nil && t.ID != "" {
		return fmt.Errorf("no server has a trace with id %s any more: each keeps the last and the slowest ones: %w", t.ID, base.ErrObjectNotFound)
	}
	if s.JSON {
		if traces == nil {
			traces = []answer.Trace{}
		}
		if jerr := s.json(traces); jerr != nil {
			return jerr
		}
		return err
	}
	for i := range traces {
		printTrace(s.Out, &traces[i])
	}
	return err
}

// ShowTraces writes the traces of what was done under an id to out.
func (e *Env) ShowTraces(ctx context.Context, id string, out io.Writer) error {
	s := Servers{e}
	list, err := s.find(ctx, Which{Replicas: true})
	if err != nil {
		return err
	}
	// A secondary keeps its trace once its acknowledgement has left, which may be a moment after the answer did.
	traces, err := s.traces(ctx, list, Traced{ID: id})
	if err != nil && len(traces) == 0 {
		return err
	}
	if e.JSON {
		return json.NewEncoder(out).Encode(traces)
	}
	if len(traces) == 0 {
		fmt.Fprintln(out, "no server has traced it: they are of an older version, or the request failed on its way")
	}
	for i := range traces {
		printTrace(out, &traces[i])
	}
	return nil
}

// printTrace writes a trace for people.
func printTrace(w io.Writer, t *answer.Trace) {
	what := []string{"trace " + t.ID, t.Role + " " + t.Server, "partition " + t.Partition}
	if t.Table != "" {
		what[2] += " of table " + Escape([]byte(t.Table))
	}
	if t.Op != "" {
		what = append(what, t.Op+" from "+t.From)
	}
	if t.Decree != 0 {
		what = append(what, fmt.Sprintf("decree %d", t.Decree))
	}
	fmt.Fprintf(w, "%s: %s, took %v\n", t.Time.Format("2006-01-02 15:04:05.000"), strings.Join(what, ", "), sinceThen(t.Took))
	before := 0.0
	for _, s := range t.Stages {
		by := ""
		if s.Server != "" {
			if by = " by " + s.Server; s.What == "sent" {
				by = " to " + s.Server
			} else if s.What == "heard" {
				by = " from " + s.Server
			}
		}
		fmt.Fprintf(w, "  %10v  +%-10v %s%s\n", sinceThen(s.At), sinceThen(s.At-before), s.What, by)
		before = s.At
	}
	if t.Error != "" {
		fmt.Fprintf(w, "  %s\n", t.Error)
	}
}

// sinceThen is a number of seconds for people.
func sinceThen(seconds float64) time.Duration {
	return time.Duration(seconds * 1e9).Round(time.Microsecond)
}
