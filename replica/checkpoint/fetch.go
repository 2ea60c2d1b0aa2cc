package checkpoint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pegasus/base"
	"pegasus/base/pause"
	"pegasus/replica/disk"
)

const (
	// fileTries is how often in a row a file is tried without a byte of it coming; each try
	// goes on where the last one ended.
	fileTries = 5
	// copySilence is how long a source may send nothing while it is waited for. It is no limit of
	// how slow a copy may be: a source sends something each moment however low its rate is (see
	// pace.piece and alive), and what the receiver itself waits for isn't counted.
	copySilence = 15 * time.Second
	// copyDial is how long a connection to a source may take.
	copyDial = 3 * time.Second
	// copyTouch is how often a source is told that its checkpoint is still in use, while files
	// that are here already are read.
	copyTouch = 10 * time.Second
	// doneWait is how long telling a source that the copy has ended may take.
	doneWait = 5 * time.Second
	// syncEvery is how much of a file may wait to be written to the disk: a sync of much at
	// once would stand in the way of the log's.
	syncEvery = 512 << 10
)

var errSilent = fmt.Errorf("the source sends nothing: %w", base.ErrTimeout)

// Progress is how far the copy of a checkpoint is.
type Progress struct {
	primary base.RPCAddress
	cancel  context.CancelCauseFunc
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

// fetch copies the files of one checkpoint of another server.
type fetch struct {
	from string // http://host:port
	dir  string // where to; what is there of an earlier attempt is used
	old  string // the present store, of which table files may be the same; "": none
	p    *Progress
	step func(string) // told of each step, for tests; may be nil
	// pace, if not nil, is called before so many bytes, at most paceBurst, are copied; piece says
	// how many to copy at once.
	pace  func(n int) error
	piece func() int
	// client, later and silence have defaults. later carries out what isn't waited for.
	client  *http.Client
	later   func(func(context.Context))
	silence time.Duration
	// cluster, if not nil, is the one that the source must be of.
	cluster Cluster
}

// newClient returns a client for checkpoints of other servers. What bounds an exchange is the
// silence of the other side, see fetch.do.
func newClient(dial func(context.Context, string) (net.Conn, error)) *http.Client {
	connect := (&net.Dialer{Timeout: copyDial}).DialContext
	if dial != nil {
		connect = func(ctx context.Context, _, addr string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, copyDial)
			defer cancel()
			return dial(ctx, addr)
		}
	}
	return &http.Client{Transport: &http.Transport{DialContext: connect, MaxIdleConnsPerHost: 4,
		IdleConnTimeout: 10 * time.Second, DisableCompression: true}}
}

func (f *fetch) init() {
	if f.client == nil {
		f.client = newClient(nil)
	}
	if f.piece == nil {
		f.piece = func() int { return paceBurst }
	}
	if f.later == nil {
		f.later = func(tell func(context.Context)) { tell(context.Background()) }
	}
	if f.silence == 0 {
		f.silence = copySilence
	}
}

// readPace is pace for bytes that are here already.
func (f *fetch) readPace(n int) error {
	if f.pace == nil {
		return nil
	}
	return f.pace(n / readCost)
}

func (f *fetch) reached(step string) {
	if f.step != nil {
		f.step(step)
	}
}

