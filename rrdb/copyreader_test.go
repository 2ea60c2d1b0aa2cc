package rrdb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"pegasus/base"
)

// copyOf makes a copy of the store, and opens it.
func (h *harness) copyOf(dir string) *Copy {
	h.t.Helper()
	if _, err := h.store.Checkpoint(dir); err != nil {
		h.t.Fatal(err)
	}
	return h.openCopy(dir)
}

func (h *harness) openCopy(dir string) *Copy {
	h.t.Helper()
	c, err := OpenCopy(CopyOptions{Dir: dir, FS: h.fs})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		if err := c.Close(); err != nil {
			h.t.Error(err)
		}
	})
	return c
}

// readCopyRows returns the live rows, which must come in bytewise order, with Digest's hash of them.
func readCopyRows(t testing.TB, c *Copy, now uint32) (model, uint64) {
	t.Helper()
	rows, err := c.Rows(t.Context(), now)
	if err != nil {
		t.Fatal(err)
	}
	m, sum := model{}, xxhash.New()
	var last []byte
	for rows.Next() {
		r := rows.Row()
		if last != nil && bytes.Compare(last, r.Key) >= 0 {
			t.Fatalf("key %x comes after %x", r.Key, last)
		}
		last = append(last[:0], r.Key...)
		m[string(r.Key)] = modelRow{string(r.Data), r.ExpireTS}
		v := make([]byte, valueHeader, valueHeader+len(r.Data))
		putValueHeader(v, r.ExpireTS, r.Timetag)
		v = append(v, r.Data...)
		n := [8]byte{4: byte(len(v) >> 24), 5: byte(len(v) >> 16), 6: byte(len(v) >> 8), 7: byte(len(v))}
		n[0], n[1], n[2], n[3] = byte(len(r.Key)>>24), byte(len(r.Key)>>16), byte(len(r.Key)>>8), byte(len(r.Key))
		for _, b := range [][]byte{n[:], r.Key, v} {
			sum.Write(b)
		}
	}
	if err := rows.Close(); err != nil {
		t.Fatal(err)
	}
	return m, sum.Sum64()
}

// randomKey is a row key with bytes and lengths that an order other than the bytewise one would place elsewhere.
func randomKey(rng *rand.Rand) []byte {
	part := func(most int) []byte {
		b := make([]byte, rng.IntN(most))
		for i := range b {
			b[i] = pick(rng, []byte{0, 1, 0x7f, 0x80, 0xfe, 0xff})
		}
		return b
	}
	hash := part(4)
	if rng.IntN(20) == 0 {
		hash = bytes.Repeat(append(part(3), 0xff), 100+rng.IntN(60)) // lengths around 256
	}
	return base.AppendKey(nil, hash, part(6))
}

// A copy tells whether it has a row that is live, when what it has of it was written, also if that is gone, and when it was made.
func TestCopyFind(t *testing.T) {
	h := newHarness(t, nil)
	h.put("h", "a", "1", 0)
	h.put("h", "b", "1", 5000)
	h.payload = AppendOp(h.payload, Op{Key: rowKey("h", "removed"), Delete: true, Timetag: Tombstone(3)})
	h.propose()
	h.apply()
	c := h.copyOf("copy")
	tags := map[string]uint64{"a": MakeTimetag(h.timestamp(1), 0, false), "b": MakeTimetag(h.timestamp(2), 0, false), "removed": MakeTimetag(h.timestamp(3), 3, true)}
	h.put("h", "later", "1", 0)
	for key, want := range map[string][2]bool{"a": {true, true}, "b": {true, false}, "removed": {false, false}, "later": {false, false}, "none": {false, false}} {
		for i, now := range []uint32{4999, 5000} {
			live, tag, err := c.Find(rowKey("h", key), now)
			if live != want[i] || err != nil || tag != tags[key] {
				t.Errorf("%s at %d: %v, %#x, %v", key, now, live, tag, err)
			}
		}
	}
	if c.Timestamp() != h.timestamp(3) || c.Decree() != 3 {
		t.Errorf("of %d, decree %d", c.Timestamp(), c.Decree())
	}
}

