package disk

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"pegasus/base"
	"pegasus/remotecmd/answer"
	"pegasus/replica/retention"
	"pegasus/replica/wal"
)

// Host is the server whose data directories these are.
type Host interface {
	// Replicas returns the replicas that are here.
	Replicas() []Replica
	// Fail takes the replicas in d out of service, whose log failed with err.
	Fail(d *Dir, err error)
	// TakeOut removes the replicas in d from those that are here. It is not ok once the server
	// is being closed.
	TakeOut(d *Dir) (out Taken, ok bool)
	// Go runs f on a goroutine that the server waits for.
	Go(f func())
	// SyncSoon has the meta told soon what is here.
	SyncSoon()
	// DeleteTime is the time up to which something is old enough to be deleted for that; an
	// error: it isn't known.
	DeleteTime() (time.Time, error)
	// Broken returns the replicas that can't be used.
	Broken() map[base.Gpid]Broken
	// Opening tells whether a replica is being opened or closed.
	Opening(g base.Gpid) bool
	// Reopen opens a replica again that can't be used, and then tells done why that can't be.
	Reopen(g base.Gpid, b Broken, done func(error))
}

// Replica is a replica that is here.
type Replica struct {
	Gpid base.Gpid
	Dir  *Dir
	// Open is one that has a store and a core, Broken one that can't be used. One that failed
	// is both.
	Open, Broken bool
	// Holds are who keeps its part of the log.
	Holds []retention.Hold
	// Moving is how it is moved to another directory, nil if it isn't.
	Moving *answer.DiskMove
}

// Taken are replicas that were taken out. Their ids are reserved until Reopen or Leave.
type Taken interface {
	Len() int
	// Close closes those that are open.
	Close()
	// Reopen opens all, unless err says why they can't be; those that can't are broken. And it opens
	// of here, which are those in the directory, what the server didn't know of.
	Reopen(here []base.Gpid, err error)
	// Leave gives their ids up.
	Leave()
}

// Place is where a data directory is, and what operators call it.
type Place struct{ Tag, Path string }

// Options of Open.
type Options struct {
	Dirs    []Place
	Cluster string // the cluster's name
	Node    string // the address that the server is known by
	Server  string // the id of its data, for who opens its directories one by one (see ServerID); "": what they say
	Name    string // host:port that it is known by, if the host is a name; its address may then be another one than before

	Retry      time.Duration // until a log that failed is tried again
	TrashAge   time.Duration // 0: nothing is kept
	TrashRatio int           // percent of a disk that its trash may have

	// MinFree is how many percent of a disk must be free. Below, no replica is made there, and
	// with Reject writes are refused. Both can be changed.
	MinFree int
	Reject  bool

	// WAL are the options of the logs, but for what follows from the directory.
	WAL wal.Options
	// AfterBatch returns what the log of a directory calls after the callbacks of a batch. It is
	// called before the log is opened. May be nil.
	AfterBatch func(*Dir) func()
	// Added is called of a directory that was added, when it is open and before a replica is made
	// there. May be nil.
	Added func(*Dir)
	Log   *logrus.Entry
}

// EnsureDefaults fills what isn't set.
func (o *Options) EnsureDefaults() {
	if o.Log == nil {
		o.Log = logrus.NewEntry(logrus.StandardLogger())
	}
}

// Validate says what is wrong with the options.
func (o *Options) Validate() error {
	if len(o.Dirs) == 0 {
		return errors.New("replica.data_dirs is empty: name at least one directory")
	}
	return nil
}

// Set are the data directories of a server, as a Part of it.
type Set struct {
	o        Options
	host     Host
	log      *logrus.Entry
	identity *identity
	adding   sync.Mutex // held by who adds a directory
	list
	retries   retries
	minFree   atomic.Int64 // percent
	reject    atomic.Bool
	trashSeen time.Time // when the trash was last looked at; of Tick
}

