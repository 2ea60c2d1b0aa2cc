package plog_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pegasus/base"
	"pegasus/cppdata/plog"
	"pegasus/cppdata/plog/plogtest"
	"pegasus/internal/repo"
	"pegasus/rocks/damage"
)

var of = base.Gpid{AppID: 3, PartitionIndex: 1}

func mutation(decree int64, updates ...string) plog.Mutation {
	m := plog.Mutation{Gpid: of, Ballot: 2, Decree: decree, Committed: decree - 1, TimestampUS: 1e15 + decree}
	for _, u := range updates {
		m.Updates = append(m.Updates, plog.Update{Code: base.RPCPut, Serialization: 1, Data: []byte(u)})
	}
	return m
}

// twoFiles writes a log of decrees 1 to 6 in two files, and returns their paths.
func twoFiles(t *testing.T, dir string) [2]string {
	a := plogtest.New(0, of, 0, 0)
	a.Add(mutation(1, "a"))
	a.Add(mutation(2, "b", "c"), mutation(3), mutation(4, "d"))
	b := plogtest.New(a.End(), of, 4, 0)
	b.Add(mutation(5, "e"))
	b.Add(mutation(6, strings.Repeat("f", 100)))
	return [2]string{a.Save(t, dir, 1), b.Save(t, dir, 2)}
}

// walk returns the decrees that Walk gives, and what it returns.
func walk(t *testing.T, dir string, after int64) ([]int64, plog.Result, error) {
	t.Helper()
	var got []int64
	res, err := plog.Walk(context.Background(), dir, of, after, func(_ string, m *plog.Mutation) error {
		got = append(got, m.Decree)
		return nil
	})
	return got, res, err
}

