package cppdata

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"pegasus/base"
	"pegasus/base/tbin"
	"pegasus/cppdata/cppdatatest"
	"pegasus/cppdata/plog"
	"pegasus/cppdata/plog/plogtest"
	"pegasus/gen/dupinternal"
	"pegasus/gen/rrdb"
	"pegasus/rocks/damage"
	"pegasus/rocks/pegasus"
	store "pegasus/rrdb"
)

var part = base.Gpid{AppID: 5, PartitionIndex: 0}

const (
	writtenAt = 1_700_000_000 // Unix seconds of the first mutation
	writtenTS = writtenAt - base.EpochBegin
)

// arg is an argument as the C++ server logs it.
func arg(v tbin.Encoder) []byte {
	return append(v.AppendThrift([]byte{12, 0, 1}), 0)
}

func update(code string, v tbin.Encoder) plog.Update {
	return plog.Update{Code: code, Serialization: 1, Data: arg(v)}
}

type blob []byte

func (b blob) AppendThrift(to []byte) []byte { return tbin.AppendBytes(to, b) }

func key(s string) []byte { return base.AppendKey(nil, []byte("h"), []byte(s)) }

func put(s, v string, expire int32) plog.Update {
	return update(base.RPCPut, &rrdb.UpdateRequest{Key: key(s), Value: []byte(v), ExpireTsSeconds: expire})
}

// made is a replica of table "made", of one partition, whose log has one mutation for each list of requests, each a second after the other.
func made(t *testing.T, r cppdatatest.Replica, mutations ...[]plog.Update) string {
	t.Helper()
	if r.Table == "" {
		r.Table, r.Partitions, r.Gpid, r.Ballot = "made", 1, part, 3
	}
	path := r.Make(t, t.TempDir())
	w := plogtest.New(0, r.Gpid, r.Flushed, 0)
	for i, us := range mutations {
		d := r.Flushed + int64(i) + 1
		w.Add(plog.Mutation{Gpid: r.Gpid, Ballot: 3, Decree: d, Committed: d - 1, TimestampUS: (writtenAt + int64(i)) * 1e6, Updates: us})
	}
	w.Save(t, filepath.Join(path, "plog"), 1)
	return path
}

// rowsOf returns the rows of a replica's directory: "value", or "value@seconds" with an expiry after writtenTS.
func rowsOf(t *testing.T, path string) (map[string]string, error) {
	t.Helper()
	tables := survey(t, path)
	it, err := tables[0].Parts[0].Best.Rows(context.Background(), nil, false)
	if err != nil {
		return nil, err
	}
	rows := map[string]string{}
	for it.Next() {
		row := it.Row()
		v := string(row.Data)
		if row.ExpireTS > 0 {
			v += fmt.Sprintf("@%d", int64(row.ExpireTS)-writtenTS)
		}
		rows[string(row.SortKey)] = v
	}
	return rows, it.Close()
}

