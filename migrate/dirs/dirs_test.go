package dirs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/client"
	"pegasus/client/clienttest"
	"pegasus/cppdata/cppdatatest"
	"pegasus/cppdata/plog"
	"pegasus/cppdata/plog/plogtest"
	"pegasus/gen/layer2"
	"pegasus/gen/rrdb"
	"pegasus/internal/repo"
	"pegasus/rocks/pegasus"
	"pegasus/rows"
	"pegasus/rpc"
)

// ofRecordings is a time at which none of the recorded rows has expired.
var ofRecordings = time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)

func start(t *testing.T) (*clienttest.Cluster, *client.Client) {
	t.Helper()
	k := clienttest.Start(t, 3)
	k.SetNow(func() time.Time { return ofRecordings })
	c := client.New([]string{k.Meta}, client.Options{})
	t.Cleanup(c.Close)
	return k, c
}

func look(t *testing.T, o Options) *Plan {
	t.Helper()
	p, err := Look(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// scan returns the rows of a table.
func scan(t *testing.T, c *client.Client, table string) map[string]cppdatatest.Row {
	t.Helper()
	tb, err := c.Table(context.Background(), table)
	if err != nil {
		t.Fatal(err)
	}
	s := tb.ScanAll(client.ScanOptions{ExpireTS: true})
	got := map[string]cppdatatest.Row{}
	for s.Next(context.Background()) {
		r := s.Row()
		got[string(base.AppendKey(nil, r.HashKey, r.SortKey))] = cppdatatest.Row{Value: string(r.Value), TTL: r.ExpireTS > 0}
	}
	if s.Err() != nil {
		t.Fatal(s.Err())
	}
	return got
}

// TestGolden: the recordings come over exactly.
func TestGolden(t *testing.T) {
	want := cppdatatest.Expected(t)
	_, c := start(t)
	for i, name := range cppdatatest.Recordings {
		to := fmt.Sprintf("t%d", i)
		p := look(t, Options{Dirs: []string{filepath.Join(repo.Golden(t), name)}, Rename: map[string]string{"mig": to}})
		all, err := Live(context.Background(), p, c, LiveOptions{State: t.TempDir(), Now: ofRecordings})
		if err != nil || len(all) != 1 || all[0].Result.Written != 1900 || all[0].Foreign != 0 {
			t.Fatalf("%s: %+v, %v", name, all, err)
		}
		if got := scan(t, c, to); !maps.Equal(got, want) {
			t.Errorf("%s: %d rows, want %d", name, len(got), len(want))
		}
	}
}

// table makes the directories of a table whose rows are hash keys k0 to k<n-1>, in logs.
func table(t *testing.T, dir string, id int32, name string, partitions int32, n int, envs map[string]string) {
	t.Helper()
	for p := range partitions {
		g := base.Gpid{AppID: id, PartitionIndex: p}
		path := cppdatatest.Replica{Table: name, Partitions: partitions, Gpid: g, Ballot: 2, Envs: envs, Created: int64(id),
			Rows: []pegasus.Row{{Key: []byte("\x00\x03old" + fmt.Sprint(p)), Value: pegasus.Value{ExpireTS: 1}}}, Flushed: 1}.Make(t, dir)
		w := plogtest.New(0, g, 0, 0)
		d := int64(1)
		for i := range n {
			key := base.AppendKey(nil, fmt.Appendf(nil, "k%d", i), nil)
			if !base.InPartition(base.HashOfKey(key), p, partitions) {
				continue
			}
			d++
			q := &rrdb.UpdateRequest{Key: key, Value: fmt.Appendf(nil, "v%d", i)}
			data := append(q.AppendThrift([]byte{12, 0, 1}), 0)
			w.Add(plog.Mutation{Gpid: g, Ballot: 2, Decree: d, Committed: d - 1, TimestampUS: 1.7e15, Updates: []plog.Update{{Code: base.RPCPut, Data: data}}})
		}
		w.Save(t, filepath.Join(path, "plog"), 1)
	}
}

func TestSettingsAndExpiry(t *testing.T) {
	dir := t.TempDir()
	table(t, dir, 4, "a", 2, 20, map[string]string{"default_ttl": "86400", "replica.deny_client_request": "reconfig*write", "manual_compact.once.trigger_time": "5", "no.such": "1"})
	k, c := start(t)
	p := look(t, Options{Dirs: []string{dir}})
	all, err := Live(context.Background(), p, c, LiveOptions{State: filepath.Join(t.TempDir(), "new"), Now: ofRecordings, AcceptLoss: true})
	if err != nil {
		t.Fatal(err)
	}
	w := all[0]
	// The table's default counts for what was written under it, from then on; all that has long expired.
	if w.Result.Written != 0 || w.Expired+w.Foreign != 22 || strings.Join(w.Settings, " ") != "default_ttl=86400 replica.deny_client_request=reconfig*write" || len(w.Unset) != 2 || len(w.Lacking) != 0 {
		t.Fatalf("%+v", w)
	}
	if k.Seen(base.RPCCreateApp) != 1 {
		t.Fatal("the table wasn't made")
	}
}

// TestGoesOn ends runs at some write and goes on, until all is there. What is done isn't done again.
func TestGoesOn(t *testing.T) {
	dir, state := t.TempDir(), t.TempDir()
	table(t, dir, 4, "a", 3, 40, nil)
	table(t, dir, 7, "b", 1, 40, nil)
	k, c := start(t)
	for _, after := range []int32{1, 20, 40, 1 << 30} {
		ctx, cancel := context.WithCancel(context.Background())
		var puts atomic.Int32
		k.SetHook(func(_ int, r *rpc.Request) bool {
			if r.Code != base.RPCPut || puts.Add(1) < after {
				return false
			}
			cancel()
			r.ReplyError(base.ErrTimeout)
			return true
		})
		all, err := Live(ctx, look(t, Options{Dirs: []string{dir}}), c, LiveOptions{State: state, Now: ofRecordings})
		ended := ctx.Err() != nil
		cancel()
		if ended != (err != nil) {
			t.Fatalf("ended at write %d: %v, %+v, %v", after, ended, all, err)
		}
	}
	k.SetHook(nil)
	for _, name := range []string{"a", "b"} {
		if got := scan(t, c, name); len(got) != 40 {
			t.Errorf("table %s: %d rows", name, len(got))
		}
	}
	// Writes aren't counted: the client goes on for a while with those of the runs that were ended.
	made := k.Seen(base.RPCCreateApp)
	all, err := Live(context.Background(), look(t, Options{Dirs: []string{dir}}), c, LiveOptions{State: state, Now: ofRecordings})
	if err != nil || len(all) != 2 || !all[0].Before || !all[1].Before || all[0].Result.Read+all[1].Result.Read != 0 || k.Seen(base.RPCCreateApp) != made {
		t.Fatalf("once more: %+v, %v; %d tables were made, then %d", all, err, made, k.Seen(base.RPCCreateApp))
	}
}

func TestRefusals(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	table(t, dir, 4, "a", 2, 10, nil)
	table(t, dir, 7, "a", 1, 10, nil)
	k, c := start(t)
	if _, err := Look(ctx, Options{Dirs: []string{dir}}); err == nil || !strings.Contains(err.Error(), "4 and 7") {
		t.Errorf("two tables of a name: %v", err)
	}
	if _, err := Look(ctx, Options{Dirs: []string{dir}, Only: []string{"x"}}); err == nil {
		t.Error("a table that isn't there was taken")
	}
	if _, err := Look(ctx, Options{Dirs: []string{dir}, Rename: map[string]string{"9": "x"}}); err == nil {
		t.Error("a table that isn't there was renamed")
	}
	p := look(t, Options{Dirs: []string{dir}, Rename: map[string]string{"7": "b"}})
	if len(p.Tables) != 2 || p.Tables[0].To != "a" || p.Tables[1].To != "b" {
		t.Fatalf("%+v", p.Tables)
	}
	k.CreateTable("b", 1, 3)
	state := t.TempDir()
	if _, err := Live(ctx, p, c, LiveOptions{State: state, Now: ofRecordings}); err == nil || !strings.Contains(err.Error(), "has a table b") {
		t.Fatalf("a name that is taken: %v", err)
	}
	if list, err := c.Admin().ListTables(ctx, layer2.AS_AVAILABLE); err != nil || len(list) != 1 {
		t.Fatalf("table a was made: %v, %v", list, err)
	}
	p = look(t, Options{Dirs: []string{dir}, Only: []string{"4"}})
	if _, err := Live(ctx, p, c, LiveOptions{State: state, Now: ofRecordings}); err != nil {
		t.Fatal(err)
	}
	// Dropped, and made by somebody else.
	if err := c.Admin().DropTable(ctx, "a", 0, false); err != nil {
		t.Fatal(err)
	}
	if _, err := Live(ctx, p, c, LiveOptions{State: state, Now: ofRecordings}); err == nil || !strings.Contains(err.Error(), "isn't in the cluster any more") {
		t.Fatalf("dropped: %v", err)
	}
	k.CreateTable("a", 2, 3)
	if _, err := Live(ctx, p, c, LiveOptions{State: state, Now: ofRecordings}); err == nil || !strings.Contains(err.Error(), "made anew") {
		t.Fatalf("made anew: %v", err)
	}
}

// TestLoss: a partition that is missing, and one that is damaged.
func TestLoss(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	table(t, dir, 4, "a", 4, 100, nil)
	name := cppdatatest.Lose(t, filepath.Join(dir, "replica", "reps"), "4.2", "4.1")
	_, c := start(t)
	p := look(t, Options{Dirs: []string{dir}})
	o := LiveOptions{State: t.TempDir(), Now: ofRecordings}
	_, err := Live(ctx, p, c, o)
	var lack *Lacking
	if !errors.As(err, &lack) || len(lack.What) != 2 || !strings.Contains(err.Error(), name) {
		t.Fatalf("%v", err)
	}
	if list, err := c.Admin().ListTables(ctx, layer2.AS_AVAILABLE); err != nil || len(list) != 0 {
		t.Fatalf("%v, %v", list, err)
	}
	o.AcceptLoss = true
	all, err := Live(ctx, p, c, o)
	if err != nil || len(all) != 1 || len(all[0].Lacking) != 2 {
		t.Fatalf("%+v, %v", all, err)
	}
	got := scan(t, c, "a")
	n := map[int32]int{}
	for k, r := range got {
		if !strings.HasPrefix(k, "\x00") || !strings.HasPrefix(r.Value, "v") || r.Value[1:] != k[3:] {
			t.Errorf("%q is %q", k, r.Value)
		}
		for i := range int32(4) {
			if base.InPartition(base.HashOfKey([]byte(k)), i, 4) {
				n[i]++
			}
		}
	}
	if n[0] == 0 || n[1] == 0 || n[2] != 0 || n[3] == 0 || int64(len(got)) != all[0].Result.Written {
		t.Fatalf("rows by partition: %v", n)
	}
}

// TestBadRow: a row that the table doesn't take.
func TestBadRow(t *testing.T) {
	dir := t.TempDir()
	table(t, dir, 4, "a", 1, 10, nil)
	k, c := start(t)
	k.SetHook(func(_ int, r *rpc.Request) bool {
		if r.Code == base.RPCPut {
			r.ReplyError(base.ErrInvalidData)
			return true
		}
		return false
	})
	state := t.TempDir()
	p := look(t, Options{Dirs: []string{dir}})
	if _, err := Live(context.Background(), p, c, LiveOptions{State: state, Now: ofRecordings}); err == nil || !strings.Contains(err.Error(), "can't be written") {
		t.Fatalf("%v", err)
	}
	n := 0
	all, err := Live(context.Background(), p, c, LiveOptions{State: state, Now: ofRecordings, Bad: func(rows.BadRow) error { n++; return nil }})
	if err != nil || n != 10 || all[0].Result.Bad != 10 {
		t.Fatalf("%d, %+v, %v", n, all, err)
	}
	if all, err = Live(context.Background(), p, c, LiveOptions{State: state, Now: ofRecordings}); err != nil || !all[0].Before || all[0].Result.Bad != 10 {
		t.Fatalf("once more: %+v, %v", all, err)
	}
}

// TestLossFoundLate: what of a log can't be replayed is found when the rows are read. It is told, also by a run that goes on after.
func TestLossFoundLate(t *testing.T) {
	dir := t.TempDir()
	g := base.Gpid{AppID: 4}
	path := cppdatatest.Replica{Table: "a", Partitions: 1, Gpid: g, Ballot: 2, Created: 4, Flushed: 1}.Make(t, dir)
	q := &rrdb.UpdateRequest{Key: base.AppendKey(nil, []byte("k"), nil), Value: []byte("v")}
	w := plogtest.New(0, g, 0, 0)
	for i, u := range []plog.Update{{Code: base.RPCPut, Data: append(q.AppendThrift([]byte{12, 0, 1}), 0)}, {Code: base.RPCIngest}} {
		d := int64(i) + 2
		w.Add(plog.Mutation{Gpid: g, Ballot: 2, Decree: d, Committed: d - 1, TimestampUS: 1.7e15, Updates: []plog.Update{u}})
	}
	w.Save(t, filepath.Join(path, "plog"), 1)
	_, c := start(t)
	o := LiveOptions{State: t.TempDir(), Now: ofRecordings}
	p := look(t, Options{Dirs: []string{dir}})
	if err := p.Whole(); err != nil {
		t.Fatalf("it is found before: %v", err)
	}
	if _, err := Live(context.Background(), p, c, o); err == nil || !strings.Contains(err.Error(), "bulk load") {
		t.Fatalf("%v", err)
	}
	o.AcceptLoss = true
	for range 2 {
		all, err := Live(context.Background(), look(t, Options{Dirs: []string{dir}}), c, o)
		if err != nil || len(all) != 1 || len(all[0].Lacking) != 1 || !strings.Contains(all[0].Lacking[0], "bulk load") {
			t.Fatalf("%+v, %v", all, err)
		}
	}
}
