package rocks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"pegasus/base/durable"
	"pegasus/rocks/table"
)

// File is an open file of a directory. Several goroutines may read it.
type File interface {
	table.File
	Close() error
}

// Dir is where a database is read from. It must not change meanwhile.
type Dir interface {
	// List returns the files and their sizes, in bytes.
	List(ctx context.Context) (map[string]int64, error)
	// Open opens a file that List has.
	Open(ctx context.Context, name string) (File, error)
}

// Sink is where a database is written to.
type Sink interface {
	// Create returns a new file, which doesn't show before Commit.
	Create(ctx context.Context, name string) (SinkFile, error)
}

// SinkFile is a file that is written from begin to end, by one goroutine. Either Commit or Abort ends it.
type SinkFile interface {
	io.Writer
	// Commit makes the file durable and visible.
	Commit(ctx context.Context) error
	// Abort leaves no file.
	Abort()
}

// Local is a directory of this machine, as Dir and Sink.
type Local string

func (d Local) List(ctx context.Context) (map[string]int64, error) {
	entries, err := os.ReadDir(string(d))
	if err != nil {
		return nil, err
	}
	sizes := map[string]int64{}
	for _, e := range entries {
		info, err := e.Info()
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if info.Mode().IsRegular() {
			sizes[e.Name()] = info.Size()
		}
	}
	return sizes, ctx.Err()
}

func (d Local) Open(ctx context.Context, name string) (File, error) {
	f, err := os.Open(filepath.Join(string(d), name))
	if err != nil {
		return nil, err
	}
	return localFile{f}, ctx.Err()
}

type localFile struct{ f *os.File }

func (f localFile) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	return f.f.ReadAt(p, off)
}

func (f localFile) Close() error { return f.f.Close() }

func (d Local) Create(ctx context.Context, name string) (SinkFile, error) {
	path := filepath.Join(string(d), name)
	f, err := os.OpenFile(path+".tmp", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
	if err != nil {
		return nil, err
	}
	return &localSink{f: f, path: path}, ctx.Err()
}

type localSink struct {
	f    *os.File
	path string
}

func (s *localSink) Write(p []byte) (int, error) { return s.f.Write(p) }

func (s *localSink) Commit(ctx context.Context) error {
	err := ctx.Err()
	if err == nil {
		err = s.f.Sync()
	}
	err = errors.Join(err, s.f.Close())
	if err == nil {
		err = os.Rename(s.f.Name(), s.path)
	}
	if err == nil {
		err = durable.Dir(filepath.Dir(s.path))
	}
	if err != nil {
		os.Remove(s.f.Name())
		return fmt.Errorf("write %s: %w", s.path, err)
	}
	return nil
}

func (s *localSink) Abort() {
	s.f.Close()
	os.Remove(s.f.Name())
}
