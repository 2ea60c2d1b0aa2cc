package checkpoint

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"pegasus/base"
	"pegasus/pacifica"
)

// Checkpoints travel over HTTP on the server's port:
//
//	POST /replica/checkpoint?replica=<gpid>&ballot=<n>   makes one, answers a manifest; with
//	                                                     fresh=1 all checksums are computed anew;
//	                                                     learner=<server> says who asks; the header
//	                                                     Pegasus-Cluster says of which cluster both are
//	GET  /replica/checkpoint/file?id=<id>&name=<file>    a file or, with Range, a part
//	POST /replica/checkpoint/done?id=<id>                it is no longer needed
//
// Making one may take long: all of its files are read. Meanwhile, after a second, an answer of 200
// has begun, and an empty line of it comes each second. If it fails then, the manifest has nothing
// but an error.
//
// How many are open is bounded. A learner has one of a replica: its next one takes the place of the
// one before.
const (
	Path     = "/replica/checkpoint"
	pathFile = "/replica/checkpoint/file"
	pathDone = "/replica/checkpoint/done"

	checkpointIdle = 2 * time.Minute
	// holdAfterDone is how long the log still holds what follows a checkpoint, while the
	// learner installs it and asks for the rest.
	holdAfterDone = 30 * time.Second
	// manyOfReplica and manyCheckpoints are how many may be open of one replica, and of all of
	// a server; one that is idle for checkpointIdler makes room for another. A receiver that is
	// there touches its own each copyTouch.
	manyOfReplica, manyCheckpoints = 4, 64
	checkpointIdler                = 45 * time.Second
	// aliveEvery is how often a learner hears that its checkpoint is being made.
	aliveEvery = time.Second
)

var errManyCheckpoints = fmt.Errorf("too many checkpoints are open: %w", base.ErrBusy)

// Replica is a replica of which checkpoints are given, and who learns is known.
type Replica interface {
	Gpid() base.Gpid
	// State returns what the replica is, with its decrees as they are now, and the decree that its
	// store has applied.
	State() (pacifica.State, int64)
	// Store returns the number of the store in use: a table file of it never changes.
	Store() int64
	// Checkpoint makes a copy of the store in a directory that doesn't exist, and returns its decree.
	Checkpoint(dir string) (decree int64, err error)
	// Hold keeps decree and what follows in the log until Release, or until the log is over its
	// bound: then lost is called. It returns the first decree that is kept.
	Hold(name string, decree int64, lost func()) (first int64)
	Release(name string)
	// Scratch returns a directory on the same disk that is emptied when the server starts.
	Scratch() string
	// Learner is who fetches checkpoints for the replica.
	Learner() *Learner
}

// Cluster tells servers of the same cluster from others.
type Cluster interface {
	// Mark writes into a header which cluster this server is of.
	Mark(http.Header)
	// Check returns an error if what came with a header is another cluster's.
	Check(http.Header) error
}

// source is what a server gives away.
type source struct {
	host Host
	pace *Pace
	log  *logrus.Entry

	mu   sync.Mutex
	open map[string]*checkpoint
	// sums are the checksums of table files, which never change: to compute them is to read
	// the whole store.
	sums map[sumKey]uint32
}

type checkpoint struct {
	Manifest
	gpid    base.Gpid
	learner string // "": not told
	dir     string
	until   time.Time
	// making: it isn't whole yet, and doesn't expire.
	making bool
	gone   bool // files removed; the log is held until `until`
	lost   bool // the log no longer has what follows
}

// sumKey names a table file: the number of a replica's store, and the file in it.
type sumKey struct {
	gpid  base.Gpid
	store int64
	name  string
	size  int64
}

// manySums is how many checksums are remembered.
const manySums = 100_000

func newSource(h Host, p *Pace, log *logrus.Entry) *source {
	return &source{host: h, pace: p, log: log, open: map[string]*checkpoint{}, sums: map[sumKey]uint32{}}
}

func (c *source) register(mux *http.ServeMux) {
	mux.HandleFunc("POST "+Path, c.create)
	mux.HandleFunc("GET "+pathFile, c.file)
	mux.HandleFunc("POST "+pathDone, c.done)
}