func TestReplay(t *testing.T) {
	stored := []pegasus.Row{
		{Key: key("count"), Value: pegasus.Value{Data: []byte("40"), ExpireTS: writtenTS + 100}},
		{Key: key("gone"), Value: pegasus.Value{Data: []byte("7"), ExpireTS: writtenTS}},
		{Key: key("stays"), Value: pegasus.Value{Data: []byte("s"), Timetag: store.MakeTimetag(50, 1, false)}},
		{Key: key("text"), Value: pegasus.Value{Data: []byte("abc")}},
	}
	all := map[string]string{"count": "40@100", "gone": "7@0", "stays": "s", "text": "abc"}
	with := func(more ...string) map[string]string {
		m := maps.Clone(all)
		for i := 0; i < len(more); i += 2 {
			if m[more[i]] = more[i+1]; more[i+1] == "-" {
				delete(m, more[i])
			}
		}
		return m
	}
	incr := func(s string, by int64, expire int32) plog.Update {
		return update(base.RPCIncr, &rrdb.IncrRequest{Key: key(s), Increment: by, ExpireTsSeconds: expire})
	}
	cas := func(check string, kind rrdb.CasCheckType, operand, set, value string) plog.Update {
		return update(base.RPCCheckAndSet, &rrdb.CheckAndSetRequest{HashKey: []byte("h"), CheckSortKey: []byte(check), CheckType: kind, CheckOperand: []byte(operand),
			SetDiffSortKey: set != check, SetSortKey: []byte(set), SetValue: []byte(value), SetExpireTsSeconds: 0})
	}
	cam := func(check string, kind rrdb.CasCheckType, steps ...rrdb.Mutate) plog.Update {
		return update(base.RPCCheckAndMutate, &rrdb.CheckAndMutateRequest{HashKey: []byte("h"), CheckSortKey: []byte(check), CheckType: kind, MutateList: steps})
	}
	dup := func(entries ...dupinternal.DuplicateEntry) plog.Update {
		return update(base.RPCDuplicate, &dupinternal.DuplicateRequest{Entries: entries})
	}
	sent := func(ts int64, cluster int8, verify bool, u plog.Update) dupinternal.DuplicateEntry {
		return dupinternal.DuplicateEntry{Timestamp: base.Some(ts), TaskCode: base.Some(base.TaskCode(u.Code)), RawMessage: base.Some(u.Data), ClusterId: base.Some(cluster), VerifyTimetag: base.Some(verify)}
	}
	remove := func(s string) plog.Update { return update(base.RPCRemove, blob(key(s))) }
	for _, tc := range []struct {
		name string
		log  [][]plog.Update
		want map[string]string
	}{
		{"nothing", nil, all},
		{"empty writes", [][]plog.Update{{{Code: writeEmpty}}, {{Code: writeEmpty}}}, all},
		{"put and remove in one", [][]plog.Update{{put("a", "1", 0), put("b", "2", writtenTS+9), remove("stays"), put("a", "3", 0)}}, with("a", "3", "b", "2@9", "stays", "-")},
		{"remove of none", [][]plog.Update{{remove("none")}}, all},
		{"again", [][]plog.Update{{remove("text")}, {put("text", "new", 0)}}, with("text", "new")},
		{"multi put and remove", [][]plog.Update{
			{update(base.RPCMultiPut, &rrdb.MultiPutRequest{HashKey: []byte("h"), Kvs: []rrdb.KeyValue{{Key: []byte("x"), Value: []byte("1")}, {Key: []byte("y"), Value: []byte("2")}}, ExpireTsSeconds: writtenTS + 5})},
			{update(base.RPCMultiRemove, &rrdb.MultiRemoveRequest{HashKey: []byte("h"), SortKeys: [][]byte{[]byte("x"), []byte("text")}})},
		}, with("y", "2@5", "text", "-")},
		{"incr keeps the expiry", [][]plog.Update{{incr("count", 2, 0)}}, with("count", "42@100")},
		{"incr of what came before", [][]plog.Update{{incr("n", 5, 0)}, {incr("n", -7, writtenTS+3)}}, with("n", "-2@3")},
		{"incr of what had expired", [][]plog.Update{{incr("gone", 1, 0)}}, with("gone", "1")},
		{"incr of what expired between", [][]plog.Update{{put("k", "9", writtenTS+1)}, {incr("k", 1, 0)}}, with("k", "1")},
		{"incr of what expires later", [][]plog.Update{{put("k", "9", writtenTS+2)}, {incr("k", 1, 0)}}, with("k", "10@2")},
		{"incr of text", [][]plog.Update{{incr("text", 1, 0)}}, all},
		{"incr beyond", [][]plog.Update{{put("k", "9223372036854775807", 0)}, {incr("k", 1, 0)}}, with("k", "9223372036854775807")},
		{"incr clears the expiry", [][]plog.Update{{incr("count", 0, -1)}}, with("count", "40")},
		{"check and set", [][]plog.Update{{cas("text", rrdb.CT_VALUE_BYTES_EQUAL, "abc", "text", "def")}, {cas("text", rrdb.CT_VALUE_BYTES_EQUAL, "abc", "no", "x")}, {cas("text", rrdb.CT_VALUE_MATCH_PREFIX, "de", "yes", "y")}}, with("text", "def", "yes", "y")},
		{"check and set of numbers", [][]plog.Update{{cas("count", rrdb.CT_VALUE_INT_GREATER, "39", "big", "1")}, {cas("text", rrdb.CT_VALUE_INT_GREATER, "1", "no", "x")}}, with("big", "1")},
		{"check of what has expired", [][]plog.Update{{cas("gone", rrdb.CT_VALUE_NOT_EXIST, "", "gone", "back")}}, with("gone", "back")},
		{"check and mutate", [][]plog.Update{
			{cam("stays", rrdb.CT_VALUE_EXIST, rrdb.Mutate{Operation: rrdb.MO_PUT, SortKey: []byte("m"), Value: []byte("1"), SetExpireTsSeconds: writtenTS + 1}, rrdb.Mutate{Operation: rrdb.MO_DELETE, SortKey: []byte("text")})},
			{cam("text", rrdb.CT_VALUE_EXIST, rrdb.Mutate{Operation: rrdb.MO_DELETE, SortKey: []byte("stays")})},
		}, with("m", "1@1", "text", "-")},
		{"atomic writes that were made puts", [][]plog.Update{{
			update(base.RPCPut, &rrdb.UpdateRequest{Key: key("count"), Value: []byte("43"), Type: base.Some(rrdb.UT_INCR)}),
			update(base.RPCPut, &rrdb.UpdateRequest{Key: key("text"), Type: base.Some(rrdb.UT_CHECK_AND_MUTATE_REMOVE)})}}, with("count", "43", "text", "-")},
		{"duplication", [][]plog.Update{{dup(sent(70, 2, false, put("d", "1", 0)), sent(71, 2, false, remove("text")))}}, with("d", "1", "text", "-")},
		{"duplication of what is later here", [][]plog.Update{{dup(sent(49, 2, true, put("stays", "old", 0)), sent(51, 2, true, put("text", "new", 0)))}}, with("text", "new")},
		{"duplication of what is earlier here", [][]plog.Update{{dup(sent(51, 2, true, put("stays", "new", 0)))}}, with("stays", "new")},
		{"one of an old release", [][]plog.Update{{func() plog.Update {
			e := sent(70, 2, false, put("d", "1", 0))
			return update(base.RPCDuplicate, &e)
		}()}}, with("d", "1")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := made(t, cppdatatest.Replica{Table: "made", Partitions: 1, Gpid: part, Ballot: 3, Flushed: 20, Rows: stored}, tc.log...)
			got, err := rowsOf(t, path)
			if err != nil || !maps.Equal(got, tc.want) {
				t.Fatalf("%v, %v; want %v", got, err, tc.want)
			}
		})
	}
}

