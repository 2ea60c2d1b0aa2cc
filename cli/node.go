package cli

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"pegasus/base"
	"pegasus/gen/placement"
)

type rolesJSON struct {
	Address  string `json:"address"`
	Status   string `json:"status"`
	Role     string `json:"role"`
	Primary  int32  `json:"primaries"`
	Replicas int32  `json:"replicas"`
	Bytes    int64  `json:"bytes"`
	Rack     string `json:"rack,omitempty"`
	Disks    int32  `json:"disks"`
	Short    int32  `json:"disks_short"`
	Broken   int32  `json:"disks_broken"`
	Capacity int64  `json:"capacity_mb"`
	Free     int64  `json:"available_mb"`
}

// disksText says in words how a server's data directories are.
func disksText(n *placement.NodePlacement) string {
	switch {
	case n.Disks == 0:
		return "not told"
	case n.DisksShort+n.DisksBroken == 0:
		return fmt.Sprint(n.Disks)
	}
	var bad []string
	if n.DisksShort > 0 {
		bad = append(bad, fmt.Sprintf("%d full", n.DisksShort))
	}
	if n.DisksBroken > 0 {
		bad = append(bad, fmt.Sprintf("%d broken", n.DisksBroken))
	}
	return fmt.Sprintf("%d, %s", n.Disks, strings.Join(bad, ", "))
}

var roleNames = map[placement.NodeRole]string{
	placement.NODE_FULL: "full", placement.NODE_NO_PRIMARIES: "no primaries", placement.NODE_LEAVING: "being taken out",
}

// NodeList lists the replica servers with what they hold and may hold.
func (e *Env) NodeList(ctx context.Context) error {
	r, err := e.Client.Admin().NodeRoles(ctx)
	if err != nil {
		return err
	}
	list := make([]rolesJSON, len(r.Nodes))
	g := newGrid("address", "status", "role", "#primaries", "#replicas", "#bytes", "disks", "#free", "rack")
	for i, n := range r.Nodes {
		status := "dead"
		if n.Alive {
			status = "alive"
		}
		list[i] = rolesJSON{n.Node.String(), status, roleNames[n.Role], n.Primaries, n.Replicas, n.Bytes, n.Rack, n.Disks, n.DisksShort, n.DisksBroken, n.CapacityMb, n.AvailableMb}
		g.add(list[i].Address, status, list[i].Role, n.Primaries, n.Replicas, size(n.Bytes), disksText(&n), size(n.AvailableMb<<20), n.Rack)
	}
	if e.JSON {
		return e.json(list)
	}
	if err := g.print(e.Out); err != nil {
		return err
	}
	if r.HintMessage != "" {
		fmt.Fprintln(e.Out, r.HintMessage)
	}
	sayRoles(e, r)
	return nil
}

// sayRoles names the servers that may not hold everything, and what undoes that.
func sayRoles(e *Env, r *placement.NodeRoleResponse) {
	for i := range r.Nodes {
		switch n := &r.Nodes[i]; n.Role {
		case placement.NODE_NO_PRIMARIES:
			fmt.Fprintf(e.Out, "%v may lead no partition; unless `pegasus node restart` is at it, `pegasus node back %v` undoes that\n", n.Node, n.Node)
		case placement.NODE_LEAVING:
			fmt.Fprintf(e.Out, "%v is being taken out; `pegasus node back %v` undoes that\n", n.Node, n.Node)
		}
	}
}

// sayAnyRoles is sayRoles for commands about something else: that the meta can't tell is no error.
func sayAnyRoles(e *Env, ctx context.Context) {
	if r, err := e.Client.Admin().NodeRoles(ctx); err == nil && !e.JSON {
		sayRoles(e, r)
	}
}

func nodeAddr(s string) (base.RPCAddress, error) {
	a, err := base.ParseAddr(s)
	if err == nil && a == 0 {
		err = errors.New("the address is empty")
	}
	if err != nil {
		return 0, fmt.Errorf("%w; give the address (host:port) of a replica server; `pegasus nodes` lists them", err)
	}
	return a, nil
}

