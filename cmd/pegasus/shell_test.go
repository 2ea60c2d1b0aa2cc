package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	_ "github.com/cockroachdb/datadriven" // whose flag -rewrite is taken here, too

	"pegasus/cli"
	"pegasus/client/clienttest"
	"pegasus/internal/repo"
)

func TestSplitWords(t *testing.T) {
	for _, tc := range []struct {
		line string
		want []string
	}{
		{"", nil},
		{"  get t  h\ts ", []string{"get", "t", "h", "s"}},
		{`set t 'a b' "it's" ''`, []string{"set", "t", "a b", "it's", ""}},
		{`a'b c'd`, []string{"ab cd"}},
		{`x\n`, []string{`x\n`}},
	} {
		if got, err := splitWords(tc.line); err != nil || !slices.Equal(got, tc.want) {
			t.Errorf("%q: %q, %v", tc.line, got, err)
		}
	}
	if _, err := splitWords("a 'b"); err == nil || !strings.Contains(err.Error(), "isn't closed") {
		t.Errorf("an open quote: %v", err)
	}
}

// The lines of a script are the program's commands; `use` gives them their table.
func TestShellScript(t *testing.T) {
	k := clienttest.Start(t, 1)
	k.CreateTable("temp", 1, 1)
	var out, errs bytes.Buffer
	s := &shell{flags: []string{"--meta", k.Meta}, out: &out, err: &errs}
	script := "# a comment\nuse temp\nset h s 'a value'\n\npegasus get h s\nuse\nget temp h s\nexit\nget temp h none\n"
	if err := s.script(t.Context(), strings.NewReader(script)); err != nil || out.String() != "OK\na value\na value\n" {
		t.Errorf("%v: %s%s", err, out.String(), errs.String())
	}
	out.Reset()
	err := s.script(t.Context(), strings.NewReader("get temp h s\nget temp h none\nget temp h s\n"))
	if err == nil || !strings.Contains(err.Error(), "line 2") || cli.ExitStatus(err) != cli.ExitNotFound || out.String() != "a value\n" {
		t.Errorf("a script that fails: %v, status %d: %s", err, cli.ExitStatus(err), out.String())
	}
}

func TestShellCompletes(t *testing.T) {
	k := clienttest.Start(t, 1)
	k.CreateTable("temp", 1, 1)
	s := &shell{flags: []string{"--meta", k.Meta}}
	used := &shell{flags: s.flags, table: "temp"}
	for _, tc := range []struct {
		s    *shell
		line string
		to   string
	}{
		{s, "tab", "table "},
		{s, "table sh", "table show "},
		{s, "get te", "get temp "},
		{s, "use te", "use temp "},
		{used, "use te", "use temp "},
		{used, "multi-s", "multi-set "},
		{s, "table env set temp default_t", "table env set temp default_ttl="},
		{s, "server config get x logging.le", "server config get x logging.level "},
		{s, "meta level li", "meta level lively "},
		{s, "table show temp --partit", "table show temp --partition "},
		{s, "nonsense x", "nonsense x"},
		{s, "get 'te", "get 'te"},
	} {
		if to, _ := tc.s.complete(tc.line); to != tc.to {
			t.Errorf("%q becomes %q, want %q", tc.line, to, tc.to)
		}
	}
	if _, all := s.complete("table re"); !slices.Equal(all, []string{"recall", "rename", "replicas"}) {
		t.Errorf("table re: %q", all)
	}
}

func TestHistory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a", "history")
	h := openHistory(file)
	for _, l := range []string{"one", "one", " ", "two"} {
		h.Add(l)
	}
	h.save()
	if i, err := os.Stat(file); err != nil || i.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v", i, err)
	}
	if h = openHistory(file); h.Len() != 2 || h.At(0) != "two" || h.At(1) != "one" {
		t.Errorf("history is %q", h.lines)
	}
}

// noServers returns the address of a port that takes connections and says nothing, and one of a port that refuses them.
func noServers(t *testing.T) (silent, refuses string) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	closed, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	return l.Addr().String(), closed.Addr().String()
}

// A cluster that says nothing is given up after 3 s, with each address and what came of it; also one whose ports take
// connections and say nothing.
func TestSilentCluster(t *testing.T) {
	silent, refuses := noServers(t)
	for _, metas := range []string{silent, refuses, silent + "," + refuses} {
		var out, errs bytes.Buffer
		began := time.Now()
		status := run(context.Background(), []string{"table", "ls", "--meta", metas}, &out, &errs)
		took := time.Since(began)
		if status != cli.ExitNoAnswer || took < 2*time.Second || took > 8*time.Second || !strings.Contains(errs.String(), "no meta server answers; tried for ") {
			t.Errorf("%s: status %d after %v: %s", metas, status, took, errs.String())
		}
		for m := range strings.SplitSeq(metas, ",") {
			if !strings.Contains(errs.String(), m+": ") {
				t.Errorf("%s: %s isn't named: %s", metas, m, errs.String())
			}
		}
	}
	var out, errs bytes.Buffer
	began := time.Now()
	if status := run(context.Background(), []string{"table", "ls", "--meta", refuses, "--timeout", "300ms"}, &out, &errs); status != cli.ExitNoAnswer || time.Since(began) > 2*time.Second {
		t.Errorf("--timeout 300ms: status %d after %v: %s", status, time.Since(began), errs.String())
	}
}

func TestExitStatuses(t *testing.T) {
	seen := map[int]bool{}
	for _, s := range cli.ExitStatuses {
		if seen[s.Status] || s.Means == "" {
			t.Errorf("status %d is there twice, or not explained", s.Status)
		}
		seen[s.Status] = true
	}
	for _, tc := range []struct {
		err  error
		want int
	}{
		{nil, 0}, {errors.New("x"), cli.ExitFailed}, {cli.NewUsageError(errors.New("x")), cli.ExitUsage}, {&cli.NotFoundError{}, cli.ExitNotFound},
		{&cli.UnmetError{}, cli.ExitUnmet}, {context.Canceled, cli.ExitInterrupted}, {&cli.BadRowsError{}, cli.ExitPartly},
	} {
		if got := cli.ExitStatus(tc.err); got != tc.want || !seen[got] {
			t.Errorf("%v: status %d, want %d", tc.err, got, tc.want)
		}
	}
}

// docs/cli.md is what the commands say: `make gen` writes it, and -rewrite here.
func TestReference(t *testing.T) {
	t.Setenv("PEGASUS_META", "")
	t.Setenv("PEGASUS_CONFIG", "")
	root, err := repo.Root()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(root, "docs", "cli.md")
	var want bytes.Buffer
	if err := writeReference(&want, newRoot()); err != nil {
		t.Fatal(err)
	}
	if flag.Lookup("rewrite").Value.String() == "true" {
		if err := os.WriteFile(file, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("docs/cli.md isn't what the commands say (%v): make gen", err)
	}
}