// TestTimetags: rows keep when, and by which cluster, they were written.
func TestTimetags(t *testing.T) {
	dup := dupinternal.DuplicateEntry{Timestamp: base.Some(int64(70)), TaskCode: base.Some(base.TaskCode(base.RPCPut)), RawMessage: base.Some(put("d", "1", 0).Data), ClusterId: base.Some(int8(2))}
	path := made(t, cppdatatest.Replica{Table: "made", Partitions: 1, Gpid: part, Ballot: 3, Envs: map[string]string{"default_ttl": "30"}},
		[]plog.Update{put("p", "1", 0)},
		[]plog.Update{update(base.RPCIncr, &rrdb.IncrRequest{Key: key("i"), Increment: 1})},
		[]plog.Update{update(base.RPCDuplicate, &dupinternal.DuplicateRequest{Entries: []dupinternal.DuplicateEntry{dup}})})
	it, err := survey(t, path)[0].Parts[0].Best.Rows(context.Background(), nil, false)
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	want := map[string]pegasus.Value{
		"p": {Timetag: store.MakeTimetag(writtenAt*1e6, 0, false), ExpireTS: writtenTS + 30},
		"i": {Timetag: 0, ExpireTS: writtenTS + 31},
		"d": {Timetag: store.MakeTimetag(70, 2, false), ExpireTS: writtenTS + 32},
	}
	for it.Next() {
		w := want[string(it.Row().SortKey)]
		if r := it.Row(); r.Timetag != w.Timetag || r.ExpireTS != w.ExpireTS {
			t.Errorf("%s: timetag %d, expiry %d, want %d, %d", r.SortKey, r.Timetag, r.ExpireTS, w.Timetag, w.ExpireTS)
		}
		delete(want, string(it.Row().SortKey))
	}
	if it.Err() != nil || len(want) > 0 {
		t.Fatalf("%v, missing %v", it.Err(), want)
	}
}

