package rrdb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"pegasus/base"
	idl "pegasus/gen/rrdb"
	"pegasus/gen/value"
)

func TestApplyOrder(t *testing.T) {
	h := newHarness(t, nil)
	s := h.store
	for _, d := range []int64{0, 2, -1} {
		if err := s.Apply(d, 1, nil); !errors.Is(err, base.ErrInvalidState) {
			t.Errorf("decree %d first: %v", d, err)
		}
	}
	if err := s.Apply(1, 77, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(1, 78, nil); !errors.Is(err, base.ErrInvalidState) {
		t.Errorf("decree 1 again: %v", err)
	}
	bad := AppendOp(nil, Op{Key: rowKey("h", "s"), Value: []byte("v")})
	for _, p := range [][]byte{bad[:len(bad)-1], AppendOp(bad, Op{Key: metaKey}), AppendOp(bad, Op{Key: []byte{1}, Delete: true})} {
		if err := s.Apply(2, 78, p); !errors.Is(err, base.ErrInvalidData) {
			t.Errorf("payload %x: %v", p, err)
		}
	}
	if s.LastApplied() != 1 || s.LastTimestamp() != 77 {
		t.Errorf("applied %d at %d", s.LastApplied(), s.LastTimestamp())
	}
	compareContent(t, s, model{})
	if err := s.Apply(2, 79, bad); err != nil {
		t.Fatal(err)
	}
	compareContent(t, s, model{string(rowKey("h", "s")): {value: "v"}})
	it, err := s.db.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	it.First()
	if _, tag, _, _ := splitValue(it.Value()); tag != 79<<8 {
		t.Errorf("timetag is %x", tag)
	}
}

func TestApplyAll(t *testing.T) {
	h := newHarness(t, nil)
	put := func(v string) []byte { return AppendOp(nil, Op{Key: rowKey("h", "s"), Value: []byte(v)}) }
	gap := []Mutation{{1, 11, put("1")}, {3, 13, put("3")}}
	if err := h.store.ApplyAll(gap); !errors.Is(err, base.ErrInvalidState) {
		t.Errorf("a gap: %v", err)
	}
	bad := []Mutation{{1, 11, put("1")}, {2, 12, []byte{0xff}}}
	if err := h.store.ApplyAll(bad); !errors.Is(err, base.ErrInvalidData) {
		t.Errorf("a bad payload: %v", err)
	}
	if h.store.LastApplied() != 0 {
		t.Errorf("applied %d", h.store.LastApplied())
	}
	compareContent(t, h.store, model{})
	// The same row several times: the last wins, each with its own timestamp.
	if err := h.store.ApplyAll([]Mutation{{1, 11, put("1")}, {2, 12, nil}, {3, 13, put("3")}}); err != nil {
		t.Fatal(err)
	}
	if h.store.LastApplied() != 3 || h.store.LastTimestamp() != 13 || h.store.WouldStall() {
		t.Errorf("applied %d at %d, would stall %t", h.store.LastApplied(), h.store.LastTimestamp(), h.store.WouldStall())
	}
	compareContent(t, h.store, model{string(rowKey("h", "s")): {value: "3"}})
}

func TestLargeMutation(t *testing.T) {
	// Larger than a memtable: Pebble takes it as one of its own.
	h := newHarness(t, func(c *testConfig) { c.MemtableBytes = 256 << 10 })
	big := strings.Repeat("x", 900<<10)
	h.put("h", "small", "1", 0)
	h.put("h", "big", big, 0)
	h.put("h", "after", "1", 0)
	waitFor(t, "the large mutation to be flushed", func() bool { return h.store.LastFlushed() >= 2 })
	h.crash()
	if h.store.LastApplied() < 2 {
		t.Fatalf("applied %d", h.store.LastApplied())
	}
	var r idl.ReadResponse
	if _, err := h.read(base.RPCGet, rowArg("h", "big"), &r); err != nil || string(r.Value) != big {
		t.Errorf("big row: %d bytes, %v", len(r.Value), err)
	}
}

func TestClosedStore(t *testing.T) {
	h := newHarness(t, nil)
	h.put("h", "s", "v", 0)
	s := h.store
	res, err := s.Read(&ReadRequest{Code: base.RPCGet, Arg: argReader(rowArg("h", "s"))})
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	waitFor(t, "close to begin", func() bool {
		_, _, _, err := s.Evaluate(&WriteRequest{Code: base.RPCRemove, Arg: argReader(rowArg("h", "x"))}, nil, nil)
		return errors.Is(err, ErrClosed)
	})
	// The value is still in Pebble's memory.
	select {
	case err := <-closed:
		t.Fatalf("closed while a result was out: %v", err)
	default:
	}
	var r idl.ReadResponse
	h.decode(res, &r)
	if string(r.Value) != "v" {
		t.Errorf("value is %q", r.Value)
	}
	res.Release()
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	h.store = nil
	if err := s.Close(); !errors.Is(err, ErrClosed) {
		t.Errorf("second close: %v", err)
	}
	if err := s.Apply(2, 2, nil); !errors.Is(err, ErrClosed) || !errors.Is(err, base.ErrInvalidState) {
		t.Errorf("apply: %v", err)
	}
	if err := s.Flush(context.Background()); !errors.Is(err, ErrClosed) {
		t.Errorf("flush: %v", err)
	}
	if _, err := s.Digest(context.Background(), 0); !errors.Is(err, ErrClosed) {
		t.Errorf("digest: %v", err)
	}
	if s.Metrics() != nil || s.Size() != 0 || s.LastApplied() != 1 || s.LastFlushed() != 0 {
		t.Errorf("figures of a closed store: %d, %d, %d", s.Size(), s.LastApplied(), s.LastFlushed())
	}
}

func TestWrongRequests(t *testing.T) {
	h := newHarness(t, nil)
	for _, code := range []string{base.RPCGet, base.RPCTTL, base.RPCMultiGet, base.RPCBatchGet, base.RPCSortkeyCount, base.RPCGetScanner, base.RPCScan, base.RPCClearScanner} {
		res, err := h.store.Read(&ReadRequest{Code: code, Arg: argReader(bytesArg{0x0c, 0, 1})})
		if !errors.Is(err, base.ErrInvalidData) || res != nil {
			t.Errorf("%s: %v", code, err)
		}
	}
	for _, code := range []string{base.RPCPut, base.RPCRemove, base.RPCMultiPut, base.RPCMultiRemove, base.RPCIncr, base.RPCCheckAndSet, base.RPCCheckAndMutate} {
		p, _, _, err := h.store.Evaluate(&WriteRequest{Code: code, Arg: argReader(bytesArg{0x0c, 0, 1})}, nil, []byte("before"))
		if !errors.Is(err, base.ErrInvalidData) || string(p) != "before" {
			t.Errorf("%s: %v, payload %q", code, err, p)
		}
	}
	if _, err := h.store.Read(&ReadRequest{Code: base.RPCPut}); !errors.Is(err, base.ErrHandlerNotFound) {
		t.Errorf("a write as a read: %v", err)
	}
	if _, _, _, err := h.store.Evaluate(&WriteRequest{Code: base.RPCGet}, nil, nil); !errors.Is(err, base.ErrHandlerNotFound) {
		t.Errorf("a read as a write: %v", err)
	}
	waitFor(t, "all calls to have ended", func() bool { return h.store.refs.Load() == 0 })
}

type bytesArg []byte

func (b bytesArg) AppendThrift(to []byte) []byte { return append(to, b...) }

func TestOpenErrors(t *testing.T) {
	fill := func(h *harness) {
		for i := range 200 {
			h.put("h", fmt.Sprintf("%04d", i), strings.Repeat("v", 500), 0)
		}
		h.flush()
	}
	files := func(h *harness, pattern string) []string {
		names, err := h.fs.List(h.options().Dir)
		if err != nil {
			t.Fatal(err)
		}
		var found []string
		for _, n := range names {
			if ok, _ := filepath.Match(pattern, n); ok {
				found = append(found, h.fs.PathJoin(h.options().Dir, n))
			}
		}
		if len(found) == 0 {
			t.Fatalf("no %s among %v", pattern, names)
		}
		return found
	}
	rewrite := func(h *harness, name string, change func([]byte) []byte) {
		f, err := h.fs.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(f)
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		g, err := h.fs.Create(name, vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.Write(change(b)); err != nil {
			t.Fatal(err)
		}
		if err := g.Close(); err != nil {
			t.Fatal(err)
		}
	}
	remove := func(pattern string) func(*harness) {
		return func(h *harness) {
			for _, n := range files(h, pattern) {
				if err := h.fs.Remove(n); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	edit := func(pattern string, change func([]byte) []byte) func(*harness) {
		return func(h *harness) {
			for _, n := range files(h, pattern) {
				rewrite(h, n, change)
			}
		}
	}
	half := func(b []byte) []byte { return b[:len(b)/2] }
	garbage := func(b []byte) []byte { return bytes.Repeat([]byte{0xa5}, len(b)) }
	for _, c := range []struct {
		name   string
		damage func(*harness)
		want   error
	}{
		{"directory missing", func(h *harness) {
			if err := h.fs.RemoveAll(h.options().Dir); err != nil {
				t.Fatal(err)
			}
		}, ErrNotExist},
		{"directory empty", remove("*"), ErrNotExist},
		{"tables missing", remove("*.sst"), ErrCorrupt},
		{"tables cut", edit("*.sst", half), ErrCorrupt},
		{"manifest missing", remove("MANIFEST-*"), ErrCorrupt},
		{"manifest marker missing", remove("marker.manifest*"), ErrCorrupt},
		{"manifest garbage", edit("MANIFEST-*", garbage), ErrCorrupt},
		{"manifest empty", edit("MANIFEST-*", func([]byte) []byte { return nil }), ErrCorrupt},
		{"options garbage", edit("OPTIONS-*", garbage), ErrCorrupt},
		{"tables garbage", edit("*.sst", garbage), ErrCorrupt},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHarness(t, nil)
			fill(h)
			h.close()
			c.damage(h)
			s, err := Open(h.options())
			if !errors.Is(err, c.want) {
				t.Errorf("error is %v", err)
			}
			if err == nil {
				_ = s.Close()
			}
			if c.want != ErrNotExist || c.name == "directory empty" {
				return
			}
			if _, err := h.fs.Stat(h.options().Dir); err == nil {
				t.Error("opening made the directory")
			}
		})
	}
	t.Run("held", func(t *testing.T) {
		h := newHarness(t, nil)
		s, err := Open(h.options())
		if err == nil || errors.Is(err, ErrCorrupt) || errors.Is(err, ErrNotExist) {
			t.Errorf("opening it twice: %v, %v", s, err)
		}
	})
	t.Run("made again", func(t *testing.T) {
		h := newHarness(t, nil)
		fill(h)
		h.close()
		o := h.options()
		o.Create = true
		if s, err := Open(o); err == nil || errors.Is(err, ErrCorrupt) {
			t.Errorf("making a store over another: %v, %v", s, err)
		}
		h.open(false)
		if h.store.LastApplied() != 200 {
			t.Errorf("applied %d", h.store.LastApplied())
		}
	})
	t.Run("rows without decree", func(t *testing.T) {
		h := newHarness(t, nil)
		fill(h)
		if err := h.store.db.Delete(metaKey, pebble.NoSync); err != nil {
			t.Fatal(err)
		}
		if err := h.store.db.Flush(); err != nil {
			t.Fatal(err)
		}
		h.close()
		if s, err := Open(h.options()); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%v, %v", s, err)
		}
	})
	t.Run("from the future", func(t *testing.T) {
		h := newHarness(t, nil)
		for _, v := range [][]byte{{2, 1, 17: 0}, {1, 2, 17: 0}, {1, 1}, {1, 1, 0xff, 17: 0}} {
			if _, err := parseMeta(v); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%x: %v", v, err)
			}
		}
		if m, err := parseMeta(meta{5, 6}.append(nil)); err != nil || m != (meta{5, 6}) {
			t.Errorf("%+v, %v", m, err)
		}
		_ = h
	})
}

func TestDamagedBlock(t *testing.T) {
	h := newHarness(t, nil)
	for i := range 2000 {
		h.put("h", fmt.Sprintf("%05d", i), fmt.Sprintf("%0100d", i), 0)
	}
	h.flush()
	h.close()
	names, err := h.fs.List(h.options().Dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if filepath.Ext(n) != ".sst" {
			continue
		}
		st, err := h.fs.Stat(h.fs.PathJoin(h.options().Dir, n))
		if err != nil {
			t.Fatal(err)
		}
		if st.Size() < 31000 { // of a flush in between, on a slow machine
			continue
		}
		f, err := h.fs.OpenReadWrite(h.fs.PathJoin(h.options().Dir, n), vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte("\xa5\xa5\xa5\xa5\xa5\xa5"), 30000); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	h.open(false)
	damaged := 0
	for i := 0; i < 2000; i += 20 {
		var r idl.ReadResponse
		if _, err := h.read(base.RPCGet, rowArg("h", fmt.Sprintf("%05d", i)), &r); err != nil {
			t.Fatal(err)
		}
		switch r.Error {
		case codeOK:
		case codeCorruption:
			damaged++
		default:
			t.Fatalf("row %d is answered %d", i, r.Error)
		}
	}
	if damaged == 0 || damaged == 100 {
		t.Errorf("%d rows are damaged", damaged)
	}
	if err := <-h.errs; !errors.Is(err, ErrCorrupt) {
		t.Errorf("told of %v", err)
	}
	hash := value.Blob("h")
	var count idl.CountResponse
	var multi idl.MultiGetResponse
	var page idl.ScanResponse
	_, err1 := h.read(base.RPCSortkeyCount, &hash, &count)
	_, err2 := h.read(base.RPCMultiGet, &idl.MultiGetRequest{HashKey: []byte("h"), StartInclusive: true}, &multi)
	_, err3 := h.read(base.RPCGetScanner, &idl.GetScannerRequest{StartKey: []byte{0, 0}, StopKey: []byte{0xff, 0xff}}, &page)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	for page.Error == codeOK && page.ContextId > 0 {
		if _, err := h.read(base.RPCScan, &idl.ScanRequest{ContextId: page.ContextId}, &page); err != nil {
			t.Fatal(err)
		}
	}
	if count.Error != codeCorruption || multi.Error != codeCorruption || page.Error != codeCorruption || len(multi.Kvs)+len(page.Kvs) != 0 {
		t.Errorf("ranges are answered %d, %d, %d", count.Error, multi.Error, page.Error)
	}
	if _, err := h.store.Digest(t.Context(), 0); !errors.Is(err, ErrCorrupt) {
		t.Errorf("digest: %v", err)
	}
	if _, _, _, err := h.store.Evaluate(&WriteRequest{Code: base.RPCRemove, Arg: argReader(rowArg("h", "00000"))}, nil, nil); err != nil {
		t.Errorf("a blind write: %v", err)
	}
}

func TestCheckpointWhileWriting(t *testing.T) {
	h := newHarness(t, func(c *testConfig) { c.MemtableBytes = 256 << 10 })
	var hist history
	stop := make(chan struct{})
	var writer sync.WaitGroup
	writer.Add(1)
	go func() {
		defer writer.Done()
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			p := AppendOp(nil, Op{Key: rowKey("h", fmt.Sprint(i%300)), Value: bytes.Repeat([]byte{byte(i)}, 3000)})
			hist = append(hist, p)
			if err := h.store.Apply(int64(i+1), int64(i+1), p); err != nil {
				t.Errorf("apply: %v", err)
				return
			}
		}
	}()
	waitFor(t, "some writes", func() bool { return h.store.LastApplied() > 100 })
	decrees := map[string]int64{}
	for i := range 5 {
		dir := fmt.Sprint("data/checkpoints/", i)
		before := h.store.LastApplied()
		d, err := h.store.Checkpoint(dir)
		if err != nil {
			t.Fatal(err)
		}
		if d < before || d > h.store.LastApplied() {
			t.Errorf("checkpoint has %d, applied were %d to %d", d, before, h.store.LastApplied())
		}
		decrees[dir] = d
	}
	close(stop)
	writer.Wait()
	if _, err := h.store.Checkpoint("data/checkpoints/0"); err == nil {
		t.Error("a checkpoint over another")
	}
	h.close()
	h.fs = h.fs.CrashClone(vfs.CrashCloneCfg{})
	for dir, d := range decrees {
		o := h.options()
		o.Dir, o.FS = dir, h.fs
		s, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		if s.LastApplied() != d || s.LastFlushed() != d {
			t.Errorf("%s should have %d, has %d", dir, d, s.LastApplied())
		}
		compareContent(t, s, hist.at(d))
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestDigest(t *testing.T) {
	a, b := newHarness(t, nil), newHarness(t, nil)
	for i := range 300 {
		for _, h := range []*harness{a, b} {
			e := uint32(0)
			if i%3 == 0 {
				e = 5000
			}
			h.put(fmt.Sprint(i%7), fmt.Sprint(i%50), fmt.Sprint(i), e)
		}
		if i%90 == 0 {
			a.flush()
		}
	}
	a.flush()
	if err := a.store.db.Compact(t.Context(), []byte{0}, []byte{0xff, 0xff, 0xff}, false); err != nil {
		t.Fatal(err)
	}
	sum := func(h *harness, now uint32) Sum {
		t.Helper()
		s, err := h.store.Digest(t.Context(), now)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if x, y := sum(a, 1000), sum(b, 1000); x != y || x.Decree != 300 || x.Rows == 0 {
		t.Errorf("%+v and %+v", x, y)
	}
	early, late := sum(a, 4999), sum(a, 5000)
	if late.Rows >= early.Rows || late.Rows == 0 || late.Hash == early.Hash || late != sum(b, 5000) {
		t.Errorf("before expiry %+v, after %+v", early, late)
	}
	b.put("x", "y", "z", 0)
	a.put("x", "y", "Z", 0)
	if x, y := sum(a, 1000), sum(b, 1000); x.Hash == y.Hash || x.Rows != y.Rows {
		t.Errorf("different rows: %+v and %+v", x, y)
	}
	rows := func(h *harness) Sum {
		t.Helper()
		s, err := h.store.DigestRows(t.Context(), 1000)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if x, y := rows(a), rows(b); x.Hash == y.Hash || x.Rows != y.Rows || x.Hash == sum(a, 1000).Hash {
		t.Errorf("different rows, without timetags: %+v and %+v", x, y)
	}
	// Other timetags, the same rows.
	a.put("x", "y", "z", 0)
	if x, y := rows(a), rows(b); x.Hash != y.Hash || sum(a, 1000).Hash == sum(b, 1000).Hash {
		t.Errorf("equal rows written at other times: %+v and %+v, with timetags %+v and %+v", x, y, sum(a, 1000), sum(b, 1000))
	}
	b.put("x", "y", "z", 7000)
	if x, y := rows(a), rows(b); x.Hash == y.Hash {
		t.Errorf("another expiry: %+v and %+v", x, y)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.store.Digest(ctx, 1000); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

func TestFigures(t *testing.T) {
	h := newHarness(t, nil)
	for i := range 500 {
		h.put("h", fmt.Sprint(i), strings.Repeat("v", 100), 0)
	}
	if n, err := h.store.CountEstimate(); err != nil || n != 500 {
		t.Errorf("before a flush: %d, %v", n, err)
	}
	if n := h.store.Size(); n < 500*100 {
		t.Errorf("500 rows of 100 bytes that aren't flushed have a size of %d", n)
	}
	h.flush()
	h.clock.set(2000)
	if n, err := h.store.CountEstimate(); err != nil || n < 500 || n > 505 {
		t.Errorf("after a flush: %d, %v", n, err)
	}
	h.put("h", "more", "v", 0)
	for _, k := range []string{"0", "1"} {
		var answer idl.UpdateResponse
		if err := h.write(base.RPCRemove, blobArg(rowKey("h", k)), &answer); err != nil {
			t.Fatal(err)
		}
	}
	h.clock.set(3000)
	if n, err := h.store.CountEstimate(); err != nil || n < 499 || n > 504 {
		t.Errorf("after one more put and two removes: %d, %v", n, err)
	}
	if n := h.store.Size(); n < 1000 || n > 1<<20 {
		t.Errorf("size is %d", n)
	}
	if m := h.store.Metrics(); m == nil || m.Flush.Count == 0 {
		t.Error("no flush in the engine's figures")
	}
	levels, err := h.store.db.SSTables(pebble.WithProperties())
	if err != nil {
		t.Fatal(err)
	}
	for _, tables := range levels {
		for _, f := range tables {
			if f.Properties.NumValueBlocks != 0 {
				t.Error("values are stored as those of old versions")
			}
		}
	}
	if h.store.Gpid() != (base.Gpid{AppID: 1, PartitionIndex: 2}) {
		t.Errorf("partition is %v", h.store.Gpid())
	}
}

func TestReopenLeavesNoLogs(t *testing.T) {
	h := newHarness(t, nil)
	for i := range 5 {
		h.put("h", fmt.Sprint(i), "v", 0)
		h.flush()
		h.close()
		h.open(false)
	}
	names, err := h.fs.List(h.options().Dir)
	if err != nil {
		t.Fatal(err)
	}
	logs := 0
	for _, n := range names {
		if filepath.Ext(n) == ".log" {
			logs++
		}
	}
	if logs > 1 || h.store.LastApplied() != 5 {
		t.Errorf("%d logs, applied %d", logs, h.store.LastApplied())
	}
}
