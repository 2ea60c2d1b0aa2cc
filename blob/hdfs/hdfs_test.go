package hdfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pegasus/base/config"
	"pegasus/blob"
	"pegasus/blob/blobtest"
)

var places atomic.Int32

// settings returns those of a store of its own below a directory.
func settings(c *blobtest.HDFSCluster, dir string) config.Blob {
	b := config.DefaultBlob()
	b.Type, b.NameNodes, b.User, b.Path = "hdfs", c.NameNodes, "somebody", fmt.Sprintf("%s/%d", dir, places.Add(1))
	return b
}

func driver(t *testing.T, c config.Blob, n *blobtest.Network) *Driver {
	t.Helper()
	d, err := OpenWith(c, n.Dial)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestHDFS(t *testing.T) {
	t.Parallel()
	c := blobtest.StartHDFS(t, "")
	t.Run("suite", func(t *testing.T) {
		blobtest.Run(t, blobtest.Place{
			New: func(t *testing.T) blob.Driver { return driver(t, settings(c, "/open"), &blobtest.Network{}) },
			Faulty: func(t *testing.T) (blob.Driver, blobtest.Faults) {
				n := &blobtest.Network{}
				return driver(t, settings(c, "/open"), n), blobtest.Faults{Vanish: n.Vanish, Return: n.Return, Flip: n.Flip}
			},
			Denied: func(t *testing.T) blob.Driver { return driver(t, settings(c, "/closed"), &blobtest.Network{}) },
			Full:   func(t *testing.T) blob.Driver { return driver(t, settings(c, "/small"), &blobtest.Network{}) },
			Damage: func(t *testing.T, d blob.Driver, name string) { c.Command("damage " + d.(*Driver).path(name)) },
			Large:  3 << 20, KnowsMD5: true,
		})
	})
	t.Run("blocks", func(t *testing.T) { blocks(t, c) })
	t.Run("failover", func(t *testing.T) { failover(t, c) })
	t.Run("safe mode", func(t *testing.T) { safeMode(t, c) })
	t.Run("bad places", func(t *testing.T) { badPlaces(t, c) })
}

// blocks: files of several blocks, and of one that is larger than usual.
func blocks(t *testing.T, c *blobtest.HDFSCluster) {
	// The cluster may need a while to hear of each block: then all is sent again.
	s := blob.NewStore("s", driver(t, settings(c, "/open"), &blobtest.Network{}), blob.Options{Timeout: 20 * time.Second, RetryTime: time.Minute})
	b := blobtest.Random(20<<20+777, 1)
	for name, want := range map[string]blob.Want{"several": {}, "one": {Sized: true, Size: int64(len(b))}} {
		if _, err := s.Put(t.Context(), name, bytes.NewReader(b), want); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Get(t.Context(), name, 1<<30); err != nil || !bytes.Equal(got, b) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		r, err := s.OpenRange(t.Context(), name, 8<<20-10, 8<<20+20)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, b[8<<20-10:16<<20+10]) {
			t.Errorf("%s: a part over blocks: %d bytes, %v", name, len(got), err)
		}
		r.Close()
	}
}

// failover: another name node becomes active while a file is being written.
func failover(t *testing.T, c *blobtest.HDFSCluster) {
	s := blob.NewStore("s", driver(t, settings(c, "/open"), &blobtest.Network{}), blob.Options{Timeout: 20 * time.Second, RetryTime: time.Minute})
	b := blobtest.Random(3<<20, 1)
	once := sync.OnceFunc(func() { c.Command("failover") })
	r := &hook{bytes.NewReader(b), 1 << 20, once}
	if _, err := s.Put(t.Context(), "d/f", r, blob.Want{}); err != nil {
		t.Fatal(err)
	}
	c.Command("failover")
	if got, err := s.Get(t.Context(), "d/f", 1<<30); err != nil || !bytes.Equal(got, b) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// hook calls f behind at bytes.
type hook struct {
	*bytes.Reader
	at int64
	f  func()
}

func (h *hook) Read(p []byte) (int, error) {
	if h.Size()-int64(h.Len()) >= h.at {
		h.f()
	}
	return h.Reader.Read(p)
}

// safeMode: the cluster takes no writes for a while.
func safeMode(t *testing.T, c *blobtest.HDFSCluster) {
	s := blob.NewStore("s", driver(t, settings(c, "/open"), &blobtest.Network{}), blob.Options{Timeout: 10 * time.Second})
	c.Command("safemode on")
	_, err := s.PutBytes(t.Context(), "f", []byte("x"))
	c.Command("safemode off")
	if !errors.Is(err, blob.ErrUnavailable) || !strings.Contains(err.Error(), "safe mode") {
		t.Errorf("error %v", err)
	}
	if _, err := s.PutBytes(t.Context(), "f", []byte("x")); err != nil {
		t.Error(err)
	}
}

func badPlaces(t *testing.T, c *blobtest.HDFSCluster) {
	b := settings(c, "/open")
	b.NameNodes = []string{"127.0.0.1:1", "127.0.0.1:2"}
	s := blob.NewStore("s", driver(t, b, &blobtest.Network{}), blob.Options{Timeout: 10 * time.Second})
	for op, err := range map[string]error{
		"put":  second(s.PutBytes(t.Context(), "f", nil)),
		"stat": second(s.Stat(t.Context(), "f")),
		"list": second(s.List(t.Context(), "d")),
		"tree": s.DeleteTree(t.Context(), "d"),
	} {
		if !errors.Is(err, blob.ErrUnavailable) || !strings.Contains(err.Error(), "refused") {
			t.Errorf("%s: %v", op, err)
		}
	}
	// The one that doesn't answer is passed over.
	b.NameNodes = append([]string{"127.0.0.1:1"}, c.NameNodes...)
	s = blob.NewStore("s", driver(t, b, &blobtest.Network{}), blob.Options{Timeout: 10 * time.Second})
	if _, err := s.PutBytes(t.Context(), "f", []byte("x")); err != nil {
		t.Error(err)
	}
	// A file that is being written in the same directory isn't listed.
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- second(s.Put(t.Context(), "g", r, blob.Want{})) }()
	if _, err := w.Write(make([]byte, 2<<20)); err != nil {
		t.Fatal(err)
	}
	if list, err := s.List(t.Context(), ""); err != nil || len(list) != 1 {
		t.Errorf("list: %+v, %v", list, err)
	}
	w.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func second[T any](_ T, err error) error { return err }