// TestResume: rows behind a key.
func TestResume(t *testing.T) {
	path := made(t, cppdatatest.Replica{Table: "made", Partitions: 1, Gpid: part, Ballot: 3, Flushed: 1, Rows: []pegasus.Row{{Key: key("b")}, {Key: key("d")}, {Key: key("f")}}},
		[]plog.Update{put("a", "", 0), put("c", "", 0), put("d", "", 0), put("e", "", 0)})
	r := survey(t, path)[0].Parts[0].Best
	for i, after := range []string{"", "a", "b", "c", "d", "e", "f"} {
		var k []byte
		if after != "" {
			k = key(after)
		}
		it, err := r.Rows(context.Background(), k, false)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for it.Next() {
			got += string(it.Row().SortKey)
		}
		if it.Close() != nil || got != "abcdef"[i:] {
			t.Errorf("after %q: %q, %v", after, got, it.Err())
		}
	}
}

// TestWhatCantBeReplayed: the error has the place, and the rows before it can be had.
func TestWhatCantBeReplayed(t *testing.T) {
	for _, tc := range []struct {
		name, want string
		u          plog.Update
	}{
		{"bulk load", "bulk load", plog.Update{Code: base.RPCIngest}},
		{"unknown", `"RPC_NEW"`, plog.Update{Code: "RPC_NEW", Data: arg(blob("x"))}},
		{"damaged argument", "damaged", plog.Update{Code: base.RPCPut, Data: put("a", "b", 0).Data[:20]}},
		{"no argument", "no argument", plog.Update{Code: base.RPCPut, Data: []byte("xyz")}},
		{"more than an argument", "damaged", plog.Update{Code: base.RPCPut, Data: append(put("a", "b", 0).Data, 1)}},
		{"bad key", "is none", update(base.RPCRemove, blob{0, 9, 1})},
		{"incr in a duplication", base.RPCIncr, update(base.RPCDuplicate, &dupinternal.DuplicateRequest{Entries: []dupinternal.DuplicateEntry{{TaskCode: base.Some(base.TaskCode(base.RPCIncr)), RawMessage: base.Some(arg(&rrdb.IncrRequest{Key: key("a")}))}}})},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := made(t, cppdatatest.Replica{}, []plog.Update{put("a", "1", 0)}, []plog.Update{put("a", "2", 0), tc.u}, []plog.Update{put("a", "3", 0)})
			_, err := rowsOf(t, path)
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "log.1.0: the mutation of decree 2") {
				t.Fatalf("%v, want %q", err, tc.want)
			}
			rows, err := read(survey(t, path)[0].Parts[0].Best, true)
			if err != nil || len(rows) != 1 || rows[string(key("a"))].Value != "1" {
				t.Fatalf("rows before it: %v, %v", rows, err)
			}
		})
	}
}

// logged makes a replica of the partition whose log has mutations {ballot, decree, committed}, each putting its ballot and decree into row "v".
func logged(t *testing.T, ballot, flushed int64, ms ...[3]int64) string {
	t.Helper()
	path := cppdatatest.Replica{Table: "made", Partitions: 1, Gpid: part, Ballot: ballot, Flushed: flushed}.Make(t, t.TempDir())
	w := plogtest.New(0, part, 0, 0)
	for _, m := range ms {
		w.Add(plog.Mutation{Gpid: part, Ballot: m[0], Decree: m[1], Committed: m[2], TimestampUS: writtenAt * 1e6, Updates: []plog.Update{put("v", fmt.Sprintf("%d.%d", m[0], m[1]), 0)}})
	}
	w.Save(t, filepath.Join(path, "plog"), 1)
	return path
}