// A copy has the rows of its decree in RocksDB's order, whatever became of the store since; those
// that expired by the clock that is asked for aren't shown.
func TestCopyRows(t *testing.T) {
	for _, separate := range []int64{0, 300} {
		t.Run(fmt.Sprint("values apart from ", separate), func(t *testing.T) {
			h := newHarness(t, func(c *testConfig) { c.MemtableBytes, c.SeparateValues = 256<<10, separate })
			rng, want := rand.New(rand.NewPCG(1, uint64(separate))), model{}
			write := func(n int) {
				for range n {
					var payload []byte
					for range rng.IntN(6) {
						op := Op{Key: randomKey(rng), ExpireTS: uint32(rng.IntN(3) * rng.IntN(100))}
						if op.Delete = rng.IntN(6) == 0; op.Delete {
							op.ExpireTS = 0
						} else {
							op.Value = bytes.Repeat([]byte{byte(rng.Uint32())}, rng.IntN(900))
						}
						payload = AppendOp(payload, op)
					}
					want.apply(payload)
					h.payload = payload
					h.propose()
					h.apply()
				}
			}
			write(2000)
			h.flush()
			write(1000)
			c := h.copyOf("data/copy")
			decree := h.decree
			sums := map[uint32]Sum{}
			for _, now := range []uint32{0, 1, 50, 99, 1000} {
				var err error
				if sums[now], err = h.store.Digest(t.Context(), now); err != nil {
					t.Fatal(err)
				}
			}
			then := model{}
			for k, r := range want {
				then[k] = r
			}
			write(500)
			if err := h.store.Compact(t.Context(), 0); err != nil {
				t.Fatal(err)
			}
			if c.Decree() != decree {
				t.Errorf("decree %d, want %d", c.Decree(), decree)
			}
			size := int64(0)
			for now, sum := range sums {
				got, hash := readCopyRows(t, c, now)
				live := 0
				size = 0
				for k, r := range then {
					if expired(r.expire, now) {
						continue
					}
					live++
					size += int64(len(k) + valueHeader + len(r.value))
					if got[k] != r {
						t.Fatalf("at %d row %x is %.40q, want %.40q", now, k, got[k].value, r.value)
					}
				}
				if len(got) != live || int64(live) != sum.Rows || hash != sum.Hash {
					t.Errorf("at %d: %d rows with hash %x, want %d; the store had %d with %x", now, len(got), hash, live, sum.Rows, sum.Hash)
				}
			}
			if n, err := c.Bytes(); err != nil || n < size || n > 20*size {
				t.Errorf("%d bytes, %v; the rows have %d", n, err, size)
			}
		})
	}
}

// A copy is read beside the store: the cache of the store gets nothing of it, and what the copy holds is
// the same however many rows there are.
func TestCopyCache(t *testing.T) {
	h := newHarness(t, nil)
	v := bytes.Repeat([]byte("v"), 1000)
	for i := range 30000 {
		h.payload = appendRowOp(h.payload, fmt.Append(nil, "h", i%100), fmt.Append(nil, i), Op{Value: append(v[:900:900], fmt.Append(nil, i*i)...)})
		if i%100 == 99 {
			h.propose()
			h.apply()
		}
	}
	c := h.copyOf("data/copy")
	h.close() // no compaction reads beside the test
	before := h.shared.Metrics()
	got, _ := readCopyRows(t, c, 0)
	after := h.shared.Metrics()
	if len(got) != 30000 {
		t.Errorf("%d rows", len(got))
	}
	if after.BlockCacheMisses != before.BlockCacheMisses || after.BlockCacheHits != before.BlockCacheHits {
		t.Errorf("the store's cache: %d misses and %d hits, before %d and %d", after.BlockCacheMisses, after.BlockCacheHits, before.BlockCacheMisses, before.BlockCacheHits)
	}
	if n := c.cache.Metrics().Size; n > 8<<20 {
		t.Errorf("the copy's cache has %d bytes", n)
	}
	if n := c.db.Metrics().FileCache.TableCount; n > copyFiles {
		t.Errorf("%d files are open", n)
	}
}

// An end of the context ends the rows.
func TestCopyContext(t *testing.T) {
	h := newHarness(t, nil)
	for i := range 2000 {
		h.payload = appendRowOp(h.payload, []byte("h"), fmt.Append(nil, i), Op{Value: []byte("v")})
	}
	h.propose()
	h.apply()
	c := h.copyOf("data/copy")
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	rows, err := c.Rows(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if !rows.Next() {
			t.Fatal(rows.Err())
		}
	}
	cancel(why)
	n := 10
	for rows.Next() {
		n++
	}
	if err := rows.Close(); !errors.Is(err, why) || n >= 2000 {
		t.Errorf("%d rows, %v", n, err)
	}
}

