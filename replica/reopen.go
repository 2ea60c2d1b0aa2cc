package replica

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"pegasus/base"
	"pegasus/replica/disk"
	"pegasus/replica/stored"
)

// diskHost is the server as package disk knows it.
type diskHost struct{ s *Server }

// Go, SyncSoon, DeleteTime, Broken, Opening, Reopen, Replicas, Fail and TakeOut implement disk.Host.
func (h diskHost) Go(f func()) { h.s.spawn(f) }

func (h diskHost) SyncSoon() { h.s.meta.SyncSoon() }

func (h diskHost) DeleteTime() (time.Time, error) { return h.s.meta.Clock.DeleteTime() }

func (h diskHost) Broken() map[base.Gpid]disk.Broken { return h.s.brokenReplicas() }

func (h diskHost) Opening(g base.Gpid) bool {
	return h.s.isOpening(g)
}

func (h diskHost) Reopen(g base.Gpid, b disk.Broken, done func(error)) { h.s.openAgain(g, b, done) }

func (h diskHost) Replicas() []disk.Replica {
	all, broken := h.s.all(), h.s.brokenReplicas()
	rs := make([]disk.Replica, 0, len(all)+len(broken))
	for _, r := range all {
		_, is := broken[r.gpid]
		rs = append(rs, disk.Replica{Gpid: r.gpid, Dir: r.dir.Dir, Open: true, Broken: is, Holds: r.kept.Holds(), Moving: h.s.moveOf(r.gpid).answer()})
		delete(broken, r.gpid)
	}
	for g, b := range broken {
		rs = append(rs, disk.Replica{Gpid: g, Dir: b.Dir, Broken: true})
	}
	return rs
}

func (h diskHost) Fail(d *disk.Dir, err error) {
	for _, r := range h.s.all() {
		if r.dir.Dir == d && r.view.Load().failed == nil {
			r.post(func(r *driver) { r.fail(err) })
		}
	}
}

func (h diskHost) TakeOut(d *disk.Dir) (disk.Taken, bool) {
	open, all, ok := h.s.takeDir(d)
	return &taken{h.s, d, open, all}, ok
}

// taken are the replicas of a directory that package disk took out.
type taken struct {
	s    *Server
	dir  *disk.Dir
	open []*replica
	all  []base.Gpid
}

// Len, Close, Reopen and Leave implement disk.Taken.
func (t *taken) Len() int { return len(t.all) }

func (t *taken) Close() {
	for _, r := range t.open {
		if err := r.close(); err != nil {
			t.s.log.Debugf("close: %v", err)
		}
	}
}

func (t *taken) Reopen(here []base.Gpid, err error) {
	for _, g := range t.all {
		t.reopen(g, err)
	}
	for _, g := range here {
		switch {
		case err != nil || slices.Contains(t.all, g):
		case t.s.begin(g):
			t.reopen(g, nil)
		default: // Find resolves that
			t.s.log.Warnf("replica %v in %s stays as it is until the server starts again: the server has it already", g, t.dir.Path)
		}
	}
}

func (t *taken) reopen(g base.Gpid, err error) {
	var r *replica
	if err == nil {
		if r, err = t.s.openReplica(g, t.dir, nil); err != nil {
			t.s.log.Errorf("replica %v in %s is not usable and stays as it is: %v", g, t.dir.Path, err)
		}
	}
	if r == nil {
		t.s.noteBroken(g, t.dir, err)
	}
	t.s.endOpening(g, r)
}

func (t *taken) Leave() {
	for _, g := range t.all {
		t.s.endOpening(g, nil)
	}
}

// newer tells which of two data directories has the newer replica g. It learned anew in one of
// them, after the other was given up and the meta had taken this node out of the configuration.
// If that one is still under the ballot it was made under, it is no member either. Else its
// ballot is higher.
func newer(g base.Gpid, a, b *disk.Dir) (*disk.Dir, error) {
	var ia, ib replicaInfo
	err := errors.Join(disk.ReadJSON(stored.Name(a.ReplicaPath(g)), &ia), disk.ReadJSON(stored.Name(b.ReplicaPath(g)), &ib))
	switch {
	case err != nil:
		return nil, err
	case ia.Ballot == ib.Ballot && ia.Made == ib.Made:
		return nil, fmt.Errorf("both are under ballot %d, and made at the same time", ia.Ballot)
	case ia.Ballot < ib.Ballot || ia.Ballot == ib.Ballot && ia.Made < ib.Made:
		return b, nil
	}
	return a, nil
}

// openAgain opens a replica again that can't be used. What wasn't written was not acknowledged, and
// what follows from that is the same as after a crash.
func (s *Server) openAgain(g base.Gpid, b disk.Broken, done func(error)) {
	r, ok := s.beginReopening(g)
	if !ok {
		done(nil)
		return
	}
	s.spawn(func() {
		if r != nil {
			if err := r.close(); err != nil {
				s.log.Debugf("close of a failed replica: %v", err)
			}
		}
		again, err := s.openReplica(g, b.Dir, nil)
		if err != nil {
			s.log.Warnf("replica %v in %s is not usable yet: %v", g, b.Dir.Path, err)
			s.noteBroken(g, b.Dir, err)
		} else {
			s.log.Infof("replica %v, which had failed (%v), is in use again", g, b.Err)
		}
		s.endOpening(g, again)
		done(err)
		s.meta.SyncSoon()
	})
}