// TestOrder: which mutations of a log count.
func TestOrder(t *testing.T) {
	type ms = [][3]int64
	for _, tc := range []struct {
		name             string
		flushed          int64
		log              ms
		decree, commited int64
		value, err       string
		behind           int
	}{
		{"all in a row", 0, ms{{3, 1, 0}, {3, 2, 1}, {3, 3, 1}}, 3, 1, "3.3", "", 0},
		{"in another order", 0, ms{{3, 2, 0}, {3, 1, 0}, {3, 3, 2}}, 3, 2, "3.3", "", 0},
		{"a later primary's", 0, ms{{3, 1, 0}, {3, 2, 0}, {4, 2, 1}}, 2, 1, "4.2", "", 0},
		{"not an earlier primary's", 0, ms{{4, 1, 0}, {4, 2, 1}, {3, 2, 1}}, 2, 1, "4.2", "", 0},
		{"what a later primary didn't have", 0, ms{{3, 1, 0}, {3, 2, 0}, {3, 3, 0}, {4, 1, 0}, {4, 2, 1}}, 2, 1, "4.2", "", 1},
		{"behind a gap", 0, ms{{3, 1, 0}, {3, 3, 0}, {3, 4, 0}}, 1, 0, "3.1", "", 2},
		{"a committed one is missing", 0, ms{{3, 1, 0}, {3, 3, 2}}, 1, 2, "3.1", "decree 2 is neither", 1},
		{"missing between store and log", 5, ms{{3, 8, 7}}, 5, 7, "", "decree 6 is neither", 1},
		{"in the store already", 5, ms{{3, 4, 3}, {3, 5, 4}, {3, 6, 5}}, 6, 5, "3.6", "", 0},
		{"nothing new", 5, ms{{3, 4, 3}, {3, 5, 4}}, 5, 5, "", "", 0},
		{"committed that isn't", 0, ms{{3, 1, 0}, {3, 2, 2}}, 1, 0, "3.1", "says that 2 is committed", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := survey(t, logged(t, 3, tc.flushed, tc.log...))[0].Parts[0].Best
			if r.Decree != tc.decree || r.Committed != tc.commited || r.Behind != tc.behind {
				t.Errorf("%v, %d behind", r, r.Behind)
			}
			if tc.err == "" && r.Err != nil || tc.err != "" && (r.Err == nil || !strings.Contains(r.Err.Error(), tc.err)) {
				t.Errorf("error %v, want %q", r.Err, tc.err)
			}
			rows, err := read(r, true)
			if v := rows[string(key("v"))].Value; err != nil || v != tc.value {
				t.Errorf("value %q, %v, want %q", v, err, tc.value)
			}
		})
	}
}

// TestLogStart: what lies before the offset that .init-info says is of an earlier life.
func TestLogStart(t *testing.T) {
	r := cppdatatest.Replica{Table: "made", Partitions: 1, Gpid: part, Ballot: 3, LogStart: 100}
	path := r.Make(t, t.TempDir())
	w := plogtest.New(0, part, 0, 0)
	w.Add(plog.Mutation{Gpid: part, Ballot: 9, Decree: 1, Updates: []plog.Update{put("old", "1", 0)}})
	w.Add(plog.Mutation{Gpid: part, Ballot: 3, Decree: 1, Updates: []plog.Update{put("new", "1", 0)}})
	w.Save(t, filepath.Join(path, "plog"), 1)
	got, err := rowsOf(t, path)
	if err != nil || len(got) != 1 || got["new"] != "1" {
		t.Fatalf("%v, %v", got, err)
	}
}

