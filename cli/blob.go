package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"time"

	"pegasus/base/config"
	"pegasus/blob"
	"pegasus/blob/stores"
)

// blobFile is a file or directory of a blob store.
type blobFile struct {
	Name     string `json:"name"`
	Dir      bool   `json:"dir,omitempty"`
	Size     int64  `json:"size"` // bytes
	MD5      string `json:"md5,omitempty"`
	Modified string `json:"modified,omitempty"` // RFC 3339
}

func newBlobFile(i blob.Info) blobFile {
	f := blobFile{Name: i.Name, Dir: i.Dir, Size: i.Size, MD5: i.MD5}
	if !i.Modified.IsZero() && !i.Dir {
		f.Modified = i.Modified.UTC().Format(time.RFC3339)
	}
	return f
}

// Blobs are the commands about places for files.
type Blobs struct{ *Env }

// Stores lists the stores of the configuration.
func (e Blobs) Stores(ctx context.Context, set *blob.Set, configs map[string]config.Blob) error {
	type store struct {
		Name  string `json:"name"`
		Type  string `json:"type"`
		Where string `json:"where"`
	}
	list := []store{}
	for _, n := range set.Names() {
		s, err := set.Get(ctx, n)
		if err != nil {
			return err
		}
		list = append(list, store{n, configs[n].Type, s.Where()})
	}
	if e.JSON {
		return e.json(list)
	}
	g := newGrid("name", "type", "where")
	for _, s := range list {
		g.add(s.Name, s.Type, Escape([]byte(s.Where)))
	}
	return g.print(e.Out)
}

// List lists a directory of a store ("" is its root), or all files below it.
func (e Blobs) List(ctx context.Context, set *blob.Set, name, dir string, all bool) error {
	s, end, err := stores.Find(ctx, set, name)
	if err != nil {
		return err
	}
	defer end()
	files := []blobFile{}
	if all {
		err = s.Walk(ctx, dir, func(i blob.Info) error { files = append(files, newBlobFile(i)); return nil })
	} else {
		var list []blob.Info
		list, err = s.List(ctx, dir)
		for _, i := range list {
			files = append(files, newBlobFile(i))
		}
	}
	if err != nil {
		return err
	}
	if e.JSON {
		return e.json(files)
	}
	g := newGrid("#size", "modified", "name")
	for _, f := range files {
		if f.Dir {
			g.add("-", "-", Escape([]byte(f.Name))+"/")
			continue
		}
		g.add(f.Size, f.Modified, Escape([]byte(f.Name)))
	}
	return g.print(e.Out)
}

// Cat writes a file, or length bytes of it from offset (length < 0: to its end), to the output
// as it is.
func (e Blobs) Cat(ctx context.Context, set *blob.Set, name, file string, offset, length int64) error {
	s, end, err := stores.Find(ctx, set, name)
	if err != nil {
		return err
	}
	defer end()
	var r *blob.Reader
	if offset == 0 && length < 0 {
		r, err = s.Open(ctx, file)
	} else {
		if length < 0 {
			length = 1<<63 - 1 - offset
		}
		r, err = s.OpenRange(ctx, file, offset, length)
	}
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(e.Out, r)
	return err
}

// blobStep is one thing that BlobCheck tried.
type blobStep struct {
	Step  string  `json:"step"`
	MS    float64 `json:"ms"`
	Error string  `json:"error,omitempty"`
}

// checkDir is where BlobCheck writes: upstream's programs don't look there.
const checkDir = "pegasus-check"

// Check tries with a small file whatever servers do with a store.
func (e Blobs) Check(ctx context.Context, set *blob.Set, name string) error {
	s, end, err := stores.Find(ctx, set, name)
	if err != nil {
		return err
	}
	defer end()
	dir := blob.Join(checkDir, rand.Text())
	file := blob.Join(dir, "file")
	content := []byte(rand.Text() + rand.Text())
	var steps []blobStep
	var failed error
	do := func(step string, f func() error) {
		if failed != nil {
			return
		}
		begin := time.Now()
		err := f()
		b := blobStep{Step: step, MS: float64(time.Since(begin).Microseconds()) / 1000}
		if err != nil {
			failed = fmt.Errorf("%s: %w", step, err)
			b.Error = err.Error()
		}
		steps = append(steps, b)
	}
	do("write", func() error { _, err := s.PutBytes(ctx, file, content); return err })
	do("look up", func() error {
		i, err := s.Stat(ctx, file)
		if err == nil && i.Size != int64(len(content)) {
			err = fmt.Errorf("%d bytes, want %d", i.Size, len(content))
		}
		return err
	})
	do("list", func() error {
		list, err := s.List(ctx, dir)
		if err == nil && (len(list) != 1 || list[0].Name != file) {
			err = fmt.Errorf("%d names, want only %s", len(list), file)
		}
		return err
	})
	do("read", func() error {
		b, err := s.Get(ctx, file, 1<<20)
		if err == nil && !bytes.Equal(b, content) {
			err = errors.New("another content than what was written")
		}
		return err
	})
	do("read a part", func() error {
		r, err := s.OpenRange(ctx, file, 10, 20)
		if err != nil {
			return err
		}
		defer r.Close()
		b, err := io.ReadAll(r)
		if err == nil && !bytes.Equal(b, content[10:30]) {
			err = errors.New("another content than what was written")
		}
		return err
	})
	do("delete", func() error { return s.DeleteTree(ctx, dir) })
	do("look up what was deleted", func() error {
		if _, err := s.Stat(ctx, file); !errors.Is(err, blob.ErrNotFound) {
			return fmt.Errorf("it is still there: %w", err)
		}
		return nil
	})
	if e.JSON {
		return errors.Join(e.json(steps), failed)
	}
	g := newGrid("step", "#ms", "result")
	for _, b := range steps {
		result := "ok"
		if b.Error != "" {
			result = "failed"
		}
		g.add(b.Step, fmt.Sprintf("%.1f", b.MS), result)
	}
	return errors.Join(g.print(e.Out), failed)
}

// Verify reads all files below a directory ("" is the root) and compares them with the
// checksums that the store knows.
func (e Blobs) Verify(ctx context.Context, set *blob.Set, name, dir string) error {
	s, end, err := stores.Find(ctx, set, name)
	if err != nil {
		return err
	}
	defer end()
	var res struct {
		Files   int      `json:"files"`
		Bytes   int64    `json:"bytes"`
		Without int      `json:"without_checksum"`
		Bad     []string `json:"bad,omitempty"`
	}
	err = s.Walk(ctx, dir, func(i blob.Info) error {
		r, err := s.Open(ctx, i.Name)
		if err == nil {
			var n int64
			n, err = io.Copy(io.Discard, r)
			res.Bytes += n
			if r.Info().MD5 == "" {
				res.Without++
			}
			r.Close()
		}
		res.Files++
		if errors.Is(err, blob.ErrCorrupt) {
			res.Bad = append(res.Bad, err.Error())
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	if e.JSON {
		err = e.json(res)
	} else {
		for _, b := range res.Bad {
			fmt.Fprintln(e.Out, Escape([]byte(b)))
		}
		_, err = fmt.Fprintf(e.Out, "%d files, %s read; %d damaged, %d without a checksum to compare with\n", res.Files, size(res.Bytes), len(res.Bad), res.Without)
	}
	if err == nil && len(res.Bad) > 0 {
		err = fmt.Errorf("%d of %d files are damaged: store them again from another copy", len(res.Bad), res.Files)
	}
	return err
}