// run copies a checkpoint and makes it durable. After an error what was copied stays, for the
// next attempt: most of a store's files never change. A source that is silent while it is waited
// for ends the copy with errSilent.
func (f *fetch) run(ctx context.Context, query url.Values) (*Manifest, error) {
	f.init()
	f.p.phase.Store(phasePreparing)
	m := new(Manifest)
	if err := f.do(ctx, http.MethodPost, f.from+Path+"?"+query.Encode(), "", func(body io.Reader) error {
		return json.NewDecoder(io.LimitReader(body, 64<<20)).Decode(m)
	}); err != nil {
		return nil, err
	}
	if m.Error != "" {
		return nil, fmt.Errorf("%s can't make a checkpoint: %s", f.from, m.Error)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	touched := make(chan struct{})
	go func() {
		defer close(touched)
		f.touch(ctx, cancel, m)
	}()
	err := f.all(ctx, m)
	cause := context.Cause(ctx)
	cancel(nil)
	<-touched
	if !errors.Is(err, errSilent) {
		// If it isn't told, the checkpoint goes when it was not asked for, for a while.
		f.later(func(ctx context.Context) {
			ctx, cancel := context.WithTimeout(ctx, doneWait)
			defer cancel()
			_ = f.do(ctx, http.MethodPost, f.from+pathDone+"?id="+url.QueryEscape(m.ID), "", nil)
		})
	}
	if err != nil {
		return nil, errors.Join(err, cause)
	}
	return m, nil
}

// all copies what m names.
func (f *fetch) all(ctx context.Context, m *Manifest) error {
	size, err := m.check()
	if err != nil {
		return err
	}
	f.p.decree.Store(m.Decree)
	f.p.files.Store(int64(len(m.Files)))
	f.p.bytes.Store(size)
	f.p.phase.Store(phaseCopying)
	f.reached("manifest")
	if err := f.prepare(m); err != nil {
		return err
	}
	for _, mf := range m.Files {
		if err := f.file(ctx, m.ID, mf); err != nil {
			return fmt.Errorf("file %s: %w", mf.Name, err)
		}
		f.p.filesDone.Add(1)
		f.reached("file")
	}
	return disk.SyncDir(f.dir)
}

// touch asks for a byte of m again and again until ctx ends: a checkpoint that isn't asked for is
// removed, and to read what is here of it already may take longer. If the source says that it is
// gone the copy ends.
func (f *fetch) touch(ctx context.Context, cancel context.CancelCauseFunc, m *Manifest) {
	i := slices.IndexFunc(m.Files, func(mf File) bool { return mf.Size > 1 })
	if i < 0 {
		return
	}
	u := f.url(m.ID, m.Files[i].Name)
	for {
		pause.For(ctx, copyTouch)
		if ctx.Err() != nil {
			return
		}
		var status *statusError
		if err := f.do(ctx, http.MethodGet, u, "bytes=0-0", nil); errors.As(err, &status) && status.code == http.StatusNotFound {
			cancel(err)
			return
		}
	}
}

func (f *fetch) url(id, name string) string {
	return f.from + pathFile + "?" + url.Values{"id": {id}, "name": {name}}.Encode()
}

// prepare makes the directory, and removes from it what is not of m.
func (f *fetch) prepare(m *Manifest) error {
	if err := os.MkdirAll(f.dir, 0o755); err != nil {
		return err
	}
	es, err := os.ReadDir(f.dir)
	if err != nil {
		return err
	}
	sizes := make(map[string]int64, len(m.Files))
	for _, mf := range m.Files {
		sizes[mf.Name] = mf.Size
	}
	for _, e := range es {
		size, wanted := sizes[e.Name()]
		if st, err := e.Info(); err == nil && wanted && st.Mode().IsRegular() && st.Size() <= size {
			continue
		}
		if err := os.RemoveAll(filepath.Join(f.dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// file gets one file. What is there of it is hashed and kept: if it was another file's, the
// checksum tells, and it is copied from the beginning.
func (f *fetch) file(ctx context.Context, id string, mf File) error {
	if ok, err := f.link(mf); ok || err != nil {
		return err
	}
	u := f.url(id, mf.Name)
	name := filepath.Join(f.dir, mf.Name)
	kept, err := f.copy(ctx, u, name, mf)
	if errors.Is(err, base.ErrWrongChecksum) {
		if e := vfs.Default.Remove(name); e != nil {
			return errors.Join(err, e)
		}
		if kept > 0 {
			_, err = f.copy(ctx, u, name, mf)
		}
	}
	return err
}

// link takes a table file of the present store if it is the one that is wanted.
func (f *fetch) link(mf File) (bool, error) {
	to := filepath.Join(f.dir, mf.Name)
	if f.old == "" || !neverChanges(mf.Name) {
		return false, nil
	}
	if _, err := os.Stat(to); err == nil {
		return false, nil
	}
	from := filepath.Join(f.old, mf.Name)
	if st, err := os.Stat(from); err != nil || st.Size() != mf.Size {
		return false, nil
	}
	if _, crc, err := sumFile(from, f.readPace); err != nil || crc != mf.CRC {
		return false, nil // it is copied, like any other
	}
	if err := vfs.Default.Link(from, to); err != nil {
		return false, nil // it may have gone by now
	}
	f.p.bytesDone.Add(mf.Size)
	f.p.reused.Add(mf.Size)
	return true, nil
}

// copy gets what is missing of a file, and verifies all of it. kept is how much was there.
func (f *fetch) copy(ctx context.Context, u, name string, mf File) (kept int64, err error) {
	fs := vfs.Default
	to, err := fs.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return 0, err
	}
	h := crc32.New(castagnoli)
	if kept, err = io.Copy(h, paced{to, f.readPace, f.piece}); err != nil {
		return 0, errors.Join(err, to.Close())
	}
	// Now at its end, where it goes on.
	if mf.Size > kept {
		// It is only for speed: a sync of the log need not wait for blocks of this file. If there
		// is no room the copy will tell.
		_ = to.Preallocate(0, mf.Size)
	}
	to = vfs.NewSyncingFile(to, vfs.SyncingFileOptions{BytesPerSync: syncEvery})
	defer func() { err = errors.Join(err, to.Close()) }()
	f.p.bytesDone.Add(kept)
	f.p.reused.Add(kept)
	got := kept
	defer func() {
		if errors.Is(err, base.ErrWrongChecksum) {
			f.p.bytesDone.Add(-got)
			f.p.reused.Add(-kept)
		}
	}()
	for try := 0; got < mf.Size; try++ {
		if try == fileTries || ctx.Err() != nil || hopeless(err) {
			return kept, fmt.Errorf("has %d of %d bytes after %d tries: %w", got, mf.Size, try, errors.Join(err, ctx.Err()))
		}
		if try > 0 {
			pause.For(ctx, time.Duration(try)*200*time.Millisecond)
		}
		asked := got
		part := ""
		if got > 0 {
			part = "bytes=" + strconv.FormatInt(got, 10) + "-"
		}
		err = f.do(ctx, http.MethodGet, u, part, func(body io.Reader) error {
			n, err := io.Copy(tee{to, h, f.p}, paced{io.LimitReader(body, mf.Size-got), f.pace, f.piece})
			got += n
			if err == nil && got < mf.Size {
				err = io.ErrUnexpectedEOF
			}
			return err
		})
		if got > asked {
			try = 0 // it gets on, however often it is interrupted
		}
	}
	if h.Sum32() != mf.CRC {
		return kept, fmt.Errorf("checksum differs: %w", base.ErrWrongChecksum)
	}
	return kept, to.Sync()
}

// hopeless tells whether an error comes again if the same is asked again at once.
func hopeless(err error) bool {
	var status *statusError
	return errors.Is(err, errSilent) || errors.As(err, &status) && status.code < 500
}

// paced reads no faster than wait permits, if it isn't nil, so much at once as piece says.
type paced struct {
	io.Reader
	wait  func(n int) error
	piece func() int
}

// Read implements io.Reader.
func (p paced) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b[:min(len(b), p.piece())])
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
	p *Progress
}

// Write implements io.Writer.
func (t tee) Write(b []byte) (int, error) {
	n, err := t.f.Write(b)
	t.h.Write(b[:n])
	t.p.bytesDone.Add(int64(n))
	return n, err
}

// statusError is an answer that says no.
type statusError struct {
	url, status, text string
	code              int
}

// Error implements error.
func (e *statusError) Error() string { return fmt.Sprintf("%s: %s: %s", e.url, e.status, e.text) }

// do sends a request, for a part of a file if part (a Range header) isn't empty, and gives the
// body of a good answer to use. It ends with errSilent when nothing came for f.silence: neither
// the answer nor, while use reads it, a byte more of its body.
func (f *fetch) do(ctx context.Context, method, u, part string, use func(io.Reader) error) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(f.silence, func() { cancel(errSilent) })
	defer silence.Stop()
	defer func() {
		if cause := context.Cause(ctx); err != nil && errors.Is(cause, errSilent) {
			err = fmt.Errorf("%s: for %v, %w", u, f.silence, cause)
		}
	}()
	req, err := http.NewRequestWithContext(ctx, method, u, nil)
	if err != nil {
		return err
	}
	want := http.StatusOK
	if f.cluster != nil {
		f.cluster.Mark(req.Header)
	}
	if part != "" {
		req.Header.Set("Range", part)
		want = http.StatusPartialContent
	}
	res, err := f.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body := heard{res.Body, silence, f.silence}
	if res.StatusCode != want && res.StatusCode != http.StatusNoContent {
		msg, _ := io.ReadAll(io.LimitReader(body, 512))
		return &statusError{u, res.Status, strings.TrimSpace(string(msg)), res.StatusCode}
	}
	if f.cluster != nil && method == http.MethodPost && use != nil {
		if err := f.cluster.Check(res.Header); err != nil {
			return err
		}
	}
	if use == nil {
		return nil
	}
	return use(body)
}

// heard lets a timer run while it waits for something to read, and only then.
type heard struct {
	io.Reader
	silence *time.Timer
	most    time.Duration
}

// Read implements io.Reader.
func (h heard) Read(b []byte) (int, error) {
	h.silence.Reset(h.most)
	n, err := h.Reader.Read(b)
	h.silence.Stop()
	return n, err
}