// TestChoose: which of the replicas of a partition counts.
func TestChoose(t *testing.T) {
	type ms = [][3]int64
	type rep struct {
		ballot, flushed int64
		log             ms
	}
	three := func(b int64, to int64) (l ms) {
		for d := int64(1); d <= to; d++ {
			l = append(l, [3]int64{b, d, d - 1})
		}
		return l
	}
	damaged := func(path string) { // the last mutation's block
		name := filepath.Join(path, "plog", "log.1.0")
		b, err := os.ReadFile(name)
		if err == nil {
			b[len(b)-1] ^= 1
			err = os.WriteFile(name, b, 0o644)
		}
		if err != nil {
			panic(err)
		}
	}
	for _, tc := range []struct {
		name   string
		reps   []rep
		damage []int
		best   int // -1: none
		whole  bool
		notes  int
	}{
		{"equal", []rep{{3, 0, three(3, 4)}, {3, 0, three(3, 4)}, {3, 4, nil}}, nil, 2, true, 0},
		{"the larger decree", []rep{{3, 0, three(3, 4)}, {3, 0, three(3, 5)}}, nil, 1, true, 1},
		{"the larger ballot", []rep{{3, 0, three(3, 5)}, {4, 0, three(3, 4)}}, nil, 1, true, 1},
		{"not a learner", []rep{{3, 0, three(3, 5)}, {9, 0, three(9, 1)}}, nil, 0, true, 1},
		{"not who is damaged", []rep{{3, 0, three(3, 5)}, {3, 0, three(3, 5)}}, []int{1}, 0, true, 1},
		{"all are damaged", []rep{{3, 0, three(3, 5)}, {3, 0, three(3, 6)}}, []int{0, 1}, 1, false, 2},
		{"what the whole one lacks", []rep{{3, 0, three(3, 3)}, {3, 0, three(3, 6)}}, []int{1}, 1, false, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var paths []string
			for _, r := range tc.reps {
				paths = append(paths, logged(t, r.ballot, r.flushed, r.log...))
			}
			for _, i := range tc.damage {
				damaged(paths[i])
			}
			p := survey(t, paths...)[0].Parts[0]
			if p.Best.Path != paths[tc.best] && tc.name != "equal" || p.Whole() != tc.whole || len(p.Notes) != tc.notes {
				t.Fatalf("%v, whole %v, notes:\n%s", p.Best, p.Whole(), strings.Join(p.Notes, "\n"))
			}
		})
	}
}

