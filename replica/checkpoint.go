package replica

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"pegasus/base"
	"pegasus/pacifica"
)

// Checkpoints travel over HTTP on the server's port:
//
//	POST /replica/checkpoint?replica=<gpid>&ballot=<n>   makes one, answers a manifest; with
//	                                                     fresh=1 all checksums are computed anew
//	GET  /replica/checkpoint/file?id=<id>&name=<file>    a file or, with Range, a part
//	POST /replica/checkpoint/done?id=<id>                it is no longer needed
const (
	pathCheckpoint = "/replica/checkpoint"
	pathFile       = "/replica/checkpoint/file"
	pathDone       = "/replica/checkpoint/done"

	checkpointIdle = 2 * time.Minute
	// pinAfterDone is how long the log still holds what follows a checkpoint, while the
	// learner installs it and asks for the rest.
	pinAfterDone = 30 * time.Second
)

// manifest names what a checkpoint consists of.
type manifest struct {
	ID     string         `json:"id"`
	Decree int64          `json:"decree"`
	Files  []manifestFile `json:"files"`
}

type manifestFile struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
	CRC  uint32 `json:"crc32c"`
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checkpoints are those that this server sends.
type checkpoints struct {
	srv *Server

	mu   sync.Mutex
	open map[string]*checkpoint
	// sums are the checksums of table files, which never change: to compute them is to read
	// the whole store.
	sums map[sumKey]uint32
}

type checkpoint struct {
	manifest
	gpid  base.Gpid
	dir   string
	until time.Time
	// making: it isn't whole yet, and doesn't expire.
	making bool
	gone   bool // files removed; the pin holds until `until`
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

func newCheckpoints(s *Server) *checkpoints {
	return &checkpoints{srv: s, open: map[string]*checkpoint{}, sums: map[sumKey]uint32{}}
}

func (c *checkpoints) register(mux *http.ServeMux) {
	mux.HandleFunc("POST "+pathCheckpoint, c.create)
	mux.HandleFunc("GET "+pathFile, c.file)
	mux.HandleFunc("POST "+pathDone, c.done)
}

// pinned returns the lowest decree of g that a checkpoint's receiver may still ask for.
func (c *checkpoints) pinned(g base.Gpid) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := int64(noPin)
	for _, cp := range c.open {
		if cp.gpid == g {
			d = min(d, cp.Decree+1)
		}
	}
	return d
}

func (c *checkpoints) expire() {
	now := time.Now()
	c.mu.Lock()
	var dirs []string
	for id, cp := range c.open {
		if !cp.making && now.After(cp.until) {
			delete(c.open, id)
			if !cp.gone {
				dirs = append(dirs, cp.dir)
			}
		}
	}
	c.mu.Unlock()
	c.remove(dirs)
}

func (c *checkpoints) remove(dirs []string) {
	for _, d := range dirs {
		if err := os.RemoveAll(d); err != nil {
			c.srv.log.Warnf("remove checkpoint: %v", err)
		}
	}
}

func (c *checkpoints) close() {
	c.mu.Lock()
	var dirs []string
	for _, cp := range c.open {
		if !cp.gone {
			dirs = append(dirs, cp.dir)
		}
	}
	c.open = map[string]*checkpoint{}
	c.mu.Unlock()
	c.remove(dirs)
}