func find(r *placement.NodeRoleResponse, a base.RPCAddress) *placement.NodePlacement {
	for i := range r.Nodes {
		if r.Nodes[i].Node == a {
			return &r.Nodes[i]
		}
	}
	return &placement.NodePlacement{Node: a}
}

// NodeDrain takes a server out: its primaries are moved away, then its replicas. It may be
// stopped when that is done.
func (e *Env) NodeDrain(ctx context.Context, node string, wait time.Duration) error {
	a, err := nodeAddr(node)
	if err != nil {
		return err
	}
	adm := e.Client.Admin()
	if e.DryRun {
		n, err := e.known(ctx, a)
		if err != nil {
			return err
		}
		return e.would(map[string]any{"node": node, "primaries": n.Primaries, "replicas": n.Replicas, "bytes": n.Bytes},
			"%d primaries and %d replicas (%s) are moved away from %v", n.Primaries, n.Replicas, size(n.Bytes), a)
	}
	if _, err := adm.SetNodeRole(ctx, a, placement.NODE_LEAVING); err != nil {
		return err
	}
	if wait <= 0 {
		return e.print(map[string]any{"node": node, "role": roleNames[placement.NODE_LEAVING]}, "%v is being drained; `pegasus node ls` shows the progress, `pegasus node back %v` undoes it", a, a)
	}
	began, first := time.Now(), int64(-1)
	err = e.watch(ctx, wait, "it continues in the background; `pegasus node back "+node+"` undoes it", func() (string, bool, error) {
		r, err := adm.NodeRoles(ctx)
		if err != nil {
			return "", false, err
		}
		n := find(r, a)
		if n.Role != placement.NODE_LEAVING {
			return "", false, fmt.Errorf("%v is no longer being drained: somebody undid it", a)
		}
		if first < 0 {
			first = n.Bytes
		}
		line := e.meter(first-n.Bytes, first) + fmt.Sprintf("%d primaries and %d replicas (%s) left on %v", n.Primaries, n.Replicas, size(n.Bytes), a)
		line += left(first-n.Bytes, n.Bytes, time.Since(began))
		if len(r.Stuck) > 0 {
			line += "; " + r.Stuck[0]
		}
		return line, n.Replicas == 0, nil
	})
	if err != nil {
		return err
	}
	return e.print(map[string]any{"node": node, "replicas": 0}, "%v is empty and can be stopped; `pegasus rebalance --dry-run` shows what is uneven now", a)
}

// left says how long what is left takes if it goes on as before; nothing if that can't be told yet.
func left(done, rest int64, passed time.Duration) string {
	if done <= 0 || rest <= 0 || passed < 10*time.Second {
		return ""
	}
	return fmt.Sprintf(", about %v more", time.Duration(float64(passed)*float64(rest)/float64(done)).Round(time.Second))
}

// NodeBack reverses NodeDrain; what was moved away comes back by a rebalancing.
func (e *Env) NodeBack(ctx context.Context, node string) error {
	a, err := nodeAddr(node)
	if err != nil {
		return err
	}
	if _, err := e.Client.Admin().SetNodeRole(ctx, a, placement.NODE_FULL); err != nil {
		return err
	}
	return e.print(map[string]any{"node": node, "role": "full"}, "%v can hold replicas again; `pegasus rebalance` gives it its share", a)
}

// NodeForget makes the metas forget a dead server.
func (e *Env) NodeForget(ctx context.Context, node string) error {
	a, err := nodeAddr(node)
	if err != nil {
		return err
	}
	if e.DryRun {
		n, err := e.known(ctx, a)
		switch {
		case err != nil:
			return err
		case n.Alive:
			return fmt.Errorf("%v is alive: stop it first; to take it out of use run `pegasus node drain %v`", a, a)
		}
		return e.would(map[string]any{"node": node, "replicas": n.Replicas}, "%v, which is dead, is forgotten; it is a member of %d partitions", a, n.Replicas)
	}
	if err := e.Client.Admin().ForgetNode(ctx, a); err != nil {
		return err
	}
	return e.print(map[string]any{"node": node, "status": "forgotten"}, "%v is forgotten; if it comes back it is a new server", a)
}

