package local

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"pegasus/base/config"
	"pegasus/blob"
	"pegasus/blob/blobtest"
	"pegasus/internal/repo"
)

func driver(t *testing.T, dir string) *Driver {
	t.Helper()
	d, err := Open(t.Context(), config.Blob{Type: "local", Path: dir})
	if err != nil {
		t.Fatal(err)
	}
	return d.(*Driver)
}

func TestSuite(t *testing.T) {
	if !blobtest.InMount(t) {
		return
	}
	blobtest.Run(t, blobtest.Place{
		New: func(t *testing.T) blob.Driver { return driver(t, t.TempDir()) },
		Faulty: func(t *testing.T) (blob.Driver, blobtest.Faults) {
			dir := filepath.Join(t.TempDir(), "root")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			d := driver(t, dir)
			away := func(from, to string) func() {
				return func() {
					if err := os.Rename(from, to); err != nil && !errors.Is(err, fs.ErrNotExist) {
						t.Error(err)
					}
				}
			}
			return d, blobtest.Faults{Vanish: away(dir, dir+".away"), Return: away(dir+".away", dir), Flip: func(on bool) {
				d.written = nil
				if on {
					d.written = func(path string) { blobtest.Flip(t, path) }
				}
			}}
		},
		Denied: func(t *testing.T) blob.Driver { return driver(t, blobtest.Mount(t, "", 1<<20, syscall.MS_RDONLY)) },
		Full:   func(t *testing.T) blob.Driver { return driver(t, blobtest.Mount(t, "", 4<<20, 0)) },
		Damage: func(t *testing.T, d blob.Driver, name string) { blobtest.Flip(t, d.(*Driver).path(name)) },
		Large:  3 << 20, KnowsMD5: true,
	})
}

// TestSideFile compares with what upstream's local_service writes.
func TestSideFile(t *testing.T) {
	dir := t.TempDir()
	s := blob.NewStore("test", driver(t, dir), blobtest.Options())
	text := `{"backup_id":1795388400586,"start_time_ms":1795388400586,"end_time_ms":0,"app_id":1,"app_name":"mig"}`
	if _, err := s.PutBytes(t.Context(), "onebox/1795388400586/backup_info", []byte(text)); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "onebox/1795388400586/.backup_info.meta"))
	if want := `{"md5":"48fadd2a84ef78e3535659e3afcb776a","size":101}`; err != nil || string(b) != want {
		t.Errorf("side file %q, %v, want %q", b, err, want)
	}
	list, err := os.ReadDir(filepath.Join(dir, "onebox/1795388400586"))
	if err != nil || len(list) != 2 {
		t.Errorf("beside the file and its side file: %v, %v", list, err)
	}
}

// TestRecording reads each file of a backup that a C++ cluster wrote.
func TestRecording(t *testing.T) {
	dir := filepath.Join(repo.Golden(t), "cold-backup")
	s := blob.NewStore("local_service", driver(t, dir), blobtest.Options())
	n := 0
	err := s.Walk(t.Context(), "", func(i blob.Info) error {
		n++
		info, err := s.Stat(t.Context(), i.Name)
		if err != nil || info.MD5 == "" {
			t.Errorf("%s: %+v, %v", i.Name, info, err)
		}
		_, err = s.Get(t.Context(), i.Name, 1<<30)
		return err
	})
	if err != nil || n < 40 {
		t.Errorf("%d files read: %v", n, err)
	}
}

func TestWithoutSideFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("abc"), 0o644); err != nil {
		t.Fatal(err)
	}
	d := driver(t, dir)
	s := blob.NewStore("test", d, blobtest.Options())
	if _, err := s.Stat(t.Context(), "f"); !errors.Is(err, blob.ErrNotFound) || !strings.Contains(err.Error(), ".f.meta") {
		t.Errorf("error %v", err)
	}
	if list, err := s.List(t.Context(), ""); err != nil || len(list) != 0 {
		t.Errorf("listed %+v, %v", list, err)
	}
	d.lenient = true
	if b, err := s.Get(t.Context(), "f", 10); err != nil || string(b) != "abc" {
		t.Errorf("read %q, %v", b, err)
	}
	if list, err := s.List(t.Context(), ""); err != nil || len(list) != 1 {
		t.Errorf("listed %+v, %v", list, err)
	}
	for text, want := range map[string]string{"{": "JSON", `{"md5":"00","size":3}`: "md5", `{"md5":"48fadd2a84ef78e3535659e3afcb776a","size":4}`: "3 bytes"} {
		if err := os.WriteFile(filepath.Join(dir, ".f.meta"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Stat(t.Context(), "f"); !errors.Is(err, blob.ErrCorrupt) || !strings.Contains(err.Error(), want) {
			t.Errorf("side file %s: %v", text, err)
		}
	}
}

// TestLeftovers: a write that was killed leaves a file that is removed a day later.
func TestLeftovers(t *testing.T) {
	dir := t.TempDir()
	old, young := filepath.Join(dir, ".f.tmp-1"), filepath.Join(dir, ".g.tmp-1.meta")
	for _, p := range []string{old, young} {
		if err := os.WriteFile(p, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chtimes(old, time.Time{}, time.Now().Add(-25*time.Hour)); err != nil {
		t.Fatal(err)
	}
	s := blob.NewStore("test", driver(t, dir), blobtest.Options())
	if _, err := s.PutBytes(t.Context(), "h", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(old); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the old one is there: %v", err)
	}
	if _, err := os.Stat(young); err != nil {
		t.Error(err)
	}
}

// TestNoRoot: the directory of a disk that isn't mounted is never made.
func TestNoRoot(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mnt")
	o := blobtest.Options()
	o.RetryTime = 0
	s := blob.NewStore("test", driver(t, dir), o)
	if _, err := s.PutBytes(t.Context(), "a/b", nil); !errors.Is(err, blob.ErrUnavailable) || !strings.Contains(err.Error(), "mounted") {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it was made: %v", err)
	}
}

func FuzzSideFile(f *testing.F) {
	f.Add([]byte(`{"md5":"48fadd2a84ef78e3535659e3afcb776a","size":101}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeSide(b)
		if err != nil {
			return
		}
		out, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := decodeSide(out); err != nil || again != s || s.Size < 0 || len(s.MD5) != 32 {
			t.Fatalf("%q read as %+v, again %+v, %v", b, s, again, err)
		}
	})
}

func BenchmarkPut(b *testing.B) {
	d, err := Open(context.Background(), config.Blob{Path: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	s := blob.NewStore("test", d, blob.Options{})
	data := blobtest.Random(64<<20, 1)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := s.Put(context.Background(), "f", bytes.NewReader(data), blob.Want{}); err != nil {
			b.Fatal(err)
		}
	}
}
