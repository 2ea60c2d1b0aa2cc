package inplace

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/cppdata"
	"pegasus/migrate/dirs"
	"pegasus/replica/disk"
	"pegasus/replica/stored"
	"pegasus/replica/wal"
	"pegasus/rrdb"
	"pegasus/rrdb/engine"
)

// Options say what is made.
type Options struct {
	Servers    []Server
	Config     *config.Config // that the servers are to have
	Replicas   int            // of the tables; 0: as many as they had
	Partitions int            // that are made at the same time; 0: 4
	AcceptLoss bool           // take what is there
	Now        time.Time
	Log        *logrus.Entry
	Progress   func(Progress)
}

// Progress tells how far it is.
type Progress struct {
	Done, Partitions int
	Rows             int64
	Bytes, AllBytes  int64 // of C++ files, of the partitions that are done and of all
}

// Made is what became of a table.
type Made struct {
	Table      string   `json:"table"`
	To         string   `json:"to"`
	ID         int32    `json:"id"`
	Partitions int      `json:"partitions"`
	Before     int      `json:"partitions_before"` // that were made by an earlier run
	Replicas   int      `json:"replicas"`
	Rows       int64    `json:"rows"`
	Expired    int64    `json:"expired"` // rows that were left out
	Foreign    int64    `json:"foreign"` // likewise, of other partitions
	Settings   []string `json:"settings,omitempty"`
	Unset      []string `json:"unset,omitempty"` // settings that aren't taken, and why
	Lacking    []string `json:"lacking,omitempty"`
}

// besides may be in a data directory that counts as empty: what C++ servers keep below the same path, and file systems at their root.
var besides = []string{"replica", "lost+found"}

// Stores are made one by one, of table files that are written once: little memory is enough.
const (
	cacheBytes    = 32 << 20
	memtableBytes = 64 << 20
	openFiles     = 512
)

// job is a run.
type job struct {
	o      *Options
	parts  []*part
	places []*place
	open   map[*place]*disk.Set
	shared *rrdb.Shared

	mu   sync.Mutex
	at   Progress
	made map[int32]*Made // by table
}

// Make makes the data directories. What it returns with an error is what was done.
func Make(ctx context.Context, p *dirs.Plan, o Options) (all []Made, err error) {
	if err := p.Whole(); err != nil && !(o.AcceptLoss && errors.As(err, new(*dirs.Lacking))) {
		return nil, err
	}
	if err := checkServers(o.Servers); err != nil {
		return nil, err
	}
	if err := apart(p.Found.Replicas, o.Servers); err != nil {
		return nil, err
	}
	j := &job{o: &o, open: map[*place]*disk.Set{}, made: map[int32]*Made{}}
	j.parts, j.places = lay(p.Tables, o.Servers, o.Replicas)
	j.at.Partitions = len(j.parts)
	for i := range p.Tables {
		t := &p.Tables[i]
		m := &Made{Table: t.Name, To: t.To, ID: t.ID, Partitions: len(t.Parts), Replicas: min(copies(t, o.Replicas), len(o.Servers)), Lacking: t.Lacking()}
		take, unset := t.Settings()
		for _, e := range take {
			m.Settings = append(m.Settings, e.Key+"="+e.Val)
		}
		m.Unset, j.made[t.ID] = unset, m
	}
	for _, p := range j.parts {
		j.at.AllBytes += p.bytes
	}
	err = j.run(ctx, stored.Mark{Job: j.id(p), What: what(p, &o)})
	for i := range p.Tables {
		m := j.made[p.Tables[i].ID]
		slices.Sort(m.Lacking)
		m.Lacking = slices.Compact(m.Lacking)
		all = append(all, *m)
	}
	return all, err
}