// leaving is what is left to do for a checkpoint that isn't open any more, without the lock.
type leaving struct {
	gpid base.Gpid
	hold string
	dir  string // "": removed before
}

// holder is the name of the hold of the log that follows cp.
func (cp *checkpoint) holder() string {
	return fmt.Sprintf("checkpoint %s for %s", cp.ID, cmp.Or(cp.learner, "a learner"))
}

// forget takes cp out of those that are open. The caller holds mu, and calls leave after it.
func (c *source) forget(cp *checkpoint) leaving {
	delete(c.open, cp.ID)
	l := leaving{cp.gpid, cp.holder(), cp.dir}
	if cp.gone {
		l.dir = ""
	}
	return l
}

// leave removes the files of checkpoints, and lets the log go.
func (c *source) leave(ls []leaving) {
	for _, l := range ls {
		if r := c.host.Replica(l.gpid); r != nil {
			r.Release(l.hold)
		}
		c.remove(l.dir)
	}
}

func (c *source) remove(dir string) {
	if dir == "" {
		return
	}
	if err := os.RemoveAll(dir); err != nil {
		c.log.Warnf("remove a checkpoint: %v", err)
	}
}

// hold keeps what follows the checkpoints in the log, also of replicas that were opened anew since.
func (c *source) hold() {
	c.mu.Lock()
	var open []*checkpoint
	for _, cp := range c.open {
		if !cp.making && !cp.lost {
			open = append(open, cp)
		}
	}
	c.mu.Unlock()
	for _, cp := range open {
		if r := c.host.Replica(cp.gpid); r != nil {
			c.holdFor(r, cp, cp.Decree+1)
		}
	}
}

// holdFor keeps decree and what follows in the log, for who receives cp. It isn't an error if the log
// hasn't room for that: the receiver then asks for another checkpoint, of which it has most files.
func (c *source) holdFor(r Replica, cp *checkpoint, decree int64) {
	lost := func() {
		c.mu.Lock()
		cp.lost = true
		c.mu.Unlock()
		c.log.Warnf("replica %v: the log has no room for what follows checkpoint %s: its receiver %s will need another one", cp.gpid, cp.ID, cp.learner)
	}
	first := r.Hold(cp.holder(), decree, lost)
	c.mu.Lock()
	closed := c.open[cp.ID] != cp
	c.mu.Unlock()
	if late := first > decree && decree > 0; closed || late {
		r.Release(cp.holder())
		if late {
			lost()
		}
	}
}

func (c *source) expire(now time.Time) {
	c.mu.Lock()
	var ls []leaving
	for _, cp := range c.open {
		if !cp.making && now.After(cp.until) {
			ls = append(ls, c.forget(cp))
		}
	}
	c.mu.Unlock()
	c.leave(ls)
}

func (c *source) close() {
	c.mu.Lock()
	var ls []leaving
	for _, cp := range c.open {
		ls = append(ls, c.forget(cp))
	}
	c.mu.Unlock()
	c.leave(ls)
}