func (c *checkpoints) create(w http.ResponseWriter, req *http.Request) {
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
	r := c.srv.replica(g)
	if r == nil {
		http.Error(w, fmt.Sprintf("replica %v is not here", g), http.StatusNotFound)
		return
	}
	if v := r.view.Load(); v.Status != pacifica.Primary || v.Ballot < ballot {
		http.Error(w, fmt.Sprintf("replica %v is %v at ballot %d, not its primary at %d", g, v.Status, v.Ballot, ballot), http.StatusConflict)
		return
	}
	if req.FormValue("fresh") != "" {
		c.forget(g)
	}
	cp, err := c.make(req.Context(), r)
	if err != nil {
		r.log.Warnf("checkpoint for a learner: %v", err)
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(&cp.manifest); err != nil {
		r.log.Debugf("send manifest: %v", err)
	}
}

func (c *checkpoints) make(ctx context.Context, r *replica) (*checkpoint, error) {
	var id [12]byte
	if _, err := rand.Read(id[:]); err != nil {
		return nil, err
	}
	cp := &checkpoint{gpid: r.gpid, manifest: manifest{ID: hex.EncodeToString(id[:])}}
	cp.dir = filepath.Join(r.dir.path, "tmp", r.gpid.String()+".checkpoint."+cp.ID)
	// Until the decree is known, nothing that isn't flushed leaves the log.
	cp.Decree = r.view.Load().applied
	cp.making = true
	c.mu.Lock()
	c.open[cp.ID] = cp
	c.mu.Unlock()
	number := r.view.Load().info.Store
	decree, err := r.store.Load().Checkpoint(cp.dir)
	var files []manifestFile
	if err == nil {
		files, err = c.list(ctx, cp, number)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	cp.making = false
	if err != nil {
		delete(c.open, cp.ID)
		return nil, errors.Join(err, os.RemoveAll(cp.dir))
	}
	cp.Decree, cp.Files, cp.until = decree, files, time.Now().Add(checkpointIdle)
	return cp, nil
}

// forget drops what is remembered of the checksums of g.
func (c *checkpoints) forget(g base.Gpid) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k := range c.sums {
		if k.gpid == g {
			delete(c.sums, k)
		}
	}
}

// list returns what a checkpoint made of store number consists of.
func (c *checkpoints) list(ctx context.Context, cp *checkpoint, number int64) ([]manifestFile, error) {
	es, err := os.ReadDir(cp.dir)
	if err != nil {
		return nil, err
	}
	var fs []manifestFile
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
			if size, crc, err = sumFile(filepath.Join(cp.dir, e.Name()), func(n int) error { return c.srv.pace.wait(ctx, c.srv.pace.send, n/readCost) }); err != nil {
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
		fs = append(fs, manifestFile{e.Name(), size, crc})
	}
	return fs, nil
}

// sumFile reads a file; pace, if not nil, is called before so many bytes.
func sumFile(name string, pace func(n int) error) (size int64, crc uint32, err error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	b := make([]byte, learnBurst)
	for {
		if pace != nil {
			if err := pace(len(b)); err != nil {
				return size, crc, err
			}
		}
		n, err := f.Read(b)
		crc = crc32.Update(crc, castagnoli, b[:n])
		size += int64(n)
		if err == io.EOF {
			return size, crc, nil
		}
		if err != nil {
			return size, crc, err
		}
	}
}

func (c *checkpoints) file(w http.ResponseWriter, req *http.Request) {
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
	http.ServeContent(&slowWriter{w, req.Context(), c.srv.pace, func() { c.touch(cp) }}, req, name, time.Time{}, f)
}

// touch notes that a checkpoint is in use.
func (c *checkpoints) touch(cp *checkpoint) {
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
	pace  *pace
	wrote func()
}

// Write implements io.Writer.
func (s *slowWriter) Write(b []byte) (int, error) {
	done := 0
	for len(b) > 0 {
		n := min(len(b), learnBurst)
		if err := s.pace.wait(s.ctx, s.pace.send, n); err != nil {
			return done, err
		}
		k, err := s.ResponseWriter.Write(b[:n])
		s.wrote()
		done += k
		if err != nil {
			return done, err
		}
		b = b[n:]
	}
	return done, nil
}

func (c *checkpoints) done(w http.ResponseWriter, req *http.Request) {
	c.mu.Lock()
	cp := c.open[req.FormValue("id")]
	dir := ""
	if cp != nil && !cp.gone {
		cp.gone, cp.until, dir = true, time.Now().Add(pinAfterDone), cp.dir
	}
	c.mu.Unlock()
	if dir != "" {
		c.remove([]string{dir})
	}
	w.WriteHeader(http.StatusNoContent)
}