// Open opens the data directories and their logs. After an error nothing is open.
func Open(o Options, host Host) (*Set, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	s := &Set{o: o, host: host, log: o.Log, identity: newIdentity(o.Cluster, o.Node, o.Name)}
	s.identity.is.Server = o.Server
	s.minFree.Store(int64(o.MinFree))
	s.reject.Store(o.Reject)
	places := s.identity.places(o.Dirs)
	for _, p := range places[len(o.Dirs):] {
		s.log.Warnf("data directory %s (%s) was added while the server ran, and is used: add %q to replica.data_dirs", p.Path, p.Tag, p.Tag+":"+p.Path)
	}
	if err := apart(places); err != nil {
		return nil, err
	}
	away, moved := s.identity.look(places, len(o.Dirs))
	for _, p := range places {
		d := newDir(p, &o)
		if away[p.Tag] {
			err := s.identity.missing(p)
			if err == nil {
				err = fmt.Errorf("data directory %s: %w", p.Path, errAway) // it came this moment
			}
			s.log.Errorf("%v; the server starts without it", err)
			d.fresh = true
			d.log.Store(wal.Unopened(err))
		} else if err := s.openDir(d); err != nil {
			_ = s.Close()
			return nil, err
		}
		if tag := moved[p.Tag]; tag != "" {
			s.log.Warnf("data directory %s (%s) was known as %s: it is used as it is; if disks changed places by mistake, mount them at theirs and restart the server", p.Path, p.Tag, tag)
		}
		s.put(d)
	}
	s.identity.begin()
	if err := s.identity.settle(s.All()...); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

// apart is nil if no two places are one directory, under another name or mounted twice: two logs would be written into the same files.
func apart(places []Place) error {
	for k, p := range places {
		for _, q := range places[:k] {
			if same(absolute(q.Path), absolute(p.Path)) {
				return fmt.Errorf("data directories %s (%s) and %s (%s) are the same one: list it once in replica.data_dirs", q.Path, q.Tag, p.Path, p.Tag)
			}
		}
	}
	return nil
}

// Lacks tells whether a directory's disk isn't there.
func (s *Set) Lacks() bool { return slices.ContainsFunc(s.All(), (*Dir).away) }

// Find returns the directory of each replica. One is in two directories if one of them was given
// up once, and it was learned anew in the other: newer returns the one to use, and the other is moved aside.
// What a log has of others is dropped: they were removed, and the log not told in time.
func (s *Set) Find(newer func(g base.Gpid, a, b *Dir) (*Dir, error)) (map[base.Gpid]*Dir, error) {
	found := map[base.Gpid]*Dir{}
	for _, d := range s.All() {
		if d.away() {
			continue
		}
		gs, err := d.Replicas()
		if err != nil {
			return nil, err
		}
		for _, g := range gs {
			use := d
			if other := found[g]; other != nil {
				if use, err = s.resolve(g, other, d, newer); err != nil {
					return nil, err
				}
			}
			found[g] = use
		}
		s.dropOthers(d.Log(), gs)
	}
	return found, nil
}

// resolve deals with a replica that is in two data directories, and returns the one to use.
func (s *Set) resolve(g base.Gpid, a, b *Dir, newer func(g base.Gpid, a, b *Dir) (*Dir, error)) (*Dir, error) {
	use, err := newer(g, a, b)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("replica %v is in two data directories, %s and %s: move the older one away", g, a.Path, b.Path), err)
	}
	old := a
	if use == a {
		old = b
	}
	to, err := old.Quarantine(g)
	if err == nil {
		err = wal.Wait(func(done func(error)) { old.Log().Drop(g, done) })
	}
	if err != nil {
		return nil, fmt.Errorf("replica %v is in two data directories; the older, in %s, can't be moved aside: %w", g, old.Path, err)
	}
	s.log.Warnf("replica %v is in two data directories, %s and %s: the older is moved to %s", g, use.Path, old.Path, to)
	return use, nil
}

// Tagged returns the directory that operators call so, nil if there is none.
func (s *Set) Tagged(tag string) *Dir {
	for _, d := range s.All() {
		if d.Tag == tag {
			return d
		}
	}
	return nil
}

// Fits tells whether d can take so many bytes and still has as much room as it must.
func (s *Set) Fits(d *Dir, bytes int64) error {
	if err := d.Usable(); err != nil {
		return err
	}
	total, avail := d.Capacity()
	if percent := s.minFree.Load(); total > 0 && (avail < bytes || tooShort(total, avail-bytes, percent, false)) {
		return fmt.Errorf("data directory %s has %d MiB free, and needs %d MiB besides the %d %% of replica.disk_min_available_space_ratio: free some: %w", d.Path, avail>>20, bytes>>20, percent, base.ErrDiskInsufficient)
	}
	return nil
}

// Holds tells whether a directory of replica g exists in one that wasn't given up.
func (s *Set) Holds(g base.Gpid) bool {
	return slices.ContainsFunc(s.All(), func(d *Dir) bool { return !d.abandoned.Load() && d.Has(g) })
}

// Pick returns the directory with the fewest replicas of the table, then of all.
func (s *Set) Pick(table int32) *Dir {
	type load struct {
		d          *Dir
		table, sum int
	}
	ls := make([]load, 0, len(s.All()))
	for _, d := range s.All() {
		if d.State() == Normal {
			ls = append(ls, load{d: d})
		}
	}
	if len(ls) == 0 {
		return s.All()[0] // which says why it can't
	}
	for _, r := range s.host.Replicas() {
		for i := range ls {
			if r.Open && ls[i].d == r.Dir {
				ls[i].sum++
				if r.Gpid.AppID == table {
					ls[i].table++
				}
			}
		}
	}
	return slices.MinFunc(ls, func(a, b load) int {
		return cmp.Or(cmp.Compare(a.table, b.table), cmp.Compare(a.sum, b.sum))
	}).d
}

// Tick implements part.Part: it looks after the directories, and has replicas opened again.
func (s *Set) Tick(now time.Time) {
	s.watchDisks()
	s.reviveDirs(now)
	s.retryReplicas(now)
	s.emptyTrash(now)
}

// Close implements part.Part: it closes the logs, which no replica uses any more.
func (s *Set) Close() error {
	for _, d := range s.All() {
		if err := d.Log().Close(); err != nil && !errors.Is(err, wal.ErrClosed) {
			s.log.Warnf("closing the log of %s: %v", d.Path, err)
		}
	}
	return nil
}
