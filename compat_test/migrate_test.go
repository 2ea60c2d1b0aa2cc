package compat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/client"
	"pegasus/compat_test/cluster"
)

// migratedRows is how many rows the table has that is moved: PEGASUS_MIGRATE_ROWS, or a number that suits every run
// of the tests. docs/operate/move-table.md has figures of 1000000.
func migratedRows(t *testing.T) int {
	t.Helper()
	s := os.Getenv("PEGASUS_MIGRATE_ROWS")
	if s == "" {
		return 5000
	}
	n, err := strconv.Atoi(s)
	if err != nil || n <= 0 {
		t.Fatalf("PEGASUS_MIGRATE_ROWS is %q", s)
	}
	return n
}

// writers is how many movers there are, each of which writes at most 100 times a second: together more than 1,000 times.
const writers = 12

// mover writes to a table all the time: rows, and every fifth time an increment of a counter.
type mover struct {
	id      int
	tb      *client.Table
	sets    int           // rows 0 to sets-1 are acknowledged
	sum     int64         // of the acknowledged increments
	unknown int64         // increments that may have been done
	refused time.Duration // from the first refusal to the first write that was taken again
	after   int           // sets when it was switched
	done    bool          // it was
	later   atomic.Int64  // rows acknowledged since
}

func (w *mover) row(i int) []byte { return fmt.Appendf(nil, "moved%d-%d", w.id, i) }
func (w *mover) counter() []byte  { return fmt.Appendf(nil, "counter%d", w.id) }

// write writes once. refused: the table takes no writes.
func (w *mover) write(n int) (refused bool, err error) {
	bg := context.Background()
	incr := n%5 == 0
	if incr {
		_, err = w.tb.Incr(bg, w.counter(), nil, 1, 0)
	} else {
		err = w.tb.Set(bg, w.row(w.sets), []byte("s"), fmt.Appendf(nil, "v%d", w.sets), 0)
	}
	var failed *client.Error
	if err == nil {
		if incr {
			w.sum++
		} else {
			w.sets++
			if w.done {
				w.later.Add(1)
			}
		}
	} else if errors.As(err, &failed) && failed.Unknown && incr {
		w.unknown++
	}
	return base.CodeOf(err) == base.ErrInvalidState, err
}

