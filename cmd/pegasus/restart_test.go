package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"pegasus/base"
	"pegasus/client/clienttest"
	"pegasus/gen/placement"
	"pegasus/rpc"
)

// roles has the fake meta keep the role of its only replica server.
type roles struct {
	mu      sync.Mutex
	role    placement.NodeRole
	set     []placement.NodeRole
	refuse  bool               // to give the role back
	other   placement.NodeRole // of a second server
	started func()
}

func (f *roles) hook(t *testing.T, node string) clienttest.Hook {
	addr, err := base.ParseAddr(node)
	if err != nil {
		t.Fatal(err)
	}
	return func(_ int, r *rpc.Request) bool {
		var q placement.NodeRoleRequest
		if r.Code != base.RPCNodeRole {
			return false
		}
		if err := r.DecodeArg(&q); err != nil {
			r.ReplyError(base.ErrInvalidData)
			return true
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		a := &placement.NodeRoleResponse{Err: base.ErrOK}
		if q.Change && f.refuse && q.Role == placement.NODE_FULL {
			a.Err, a.HintMessage = base.ErrStateFreezed, "frozen"
		} else if q.Change {
			f.role = q.Role
			f.set = append(f.set, q.Role)
			if f.started != nil && q.Role == placement.NODE_NO_PRIMARIES {
				f.started()
			}
		}
		a.Nodes = []placement.NodePlacement{{Node: addr, Role: f.role, Alive: true, Reported: true, StartTime: 1, Replicas: 2}, {Node: addr + 1<<16, Role: f.other, Alive: true, Reported: true, StartTime: 1}}
		r.Reply(a)
		return true
	}
}

// A restart that fails or is interrupted gives the server its role back and says so; where it can't, it
// says which command does.
func TestFailedRestart(t *testing.T) {
	for _, tc := range []struct {
		name              string
		interrupt, refuse bool
		want              []string
		left              placement.NodeRole
	}{
		{"the command fails", false, false, []string{"the command failed: exit status 3; it may", "may lead partitions again, and `pegasus rebalance --primaries-only`"}, placement.NODE_FULL},
		{"interrupted", true, false, []string{"interrupted", "may lead partitions again"}, placement.NODE_FULL},
		{"the role can't be given back", false, true, []string{"the command failed", "may lead no partition until you run `pegasus node back NODE`"}, placement.NODE_NO_PRIMARIES},
		{"interrupted, and it can't", true, true, []string{"interrupted", "until you run `pegasus node back NODE`"}, placement.NODE_NO_PRIMARIES},
	} {
		k := clienttest.Start(t, 1)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		f := &roles{refuse: tc.refuse}
		if tc.interrupt {
			f.started = cancel
		}
		k.SetHook(f.hook(t, k.Nodes[0]))
		var out, errw bytes.Buffer
		if status := run(ctx, []string{"node", "restart", "--exec", "exit 3", "--meta", k.Meta}, &out, &errw); status == 0 {
			t.Errorf("%s: status 0", tc.name)
		}
		for _, w := range tc.want {
			if w = strings.ReplaceAll(w, "NODE", k.Nodes[0]); !strings.Contains(errw.String(), w) {
				t.Errorf("%s: %q is missing in %s%s", tc.name, w, out.String(), errw.String())
			}
		}
		if f.role != tc.left || len(f.set) == 0 {
			t.Errorf("%s: the server is left with role %v after %v", tc.name, f.role, f.set)
		}
	}
}

// While one server is restarted no other is: two members of one partition could be down at once.
func TestOneRestartAtATime(t *testing.T) {
	k := clienttest.Start(t, 1)
	f := &roles{other: placement.NODE_NO_PRIMARIES}
	k.SetHook(f.hook(t, k.Nodes[0]))
	ran := filepath.Join(t.TempDir(), "ran")
	var out, errw bytes.Buffer
	if status := run(t.Context(), []string{"node", "restart", "--exec", "touch " + ran, "--meta", k.Meta, k.Nodes[0]}, &out, &errw); status == 0 {
		t.Error("status 0")
	}
	if _, err := os.Stat(ran); !os.IsNotExist(err) {
		t.Errorf("the server is restarted: %v", err)
	}
	if got := errw.String(); !strings.Contains(got, "another `pegasus node restart` is at it") || !strings.Contains(got, "pegasus node back ") || !strings.Contains(got, "nothing was restarted") {
		t.Error(got)
	}
	if f.role != placement.NODE_FULL || len(f.set) != 2 {
		t.Errorf("the server is left with role %v after %v", f.role, f.set)
	}
}

// A server that may lead nothing, from whatever went before, is named where servers and moves are shown,
// with the command that undoes it.
func TestRolesAreShown(t *testing.T) {
	k := clienttest.Start(t, 1)
	f := &roles{role: placement.NODE_NO_PRIMARIES}
	role := f.hook(t, k.Nodes[0])
	k.SetHook(func(server int, r *rpc.Request) bool {
		if r.Code == base.RPCRebalance {
			r.Reply(&placement.RebalanceResponse{Err: base.ErrOK})
			return true
		}
		return role(server, r)
	})
	for _, args := range []string{"nodes", "node ls", "rebalance --status", "rebalance --dry-run"} {
		var out, errw bytes.Buffer
		status := run(t.Context(), append(strings.Fields(args), "--meta", k.Meta), &out, &errw)
		if want := "`pegasus node back " + k.Nodes[0] + "` undoes that"; status != 0 || strings.Count(out.String(), want) != 1 {
			t.Errorf("%s: %q is missing in %s%s", args, want, out.String(), errw.String())
		}
	}
}
