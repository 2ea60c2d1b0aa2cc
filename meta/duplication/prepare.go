package duplication

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"pegasus/base"
	"pegasus/base/version"
	"pegasus/client"
	"pegasus/meta/state"
	"pegasus/rpc"
)

// prepareTime bounds the making of a table in another cluster, which waits until it is whole.
const prepareTime = 30 * time.Second

// prepare begins to make the tables of duplications that are to begin with a copy.
func (s *Service) prepare(ctx context.Context, wg *sync.WaitGroup) {
	type wanted struct {
		state.Duplication
		partitions int
		envs       []state.Env
	}
	var list []wanted
	s.Read(func(st *state.State) {
		for _, d := range st.Duplications() {
			if t := st.Table(d.Table); d.Status == state.DupPrepare && t.Status == state.Available {
				list = append(list, wanted{d, len(t.Parts), t.Envs})
			}
		}
	})
	for _, w := range list {
		k := key{w.Table, w.ID}
		s.mu.Lock()
		busy := s.preparing[k]
		s.preparing[k] = true
		s.mu.Unlock()
		if busy {
			continue
		}
		wg.Go(func() {
			made, err := s.makeRemote(ctx, &w.Duplication, w.partitions, w.envs)
			if err == nil && made != 0 {
				err = s.noteMade(&w.Duplication, made)
			}
			if err == nil {
				if res := s.Apply(&state.ModifyDuplication{Table: w.Table, ID: w.ID, Status: state.DupApp}); res.Err != base.ErrOK && res.Err != base.ErrObjectNotFound {
					err = fmt.Errorf("note that the table is there: %w", res.Err)
				}
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.preparing, k)
			delete(s.problems, k)
			if err != nil && ctx.Err() == nil {
				s.problems[k] = err.Error()
				s.Log().Warnf("duplication %d of table %d: %v", w.ID, w.Table, err)
			}
		})
	}
}

// passedOn tells whether a setting goes to the table in the other cluster. Who may use a table, and what
// it is a copy of, is a cluster's own.
func passedOn(env string) bool {
	return !strings.HasPrefix(env, "duplication.") && !strings.HasPrefix(env, "restore.") && env != "replica.deny_client_request"
}

// noteMade notes the table that was made for a duplication: nothing but what is sent is in it.
func (s *Service) noteMade(d *state.Duplication, id int32) error {
	known := false
	s.Read(func(st *state.State) { known = st.Version().Allows(version.RemoteTables) })
	if !known {
		return nil
	}
	if res := s.Apply(&state.NoteRemoteTable{Table: d.Table, ID: d.ID, RemoteID: id, Made: true}); res.Err != base.ErrOK && res.Err != base.ErrObjectNotFound {
		return fmt.Errorf("note which table was made: %w", res.Err)
	}
	return nil
}

// makeRemote makes the table in the other cluster, unless it is there. made is the table's id if it is certain that it was
// made now, else 0.
func (s *Service) makeRemote(ctx context.Context, d *state.Duplication, partitions int, envs []state.Env) (made int32, err error) {
	metas, number, ok := s.opt.Remote(d.Remote)
	if !ok || len(metas) == 0 {
		return 0, fmt.Errorf("the meta servers of cluster %s are not known: write clusters.%s.meta_servers in the configuration of this cluster's servers: %w", d.Remote, d.Remote, base.ErrInvalidParameters)
	}
	ctx, cancel := context.WithTimeout(ctx, prepareTime)
	defer cancel()
	c := client.New(metas, client.Options{Framing: rpc.RDSN, Log: s.Log()})
	defer c.Close()
	who, err := s.identify(ctx, metas)
	if err != nil {
		return 0, fmt.Errorf("cluster %s: %w", d.Remote, err)
	}
	if why := s.mistaken(ctx, who, d.Remote, number, nil); why != "" {
		return 0, fmt.Errorf("cluster %s: %s: %w", d.Remote, why, base.ErrInvalidParameters)
	}
	_, err = c.Table(ctx, d.RemoteTable)
	var refused *client.AdminError
	switch {
	case err == nil:
		return 0, nil
	case !errors.As(err, &refused) || refused.Code != base.ErrObjectNotFound:
		return 0, fmt.Errorf("look for table %q in cluster %s: %w", d.RemoteTable, d.Remote, err)
	}
	var o client.CreateOptions // not SuccessIfExists: who finds a table hasn't made it
	for _, e := range envs {
		if passedOn(e.Key) {
			o.Envs = append(o.Envs, e)
		}
	}
	made, err = c.Admin().CreateTable(ctx, d.RemoteTable, partitions, int(d.RemoteReplicas), o)
	switch {
	case err == nil:
		return made, nil
	case errors.As(err, &refused) && refused.Code == base.ErrAppExist:
		return 0, nil // by another, or by an attempt whose answer was lost
	}
	return 0, fmt.Errorf("create table %q in cluster %s: %w", d.RemoteTable, d.Remote, err)
}
