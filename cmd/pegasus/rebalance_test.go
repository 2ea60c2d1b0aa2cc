package main

import (
	"bytes"
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"pegasus/base"
	"pegasus/client/clienttest"
	"pegasus/gen/placement"
	"pegasus/rpc"
)

// rebalancing has the fake meta answer as one that is in such a state.
func rebalancing(k *clienttest.Cluster, state func() placement.RebalanceResponse) {
	k.SetHook(func(_ int, r *rpc.Request) bool {
		if r.Code != base.RPCRebalance {
			return false
		}
		var q placement.RebalanceRequest
		if err := r.DecodeArg(&q); err != nil {
			r.ReplyError(base.ErrInvalidData)
			return true
		}
		a := state()
		a.Err = base.ErrOK
		if q.Action == placement.REBALANCE_START && a.Active {
			a.Err, a.HintMessage = base.ErrBusy, "a rebalancing is under way"
		}
		r.Reply(&a)
		return true
	})
}

// Ctrl-C says what was going on, and for how long; not after how long the command would have given up.
func TestInterruptedRebalance(t *testing.T) {
	k := clienttest.Start(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	asked := 0
	rebalancing(k, func() placement.RebalanceResponse {
		if asked++; asked == 4 {
			cancel()
		}
		return placement.RebalanceResponse{Active: asked > 2, Done: 3, Began: 1700000000}
	})
	var out, errw bytes.Buffer
	status := run(ctx, []string{"rebalance", "--meta", k.Meta}, &out, &errw)
	got := errw.String()
	if status == 0 || strings.Contains(got, "24h") || !strings.HasPrefix(got, "pegasus: interrupted after ") ||
		!strings.Contains(got, "3 moves done") || !strings.Contains(got, "the rebalance continues in the background") {
		t.Errorf("status %d: %s%s", status, out.String(), got)
	}
}

// A second call shows the progress of a rebalance that is the one it asks for, and names one that isn't.
// What failed is told with its reason.
func TestSecondRebalance(t *testing.T) {
	for _, tc := range []struct {
		args   string
		status int
		want   []string
	}{
		{"rebalance --table shop", 0, []string{
			"a rebalance of table shop has been running since 2023-11-14T22:13:20Z; this is its progress\n",
			"ended: it is done\n",
			"failed: partition 2.1: replica from a to b, after 5s: b is dead\n"}},
		{"rebalance --table shop -o json", 0, []string{`"failures":["partition 2.1: replica from a to b, after 5s: b is dead"]`}},
		{"rebalance", 1, []string{"pegasus: a rebalance of table shop has been running since 2023-11-14T22:13:20Z: wait for it", "--stop"}},
		{"rebalance --table shop --primaries-only", 1, []string{"a rebalance of table shop has been running"}},
	} {
		k := clienttest.Start(t, 1)
		var asked atomic.Int32
		rebalancing(k, func() placement.RebalanceResponse {
			r := placement.RebalanceResponse{Active: true, Runs: 4, Began: 1700000000, AppName: "shop", Done: 7, Failed: 1,
				Failures: []string{"partition 2.1: replica from a to b, after 5s: b is dead"}}
			if asked.Add(1) > 4 {
				r.Active, r.Runs, r.Ended, r.EndedWhy = false, 5, 1700000100, "it is done"
			}
			return r
		})
		var out, errw bytes.Buffer
		status := run(t.Context(), append(strings.Fields(tc.args), "--meta", k.Meta), &out, &errw)
		if status != tc.status {
			t.Errorf("%s: status %d", tc.args, status)
		}
		for _, w := range tc.want {
			if !strings.Contains(out.String()+errw.String(), w) {
				t.Errorf("%s: %q is missing in\n%s%s", tc.args, w, out.String(), errw.String())
			}
		}
	}
}