// known is a replica server that the metas know.
func (e *Env) known(ctx context.Context, a base.RPCAddress) (*placement.NodePlacement, error) {
	r, err := e.Client.Admin().NodeRoles(ctx)
	if err != nil {
		return nil, err
	}
	for i := range r.Nodes {
		if r.Nodes[i].Node == a {
			return &r.Nodes[i], nil
		}
	}
	return nil, fmt.Errorf("the meta servers know no replica server %v (`pegasus node ls` lists them): %w", a, base.ErrObjectNotFound)
}

// Restart are the arguments of `node restart`.
type Restart struct {
	Nodes       []string // none: all that live
	Exec        string   // for the shell; $1 and PEGASUS_NODE are the server's address
	Wait        time.Duration
	NoRebalance bool
}

// NodeRestart restarts servers one after the other, each when all partitions are whole and
// would keep two living replicas without it.
func (e *Env) NodeRestart(ctx context.Context, a Restart) error {
	var nodes []base.RPCAddress
	for _, n := range a.Nodes {
		addr, err := nodeAddr(n)
		if err != nil {
			return err
		}
		nodes = append(nodes, addr)
	}
	adm := e.Client.Admin()
	r, err := adm.NodeRoles(ctx)
	if err != nil {
		return err
	}
	if len(nodes) == 0 {
		for _, n := range r.Nodes {
			if n.Alive {
				nodes = append(nodes, n.Node)
			}
		}
	}
	for _, n := range nodes {
		switch p := find(r, n); {
		case !p.Alive:
			return fmt.Errorf("%v is not a live replica server (`pegasus nodes` lists them); nothing was done", n)
		case p.Role == placement.NODE_LEAVING:
			return fmt.Errorf("replica server %v is being drained (`pegasus node back %v` undoes it); nothing was done", n, n)
		}
	}
	if e.DryRun {
		list, g := []map[string]any{}, newGrid("server", "#primaries", "#replicas", "not before")
		for _, n := range nodes {
			p, wait := find(r, n), "-"
			switch {
			case p.Alone > 0:
				wait = fmt.Sprintf("these have 3 replicas: %s", p.AloneWhere)
			case r.Ill > 0:
				wait = fmt.Sprintf("the %d partitions that lack replicas are healthy", r.Ill)
			}
			list = append(list, map[string]any{"node": n.String(), "primaries": p.Primaries, "replicas": p.Replicas, "waits": wait, "dry_run": true})
			g.add(n, p.Primaries, p.Replicas, wait)
		}
		if e.JSON {
			return e.json(list)
		}
		return g.print(e.Out)
	}
	for i, n := range nodes {
		if !e.JSON {
			fmt.Fprintf(e.Out, "%v (%d of %d)\n", n, i+1, len(nodes))
		}
		if err := e.restartOne(ctx, n, &a); err != nil {
			return fmt.Errorf("restart %v: %w; %d of %d servers were restarted", n, err, i, len(nodes))
		}
	}
	if !a.NoRebalance {
		if err := e.Rebalance(ctx, Rebalance{PrimariesOnly: true, Wait: a.Wait}); err != nil && base.CodeOf(err) != base.ErrBusy {
			return err
		}
	}
	return e.print(map[string]int{"restarted": len(nodes)}, "%d servers were restarted", len(nodes))
}

