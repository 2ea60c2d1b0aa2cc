package s3

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"pegasus/base/config"
	"pegasus/blob"
	"pegasus/blob/blobtest"
)

// place is a running server, and where its drivers are made.
type place struct {
	s *blobtest.S3Server
	n atomic.Int32
}

func start(t *testing.T, dir string) *place {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, "bucket"), 0o755); err != nil {
		t.Fatal(err)
	}
	return &place{s: blobtest.StartS3(t, dir)}
}

// config returns the settings of a store of its own.
func (p *place) config(t *testing.T, bucket, secret string) config.Blob {
	t.Helper()
	file := filepath.Join(t.TempDir(), "credentials")
	if err := os.WriteFile(file, []byte("[default]\naws_access_key_id = "+p.s.Access+"\naws_secret_access_key = "+secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := config.DefaultBlob()
	c.Type, c.Endpoint, c.Bucket, c.Credentials, c.Path = "s3", p.s.Endpoint, bucket, file, fmt.Sprintf("some/prefix-%d", p.n.Add(1))
	return c
}

func (p *place) driver(t *testing.T, c config.Blob, n *blobtest.Network) *Driver {
	t.Helper()
	d, err := OpenWith(c, n.Dial)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestSuite(t *testing.T) {
	blobtest.S3Binary(t)
	if !blobtest.InMount(t) {
		return
	}
	dir := t.TempDir()
	for _, b := range []string{"bucket", "small"} {
		if err := os.Mkdir(filepath.Join(dir, b), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	blobtest.Mount(t, filepath.Join(dir, "small"), 6<<20, 0)
	p := start(t, dir)
	blobtest.Run(t, blobtest.Place{
		New: func(t *testing.T) blob.Driver {
			return p.driver(t, p.config(t, "bucket", p.s.Secret), &blobtest.Network{})
		},
		Faulty: func(t *testing.T) (blob.Driver, blobtest.Faults) {
			n := &blobtest.Network{}
			return p.driver(t, p.config(t, "bucket", p.s.Secret), n), blobtest.Faults{Vanish: n.Vanish, Return: n.Return, Flip: n.Flip}
		},
		Denied: func(t *testing.T) blob.Driver {
			return p.driver(t, p.config(t, "bucket", "wrong"), &blobtest.Network{})
		},
		Full: func(t *testing.T) blob.Driver {
			return p.driver(t, p.config(t, "small", p.s.Secret), &blobtest.Network{})
		},
		Damage: func(t *testing.T, d blob.Driver, name string) {
			blobtest.Flip(t, filepath.Join(dir, "bucket", d.(*Driver).key(name)))
		},
		Large: partBytes, KnowsMD5: true,
	})
}

func TestBadPlaces(t *testing.T) {
	p := start(t, t.TempDir())
	o := blobtest.Options()
	o.RetryTime = 0
	for _, tc := range []struct {
		name   string
		change func(*config.Blob)
		kind   error
		want   string
	}{
		{"no bucket", func(c *config.Blob) { c.Bucket = "nothing" }, blob.ErrInvalid, "bucket nothing doesn't exist"},
		{"no server", func(c *config.Blob) { c.Endpoint = "http://127.0.0.1:1" }, blob.ErrUnavailable, "refused"},
		{"no credentials", func(c *config.Blob) { c.Credentials += ".not" }, blob.ErrDenied, "no credentials in the file"},
		{"no profile", func(c *config.Blob) { c.Profile = "other" }, blob.ErrDenied, "no credentials in the file"},
		{"no TLS there", func(c *config.Blob) { c.Endpoint = strings.Replace(c.Endpoint, "http:", "https:", 1) }, nil, "HTTPS"},
	} {
		c := p.config(t, "bucket", p.s.Secret)
		tc.change(&c)
		s := blob.NewStore("s", p.driver(t, c, &blobtest.Network{}), o)
		for op, f := range map[string]func() error{
			"put":  func() error { _, err := s.PutBytes(t.Context(), "f", nil); return err },
			"stat": func() error { _, err := s.Stat(t.Context(), "f"); return err },
			"list": func() error { _, err := s.List(t.Context(), ""); return err },
			"tree": func() error { return s.DeleteTree(t.Context(), "d") },
		} {
			if err := f(); err == nil || tc.kind != nil && !errors.Is(err, tc.kind) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: %s: %v", tc.name, op, err)
			}
		}
		s.Close()
	}
	for _, change := range []func(*config.Blob){
		func(c *config.Blob) { c.Endpoint = "http://h/path" },
		func(c *config.Blob) { c.CAFile = "/nothing" },
		func(c *config.Blob) { c.CAFile = c.Credentials },
	} {
		c := p.config(t, "bucket", p.s.Secret)
		change(&c)
		if _, err := Open(t.Context(), c); !errors.Is(err, blob.ErrInvalid) {
			t.Errorf("error %v", err)
		}
	}
}

// TestEnvironment takes credentials from where programs look.
func TestEnvironment(t *testing.T) {
	p := start(t, t.TempDir())
	c := p.config(t, "bucket", p.s.Secret)
	file := c.Credentials
	c.Credentials = ""
	try := func() error {
		_, err := p.driver(t, c, &blobtest.Network{}).Put(t.Context(), "f", blob.NewSource(t.Context(), strings.NewReader("x"), blob.Want{}))
		return err
	}
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", file)
	if err := try(); err != nil {
		t.Errorf("the usual file: %v", err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", p.s.Access)
	t.Setenv("AWS_SECRET_ACCESS_KEY", "wrong")
	if err := try(); !errors.Is(err, blob.ErrDenied) {
		t.Errorf("the environment goes before the file: %v", err)
	}
	t.Setenv("AWS_SECRET_ACCESS_KEY", p.s.Secret)
	if err := try(); err != nil {
		t.Errorf("the environment: %v", err)
	}
}

// TestUploads: a failed upload leaves no parts, and those of living writers stay.
func TestUploads(t *testing.T) {
	p := start(t, t.TempDir())
	d := p.driver(t, p.config(t, "bucket", p.s.Secret), &blobtest.Network{})
	uploads := func() (n int) {
		for u := range d.core.ListIncompleteUploads(context.Background(), "bucket", d.prefix, true) {
			if u.Err != nil {
				t.Fatal(u.Err)
			}
			n++
		}
		return n
	}
	s := blob.NewStore("s", d, blobtest.Options())
	if _, err := s.Put(t.Context(), "f", strings.NewReader(strings.Repeat("x", partBytes+1)), blob.Want{Sized: true, Size: partBytes + 2}); !errors.Is(err, blob.ErrSource) {
		t.Fatal(err)
	}
	if n := uploads(); n != 0 {
		t.Errorf("a failed upload left %d", n)
	}
	if _, err := d.core.NewMultipartUpload(t.Context(), "bucket", d.key("f"), minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	d.sweep(t.Context(), "f")
	if n := uploads(); n != 1 {
		t.Errorf("%d uploads after a sweep of young ones, want 1", n)
	}
}

func TestPartSizes(t *testing.T) {
	total := int64(0)
	for n := 1; n <= maxParts; n++ {
		total += int64(partSize(n))
	}
	if total != 496_000<<20 || partSize(1) != 8<<20 || partSize(maxParts) != 128<<20 {
		t.Errorf("all parts have %d bytes", total)
	}
	if staleAfter < time.Hour {
		t.Error("a living writer's upload may be taken for a dead one's")
	}
}
