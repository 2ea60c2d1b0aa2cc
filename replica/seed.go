package replica

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"pegasus/base"
	"pegasus/base/appenv"
	"pegasus/pacifica"
	"pegasus/replica/disk"
	"pegasus/replica/duplication/bootstrap"
	"pegasus/replica/part"
	"pegasus/replica/restore"
	"pegasus/replica/stored"
	"pegasus/replica/wal"
	"pegasus/rrdb"
)

// The first replica of a partition that is restored from a backup is made in a folder for scratch files, which is emptied when
// the server starts, and takes its place when it is complete. Package meta/restore has the plan.

func newRestorer(s *Server) part.Part {
	c := &s.cfg.Replica
	s.restorer = restore.New(restore.Options{Blobs: s.blobs, Concurrency: c.RestoreConcurrency, BytesPerSecond: c.RestoreRate,
		Report: s.meta.ReportRestore, DeleteTime: s.meta.Clock.DeleteTime, Now: s.meta.Clock.Now, Log: s.log})
	return s.restorer
}

// isNew tells that a replica took part in nothing yet: in no configuration, and under no ballot.
func isNew(v *view) bool { return v.Status == pacifica.Inactive && v.Ballot == 0 && v.info.Member == 0 }

// seedOf tells what the first replica of a partition is made of: a backup, or the same partition of the table in
// another cluster that this one follows.
func (s members) seedOf(g base.Gpid, info *replicaInfo) (j restore.Job, ok bool) {
	j = restore.Job{Gpid: g, Partitions: info.Partitions}
	if j.Of, ok = appenv.RestoreOf(info.Envs); ok {
		return j, true
	}
	master, ok := appenv.MasterOf(info.AppName, info.Envs)
	j.Open = func(ctx context.Context, p restore.Progress) (restore.Rows, error) {
		of := bootstrap.Source{Caller: s.pool, Master: master, Partition: g.PartitionIndex, Partitions: info.Partitions, Dir: s.copyDir(g), Total: p.Total, Copied: p.Read}
		rows, err := of.Open(ctx)
		if err != nil {
			return nil, err
		}
		return rows, nil
	}
	return j, ok
}

// copyDir is where the files of another cluster's replica are copied to.
func (s members) copyDir(g base.Gpid) string {
	return filepath.Join(s.disks.Pick(g.AppID).Scratch(), "copy."+g.String())
}

// restore makes a replica of a partition as a job says. The id is reserved.
func (s members) restore(g base.Gpid, info *replicaInfo, job restore.Job) (*replica, error) {
	d := s.disks.Pick(g.AppID)
	dir := filepath.Join(d.Scratch(), "restore."+g.String())
	store := stored.StorePath(dir, 1)
	job.Usable, job.Begin = d.Usable, func() (*rrdb.Builder, error) {
		if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil {
			return nil, err
		}
		return rrdb.Build(s.storeToBuild(g, store, info))
	}
	err := s.restorer.Make(s.ctx, job)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := s.place(g, d, dir, info); err != nil {
		err = errors.Join(fmt.Errorf("replica %v: put what was restored in its place: %w", g, err), os.RemoveAll(dir))
		s.restorer.Failed(s.ctx, g, err)
		return nil, err
	}
	r, err := s.openReplica(g, d, nil)
	if err != nil {
		s.noteBroken(g, d, err)
		s.restorer.Failed(s.ctx, g, err)
	}
	return r, err
}

// storeToBuild are the options of a store that is made for a replica.
func (s *Server) storeToBuild(g base.Gpid, dir string, info *replicaInfo) rrdb.Options {
	o := stored.Options(&s.cfg.Storage)
	o.Dir, o.Shared, o.Gpid, o.Server, o.Logger = dir, s.shared, g, s.name, s.log.WithField("replica", g.String())
	o.Tuning, o.Now = rrdb.TuningOf(info.Envs), s.meta.Clock.Now
	return o
}

// place makes a folder with a complete store the directory of a replica that took part in nothing yet. Its log begins
// behind what the store holds.
func (s *Server) place(g base.Gpid, d *disk.Dir, dir string, info *replicaInfo) error {
	info.Store, info.Seed, info.Ballot, info.Member = 1, restore.Decree, 0, 0
	info.Made = s.meta.Clock.Now().UnixMilli()
	return stored.Place(d, g, dir, info, restore.Decree)
}

// dropNew removes a replica that took part in nothing yet, and isn't of use.
func (s members) dropNew(r *replica, why string) {
	g := r.gpid
	if s.takeOut(g, func(is *replica) bool { return is == r && isNew(is.view.Load()) }) == nil {
		return
	}
	if err := r.close(); err != nil {
		s.log.Debugf("close of a replica that is to go: %v", err)
	}
	err := r.dir.Remove(g)
	if !r.dir.Has(g) {
		err = errors.Join(err, wal.Wait(func(done func(error)) { r.dir.Log().Drop(g, done) }))
	} else {
		s.noteBroken(g, r.dir.Dir, err)
	}
	s.endOpening(g, nil)
	if err != nil {
		s.log.Warnf("replica %v is to go, because %s: %v", g, why, err)
		return
	}
	s.log.Infof("replica %v is removed: %s", g, why)
}
