package backup

import (
	"context"
	"errors"
	"fmt"
	"time"

	files "pegasus/backup"
	"pegasus/base"
	"pegasus/blob"
	"pegasus/gen/layer2"
	"pegasus/meta/state"
	metawire "pegasus/meta/wire"
)

const (
	mostAttempts = 10 // in a row in which nothing goes on, until a backup fails
	mostRest     = time.Minute
	mostReason   = 2000 // bytes of the text why a backup failed
)

// drive drives a backup from where it is to its end. It returns early if the meta doesn't lead any more, or the backup was
// cancelled.
func (s *Service) drive(ctx context.Context, j *job) {
	b, ok := s.backup(j.id)
	if !ok || !b.Running() {
		return
	}
	last, best := time.Now(), int64(0) // when it was further than ever before
	for attempts, pause := 0, s.o.Poll; ; pause = min(2*pause, mostRest) {
		began := last
		err := s.attempt(ctx, j, func(total int64) (on bool) {
			if on = total > best; on {
				last, best = time.Now(), total
			}
			return on
		})
		if ended(ctx) {
			return
		}
		if err == nil {
			return
		}
		if !last.Equal(began) {
			attempts, pause = 0, s.o.Poll
		}
		attempts++
		s.log(&b).WithError(err).Warn("the backup doesn't go on")
		if attempts >= mostAttempts || errors.Is(err, errFailed) || time.Since(last) >= s.o.Patience {
			s.fail(&b, err)
			return
		}
		s.setWaiting(j, err.Error())
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// fail ends a backup that can't be completed.
func (s *Service) fail(b *state.Backup, err error) {
	why := err.Error()
	if len(why) > mostReason {
		why = why[:mostReason] + "..."
	}
	s.log(b).WithError(err).Error("the backup failed; its files are removed")
	s.leader.Apply(&state.EndBackup{ID: b.ID, Status: state.BackupFailed, Now: s.nowMS(), Why: why})
}

// attempt does all of a backup that isn't done yet. moved is told how far all is, and tells whether that is
// further than ever.
func (s *Service) attempt(ctx context.Context, j *job, moved func(total int64) bool) error {
	b, ok := s.backup(j.id)
	if !ok || !b.Running() {
		return nil
	}
	store, err := s.store(ctx, b.Provider)
	if err != nil {
		return err
	}
	impatient, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	patience := time.AfterFunc(s.o.Patience, func() {
		cancel(fmt.Errorf("nothing went on for %v%s: %w", s.o.Patience, s.waitingText(j), errFailed))
	})
	defer patience.Stop()
	progress := func(total int64) {
		if moved(total) {
			patience.Reset(s.o.Patience)
		}
	}
	u := s.newUpload(j, &b, func(ctx context.Context, table int) error { return s.finishTable(ctx, store, &b, table) })
	for i := range b.Tables {
		if b.Tables[i].Done {
			u.skip(i)
			continue
		}
		if why, err := s.beginTable(impatient, store, &b, i); err != nil {
			return orCause(impatient, err)
		} else if why != "" {
			u.gone[i] = why
			continue
		}
		u.add(i)
	}
	if err := u.run(impatient, progress); err != nil {
		return orCause(impatient, err)
	}
	for i, why := range u.gone {
		if why == "" {
			continue
		}
		if b.Policy == "" {
			return fmt.Errorf("%s while it was backed up: %w", why, errFailed)
		}
		// It is noted last: whoever goes on after a crash removes what is left of the table.
		if t := location(&b).Table(b.Tables[i].Name, b.Tables[i].ID); t.Check() == nil {
			if err := store.DeleteTree(impatient, t.Dir()); err != nil && !errors.Is(err, blob.ErrNotFound) {
				return orCause(impatient, err)
			}
		}
		if err := s.note(&state.NoteBackupTable{ID: b.ID, Table: b.Tables[i].ID, Skipped: why}); err != nil {
			return err
		}
	}
	return orCause(impatient, s.complete(impatient, store, b.ID))
}

// orCause is err, or why ctx ended if that is what it says.
func orCause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); err != nil && errors.Is(cause, errFailed) {
		return cause
	}
	return err
}