// checkServers says what is wrong with the servers as such.
func checkServers(servers []Server) error {
	if len(servers) == 0 {
		return errors.New("there is no server whose directories are to be made")
	}
	addrs, paths := map[base.RPCAddress]bool{}, map[string]bool{}
	for _, s := range servers {
		if addrs[s.Addr] {
			return fmt.Errorf("server %v is named twice", s.Addr)
		}
		addrs[s.Addr] = true
		tags := map[string]bool{}
		for _, d := range s.Dirs {
			path, err := filepath.Abs(d.Path)
			if err != nil {
				return err
			}
			if paths[path] || tags[d.Tag] {
				return fmt.Errorf("directory %s (%s) is named twice", d.Path, d.Tag)
			}
			paths[path], tags[d.Tag] = true, true
		}
		if len(s.Dirs) == 0 {
			return fmt.Errorf("server %v has no data directory", s.Addr)
		}
	}
	return nil
}

// apart returns an error if a data directory is among those of the C++ replicas.
func apart(from []cppdata.Place, servers []Server) error {
	reps := map[string]bool{}
	for _, r := range from {
		path, err := filepath.Abs(r.Path)
		if err != nil {
			return err
		}
		reps[path], reps[filepath.Dir(path)] = true, true
	}
	for _, s := range servers {
		for _, d := range s.Dirs {
			path, err := filepath.Abs(d.Path)
			if err != nil {
				return err
			}
			for at := path; at != filepath.Dir(at); at = filepath.Dir(at) {
				if reps[at] {
					return fmt.Errorf("data directory %s is in %s, which is of a C++ server: give another one", d.Path, at)
				}
			}
		}
	}
	return nil
}

// path is where a data directory is.
func (j *job) path(p *place) string { return j.o.Servers[p.server].Dirs[p.dir].Path }

func (j *job) run(ctx context.Context, m stored.Mark) error {
	left := map[*place]bool{} // those that aren't complete
	for _, p := range j.places {
		is, err := stored.Fill(j.path(p), m, besides...)
		if err != nil {
			return err
		}
		if !is {
			left[p] = true
		}
	}
	if err := j.remember(); err != nil {
		return err
	}
	if len(left) < len(j.places) { // so all partitions were there, and a server may be running on one
		for _, p := range j.parts {
			if err := j.still(p, left); err != nil {
				return err
			}
		}
		for _, p := range j.parts {
			j.before(p)
		}
	} else if err := j.fill(ctx); err != nil {
		return err
	}
	for _, p := range j.places {
		if err := stored.Complete(j.path(p)); err != nil {
			return err
		}
	}
	return nil
}

// still returns an error if a partition is gone from a directory: that was emptied since, or its disk isn't mounted.
// It isn't made again: servers may have gone on with the others.
func (j *job) still(p *part, left map[*place]bool) error {
	for _, at := range p.at {
		if d := (&disk.Dir{Path: j.path(at)}); left[at] && !d.Has(p.gpid()) {
			return fmt.Errorf("%sdata directory %s doesn't have it, and others are complete: it was emptied, or its disk isn't mounted. Mount it; or empty it and start its server, which gets replicas of the others; "+
				"or stop all servers, and empty all directories to begin anew", p.t.Partition(p.index), j.path(at))
		}
	}
	return nil
}

// fill makes all partitions that aren't there.
func (j *job) fill(ctx context.Context) (err error) {
	log := j.o.Log
	if log == nil {
		log = logrus.NewEntry(logrus.StandardLogger())
	}
	if j.shared, err = rrdb.NewShared(rrdb.SharedOptions{Logger: log, Engine: engine.Options{BlockCacheBytes: cacheBytes, MemtablesBytes: memtableBytes, OpenFiles: openFiles, Compactions: 1}}); err != nil {
		return err
	}
	defer j.shared.Close()
	defer func() {
		for _, s := range j.open {
			err = errors.Join(err, s.Close())
		}
	}()
	// Each by itself: of several a server remembers all when it makes the first, and then misses the others if it didn't come so far.
	c := j.o.Config
	ids := make([]string, len(j.o.Servers))
	for i, s := range j.o.Servers {
		ids[i] = disk.ServerID(s.Dirs)
	}
	for _, p := range j.places {
		s := j.o.Servers[p.server]
		if j.open[p], err = disk.Open(disk.Options{Dirs: s.Dirs[p.dir : p.dir+1], Cluster: c.Cluster.Name, Node: s.Addr.String(), Server: ids[p.server], MinFree: c.Replica.DiskMinSpace, Log: log,
			WAL: wal.Options{SegmentBytes: c.WAL.SegmentBytes, MaxBytes: c.WAL.MaxBytes, KeepBytes: c.WAL.KeepBytes}}, nil); err != nil {
			delete(j.open, p)
			return fmt.Errorf("server %v: %w", s.Addr, err)
		}
	}
	if err := j.fits(); err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(cmp.Or(j.o.Partitions, 4))
	for _, p := range j.parts {
		g.Go(func() error {
			if err := gctx.Err(); err != nil {
				return err
			}
			if err := j.make(gctx, p); err != nil {
				return fmt.Errorf("%s%w", p.t.Partition(p.index), err)
			}
			return nil
		})
	}
	return g.Wait()
}