func (e *Env) restartOne(ctx context.Context, n base.RPCAddress, a *Restart) (err error) {
	adm := e.Client.Admin()
	if err := e.awaitRestartable(ctx, n, a.Wait); err != nil {
		return err
	}
	defer func() {
		// Also when the person at the keyboard has lost patience, and when it isn't known whether the
		// role was set.
		c, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoRole)
		defer cancel()
		_, back := adm.SetNodeRole(c, n, placement.NODE_FULL)
		switch {
		case back != nil && err != nil:
			err = fmt.Errorf("%w; and it may lead no partition until you run `pegasus node back %v` (%w)", err, n, back)
		case back != nil:
			err = fmt.Errorf("it was restarted, and may lead no partition until you run `pegasus node back %v`: %w", n, back)
		case err != nil:
			err = fmt.Errorf("%w; it may lead partitions again, and `pegasus rebalance --primaries-only` gives it its share", err)
		}
	}()
	before, err := adm.SetNodeRole(ctx, n, placement.NODE_NO_PRIMARIES)
	if err != nil {
		return err
	}
	// Of two that begin at once at least the one whose change is later sees the other.
	for i := range before.Nodes {
		if p := &before.Nodes[i]; p.Node != n && p.Role == placement.NODE_NO_PRIMARIES {
			return fmt.Errorf("%v may lead no partition, as while another `pegasus node restart` is at it, and two at once may stop two members of one partition: wait for that one, or, if it was interrupted, run `pegasus node back %v`; nothing was restarted", p.Node, p.Node)
		}
	}
	start := find(before, n).StartTime
	err = e.watch(ctx, a.Wait, "nothing was restarted", func() (string, bool, error) {
		r, err := adm.NodeRoles(ctx)
		if err != nil {
			return "", false, err
		}
		p := find(r, n)
		return fmt.Sprintf("  it has %d primaries", p.Primaries), p.Primaries == 0, nil
	})
	if err != nil {
		return err
	}
	// Something may have died meanwhile.
	if err := e.awaitRestartable(ctx, n, a.Wait); err != nil {
		return err
	}
	if err := e.runRestart(ctx, n, a.Exec); err != nil {
		return err
	}
	return e.watch(ctx, a.Wait, "see the server's log", func() (string, bool, error) {
		r, err := adm.NodeRoles(ctx)
		if err != nil {
			return "", false, err
		}
		switch p := find(r, n); {
		case !p.Alive:
			return "  it is down", false, nil
		case p.StartTime == start:
			return "  its old process still runs", false, nil
		case !p.Reported:
			return "  it is back, and has not reported yet", false, nil
		case r.Ill > 0:
			return fmt.Sprintf("  it is back; %d partitions lack replicas", r.Ill), false, nil
		}
		return "  all partitions are healthy", true, nil
	})
}

// awaitRestartable waits until all partitions are whole, and fails if one would then be left
// with fewer than two replicas without the server.
func (e *Env) awaitRestartable(ctx context.Context, n base.RPCAddress, wait time.Duration) error {
	var p *placement.NodePlacement
	err := e.watch(ctx, wait, "a server is restarted only while all partitions are healthy: `pegasus table show TABLE --why` explains why one is not", func() (string, bool, error) {
		r, err := e.Client.Admin().NodeRoles(ctx)
		if err != nil {
			return "", false, err
		}
		p = find(r, n)
		if r.Ill > 0 {
			return fmt.Sprintf("  %d partitions lack replicas", r.Ill), false, nil
		}
		return "  all partitions are healthy", true, nil
	})
	if err == nil && p.Alone > 0 {
		err = fmt.Errorf("%d partitions would have fewer than two live replicas: %s; give these tables 3 replicas first", p.Alone, p.AloneWhere)
	}
	return err
}

// undoRole is how long a meta is waited for to give a server its role back.
const undoRole = 10 * time.Second

// maxRestarts is how long the command that restarts a server may take.
const maxRestarts = 10 * time.Minute

func (e *Env) runRestart(ctx context.Context, n base.RPCAddress, command string) error {
	ctx, cancel := context.WithTimeout(ctx, maxRestarts)
	defer cancel()
	if !e.JSON {
		fmt.Fprintf(e.Out, "  running: %s\n", command)
	}
	c := exec.CommandContext(ctx, "sh", "-c", command, "sh", n.String())
	c.Env = append(c.Environ(), "PEGASUS_NODE="+n.String())
	c.WaitDelay = 2 * time.Second // what it leaves running may keep its output open
	out, err := c.CombinedOutput()
	if err == nil || errors.Is(err, exec.ErrWaitDelay) {
		return nil
	}
	if cause := ctx.Err(); cause != nil {
		err = fmt.Errorf("it was ended, because of this: %w (it may have restarted the server)", cause)
	}
	if said := strings.TrimSpace(string(out)); said != "" {
		err = fmt.Errorf("%w; it printed: %s", err, said)
	}
	return fmt.Errorf("the command failed: %w", err)
}