// waitingText is what a job waits for, in words.
func (s *Service) waitingText(j *job) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(j.waiting) == 0 {
		return ""
	}
	return ": " + j.waiting[0]
}

// store returns the store of a provider. One that the configuration doesn't have, or can't have, won't
// come.
func (s *Service) store(ctx context.Context, provider string) (*blob.Store, error) {
	store, err := s.o.Stores.Get(ctx, provider)
	if errors.Is(err, blob.ErrNotFound) || errors.Is(err, blob.ErrInvalid) {
		return nil, fmt.Errorf("%w: %w", err, errFailed)
	}
	return store, err
}

// beginTable writes what a table is, under the name and with the partitions that it had when the backup began. why: it can't be
// backed up any more.
func (s *Service) beginTable(ctx context.Context, store *blob.Store, b *state.Backup, i int) (why string, err error) {
	var info layer2.AppInfo
	s.leader.Read(func(st *state.State) {
		if why = missing(st, &b.Tables[i]); why == "" {
			info = metawire.AppInfo(st.Table(b.Tables[i].ID))
		}
	})
	if why != "" {
		return why, nil
	}
	if err := location(b).Table(b.Tables[i].Name, b.Tables[i].ID).Check(); err != nil {
		return fmt.Sprintf("table %.200q (%d) can't be in a backup: %v", b.Tables[i].Name, b.Tables[i].ID, err), nil
	}
	info.AppName, info.PartitionCount, info.Envs = b.Tables[i].Name, b.Tables[i].Partitions, nil
	return "", files.WriteTable(ctx, store, location(b), &info)
}

// finishTable ends a table whose partitions are all there.
func (s *Service) finishTable(ctx context.Context, store *blob.Store, b *state.Backup, i int) error {
	t, why := &b.Tables[i], ""
	// All partitions were written before.
	if s.leader.Read(func(st *state.State) { why = missing(st, t) }); why != "" {
		return fmt.Errorf("%s, while it was backed up", why)
	}
	m, err := files.FinishTable(ctx, store, location(b).Table(t.Name, t.ID), t.Partitions)
	switch {
	case errors.Is(err, files.ErrIncomplete):
		return fmt.Errorf("replica servers say that they have written table %s, and this meta server doesn't see it: blob store %s (%s) has to be the same place on all servers, such as one mounted directory: %w", t.Name, b.Provider, store.Where(), err)
	case err != nil:
		return err
	}
	return s.note(&state.NoteBackupTable{ID: b.ID, Table: t.ID, Bytes: m.Bytes})
}

// note commits what happened to a backup that runs.
func (s *Service) note(c state.Command) error {
	if code := s.leader.Apply(c).Err; code != base.ErrOK {
		return fmt.Errorf("note how far the backup is: %w", code)
	}
	return nil
}

// complete writes what makes a backup complete, and ends it.
func (s *Service) complete(ctx context.Context, store *blob.Store, id int64) error {
	b, ok := s.backup(id)
	if !ok || !b.Running() {
		return nil
	}
	tables, why := map[int32]string{}, ""
	for _, t := range b.Tables {
		switch {
		case !t.Done:
			return fmt.Errorf("table %s (%d) isn't done", t.Name, t.ID)
		case t.Skipped == "":
			tables[t.ID] = t.Name
		default:
			why = t.Skipped
		}
	}
	if len(tables) == 0 {
		return fmt.Errorf("none of its tables can be in it, the last one because %s: %w", why, errFailed)
	}
	now := max(s.nowMS(), b.Began)
	if err := files.Finish(ctx, store, location(&b), files.NewInfo(b.ID, b.Began, now, tables)); err != nil {
		return err
	}
	if err := s.note(&state.EndBackup{ID: b.ID, Status: state.BackupCompleted, Now: now}); err != nil {
		return err
	}
	s.log(&b).Infof("the backup is complete: %d tables in %s of %s, after %v", len(tables), location(&b), b.Provider, time.Duration(now-b.Began)*time.Millisecond)
	return nil
}