func (c *source) create(w http.ResponseWriter, req *http.Request) {
	if err := c.host.Check(req.Header); err != nil {
		c.log.Warnf("checkpoint for %q: %v", req.FormValue("learner"), err)
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	c.host.Mark(w.Header())
	g, err := base.ParseGpid(req.FormValue("replica"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	ballot, err := strconv.ParseInt(req.FormValue("ballot"), 10, 64)
	if err != nil {
		http.Error(w, "ballot: "+err.Error(), http.StatusBadRequest)
		return
	}
	r := c.host.Replica(g)
	if r == nil {
		http.Error(w, fmt.Sprintf("replica %v is not here", g), http.StatusNotFound)
		return
	}
	if v, _ := r.State(); v.Status != pacifica.Primary || v.Ballot < ballot {
		http.Error(w, fmt.Sprintf("replica %v is %v at ballot %d, not its primary at %d", g, v.Status, v.Ballot, ballot), http.StatusConflict)
		return
	}
	if req.FormValue("fresh") != "" {
		c.forgetSums(g)
	}
	cp, err := c.admit(r, req.FormValue("learner"))
	if err != nil {
		c.log.Warnf("checkpoint of replica %v for a learner: %v", g, err)
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	alive := startAlive(w)
	err = c.make(req.Context(), r, cp)
	begun := alive.stop()
	w.Header().Set("Content-Type", "application/json")
	m := &cp.Manifest
	if err != nil {
		c.log.Warnf("checkpoint of replica %v for a learner: %v", g, err)
		if !begun {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		m = &Manifest{Error: err.Error()}
	}
	if err := json.NewEncoder(w).Encode(m); err != nil {
		c.log.Debugf("send the manifest of replica %v: %v", g, err)
	}
}

// alive keeps an answer that takes long from being taken for a dead server's.
type alive struct {
	halt, ended chan struct{}
	begun       bool
}

func startAlive(w http.ResponseWriter) *alive {
	a := &alive{halt: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(a.ended)
		t := time.NewTicker(aliveEvery)
		defer t.Stop()
		for {
			select {
			case <-a.halt:
				return
			case <-t.C:
			}
			a.begun = true
			w.Header().Set("Content-Type", "application/json")
			if _, err := w.Write([]byte("\n")); err != nil {
				return
			}
			if err := http.NewResponseController(w).Flush(); err != nil {
				return
			}
		}
	}()
	return a
}

// stop ends it, and tells whether the answer has begun.
func (a *alive) stop() (begun bool) {
	close(a.halt)
	<-a.ended
	return a.begun
}

// admit makes a place for a checkpoint of r for a learner: an earlier one of the same learner goes,
// and one that is idle if there are too many.
func (c *source) admit(r Replica, learner string) (*checkpoint, error) {
	var id [12]byte
	if _, err := rand.Read(id[:]); err != nil {
		return nil, err
	}
	cp := &checkpoint{gpid: r.Gpid(), learner: learner, Manifest: Manifest{ID: hex.EncodeToString(id[:])}}
	cp.dir = filepath.Join(r.Scratch(), r.Gpid().String()+".checkpoint."+cp.ID)
	cp.making = true
	c.mu.Lock()
	ls, ok := c.makeRoom(cp, time.Now())
	if ok {
		c.open[cp.ID] = cp
	}
	c.mu.Unlock()
	c.leave(ls)
	if !ok {
		return nil, fmt.Errorf("replica %v: %w: at most %d of a replica and %d of a server", r.Gpid(), errManyCheckpoints, manyOfReplica, manyCheckpoints)
	}
	c.holdFor(r, cp, 0) // everything, until the decree is known
	return cp, nil
}

// makeRoom forgets those that cp takes the place of. It reports false if there is no room for cp.
// The caller holds mu, and calls leave after it.
func (c *source) makeRoom(cp *checkpoint, now time.Time) (ls []leaving, ok bool) {
	for _, o := range c.open {
		if o.gpid == cp.gpid && o.learner == cp.learner && cp.learner != "" && !o.making {
			ls = append(ls, c.forget(o))
		}
	}
	for {
		ofReplica, all := 0, 0
		var oldest, oldestOfReplica *checkpoint
		older := func(a, b *checkpoint) *checkpoint {
			if a == nil || b.until.Before(a.until) {
				return b
			}
			return a
		}
		for _, o := range c.open {
			all++
			idle := !o.making && (o.gone || o.until.Sub(now) < checkpointIdle-checkpointIdler)
			if idle {
				oldest = older(oldest, o)
			}
			if o.gpid == cp.gpid {
				ofReplica++
				if idle {
					oldestOfReplica = older(oldestOfReplica, o)
				}
			}
		}
		o := oldest
		switch {
		case ofReplica >= manyOfReplica:
			o = oldestOfReplica
		case all < manyCheckpoints:
			return ls, true
		}
		if o == nil {
			return ls, false
		}
		ls = append(ls, c.forget(o))
	}
}

// make fills a checkpoint that has a place.
func (c *source) make(ctx context.Context, r Replica, cp *checkpoint) error {
	number := r.Store()
	decree, err := r.Checkpoint(cp.dir)
	var files []File
	if err == nil {
		files, err = c.list(ctx, cp, number)
	}
	c.mu.Lock()
	cp.making = false
	if err == nil {
		cp.Decree, cp.Files, cp.until = decree, files, time.Now().Add(checkpointIdle)
	} else {
		delete(c.open, cp.ID)
	}
	c.mu.Unlock()
	if err != nil {
		r.Release(cp.holder())
		return errors.Join(err, os.RemoveAll(cp.dir))
	}
	c.holdFor(r, cp, decree+1)
	return nil
}

// forgetSums drops what is remembered of the checksums of g.
func (c *source) forgetSums(g base.Gpid) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k := range c.sums {
		if k.gpid == g {
			delete(c.sums, k)
		}
	}
}

// list returns what a checkpoint made of store number consists of.
func (c *source) list(ctx context.Context, cp *checkpoint, number int64) ([]File, error) {
	es, err := os.ReadDir(cp.dir)
	if err != nil {
		return nil, err
	}
	var fs []File
	for _, e := range es {
		st, err := e.Info()
		if err != nil {
			return nil, err
		}
		if !st.Mode().IsRegular() {
			return nil, fmt.Errorf("checkpoint has %s, which is no file", e.Name())
		}
		key := sumKey{cp.gpid, number, e.Name(), st.Size()}
		table := neverChanges(e.Name())
		c.mu.Lock()
		crc, known := c.sums[key]
		c.mu.Unlock()
		size := st.Size()
		if !known || !table {
			if size, crc, err = sumFile(filepath.Join(cp.dir, e.Name()), func(n int) error { return c.pace.wait(ctx, c.pace.send, n/readCost) }); err != nil {
				return nil, err
			}
		}
		if table && !known {
			c.mu.Lock()
			if len(c.sums) >= manySums {
				clear(c.sums)
			}
			c.sums[key] = crc
			c.mu.Unlock()
		}
		fs = append(fs, File{e.Name(), size, crc})
	}
	return fs, nil
}

func (c *source) file(w http.ResponseWriter, req *http.Request) {
	id, name := req.FormValue("id"), req.FormValue("name")
	c.mu.Lock()
	cp := c.open[id]
	known := false
	if cp != nil && !cp.gone {
		cp.until = time.Now().Add(checkpointIdle)
		for _, f := range cp.Files {
			known = known || f.Name == name
		}
	}
	c.mu.Unlock()
	if !known {
		http.Error(w, fmt.Sprintf("checkpoint %q has no file %q", id, name), http.StatusNotFound)
		return
	}
	f, err := os.Open(filepath.Join(cp.dir, name))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer f.Close()
	http.ServeContent(&slowWriter{w, req.Context(), c.pace, func() { c.touch(cp) }}, req, name, time.Time{}, f)
}

// touch notes that a checkpoint is in use.
func (c *source) touch(cp *checkpoint) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !cp.gone {
		cp.until = time.Now().Add(checkpointIdle)
	}
}

// slowWriter keeps all copies that a server sends together at its pace.
type slowWriter struct {
	http.ResponseWriter
	ctx   context.Context
	pace  *Pace
	wrote func()
}

// buffered is how much net/http holds back before it sends it.
const buffered = 4 << 10

// Write implements io.Writer.
func (s *slowWriter) Write(b []byte) (int, error) {
	done := 0
	for len(b) > 0 {
		n := min(len(b), s.pace.piece())
		if err := s.pace.wait(s.ctx, s.pace.send, n); err != nil {
			return done, err
		}
		k, err := s.ResponseWriter.Write(b[:n])
		if err == nil && n < buffered {
			err = http.NewResponseController(s.ResponseWriter).Flush()
		}
		s.wrote()
		done += k
		if err != nil {
			return done, err
		}
		b = b[n:]
	}
	return done, nil
}

func (c *source) done(w http.ResponseWriter, req *http.Request) {
	c.mu.Lock()
	cp := c.open[req.FormValue("id")]
	dir := ""
	if cp != nil && !cp.gone {
		cp.gone, cp.until, dir = true, time.Now().Add(holdAfterDone), cp.dir
	}
	c.mu.Unlock()
	c.remove(dir)
	w.WriteHeader(http.StatusNoContent)
}
