package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pegasus/client"
	"pegasus/client/clienttest"
)

// full takes some bytes and no more.
type full struct{ left int }

var errFull = errors.New("no space left")

func (f *full) Write(b []byte) (int, error) {
	if f.left -= len(b); f.left < 0 {
		return 0, errFull
	}
	return len(b), nil
}

// Rows are printed in the order of partitions and keys, though several partitions are read at a time, and no more than are asked for.
// What can't be printed, and an end from outside, are errors.
func TestScanReadsAhead(t *testing.T) {
	k := clienttest.Start(t, 2)
	k.CreateTable("t", 8, 1)
	c := client.New([]string{k.Meta}, client.Options{Timeout: 20 * time.Second})
	t.Cleanup(c.Close)
	tb, err := c.Table(t.Context(), "t")
	if err != nil {
		t.Fatal(err)
	}
	const rows = 6000
	for h := range rows / 100 {
		kvs := make([]client.KV, 100)
		for i := range kvs {
			kvs[i] = client.KV{SortKey: fmt.Appendf(nil, "s%02d", i), Value: []byte("v")}
		}
		if err := tb.MultiSet(t.Context(), fmt.Appendf(nil, "h%d", h), kvs, 0); err != nil {
			t.Fatal(err)
		}
	}
	var want strings.Builder
	all := tb.ScanAll(client.ScanOptions{})
	for all.Next(t.Context()) {
		r := all.Row()
		fmt.Fprintf(&want, "%q : %q => \"v\"\n", r.HashKey, r.SortKey)
	}
	if all.Err() != nil {
		t.Fatal(all.Err())
	}
	whole := Scan{Partition: -1}
	scan := func(a Scan) string {
		var out bytes.Buffer
		if err := (&Env{Client: c, Out: &out}).Scan(t.Context(), "t", a); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	if scan(whole) != want.String() {
		t.Fatal("other rows, or in another order")
	}
	for _, batch := range []int{0, 7} {
		if got := scan(Scan{Partition: -1, Batch: batch, Range: Range{Max: 2345}}); strings.Count(got, "\n") != 2345 || !strings.HasPrefix(want.String(), got) {
			t.Fatalf("%d rows, want 2345", strings.Count(got, "\n"))
		}
	}
	var out bytes.Buffer
	if err := (&Env{Client: c, Out: &out}).Count(t.Context(), "t", whole); err != nil || out.String() != fmt.Sprintln(rows) {
		t.Errorf("count: %s, %v", out.String(), err)
	}
	if err := (&Env{Client: c, Out: &full{1000}}).Scan(t.Context(), "t", whole); !errors.Is(err, errFull) {
		t.Errorf("to a full disk: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for what, do := range map[string]func(context.Context, string, Scan) error{"scan": (&Env{Client: c, Out: &out}).Scan, "count": (&Env{Client: c, Out: &out}).Count} {
		if err := do(ctx, "t", whole); !errors.Is(err, context.Canceled) {
			t.Errorf("%s that is ended: %v", what, err)
		}
	}
}