func equal(a []int64, b ...int64) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestWalk(t *testing.T) {
	dir := t.TempDir()
	twoFiles(t, dir)
	if err := os.WriteFile(filepath.Join(dir, "log.1.0.removed"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	got, res, err := walk(t, dir, 0)
	if err != nil || !equal(got, 1, 2, 3, 4, 5, 6) || res.Torn != nil || len(res.Files) != 2 || len(res.Ignored) != 1 || len(res.Skipped) != 0 {
		t.Fatalf("decrees %v, %+v, %v", got, res, err)
	}
	got, res, err = walk(t, dir, 4)
	if err != nil || !equal(got, 5, 6) || len(res.Skipped) != 1 {
		t.Fatalf("after 4: decrees %v, %+v, %v", got, res, err)
	}
	if got, _, err = walk(t, dir, 3); err != nil || !equal(got, 1, 2, 3, 4, 5, 6) {
		t.Fatalf("after 3: decrees %v, %v", got, err)
	}
}

func TestMutation(t *testing.T) {
	w := plogtest.New(500, of, 7, 90)
	w.Add(mutation(8, "one", "", "three"))
	r, err := plog.NewReader("x", bytes.NewReader(w.Bytes()), int64(len(w.Bytes())))
	if err != nil {
		t.Fatal(err)
	}
	if h := r.Header(); h.Start != 500 || len(h.Previous) != 1 || h.Previous[0] != (plog.Previous{Gpid: of, MaxDecree: 7, ValidStart: 90}) {
		t.Fatalf("header %+v", h)
	}
	if !r.Next() {
		t.Fatal(r.Err())
	}
	m := r.Mutation()
	if m.Gpid != of || m.Ballot != 2 || m.Decree != 8 || m.Committed != 7 || m.TimestampUS != 1e15+8 || m.Offset != 500+60+16 || len(m.Updates) != 3 {
		t.Fatalf("%+v", m)
	}
	for i, want := range []string{"one", "", "three"} {
		if u := m.Updates[i]; string(u.Data) != want || u.Code != base.RPCPut || u.Serialization != 1 {
			t.Fatalf("update %d: %+v", i, u)
		}
	}
	if r.Next() || r.Err() != nil || r.Torn() != nil || r.End() != w.End() {
		t.Fatalf("end: %v, %v, %d", r.Err(), r.Torn(), r.End())
	}
	old := plogtest.Append(nil, *m)
	old[4] = 1 // a pointer, as old releases wrote it
	if m, _, err := plog.Parse(old); err != nil || m.TimestampUS != 0 || m.Decree != 8 {
		t.Fatalf("a mutation of an old release: %+v, %v", m, err)
	}
	old[0], old[4] = 1, 0
	if _, _, err := plog.Parse(old); err == nil {
		t.Fatal("version 1 was taken")
	}
}

// TestCut cuts the last file everywhere: what is whole is given, and the rest told.
func TestCut(t *testing.T) {
	dir := t.TempDir()
	last := twoFiles(t, dir)[1]
	whole, err := os.ReadFile(last)
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n < len(whole); n++ {
		if err := os.WriteFile(last, whole[:n], 0o644); err != nil {
			t.Fatal(err)
		}
		got, res, err := walk(t, dir, 0)
		want := []int64{1, 2, 3, 4, 5}
		if n < 60+16+60+4+17+8+1 {
			want = want[:4]
		}
		atBlock := n == 60 || n == 60+16+60+4+17+8+1
		if err != nil || !equal(got, want...) || (res.Torn == nil) != atBlock {
			t.Fatalf("cut to %d bytes: decrees %v, torn %v, %v", n, got, res.Torn, err)
		}
		// As some file systems do it.
		if err := os.WriteFile(last, append(whole[:n:n], make([]byte, 100)...), 0o644); err != nil {
			t.Fatal(err)
		}
		got, _, err = walk(t, dir, 0)
		if !equal(got, want...) && err == nil {
			t.Fatalf("%d bytes and zeros: decrees %v", n, got)
		}
		if atBlock && err != nil {
			t.Fatalf("zeros behind %d bytes: %v", n, err)
		}
	}
}

// TestFlip flips bits: no mutation is given that wasn't written, and none is left out without a word.
func TestFlip(t *testing.T) {
	dir := t.TempDir()
	for i, path := range twoFiles(t, dir) {
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for bit := 0; bit < len(whole)*8; bit += 7 { // 7: each byte, at another bit
			b := bytes.Clone(whole)
			b[bit/8] ^= 1 << (bit % 8)
			if err := os.WriteFile(path, b, 0o644); err != nil {
				t.Fatal(err)
			}
			got, res, err := walk(t, dir, 0)
			if !equal(got, []int64{1, 2, 3, 4, 5, 6}[:len(got)]...) {
				t.Fatalf("bit %d of file %d: decrees %v", bit, i, got)
			}
			if len(got) < 6 && err == nil && (res.Torn == nil || i == 0) {
				t.Fatalf("bit %d of file %d: decrees %v, and no word", bit, i, got)
			}
		}
		if err := os.WriteFile(path, whole, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestBadLogs(t *testing.T) {
	for _, tc := range []struct {
		name, want string
		make       func(dir string)
	}{
		{"a missing file", "missing", func(dir string) {
			a := plogtest.New(0, of, 0, 0)
			a.Save(t, dir, 1)
			plogtest.New(a.End(), of, 0, 0).Save(t, dir, 3)
		}},
		{"a gap", "the file before ends at", func(dir string) {
			plogtest.New(0, of, 5, 0).Save(t, dir, 1)
			plogtest.New(100, of, 5, 0).Save(t, dir, 2)
		}},
		{"another start", "its name says 7", func(dir string) {
			path := plogtest.New(0, of, 0, 0).Save(t, dir, 1)
			if err := os.Rename(path, filepath.Join(dir, "log.1.7")); err != nil {
				t.Fatal(err)
			}
		}},
		{"another partition", "partition 3.2", func(dir string) {
			w := plogtest.New(0, of, 0, 0)
			m := mutation(1)
			m.Gpid.PartitionIndex = 2
			w.Add(m)
			w.Save(t, dir, 1)
		}},
		{"a first file of nothing", "ends in its header", func(dir string) {
			if err := os.WriteFile(filepath.Join(dir, "log.1.0"), nil, 0o644); err != nil {
				t.Fatal(err)
			}
			plogtest.New(0, of, 0, 0).Save(t, dir, 2)
		}},
		{"a mutation elsewhere", "it should be 76", func(dir string) {
			w := plogtest.New(0, of, 0, 0)
			w.Block(plogtest.Append(nil, mutation(1)))
			w.Save(t, dir, 1)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			tc.make(dir)
			_, _, err := walk(t, dir, 0)
			var d *damage.Error
			if !errors.As(err, &d) || !strings.Contains(err.Error(), tc.want) || !strings.HasPrefix(d.File, dir) {
				t.Fatalf("%v, want %q", err, tc.want)
			}
		})
	}
	if _, _, err := walk(t, filepath.Join(t.TempDir(), "none"), 0); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("no directory: %v", err)
	}
}

// TestGolden reads the logs of a C++ server.
func TestGolden(t *testing.T) {
	dir := repo.Golden(t)
	dirs, err := filepath.Glob(filepath.Join(dir, "data-*", "replica", "reps", "*", "plog"))
	if more, _ := filepath.Glob(filepath.Join(dir, "data-*", "reps", "*", "plog")); err == nil {
		dirs = append(dirs, more...)
	}
	if err != nil || len(dirs) != 12 {
		t.Fatalf("%d logs, %v", len(dirs), err)
	}
	codes := map[string]int{}
	for _, dir := range dirs {
		g, err := base.ParseGpid(strings.TrimSuffix(filepath.Base(filepath.Dir(dir)), ".pegasus"))
		if err != nil {
			t.Fatal(err)
		}
		last, ballot := int64(0), int64(0)
		res, err := plog.Walk(context.Background(), dir, g, 0, func(_ string, m *plog.Mutation) error {
			// A primary that starts replicates its last mutation again.
			again := m.Decree == last && m.Ballot > ballot
			if m.Decree != last+1 && !again || m.Committed > last || m.Ballot < ballot {
				t.Errorf("%s: decree %d of ballot %d, committed %d, after %d of %d", dir, m.Decree, m.Ballot, m.Committed, last, ballot)
			}
			last, ballot = m.Decree, m.Ballot
			for _, u := range m.Updates {
				codes[u.Code]++
			}
			return nil
		})
		if err != nil || res.Torn != nil || last < 400 {
			t.Errorf("%s: up to decree %d, %v, %v", dir, last, res.Torn, err)
		}
	}
	t.Logf("%v", codes)
	if codes[base.RPCPut] == 0 || codes[base.RPCRemove] == 0 {
		t.Errorf("requests %v", codes)
	}
}

func FuzzReader(f *testing.F) {
	w := plogtest.New(0, of, 0, 0)
	w.Add(mutation(1, "a"), mutation(2))
	f.Add(w.Bytes())
	w.Add(mutation(3, "b", "c"))
	f.Add(w.Bytes())
	f.Add(w.Bytes()[:len(w.Bytes())-3])
	f.Add(append(w.Bytes(), make([]byte, 40)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := plog.NewReader("x", bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		for r.Next() {
			m := r.Mutation()
			// It says again what was read.
			if c, n, err := plog.Parse(plogtest.Append(nil, *m)); err != nil || c.Decree != m.Decree || len(c.Updates) != len(m.Updates) || n < 60 {
				t.Fatalf("%+v, %v", c, err)
			}
		}
		if r.End()-r.Header().Start > int64(len(b)) {
			t.Fatalf("the end is %d of %d bytes", r.End(), len(b))
		}
	})
}

// FuzzMutation has mutations damaged behind the checksum's back.
func FuzzMutation(f *testing.F) {
	f.Add(plogtest.Append(nil, mutation(1, "a", "bb")))
	f.Add(plogtest.Append(nil, mutation(1)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, n, err := plog.Parse(b); err == nil && (n > len(b) || n < 60+12*len(m.Updates)) {
			t.Fatalf("%d of %d bytes, %+v", n, len(b), m)
		}
	})
}
