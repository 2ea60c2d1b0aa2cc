package replica

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pegasus/base"
)

const (
	// fileTries is how often one file is tried; each try goes on where the last one ended.
	fileTries = 5
	// syncEvery is how much of a file may wait to be written to the disk: a sync of much at
	// once would stand in the way of the log's.
	syncEvery = 512 << 10
)

// progress is how far the copy of a checkpoint is.
type progress struct {
	from    string
	started time.Time
	// What the manifest says, zero before it is there.
	decree, files, bytes atomic.Int64
	// What is here by now; of it, reused was here before.
	filesDone, bytesDone, reused atomic.Int64
	phase                        atomic.Value // string
}

// Phases of a copy.
const (
	phaseWaiting    = "waiting" // for other copies to end
	phasePreparing  = "preparing"
	phaseCopying    = "copying"
	phaseInstalling = "installing"
	phaseFailed     = "failed" // tried again in a moment
)

// gatherer copies the files of one checkpoint of another server.
type gatherer struct {
	from string // http://host:port
	dir  string // where to; what is there of an earlier attempt is used
	old  string // the present store, of which table files may be the same; "": none
	p    *progress
	step func(string) // told of each step, for tests; may be nil
	// pace, if not nil, is called before so many bytes, at most learnBurst, are copied.
	pace func(n int) error
}

// readPace is pace for bytes that are here already.
func (g *gatherer) readPace(n int) error {
	if g.pace == nil {
		return nil
	}
	return g.pace(n / readCost)
}

func (g *gatherer) reached(step string) {
	if g.step != nil {
		g.step(step)
	}
}

// run copies a checkpoint and makes it durable. After an error what was copied stays, for the
// next attempt: most of a store's files never change.
func (g *gatherer) run(ctx context.Context, query url.Values) (*manifest, error) {
	g.p.phase.Store(phasePreparing)
	m := new(manifest)
	if err := httpDo(ctx, http.MethodPost, g.from+pathCheckpoint+"?"+query.Encode(), 0, func(res *http.Response) error {
		return json.NewDecoder(io.LimitReader(res.Body, 64<<20)).Decode(m)
	}); err != nil {
		return nil, err
	}
	defer func() {
		c, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		// If it isn't told, the checkpoint goes when it was not asked for, for a while.
		_ = httpDo(c, http.MethodPost, g.from+pathDone+"?id="+url.QueryEscape(m.ID), 0, nil)
	}()
	size, err := m.check()
	if err != nil {
		return nil, err
	}
	g.p.decree.Store(m.Decree)
	g.p.files.Store(int64(len(m.Files)))
	g.p.bytes.Store(size)
	g.p.phase.Store(phaseCopying)
	g.reached("manifest")
	if err := g.prepare(m); err != nil {
		return nil, err
	}
	for _, f := range m.Files {
		if err := g.file(ctx, m.ID, f); err != nil {
			return nil, fmt.Errorf("file %s: %w", f.Name, err)
		}
		g.p.filesDone.Add(1)
		g.reached("file")
	}
	return m, syncDir(g.dir)
}

// check looks at what a server says it will send, and adds up its size.
func (m *manifest) check() (size int64, err error) {
	if len(m.Files) == 0 || m.Decree < 0 {
		return 0, fmt.Errorf("manifest of %d files, decree %d: %w", len(m.Files), m.Decree, base.ErrInvalidData)
	}
	seen := make(map[string]bool, len(m.Files))
	for _, f := range m.Files {
		if f.Name == "" || f.Name != filepath.Base(f.Name) || strings.HasPrefix(f.Name, ".") || seen[f.Name] {
			return 0, fmt.Errorf("manifest: file name %q: %w", f.Name, base.ErrInvalidData)
		}
		if f.Size < 0 || size+f.Size < size {
			return 0, fmt.Errorf("manifest: file %s of %d bytes: %w", f.Name, f.Size, base.ErrInvalidData)
		}
		seen[f.Name] = true
		size += f.Size
	}
	return size, nil
}