// run writes until ctx ends. When the first table refuses a write it waits for the second one, which there has.
func (w *mover) run(ctx context.Context, there *atomic.Pointer[client.Table]) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	var since time.Time
	for n := 0; ctx.Err() == nil; n++ {
		began := time.Now()
		refused, err := w.write(n)
		switch {
		case refused && w.done:
			return fmt.Errorf("after the switch: %w", err)
		case refused && since.IsZero():
			since = began
		case err == nil && !since.IsZero():
			w.refused, since = time.Since(since), time.Time{}
		}
		if tb := there.Load(); tb != nil && !w.done {
			w.tb, w.done, w.after = tb, true, w.sets
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	return nil
}

// TestMigrate moves a table to another cluster while it is written to. Every acknowledged write is there once, and
// the writer is refused for less than 5 s. Before that a migration is killed, and aborted.
func TestMigrate(t *testing.T) {
	rows := migratedRows(t)
	port := cluster.FreePort(t, 1, 3)
	east := cluster.Start(t, cluster.Options{Tables: "-", Config: fmt.Sprintf("[cluster]\nname = \"east\"\nid = 2\n[clusters.west]\nid = 1\nmeta_servers = [\"127.0.0.1:%d\"]\n", port)})
	west := cluster.Start(t, cluster.Options{Port: port, Tables: "temp:4", Config: fmt.Sprintf("[cluster]\nname = \"west\"\nid = 1\n[clusters.east]\nid = 2\nmeta_servers = [%q]\n", east.Metas()[0])})
	limit := 3*time.Minute + time.Duration(rows)*time.Millisecond
	between := func(what string, args ...string) []string {
		return append([]string{what, "table", "temp", "--from", strings.Join(west.Metas(), ","), "--to", strings.Join(east.Metas(), ","), "-o", "json"}, args...)
	}
	migrate := func(args ...string) string {
		t.Helper()
		out, err := west.CLI(runContext(t, limit), between("migrate", args...)...)
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return out
	}
	acked := filepath.Join(t.TempDir(), "acked")
	began := time.Now()
	if r, err := runBench(t, west, "--op", "set", "--count", fmt.Sprint(rows), "--value-size", "100", "--record-acked", acked); err != nil || r.Ops != int64(rows) {
		t.Fatalf("%+v, %v", r, err)
	}
	t.Logf("%d rows are written in %v", rows, time.Since(began).Round(time.Millisecond))

	// A migration that is killed once it has begun, and aborted.
	kc, kill := context.WithCancel(runContext(t, limit))
	cmd := exec.CommandContext(kc, cluster.Binary(t), between("migrate")...)
	said := &untilWord{word: `"step":"copy"`, found: kill}
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Run(); kc.Err() == nil {
		t.Fatalf("it isn't killed: %v, %s", err, said.text)
	}
	migrate("--abort", "--drop-copy")
	if out, err := west.CLI(runContext(t, time.Minute), "dup", "show", "temp", "-o", "json", "--meta", west.Metas()[0]); err != nil || strings.TrimSpace(out) != "[]" {
		t.Errorf("after the abort: %s, %v", out, err)
	}
	if out := migrate("--dry-run"); !strings.Contains(out, "nothing was changed") {
		t.Errorf("%s", out)
	}

	a, b := client.New(west.Metas(), client.Options{Timeout: 300 * time.Millisecond, AttemptTimeout: 300 * time.Millisecond}), client.New(east.Metas(), client.Options{})
	defer a.Close()
	defer b.Close()
	here, err := a.Table(runContext(t, time.Minute), "temp")
	if err != nil {
		t.Fatal(err)
	}
	var there atomic.Pointer[client.Table]
	ctx, stop := context.WithTimeout(context.Background(), limit)
	defer stop()
	written := make(chan error, writers)
	var ws [writers]*mover
	for i := range ws {
		ws[i] = &mover{id: i, tb: here}
		go func() { written <- ws[i].run(ctx, &there) }()
	}

	began = time.Now()
	out := migrate()
	took := time.Since(began)
	tb, err := b.Table(runContext(t, time.Minute), "temp")
	if err != nil {
		t.Fatal(err)
	}
	there.Store(tb)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	var end struct {
		Done     bool
		Verified string
		Rows     int64
		Refused  float64 `json:"refused_seconds"`
		Denied   bool    `json:"writes_refused"`
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &end); err != nil || !end.Done || !end.Denied || end.Rows < int64(rows) || !strings.Contains(end.Verified, "digests of all 4 partitions are equal") {
		t.Fatalf("%v: %s", err, out)
	}
	migrate("--finish")
	if err := cluster.Poll(30*time.Second, func() error {
		for _, w := range ws {
			if w.later.Load() == 0 {
				return fmt.Errorf("writer %d has written no row after the switch", w.id)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	stop()
	var before, after int
	var refused time.Duration
	for range ws {
		if err := <-written; err != nil {
			t.Fatal(err)
		}
	}
	for _, w := range ws {
		before, after, refused = before+w.after+int(w.sum), after+w.sets-w.after, max(refused, w.refused)
		if !w.done || w.sets == w.after || w.refused >= 5*time.Second {
			t.Errorf("writer %d: switched %v after %d of %d rows, refused for %v", w.id, w.done, w.after, w.sets, w.refused)
		}
	}
	t.Logf("moved in %v with %d rows, under %.0f writes a second; writers were refused for at most %v, for %.3f s by the command's own watch", took.Round(time.Millisecond), end.Rows,
		float64(before)/took.Seconds(), refused.Round(time.Millisecond), end.Refused)

	check := runContext(t, limit)
	if r, err := runBench(t, east, "--op", "verify", "--record-acked", acked); err != nil {
		t.Errorf("in the other cluster: %+v, %v", r, err)
	}
	for _, w := range ws {
		for i := 0; i < w.sets; i += 200 {
			var keys []client.FullRow
			for k := i; k < min(i+200, w.sets); k++ {
				keys = append(keys, client.FullRow{HashKey: w.row(k), SortKey: []byte("s")})
			}
			got, err := tb.BatchGet(check, keys)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range got {
				if _, n, _ := strings.Cut(string(r.HashKey), "-"); string(r.Value) != "v"+n {
					t.Errorf("%s is %q", r.HashKey, r.Value)
				}
			}
			if len(got) != len(keys) {
				t.Errorf("writer %d: %d of %d rows from %d on are there", w.id, len(got), len(keys), i)
			}
		}
		v, _, err := tb.Get(check, w.counter(), nil)
		if n, _ := strconv.ParseInt(string(v), 10, 64); err != nil || n < w.sum || n > w.sum+w.unknown {
			t.Errorf("counter %d is %q after %d acknowledged increments, and %d that may have been done: %v", w.id, v, w.sum, w.unknown, err)
		}
	}
	// What was written after the switch differs, and nothing else.
	out, err = west.CLI(check, between("compare", "--tolerance", "100ms", "--limit", "0")...)
	var r struct {
		Missing int64 `json:"missing"`
		Extra   int64 `json:"extra"`
		Values  int64 `json:"different_values"`
	}
	if jerr := json.Unmarshal([]byte(out), &r); jerr != nil || err == nil || !strings.Contains(err.Error(), "the tables differ in") || r.Missing != 0 || r.Extra > int64(after) || r.Values > writers {
		t.Errorf("%v: %s: %v", jerr, out, err)
	}

	// And back, to a table that is made anew: most rows there came from here.
	if out, err := west.CLI(check, "table", "drop", "temp", "--meta", west.Metas()[0]); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	began = time.Now()
	out, err = east.CLI(check, "migrate", "table", "temp", "--from", strings.Join(east.Metas(), ","), "--to", strings.Join(west.Metas(), ","), "-o", "json")
	lines = strings.Split(strings.TrimSpace(out), "\n")
	if jerr := json.Unmarshal([]byte(lines[len(lines)-1]), &end); err != nil || jerr != nil || !end.Done || end.Rows < int64(rows) || !strings.Contains(end.Verified, "digests of all 4 partitions are equal") {
		t.Fatalf("back: %v, %v: %s", err, jerr, out)
	}
	t.Logf("moved back in %v", time.Since(began).Round(time.Millisecond))
	if r, err := runBench(t, west, "--op", "verify", "--record-acked", acked); err != nil {
		t.Errorf("back: %+v, %v", r, err)
	}
}

// untilWord calls found when a word was written.
type untilWord struct {
	word  string
	found func()
	text  string
}

func (u *untilWord) Write(b []byte) (int, error) {
	u.text += string(b)
	if strings.Contains(u.text, u.word) {
		u.found()
	}
	return len(b), nil
}