// A damaged copy is an error, when it is opened or when the rows are read; no row is lost without one.
func TestDamagedCopy(t *testing.T) {
	damage := map[string]func(b []byte) []byte{
		"cut":     func(b []byte) []byte { return b[:len(b)/2] },
		"empty":   func([]byte) []byte { return nil },
		"garbage": func(b []byte) []byte { return bytes.Repeat([]byte{0xa5}, len(b)) },
		"flipped": func(b []byte) []byte { b[len(b)/3] ^= 4; return b },
		"removed": nil,
	}
	for name, change := range damage {
		for _, pattern := range []string{"*.sst", "*.blob", "MANIFEST-*"} {
			t.Run(name+" "+pattern, func(t *testing.T) {
				h := newHarness(t, func(c *testConfig) { c.SeparateValues = 400 })
				for i := range 3000 {
					h.payload = appendRowOp(h.payload, []byte("h"), fmt.Append(nil, i), Op{Value: bytes.Repeat([]byte{byte(i)}, i%500)})
				}
				h.propose()
				h.apply()
				decree, err := h.store.Checkpoint("data/copy")
				if err != nil {
					t.Fatal(err)
				}
				names, err := h.fs.List("data/copy")
				if err != nil {
					t.Fatal(err)
				}
				for _, n := range names {
					if ok, _ := filepath.Match(pattern, n); !ok {
						continue
					}
					n = h.fs.PathJoin("data/copy", n)
					b := readFile(t, h.fs, n)
					if err := h.fs.Remove(n); err != nil {
						t.Fatal(err)
					}
					if change != nil {
						writeFile(t, h.fs, n, change(b))
					}
				}
				c, err := OpenCopy(CopyOptions{Dir: "data/copy", Decree: decree, FS: h.fs})
				rows := 0
				if err == nil {
					var it *Rows
					if it, err = c.Rows(t.Context(), 0); err == nil {
						for it.Next() {
							rows++
						}
						err = it.Close()
					}
					if err := c.Close(); err != nil {
						t.Error(err)
					}
				}
				if !errors.Is(err, ErrCorrupt) {
					t.Errorf("%d rows, %v", rows, err)
				}
			})
		}
	}
}

func readFile(t testing.TB, fsys vfs.FS, name string) []byte {
	t.Helper()
	st, err := fsys.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, st.Size())
	f, err := fsys.Open(name)
	if err == nil && len(b) > 0 {
		_, err = f.ReadAt(b, 0)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return b
}

func writeFile(t testing.TB, fsys vfs.FS, name string, b []byte) {
	t.Helper()
	f, err := fsys.Create(name, vfs.WriteCategoryUnspecified)
	if err == nil {
		_, err = f.Write(b)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// What isn't a copy is told apart from a damaged one.
func TestNoCopy(t *testing.T) {
	fsys := vfs.NewMem()
	if c, err := OpenCopy(CopyOptions{Dir: "nowhere", FS: fsys}); !errors.Is(err, ErrNotExist) {
		t.Errorf("no directory: %v, %v", c, err)
	}
	if err := fsys.MkdirAll("empty", 0o755); err != nil {
		t.Fatal(err)
	}
	if c, err := OpenCopy(CopyOptions{Dir: "empty", FS: fsys}); !errors.Is(err, ErrNotExist) {
		t.Errorf("an empty directory: %v, %v", c, err)
	}
	db, err := pebble.Open("other", &pebble.Options{FS: fsys, Logger: copyLog{silent()}})
	if err == nil {
		err = errors.Join(db.Set([]byte("k"), []byte("v"), nil), db.Flush(), db.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	if c, err := OpenCopy(CopyOptions{Dir: "other", FS: fsys}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("another program's database: %v, %v", c, err)
	}
	if c, err := OpenCopy(CopyOptions{FS: fsys}); err == nil {
		t.Errorf("no directory is named: %v", c)
	}
	if c, err := OpenCopy(CopyOptions{Dir: "x", FS: fsys, CacheBytes: -1}); err == nil {
		t.Errorf("a negative cache: %v", c)
	}
}
