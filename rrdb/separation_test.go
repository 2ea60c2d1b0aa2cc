package rrdb

import (
	"path/filepath"
	"testing"
)

// Values that are stored apart from their keys are read, expire, and get into checkpoints as
// others do.
func TestSeparatedValues(t *testing.T) {
	const rows = 5000
	h := newHarness(t, func(c *testConfig) { c.SeparateValues = 500 })
	h.fill(rows, func(i int) uint32 { return 1100 * uint32(i%2) })
	h.put("small", "s", "beside its key", 0)
	h.flush()
	if m := h.store.Metrics(); m.BlobFiles.LiveCount == 0 || m.BlobFiles.ReferencedValueSize < rows*900 {
		t.Fatalf("%d files of values, of %d bytes", m.BlobFiles.LiveCount, m.BlobFiles.ReferencedValueSize)
	}
	sum, err := h.store.Digest(t.Context(), 1200)
	if err != nil || sum.Rows != rows/2+1 {
		t.Fatalf("%+v, %v", sum, err)
	}
	h.clock.set(1200)
	if st := h.sweep(); st.Rows != rows/2 {
		t.Errorf("swept %+v", st)
	}
	dir := filepath.Join("data", "copy")
	if _, err := h.store.Checkpoint(dir); err != nil {
		t.Fatal(err)
	}
	o := h.options()
	o.Dir = dir
	c, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.Digest(t.Context(), 1200); err != nil || got != sum {
		t.Errorf("the checkpoint holds %+v, %v, the store held %+v", got, err, sum)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	h.crash()
	if got, err := h.store.Digest(t.Context(), 1200); err != nil || got != sum {
		t.Errorf("after a crash: %+v, %v, before %+v", got, err, sum)
	}
	// Without the option the values stay where they are, and can be read.
	h.close()
	h.config.SeparateValues = 0
	h.open(false)
	if got, err := h.store.Digest(t.Context(), 1200); err != nil || got != sum {
		t.Errorf("without the option: %+v, %v, before %+v", got, err, sum)
	}
}

// When all that a store holds has expired its files of values go too.
func TestSeparatedValuesGiveSpaceBack(t *testing.T) {
	h := newHarness(t, func(c *testConfig) { c.SeparateValues = 500 })
	empty := h.store.Size()
	h.fill(10000, func(int) uint32 { return 1100 })
	h.flush()
	full := h.store.Size()
	h.clock.set(1200)
	h.sweep()
	waitFor(t, "the space is back", func() bool { return h.store.Size() < empty+full/20 })
	if n := h.physical(); n != 0 {
		t.Errorf("%d rows are left", n)
	}
}
