package faults

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"math/rand/v2"

	"pegasus/base"
	"pegasus/rpc"
)

func TestAgendaFollowsSeed(t *testing.T) {
	draw := func(seed uint64) (out []string) {
		a := newAgenda(seed, nemeses)
		for range 3 * len(nemeses) {
			n, r := a.next()
			out = append(out, fmt.Sprint(n.name, r.Uint64()))
		}
		return out
	}
	if !slices.Equal(draw(1), draw(1)) || slices.Equal(draw(1), draw(2)) {
		t.Error("the agenda doesn't follow from the seed")
	}
	a, seen := newAgenda(3, nemeses), map[string]int{}
	for range 2 * len(nemeses) {
		n, _ := a.next()
		seen[n.name]++
	}
	for _, n := range nemeses {
		if seen[n.name] != 2 {
			t.Errorf("%s comes %d times in two rounds", n.name, seen[n.name])
		}
	}
}

func TestChoose(t *testing.T) {
	list := func(s string) string {
		ns, err := choose(s)
		if err != nil {
			return err.Error()
		}
		return names(ns)
	}
	if got := list("kill, pause"); got != "kill, pause" {
		t.Error(got)
	}
	if all, rest := list("all"), list("all,-kill-meta"); strings.Count(all, ",") != len(nemeses)-1 || strings.Contains(rest, "kill-meta") || !strings.Contains(rest, "kill-all") {
		t.Errorf("%q, %q", all, rest)
	}
	if got := list("none"); got != "none" {
		t.Error(got)
	}
	if got := list("flood"); !strings.Contains(got, `no nemesis "flood"`) {
		t.Error(got)
	}
}

func TestJudge(t *testing.T) {
	header := func(c base.ErrorCode) error { return fmt.Errorf("x: %w", &rpc.HeaderError{Code: c}) }
	dial := fmt.Errorf("x: %w: %w", base.ErrNetworkFailure, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED})
	read := fmt.Errorf("x: %w: %w", base.ErrNetworkFailure, &net.OpError{Op: "read", Err: syscall.ECONNRESET})
	for _, c := range []struct {
		err  error
		want outcome
	}{
		{nil, done}, {header(base.ErrInvalidState), refused}, {header(base.ErrObjectNotFound), refused}, {header(base.ErrNotEnoughMember), refused},
		{header(base.ErrTimeout), unknown}, {header(base.ErrTryAgain), unknown}, {header(base.ErrUnknown), unknown},
		{dial, refused}, {read, unknown}, {fmt.Errorf("x: %w", base.ErrTimeout), unknown}, {errNoPrimary, refused}, {result(5), unknown},
		{errors.New("what"), unknown},
	} {
		if got := judge(c.err); got != c.want {
			t.Errorf("%v: %d, want %d", c.err, got, c.want)
		}
	}
}

func TestDamage(t *testing.T) {
	dir := t.TempDir()
	was := strings.Repeat("content ", 1000)
	kinds := map[string]bool{}
	for seed := range uint64(40) {
		file := filepath.Join(dir, "000001.sst")
		if err := os.WriteFile(file, []byte(was), 0o644); err != nil {
			t.Fatal(err)
		}
		what, err := damage(rand.New(rand.NewPCG(seed, 1)), file)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(file); err == nil && string(b) == was {
			t.Errorf("seed %d: %s, and nothing changed", seed, what)
		}
		f := strings.Fields(what)
		kinds[f[len(f)-1]] = true
	}
	for _, k := range []string{"zeroes", "noise", "removed", "flipped"} {
		if !kinds[k] {
			t.Errorf("40 damages, none of them %q", k)
		}
	}
}

func TestPatchNow(t *testing.T) {
	root, err := goCommand(t.Context(), "env", "GOROOT")
	if err != nil {
		t.Fatal(err)
	}
	src, err := os.ReadFile(filepath.Join(root, "src", "time", "time.go"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := patchNow(src)
	if err != nil || strings.Count(string(got), "sec += faultOffset") != 1 {
		t.Errorf("%v", err)
	}
	if _, err := patchNow([]byte("package time")); err == nil {
		t.Error("a foreign source is patched")
	}
}

func TestQuantile(t *testing.T) {
	if quantile(nil, 0.5) != 0 {
		t.Error("of nothing")
	}
}