func TestTables(t *testing.T) {
	dir := t.TempDir()
	make := func(id, index, count int32, name string) string {
		g := base.Gpid{AppID: id, PartitionIndex: index}
		path := cppdatatest.Replica{Table: name, Partitions: count, Gpid: g, Ballot: 1}.Make(t, dir)
		plogtest.New(0, g, 0, 0).Save(t, filepath.Join(path, "plog"), 1)
		return path
	}
	make(1, 0, 4, "a")
	make(1, 1, 4, "a")
	odd := make(1, 2, 8, "a")
	make(1, 6, 4, "a")
	make(2, 0, 1, "b")
	no := make(3, 0, 1, "c")
	if err := os.WriteFile(filepath.Join(no, ".app-info"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	reps := filepath.Dir(no)
	for _, name := range []string{"2.0.pegasus.1700000000000000.err", "2.1.pegasus.17.gar", "9.0.simple_kv", "else"} {
		if err := os.MkdirAll(filepath.Join(reps, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	f, err := Find(context.Background(), dir, reps)
	if err != nil || len(f.Replicas) != 6 || len(f.Aside) != 4 || len(f.Other) != 4 {
		t.Fatalf("%+v, %v", f, err)
	}
	tables, orphans, err := Survey(context.Background(), f.Replicas, nil)
	if err != nil || len(tables) != 2 || len(orphans) != 1 || orphans[0].Path != no {
		t.Fatalf("%+v, %v, %v", tables, orphans, err)
	}
	a := tables[0]
	if a.Name != "a" || a.Partitions != 4 || a.Parts[0].Best == nil || a.Parts[3].Best != nil || !strings.Contains(strings.Join(a.Parts[3].Notes, ""), "no replica") {
		t.Fatalf("%+v", a)
	}
	if p := a.Parts[2]; p.Best != nil || len(p.All) != 1 || p.All[0].Path != odd || !strings.Contains(strings.Join(p.Notes, ""), "of 8 partitions") {
		t.Fatalf("%+v", p)
	}
	if p := a.Parts[2]; !strings.Contains(strings.Join(p.Notes, ""), "1.6.pegasus is left out") {
		t.Fatalf("%v", p.Notes)
	}
}

// TestSettings: a table's settings are those of most replicas that count, and not of the first directory: its server may have been away.
func TestSettings(t *testing.T) {
	dir := t.TempDir()
	add := func(server string, index int32, ballot int64, ttl string) {
		g := base.Gpid{AppID: 1, PartitionIndex: index}
		path := cppdatatest.Replica{Table: "a", Partitions: 3, Gpid: g, Ballot: ballot, Envs: map[string]string{"default_ttl": ttl}}.Make(t, filepath.Join(dir, server))
		plogtest.New(0, g, 0, 0).Save(t, filepath.Join(path, "plog"), 1)
	}
	for i := range int32(3) {
		add("1", i, 1, "60")
		add("2", i, 2, "3600")
	}
	add("3", 1, 3, "60")
	f, err := Find(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	tables, _, err := Survey(context.Background(), f.Replicas, nil)
	if err != nil || len(tables) != 1 {
		t.Fatal(tables, err)
	}
	a := tables[0]
	if len(a.Info.Envs) != 1 || a.Info.Envs[0].Val != "3600" {
		t.Errorf("the settings are %v", a.Info.Envs)
	}
	for i, p := range a.Parts {
		if is := strings.Contains(strings.Join(p.Notes, ""), "other settings"); is != (i == 1) || !p.Whole() {
			t.Errorf("partition %d: %v", i, p.Notes)
		}
	}
}

func TestFindNothing(t *testing.T) {
	dir := t.TempDir()
	if _, err := Find(context.Background(), dir); !errors.Is(err, ErrNone) || !strings.Contains(err.Error(), dir) {
		t.Errorf("an empty directory: %v", err)
	}
	if _, err := Find(context.Background(), filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, ".kms-info"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Find(context.Background(), dir); err == nil || !strings.Contains(err.Error(), "encrypted") {
		t.Errorf("an encrypted one: %v", err)
	}
}

// TestInUse: a server holds RocksDB's lock.
func TestInUse(t *testing.T) {
	path := made(t, cppdatatest.Replica{})
	f, err := os.Create(filepath.Join(path, "data", "rdb", "LOCK"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// One of the open file, since those of a process aren't in its own way.
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &lock); err != nil {
		t.Fatal(err)
	}
	if _, err := Find(context.Background(), path); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), path) {
		t.Fatalf("%v", err)
	}
	lock.Type = unix.F_UNLCK
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &lock); err != nil {
		t.Fatal(err)
	}
	if _, err := Find(context.Background(), path); err != nil {
		t.Fatal(err)
	}
}

// TestSharedLog: an old release's last writes aren't left out without a word.
func TestSharedLog(t *testing.T) {
	path := made(t, cppdatatest.Replica{})
	root := filepath.Dir(filepath.Dir(path))
	w := plogtest.New(0, part, 0, 0)
	w.Save(t, filepath.Join(root, "slog"), 1)
	if _, err := Find(context.Background(), root); err != nil {
		t.Fatalf("an empty one: %v", err)
	}
	w.Add(plog.Mutation{Gpid: part, Ballot: 1, Decree: 1})
	w.Save(t, filepath.Join(root, "slog"), 1)
	var u *damage.Unsupported
	if _, err := Find(context.Background(), root); !errors.As(err, &u) || !strings.Contains(u.File, "slog/log.1.0") {
		t.Fatalf("one with writes: %v", err)
	}
}

func TestBadFiles(t *testing.T) {
	for _, tc := range []struct {
		name, file, content, want string
	}{
		{"no .init-info", ".init-info", "", "no such file"},
		{"half of .init-info", ".init-info", `{"init_ballot":3,"init_dur`, "unexpected EOF"},
		{"a field less", ".init-info", `{"init_ballot":3,"init_durable_decree":0}`, "init_offset_in_private_log is missing"},
		{"a decree that the store lacks", ".init-info", `{"init_ballot":3,"init_durable_decree":7,"init_offset_in_private_log":0}`, "says 7 at least"},
		{"negative", ".init-info", `{"init_ballot":-3,"init_durable_decree":7,"init_offset_in_private_log":0}`, "init_ballot is -3"},
		{"a ballot that none can follow", ".init-info", `{"init_ballot":9223372036854775807,"init_durable_decree":7,"init_offset_in_private_log":0}`, "init_ballot is 9223372036854775807"},
		{"no CURRENT", "data/rdb/CURRENT", "", "CURRENT"},
		{"long .init-info", ".init-info", strings.Repeat(" ", maxSmallFile+1), "bytes"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := made(t, cppdatatest.Replica{}, []plog.Update{put("a", "1", 0)})
			name := filepath.Join(path, tc.file)
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
			if tc.content != "" {
				if err := os.WriteFile(name, []byte(tc.content), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			p := survey(t, path)[0].Parts[0]
			if p.Best != nil || len(p.Notes) != 2 || !strings.Contains(p.Notes[0], tc.want) || !strings.Contains(p.Notes[0], path) {
				t.Fatalf("%v, %q", p.Best, p.Notes)
			}
			var d *damage.Error
			if err := p.All[0].Err; !errors.As(err, &d) && !errors.Is(err, os.ErrNotExist) {
				t.Fatalf("%T", err)
			}
		})
	}
}

func FuzzInitInfo(f *testing.F) {
	f.Add([]byte(`{"init_ballot":3,"init_durable_decree":0,"init_offset_in_shared_log":0,"init_offset_in_private_log":0}`))
	f.Add([]byte(`{"init_ballot":1e3}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if i, err := ParseInitInfo("x", b); err == nil && (i.Ballot < 0 || i.DurableDecree < 0 || i.LogStart < 0) {
			t.Fatalf("%+v", i)
		}
	})
}

// FuzzRequest has requests of any code with any data replayed.
func FuzzRequest(f *testing.F) {
	path := cppdatatest.Replica{Table: "made", Partitions: 1, Gpid: part, Ballot: 3, Flushed: 1, Rows: []pegasus.Row{{Key: key("a"), Value: pegasus.Value{Data: []byte("1")}}}}.Make(f, f.TempDir())
	r := &Replica{Place: Place{part, path}}
	s, err := r.openStore(context.Background())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(base.RPCPut, put("a", "b", 1).Data)
	f.Add(base.RPCRemove, arg(blob(key("a"))))
	f.Add(base.RPCIncr, arg(&rrdb.IncrRequest{Key: key("a"), Increment: 1}))
	f.Add(base.RPCMultiPut, arg(&rrdb.MultiPutRequest{HashKey: []byte("h"), Kvs: []rrdb.KeyValue{{Key: []byte("a")}}}))
	f.Add(base.RPCMultiRemove, arg(&rrdb.MultiRemoveRequest{HashKey: []byte("h"), SortKeys: [][]byte{[]byte("a")}}))
	f.Add(base.RPCCheckAndSet, arg(&rrdb.CheckAndSetRequest{HashKey: []byte("h"), CheckSortKey: []byte("a"), CheckType: rrdb.CT_VALUE_EXIST}))
	f.Add(base.RPCCheckAndMutate, arg(&rrdb.CheckAndMutateRequest{HashKey: []byte("h"), MutateList: []rrdb.Mutate{{SortKey: []byte("a")}}}))
	f.Add(base.RPCDuplicate, arg(&dupinternal.DuplicateRequest{Entries: []dupinternal.DuplicateEntry{{TaskCode: base.Some(base.TaskCode(base.RPCPut)), RawMessage: base.Some(put("a", "", 0).Data)}}}))
	f.Fuzz(func(t *testing.T, code string, data []byte) {
		c := newChanges(context.Background(), s, nil, 0)
		err := c.apply("x", &plog.Mutation{Decree: 1, TimestampUS: writtenAt * 1e6, Updates: []plog.Update{{Code: code, Data: data}}})
		if err != nil && len(c.rows) > 0 {
			t.Fatalf("%v, and %d rows are changed", err, len(c.rows))
		}
		for k := range c.rows {
			if _, _, ok := base.SplitKey([]byte(k)); !ok {
				t.Fatalf("key %x", k)
			}
		}
	})
}
