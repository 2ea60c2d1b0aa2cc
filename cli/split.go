package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pegasus/base"
	"pegasus/gen/metadata"
	"pegasus/gen/split"
)

// Split are the arguments of `table split`.
type Split struct {
	Name                          string
	Pause, Resume, Cancel, Status bool
	Wait                          time.Duration // for the end of a split that is begun; 0: don't
}

type splitJSON struct {
	Name string `json:"name"`
	// Partitions is how many the table will have, or has.
	Partitions int32 `json:"partitions"`
	Splitting  bool  `json:"splitting"`
	// Left are those that are still to be split, Paused how many of them don't go on.
	Left   int    `json:"left"`
	Paused int    `json:"paused"`
	Why    string `json:"why,omitempty"`
}

func (s *splitJSON) text() string {
	switch {
	case !s.Splitting:
		return fmt.Sprintf("table %s is not being split, it has %d partitions", Escape([]byte(s.Name)), s.Partitions)
	case s.Paused > 0:
		return fmt.Sprintf("table %s is being split to %d partitions: %d of %d are done, %d are paused", Escape([]byte(s.Name)), s.Partitions, int(s.Partitions)/2-s.Left, s.Partitions/2, s.Paused)
	}
	t := fmt.Sprintf("table %s is being split to %d partitions: %d of %d are done", Escape([]byte(s.Name)), s.Partitions, int(s.Partitions)/2-s.Left, s.Partitions/2)
	if s.Why != "" {
		t += " (" + s.Why + ")"
	}
	return t
}

// splitState asks how far a split is.
func splitState(ctx context.Context, e *Env, name string) (*splitJSON, error) {
	s := &splitJSON{Name: name}
	q, err := e.Client.Admin().QuerySplit(ctx, name)
	switch {
	case errors.Is(err, base.ErrInvalidState):
		cfg, err := e.Client.Admin().QueryConfig(ctx, name)
		if err != nil {
			return nil, err
		}
		s.Partitions = cfg.PartitionCount
		return s, nil
	case err != nil:
		return nil, err
	}
	s.Splitting, s.Partitions, s.Left, s.Why = true, q.NewPartitionCount, len(q.Status), q.HintMsg.V
	for _, p := range q.Status {
		if p.Val == metadata.PAUSED {
			s.Paused++
		}
	}
	return s, nil
}

// TableSplit doubles the partitions of a table, or does something with a split that is under way.
func (e *Env) TableSplit(ctx context.Context, a Split) error {
	adm := e.Client.Admin()
	is, err := splitState(ctx, e, a.Name)
	if err != nil {
		return err
	}
	switch {
	case a.Status || e.DryRun && (a.Pause || a.Resume || a.Cancel):
		return e.print(is, "%s", is.text())
	case a.Pause || a.Resume || a.Cancel:
		do, former, what := split.PAUSE, int32(0), "is paused"
		if a.Resume {
			do, what = split.RESTART, "goes on"
		}
		if a.Cancel {
			do, former, what = split.CANCEL, is.Partitions/2, "is canceled"
		}
		if err := adm.ControlSplit(ctx, a.Name, do, -1, former); err != nil {
			return err
		}
		if is, err = splitState(ctx, e, a.Name); err != nil {
			return err
		}
		return e.print(is, "the split of table %s %s", Escape([]byte(a.Name)), what)
	case is.Splitting:
		return fmt.Errorf("%s: see `pegasus table split %s --status`", is.text(), a.Name)
	}
	if e.DryRun {
		return e.would(map[string]any{"name": a.Name, "partitions": 2 * is.Partitions, "was": is.Partitions}, "table %s is split to %d partitions, now: %d", Escape([]byte(a.Name)), 2*is.Partitions, is.Partitions)
	}
	if err := adm.StartSplit(ctx, a.Name, 2*is.Partitions); err != nil {
		return err
	}
	if a.Wait == 0 {
		if is, err = splitState(ctx, e, a.Name); err != nil {
			return err
		}
		return e.print(is, "%s", is.text())
	}
	err = e.watch(ctx, a.Wait, fmt.Sprintf("the split goes on; see `pegasus table split %s --status`", a.Name), func() (string, bool, error) {
		now, err := splitState(ctx, e, a.Name)
		if err != nil {
			return "", false, err
		}
		is = now
		return e.meter(int64(now.Partitions)/2-int64(now.Left), int64(now.Partitions)/2) + now.text(), !now.Splitting, nil
	})
	if err != nil {
		return err
	}
	return e.print(is, "table %s has %d partitions", Escape([]byte(a.Name)), is.Partitions)
}
