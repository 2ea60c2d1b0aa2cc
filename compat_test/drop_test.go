package compat

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"pegasus/client"
	"pegasus/compat_test/cluster"
)

// TestNoWriteAfterDrop: once the answer to a drop is there no write to the table is acknowledged.
func TestNoWriteAfterDrop(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{Tables: "-"})
	admin := client.New(c.Metas(), client.Options{})
	defer admin.Close()
	for round := range 5 {
		name := fmt.Sprintf("t%d", round)
		if _, err := admin.Admin().CreateTable(runContext(t, time.Minute), name, 8, 3, client.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := c.WaitHealthy(name, time.Minute); err != nil {
			t.Fatal(err)
		}
		// The writers know the primaries, and ask no meta.
		table, err := admin.Table(runContext(t, time.Minute), name)
		if err != nil {
			t.Fatal(err)
		}
		var dropped atomic.Bool
		var before, late atomic.Int64
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		ended := make(chan struct{})
		for w := range 16 {
			go func() {
				defer func() { ended <- struct{}{} }()
				for i := 0; ctx.Err() == nil; i++ {
					after := dropped.Load() // it is sent after the answer
					err := table.Set(ctx, fmt.Appendf(nil, "w%d-%d", w, i), []byte("s"), []byte("v"), 0)
					switch {
					case err == nil && after:
						late.Add(1)
					case err == nil:
						before.Add(1)
					case after:
						return
					}
				}
			}()
		}
		if err := cluster.Poll(time.Minute, func() error {
			if n := before.Load(); n < 200 {
				return fmt.Errorf("%d writes", n)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		err = admin.Admin().DropTable(runContext(t, time.Minute), name, 0, false)
		dropped.Store(true)
		if err != nil {
			t.Fatal(err)
		}
		for range 16 {
			<-ended
		}
		cancel()
		if n := late.Load(); n > 0 {
			t.Errorf("round %d: %d writes that were sent after the answer to the drop are acknowledged", round, n)
		}
	}
}
