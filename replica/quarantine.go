package replica

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"pegasus/base"
	"pegasus/rrdb"
)

// A replica that can't be used, because its store failed or can't be opened, is first
// reported to the meta, which does without it unless it is the last copy. Once the meta no
// longer lists it, its directory is moved aside, and this node is as good a place for a
// learner as any other. The last copy is thus never moved. What isn't damaged is opened
// again instead: a disk that was full, or failed for a while, costs no copying.

// errSuffix marks a directory that was moved aside: <app>.<idx>.<microseconds>.err. Of a
// partition only the youngest is kept.
const errSuffix = ".err"

// noteBroken remembers a replica whose directory is here and can't be opened.
func (s *Server) noteBroken(g base.Gpid, d *dataDir) {
	s.mu.Lock()
	s.broken[g] = d
	s.mu.Unlock()
}

// quarantineUnlisted moves the broken replicas aside that the meta doesn't list. listed is
// the meta's answer to a question asked after what is in broken broke.
func (s *Server) quarantineUnlisted(broken map[base.Gpid]*dataDir, listed map[base.Gpid]bool) {
	for g, d := range broken {
		// If it is the log that failed, nothing is wrong with the replica.
		if !listed[g] && d.log().Failed() == nil {
			s.quarantine(g, d)
		}
	}
}

// brokenReplicas returns the replicas that can't be used, and where they are.
func (s *Server) brokenReplicas() map[base.Gpid]*dataDir {
	out := map[base.Gpid]*dataDir{}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for g, d := range s.broken {
		out[g] = d
	}
	for g, r := range s.replicas {
		if v := r.view.Load(); v != nil && v.failed != nil {
			out[g] = r.dir
		}
	}
	return out
}

// quarantine moves a replica's directory aside.
func (s *Server) quarantine(g base.Gpid, d *dataDir) {
	s.mu.Lock()
	if s.closed || s.opening[g] {
		s.mu.Unlock()
		return
	}
	r := s.replicas[g]
	delete(s.replicas, g)
	delete(s.broken, g)
	s.opening[g] = true
	s.mu.Unlock()
	s.spawn(func() {
		var again *replica
		defer func() { s.endOpening(g, again) }()
		damaged := false
		if r != nil {
			damaged = errors.Is(r.view.Load().failed, rrdb.ErrCorrupt)
			if err := r.close(); err != nil {
				s.log.Debugf("close of a failed replica: %v", err)
			}
		}
		if !damaged {
			var err error
			if again, err = s.openReplica(g, d, nil); err == nil {
				s.log.Infof("replica %v can be used again", g)
				return
			}
			s.log.Warnf("replica %v can't be opened again: %v", g, err)
		}
		to, err := d.quarantine(g)
		if err == nil {
			// The log's entries belong to what was moved away.
			err = wait(func(done func(error)) { d.log().Drop(g, done) })
		}
		if err != nil {
			s.log.Errorf("replica %v can't be used nor moved aside: %v", g, err)
			s.noteBroken(g, d)
			return
		}
		s.log.Warnf("replica %v could not be used, and the group does without it: moved to %s", g, to)
	})
}

// quarantine renames a replica's directory and removes what was moved aside before.
func (d *dataDir) quarantine(g base.Gpid) (to string, err error) {
	from := d.replicaPath(g)
	dir := filepath.Dir(from)
	before, err := os.ReadDir(dir)
	if err != nil {
		return "", fmt.Errorf("quarantine of %v: %w", g, err)
	}
	to = filepath.Join(dir, g.String()+"."+strconv.FormatInt(time.Now().UnixMicro(), 10)+errSuffix)
	if err := os.Rename(from, to); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("quarantine of %v: %w", g, err)
	}
	for _, e := range before {
		if strings.HasPrefix(e.Name(), g.String()+".") && strings.HasSuffix(e.Name(), errSuffix) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	return to, errors.Join(err, syncDir(dir))
}
