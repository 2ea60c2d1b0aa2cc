package backup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	files "pegasus/backup"
	"pegasus/base"
	"pegasus/blob"
	wire "pegasus/gen/backup"
	"pegasus/meta/state"
)

const (
	mostSweeps = 20 // of files in a row that somebody writes again
	mostClears = 16 // servers and partitions at a time that are told to end
)

// clean removes the files of a backup that is deleted, or wasn't completed.
func (s *Service) clean(ctx context.Context, j *job) {
	for pause := s.o.Poll; ; pause = min(2*pause, mostRest) {
		b, ok := s.backup(j.id)
		if !ok || !b.Cleaning && !b.Deleting {
			return
		}
		err := s.remove(ctx, &b)
		if ended(ctx) {
			return
		}
		if errors.Is(err, errFailed) { // nobody can get there any more
			s.log(&b).WithError(err).Warnf("the files of the backup in %s stay where they are", location(&b))
			err = nil
		}
		if err == nil {
			if s.leader.Apply(&state.CleanedBackup{ID: b.ID}).Err == base.ErrOK {
				s.log(&b).Infof("the files of the backup are removed: %s of %s", location(&b), b.Provider)
			}
			return
		}
		s.log(&b).WithError(err).Warn("the files of the backup can't be removed")
		s.setWaiting(j, "its files can't be removed: "+err.Error())
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// remove removes a backup's files, until none is left and nobody writes one any more.
func (s *Service) remove(ctx context.Context, b *state.Backup) error {
	store, err := s.store(ctx, b.Provider)
	if err != nil {
		return err
	}
	for range mostSweeps {
		if b.Status != state.BackupCompleted {
			if err := s.clearAll(ctx, b); err != nil {
				return err
			}
		}
		if err := files.Delete(ctx, store, location(b)); err != nil && !errors.Is(err, blob.ErrNotFound) {
			return err
		}
		if b.Status == state.BackupCompleted {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(s.o.Settle):
		}
		switch list, err := store.List(ctx, location(b).Dir()); {
		case errors.Is(err, blob.ErrNotFound), err == nil && len(list) == 0:
			return nil
		case err != nil:
			return err
		}
	}
	return fmt.Errorf("files are still being written in %s of blob store %s", location(b), b.Provider)
}

// clearAll has every server end that may write a part of a backup. When it returns nil none writes any more, but those that
// nobody reaches, which give up by themselves.
func (s *Service) clearAll(ctx context.Context, b *state.Backup) error {
	alive := map[base.RPCAddress]bool{}
	for _, n := range s.leader.Nodes() {
		alive[n.Addr] = n.Alive
	}
	type order struct {
		to base.RPCAddress
		g  base.Gpid
	}
	var orders []order
	s.leader.Read(func(st *state.State) {
		for _, t := range b.Tables {
			is := st.Table(t.ID)
			if is == nil {
				continue
			}
			for i := range is.Parts {
				for _, a := range append(is.Parts[i].AppendMembers(nil), is.Parts[i].LastDrops...) {
					if alive[a] {
						orders = append(orders, order{a, base.Gpid{AppID: t.ID, PartitionIndex: int32(i)}})
					}
				}
			}
		}
	})
	var g errgroup.Group
	g.SetLimit(mostClears)
	for _, o := range orders {
		g.Go(func() error {
			call, cancel := context.WithTimeout(ctx, callTimeout)
			defer cancel()
			var r wire.BackupResponse
			if err := s.leader.Call(call, o.to, base.RPCClearColdBackup, &wire.BackupClearRequest{Pid: o.g, PolicyName: policyOf(b)}, &r); err != nil {
				s.log(b).WithError(err).Warnf("server %v doesn't say that it writes nothing of partition %v any more", o.to, o.g)
				return nil
			}
			if r.Err == base.ErrBusy {
				return fmt.Errorf("server %v still writes partition %v", o.to, o.g)
			}
			return nil
		})
	}
	return g.Wait()
}