// dir is an open data directory.
func (j *job) dir(p *place) *disk.Dir { return j.open[p].All()[0] }

// fits says which data directory is too small for what it doesn't have yet.
func (j *job) fits() error {
	need := map[*place]int64{}
	for _, p := range j.parts {
		for _, at := range p.at {
			if !j.dir(at).Has(p.gpid()) {
				need[at] += p.bytes
			}
		}
	}
	for _, at := range j.places {
		if err := j.open[at].Fits(j.dir(at), need[at]); err != nil {
			return err
		}
	}
	return nil
}

// before notes a partition that an earlier run made.
func (j *job) before(p *part) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.made[p.t.ID].Before++
	j.step(p)
}

// step tells that a partition is done. The caller holds mu.
func (j *job) step(p *part) {
	j.at.Done++
	j.at.Bytes += p.bytes
	if j.o.Progress != nil {
		j.o.Progress(j.at)
	}
}

// lacks notes that a partition isn't whole, as is found when its log is replayed, in a way that a later run finds it.
func (j *job) lacks(p *part, why error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	line := p.t.Partition(p.index) + why.Error()
	m := j.made[p.t.ID]
	if slices.Contains(m.Lacking, line) {
		return nil
	}
	m.Lacking = append(m.Lacking, line)
	return stored.Note(j.path(p.at[0]), p.gpid().String(), line) // whoever empties that directory has the partition made, and noted, again
}

// remember takes what earlier runs noted.
func (j *job) remember() error {
	for _, p := range j.parts {
		notes, err := stored.Notes(j.path(p.at[0]))
		if err != nil {
			return err
		}
		if line, ok := notes[p.gpid().String()]; ok {
			m := j.made[p.t.ID]
			m.Lacking = append(m.Lacking, line)
		}
	}
	return nil
}

// building is a store that is being made for a data directory.
type building struct {
	*rrdb.Builder
	d   *disk.Dir
	dir string
}

// make makes a partition where it isn't.
func (j *job) make(ctx context.Context, p *part) (err error) {
	g := p.gpid()
	var left []*disk.Dir
	for _, at := range p.at {
		if d := j.dir(at); !d.Has(g) {
			left = append(left, d)
		}
	}
	if len(left) == 0 {
		j.before(p)
		return nil
	}
	rows, err := j.rows(ctx, p)
	if err != nil {
		return err
	}
	defer func() {
		if rows != nil {
			err = errors.Join(err, rows.Close())
		}
	}()
	info := j.info(p)
	var bs []building
	for _, d := range left {
		b, e := j.begin(g, d, info)
		if e != nil {
			err = e
			break
		}
		bs = append(bs, b)
	}
	var expired, foreign int64
	if err == nil && rows != nil {
		expired, foreign, err = j.copy(ctx, p, rows, bs)
	}
	decree := int64(1) // of a partition that nothing was written to, and of one that is lost
	if b := p.t.Parts[p.index].Best; b != nil {
		decree = max(1, b.Decree)
	}
	for _, b := range bs {
		if err == nil {
			err = b.Finish(ctx, decree, min(max(b.Newest(), 1), j.o.Now.UnixMicro()))
		}
		if err == nil {
			err = stored.Place(b.d, g, b.dir, j.member(info, b.d == j.dir(p.first)), decree)
		}
		if err != nil {
			err = errors.Join(err, b.Abort())
		}
	}
	if err != nil {
		return err
	}
	n, _ := bs[0].Rows()
	j.mu.Lock()
	defer j.mu.Unlock()
	m := j.made[p.t.ID]
	m.Rows, m.Expired, m.Foreign = m.Rows+n, m.Expired+expired, m.Foreign+foreign
	j.at.Rows += n
	j.step(p)
	return nil
}

