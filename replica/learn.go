package replica

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"pegasus/base"
	"pegasus/pacifica"
)

// learnTries is how often one file is tried; each try goes on where the last one ended.
const learnTries = 5

// fetch gets a checkpoint from the primary and puts it in the store's place. The old store
// stays until the new one is complete, checked and durable; info.json then names the new one.
func (r *replica) fetch(f pacifica.Fetch) {
	n := r.info.Store + 1
	r.log.Infof("fetches a checkpoint from %v", f.From)
	r.srv.spawn(func() {
		ctx := r.srv.ctx
		select {
		case r.srv.copies <- struct{}{}:
		case <-ctx.Done():
			return
		}
		defer func() { <-r.srv.copies }()
		start := time.Now()
		decree, size, err := r.download(ctx, f, r.storePath(n))
		r.post(func() {
			if err == nil && r.failed == nil {
				err = r.install(n, decree)
			}
			if err != nil {
				r.srv.counts.learnFailed.Add(1)
				r.log.Warnf("checkpoint from %v: %v; the primary will offer it again", f.From, err)
				if e := os.RemoveAll(r.storePath(n)); e != nil {
					r.log.Warn(e)
				}
			} else {
				r.srv.counts.learned.Add(1)
				r.srv.counts.learnBytes.Add(size)
				r.log.Infof("installed the checkpoint of decree %d, %d bytes in %v", decree, size, time.Since(start).Round(time.Millisecond))
			}
			if r.failed == nil {
				r.core.Installed(decree, err == nil)
			}
		})
	})
}

// download fills dir with a checkpoint of f.From and makes it durable.
func (r *replica) download(ctx context.Context, f pacifica.Fetch, dir string) (decree, size int64, err error) {
	from := "http://" + r.srv.peerName(f.From)
	q := url.Values{"replica": {r.gpid.String()}, "ballot": {strconv.FormatInt(f.Ballot, 10)}}
	var m manifest
	if err := httpDo(ctx, http.MethodPost, from+pathCheckpoint+"?"+q.Encode(), 0, func(res *http.Response) error {
		return json.NewDecoder(io.LimitReader(res.Body, 64<<20)).Decode(&m)
	}); err != nil {
		return 0, 0, err
	}
	defer func() {
		c, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if e := httpDo(c, http.MethodPost, from+pathDone+"?id="+url.QueryEscape(m.ID), 0, nil); e != nil {
			r.log.Debugf("release checkpoint: %v", e)
		}
	}()
	if err := os.RemoveAll(dir); err != nil {
		return 0, 0, err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return 0, 0, err
	}
	for _, mf := range m.Files {
		if mf.Name != filepath.Base(mf.Name) || strings.HasPrefix(mf.Name, ".") {
			return 0, 0, fmt.Errorf("file name %q: %w", mf.Name, base.ErrInvalidData)
		}
		u := from + pathFile + "?" + url.Values{"id": {m.ID}, "name": {mf.Name}}.Encode()
		if err := copyFile(ctx, u, filepath.Join(dir, mf.Name), mf); err != nil {
			return 0, 0, fmt.Errorf("file %s: %w", mf.Name, err)
		}
		size += mf.Size
	}
	return m.Decree, size, errors.Join(syncDir(dir), syncDir(filepath.Dir(dir)))
}

func copyFile(ctx context.Context, u, name string, mf manifestFile) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	h := crc32.New(castagnoli)
	got := int64(0)
	for try := 0; got < mf.Size || try == 0; try++ {
		if try == learnTries {
			return fmt.Errorf("has %d of %d bytes after %d tries: %w", got, mf.Size, try, err)
		}
		if try > 0 {
			pause(ctx, time.Duration(try)*200*time.Millisecond)
		}
		err = httpDo(ctx, http.MethodGet, u, got, func(res *http.Response) error {
			n, err := io.Copy(io.MultiWriter(f, h), io.LimitReader(res.Body, mf.Size-got))
			got += n
			return err
		})
		if mf.Size == 0 {
			break
		}
	}
	if h.Sum32() != mf.CRC {
		return fmt.Errorf("checksum differs: %w", base.ErrWrongChecksum)
	}
	return f.Sync()
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

// install makes the downloaded store n, which holds everything up to decree, the replica's.
// Called by the loop.
func (r *replica) install(n, decree int64) error {
	next, err := r.openStore(n, false)
	if err != nil {
		return err
	}
	if got := next.LastApplied(); got != decree {
		return errors.Join(fmt.Errorf("the checkpoint holds decree %d, its manifest says %d", got, decree), next.Close())
	}
	// First the log forgets, then the store changes: a crash between leaves an older store
	// without a log, which is a learner that has further to go.
	if err := wait(func(done func(error)) { r.dir.log().Reset(r.gpid, decree, done) }); err != nil {
		return errors.Join(err, next.Close())
	}
	info := r.info
	info.Store = n
	if err := writeJSON(r.infoName(), &info); err != nil {
		return errors.Join(err, next.Close())
	}
	r.info = info
	old := r.store.Swap(next)
	r.applied = decree
	if err := old.Close(); err != nil {
		r.log.Warnf("close the replaced store: %v", err)
	}
	if err := os.RemoveAll(r.storePath(n - 1)); err != nil {
		r.log.Warnf("remove the replaced store: %v", err)
	}
	return nil
}