// prepare makes the directory, and removes from it what is not of m.
func (g *gatherer) prepare(m *manifest) error {
	if err := os.MkdirAll(g.dir, 0o755); err != nil {
		return err
	}
	es, err := os.ReadDir(g.dir)
	if err != nil {
		return err
	}
	sizes := make(map[string]int64, len(m.Files))
	for _, f := range m.Files {
		sizes[f.Name] = f.Size
	}
	for _, e := range es {
		size, wanted := sizes[e.Name()]
		if st, err := e.Info(); err == nil && wanted && st.Mode().IsRegular() && st.Size() <= size {
			continue
		}
		if err := os.RemoveAll(filepath.Join(g.dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// file gets one file. What is there of it is hashed and kept: if it was another file's, the
// checksum tells, and it is copied from the beginning.
func (g *gatherer) file(ctx context.Context, id string, mf manifestFile) error {
	if ok, err := g.link(mf); ok || err != nil {
		return err
	}
	u := g.from + pathFile + "?" + url.Values{"id": {id}, "name": {mf.Name}}.Encode()
	name := filepath.Join(g.dir, mf.Name)
	kept, err := g.copy(ctx, u, name, mf)
	if errors.Is(err, base.ErrWrongChecksum) {
		if e := vfs.Default.Remove(name); e != nil {
			return errors.Join(err, e)
		}
		if kept > 0 {
			_, err = g.copy(ctx, u, name, mf)
		}
	}
	return err
}

// neverChanges tells whether a store writes a file once: tables, and files of separate values.
func neverChanges(name string) bool {
	ext := filepath.Ext(name)
	return ext == ".sst" || ext == ".blob"
}

// link takes a table file of the present store if it is the one that is wanted.
func (g *gatherer) link(mf manifestFile) (bool, error) {
	to := filepath.Join(g.dir, mf.Name)
	if g.old == "" || !neverChanges(mf.Name) {
		return false, nil
	}
	if _, err := os.Stat(to); err == nil {
		return false, nil
	}
	from := filepath.Join(g.old, mf.Name)
	if st, err := os.Stat(from); err != nil || st.Size() != mf.Size {
		return false, nil
	}
	if _, crc, err := sumFile(from, g.readPace); err != nil || crc != mf.CRC {
		return false, nil // it is copied, like any other
	}
	if err := vfs.Default.Link(from, to); err != nil {
		return false, nil // it may have gone by now
	}
	g.p.bytesDone.Add(mf.Size)
	g.p.reused.Add(mf.Size)
	return true, nil
}

// copy gets what is missing of a file, and verifies all of it. kept is how much was there.
func (g *gatherer) copy(ctx context.Context, u, name string, mf manifestFile) (kept int64, err error) {
	fs := vfs.Default
	f, err := fs.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return 0, err
	}
	h := crc32.New(castagnoli)
	if kept, err = io.Copy(h, paced{f, g.readPace}); err != nil {
		return 0, errors.Join(err, f.Close())
	}
	// Now at its end, where it goes on.
	if mf.Size > kept {
		// It is only for speed: a sync of the log need not wait for blocks of this file. If there
		// is no room the copy will tell.
		_ = f.Preallocate(0, mf.Size)
	}
	f = vfs.NewSyncingFile(f, vfs.SyncingFileOptions{BytesPerSync: syncEvery})
	defer func() { err = errors.Join(err, f.Close()) }()
	g.p.bytesDone.Add(kept)
	g.p.reused.Add(kept)
	got := kept
	defer func() {
		if errors.Is(err, base.ErrWrongChecksum) {
			g.p.bytesDone.Add(-got)
			g.p.reused.Add(-kept)
		}
	}()
	for try := 0; got < mf.Size; try++ {
		if try == fileTries || ctx.Err() != nil {
			return kept, fmt.Errorf("has %d of %d bytes after %d tries: %w", got, mf.Size, try, errors.Join(err, ctx.Err()))
		}
		if try > 0 {
			pause(ctx, time.Duration(try)*200*time.Millisecond)
		}
		err = httpDo(ctx, http.MethodGet, u, got, func(res *http.Response) error {
			n, err := io.Copy(tee{f, h, g.p}, paced{io.LimitReader(res.Body, mf.Size-got), g.pace})
			got += n
			if err == nil && got < mf.Size {
				err = io.ErrUnexpectedEOF
			}
			return err
		})
	}
	if h.Sum32() != mf.CRC {
		return kept, fmt.Errorf("checksum differs: %w", base.ErrWrongChecksum)
	}
	return kept, f.Sync()
}

// paced reads no faster than wait permits, if it isn't nil.
type paced struct {
	io.Reader
	wait func(n int) error
}

// Read implements io.Reader.
func (p paced) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b[:min(len(b), learnBurst)])
	if n > 0 && p.wait != nil {
		if e := p.wait(n); e != nil {
			return 0, e
		}
	}
	return n, err
}

// tee writes to a file, and to its hash what the file took.
type tee struct {
	f vfs.File
	h hash.Hash32
	p *progress
}

// Write implements io.Writer.
func (t tee) Write(b []byte) (int, error) {
	n, err := t.f.Write(b)
	t.h.Write(b[:n])
	t.p.bytesDone.Add(int64(n))
	return n, err
}

// httpDo sends a request, from a byte offset if it isn't 0, and gives a good answer to use.
func httpDo(ctx context.Context, method, u string, from int64, use func(*http.Response) error) error {
	req, err := http.NewRequestWithContext(ctx, method, u, nil)
	if err != nil {
		return err
	}
	if from > 0 {
		req.Header.Set("Range", "bytes="+strconv.FormatInt(from, 10)+"-")
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	want := http.StatusOK
	if from > 0 {
		want = http.StatusPartialContent
	}
	if res.StatusCode != want && res.StatusCode != http.StatusNoContent {
		msg, _ := io.ReadAll(io.LimitReader(res.Body, 512))
		return fmt.Errorf("%s: %s: %s", u, res.Status, strings.TrimSpace(string(msg)))
	}
	if use == nil {
		return nil
	}
	return use(res)
}