// rows opens the rows of a partition; nil: it is lost, which was accepted.
func (j *job) rows(ctx context.Context, p *part) (*cppdata.Rows, error) {
	of := &p.t.Parts[p.index]
	switch {
	case of.Best == nil && j.o.AcceptLoss:
		return nil, nil
	case !of.Whole() && !j.o.AcceptLoss:
		return nil, &dirs.Lacking{What: []string{p.t.Partition(p.index)}}
	}
	whole := of.Best.Err == nil
	rows, err := of.Best.Rows(ctx, nil, j.o.AcceptLoss)
	if err != nil {
		return nil, err
	}
	if why := of.Best.Err; whole && why != nil {
		if err := j.lacks(p, why); err != nil {
			return nil, errors.Join(err, rows.Close())
		}
	}
	return rows, nil
}

// info is what the replicas of a partition know in common.
func (j *job) info(p *part) *stored.Info {
	in := &p.t.Info
	i := &stored.Info{AppName: p.t.To, AppID: p.t.ID, Partition: int32(p.index), Partitions: p.t.Partitions, MaxReplica: int32(copies(p.t, j.o.Replicas)),
		Ballot: 1, Store: 1, Envs: map[string]string{}, Atomic: in.AtomicIdempotent.Or(false), Created: in.CreateSecond, Made: j.o.Now.UnixMilli()}
	take, _ := p.t.Settings()
	for _, e := range take {
		i.Envs[e.Key] = e.Val
	}
	of := &p.t.Parts[p.index]
	for _, r := range of.All {
		i.Ballot = max(i.Ballot, r.Ballot) // also that of a learner that lacks rows
	}
	if of.Best != nil {
		i.Compacted = of.Best.Meta.CompactFinish
	}
	return i
}

// member is what one of the replicas knows of itself. One of them has been in a configuration of its own, behind all that C++ servers had, so that a recovery has that
// lead: not the same server in all partitions, as of replicas that don't differ.
func (j *job) member(info *stored.Info, first bool) *stored.Info {
	i := *info
	i.Member = i.Ballot
	i.Ballot++
	if first {
		i.Member = i.Ballot
	}
	return &i
}

// begin begins a store, in a place where nothing is left of one that was begun before.
func (j *job) begin(g base.Gpid, d *disk.Dir, info *stored.Info) (b building, err error) {
	b.d, b.dir = d, filepath.Join(d.Scratch(), "inplace."+g.String())
	if err := errors.Join(vfs.Default.RemoveAll(b.dir), vfs.Default.MkdirAll(b.dir, 0o755)); err != nil {
		return b, err
	}
	o := stored.Options(&j.o.Config.Storage)
	o.Dir, o.Shared, o.Gpid, o.Tuning, o.Logger = stored.StorePath(b.dir, info.Store), j.shared, g, rrdb.TuningOf(info.Envs), j.o.Log
	b.Builder, err = rrdb.Build(o)
	return b, err
}

// copy adds the rows of a partition to its stores.
func (j *job) copy(ctx context.Context, p *part, rows *cppdata.Rows, to []building) (expired, foreign int64, err error) {
	cutoff := rrdb.ExpiryTime(j.o.Now.Add(-j.o.Config.Storage.SweepDelay.D()))
	for n := 0; rows.Next(); n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return expired, foreign, ctx.Err()
		}
		r := rows.Row()
		switch {
		case len(r.Key) == 0:
			continue // what a C++ server leaves for an empty mutation
		case !rrdb.InPartition(r.Key, int32(p.index), p.t.Partitions):
			foreign++
			continue
		case r.Expired(cutoff):
			expired++
			continue
		}
		for _, b := range to {
			if err := b.Add(r.Key, r.ExpireTS, r.Timetag, r.Data); err != nil {
				return expired, foreign, err
			}
		}
	}
	return expired, foreign, rows.Err()
}
