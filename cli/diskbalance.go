package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"pegasus/base"
	"pegasus/base/diskplan"
	"pegasus/gen/metadata"
	"pegasus/remotecmd/answer"
)

// DiskBalance are the arguments of `disk balance`.
type DiskBalance struct {
	Server string // "": all that live
	DryRun bool
}

const (
	// A server is left after so many moves that failed.
	maxDiskFailures = 3
	// moveSilence is for how long nothing need be heard of a move, or nothing be copied.
	moveSilence = 10 * time.Minute
	// moveSettles is for how long a replica that was moved is waited for until it is a member again.
	moveSettles = time.Minute
)

type diskMoveJSON struct {
	Server    string `json:"server"`
	Partition string `json:"partition"`
	From      string `json:"from"`
	To        string `json:"to"`
	Bytes     int64  `json:"bytes"`
	Why       string `json:"why"`
	Error     string `json:"error,omitempty"`
}

func (m *diskMoveJSON) String() string {
	return fmt.Sprintf("%s: replica %s from %s to %s", m.Server, m.Partition, Escape([]byte(m.From)), Escape([]byte(m.To)))
}

// Balance evens out replicas over the data directories of each server, or says how it would.
func (e Disks) Balance(ctx context.Context, a DiskBalance) error {
	nodes, err := serversToBalance(e.Env, ctx, a.Server)
	if err != nil {
		return err
	}
	if a.DryRun {
		return planDisks(e.Env, ctx, nodes)
	}
	b := diskBalancer{e: e.Env, person: ctx, ctx: context.WithoutCancel(ctx), done: []diskMoveJSON{}, failed: []diskMoveJSON{}}
	var failed error
	for _, n := range nodes {
		if err := b.server(n); err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", n, err))
		}
		if ctx.Err() != nil {
			failed = errors.Join(failed, fmt.Errorf("interrupted after %d moves: call the command again to go on", len(b.done)))
			break
		}
	}
	for _, m := range b.failed {
		failed = errors.Join(failed, fmt.Errorf("%v: %s", &m, m.Error))
	}
	if e.JSON {
		return errors.Join(e.json(map[string]any{"moves": b.done, "failed": b.failed}), failed)
	}
	fmt.Fprintf(e.Out, "%d replicas moved, %d not\n", len(b.done), len(b.failed))
	return failed
}

func serversToBalance(e *Env, ctx context.Context, server string) ([]string, error) {
	if server != "" {
		_, err := nodeAddr(server)
		return []string{server}, err
	}
	r, err := e.Client.Admin().NodeRoles(ctx)
	if err != nil {
		return nil, err
	}
	var list []string
	for _, n := range r.Nodes {
		if n.Alive {
			list = append(list, n.Node.String())
		}
	}
	return list, nil
}

// planDisks says what balancing would do.
func planDisks(e *Env, ctx context.Context, nodes []string) error {
	g := newGrid("server", "partition", "from", "to", "#bytes", "why")
	disks := newGrid("server", "tag", "#bytes", "#then", "#share", "#replicas", "#then", "#share")
	moves, tell := []diskMoveJSON{}, []map[string]any{}
	var bytes int64
	var failed error
	for _, n := range nodes {
		s, err := diskView(e, ctx, n)
		if err != nil {
			failed = errors.Join(failed, err) // the others are worth a look nonetheless
			continue
		}
		p := diskplan.Make(s, diskplan.Defaults)
		bytes += p.Bytes
		for _, m := range p.Moves {
			moves = append(moves, diskMoveJSON{Server: n, Partition: m.Gpid.String(), From: m.From, To: m.To, Bytes: m.Bytes, Why: m.Why})
			g.add(n, m.Gpid.String(), Escape([]byte(m.From)), Escape([]byte(m.To)), size(m.Bytes), Escape([]byte(m.Why)))
		}
		for _, f := range p.Disks {
			disks.add(n, Escape([]byte(f.Tag)), size(f.Bytes), size(f.BytesAfter), size(f.Share), f.Replicas, f.ReplicasAfter, fmt.Sprintf("%.1f", f.ReplicaShare))
			tell = append(tell, map[string]any{"server": n, "tag": f.Tag, "bytes": f.Bytes, "bytes_after": f.BytesAfter, "bytes_share": f.Share,
				"replicas": f.Replicas, "replicas_after": f.ReplicasAfter, "replicas_share": f.ReplicaShare})
		}
	}
	if e.JSON {
		return errors.Join(e.json(map[string]any{"moves": moves, "bytes": bytes, "disks": tell}), failed)
	}
	err := disks.print(e.Out)
	if err == nil && len(moves) > 0 {
		err = g.print(e.Out)
	}
	if err == nil {
		_, err = fmt.Fprintf(e.Out, "%d moves of %s in total\n", len(moves), size(bytes))
	}
	return errors.Join(err, failed)
}

// diskView asks a server what its data directories hold. A replica that is no member at present, and what is done to it isn't
// known, stays where it is.
func diskView(e *Env, ctx context.Context, node string) (*diskplan.Server, error) {
	addr, err := nodeAddr(node)
	if err != nil {
		return nil, err
	}
	there, err := disksOf(e, ctx, node)
	if err != nil {
		return nil, err
	}
	reps, err := e.Client.Admin().Replicas(ctx, addr)
	if err != nil {
		return nil, err
	}
	s := &diskplan.Server{}
	for _, d := range there {
		healthy := d.State == "NORMAL"
		s.Disks = append(s.Disks, diskplan.Disk{Tag: d.Tag, Capacity: d.Total, Available: d.Available, Takes: healthy, Gives: healthy || d.State == "SPACE_INSUFFICIENT"})
	}
	for _, r := range reps {
		s.Replicas = append(s.Replicas, diskplan.Replica{Gpid: r.Pid, Disk: r.DiskTag, Bytes: r.Bytes.V, Fixed: !member(&r)})
	}
	return s, nil
}

func member(r *metadata.ReplicaInfo) bool {
	return r.Status == metadata.PS_PRIMARY || r.Status == metadata.PS_SECONDARY
}

// diskBalancer carries plans out, one replica at a time. Who interrupts it waits for the present one.
type diskBalancer struct {
	e            *Env
	person, ctx  context.Context
	done, failed []diskMoveJSON
}

// server moves replicas of one server until its plan is empty. The plan is made anew after each of them, for the
// server is in use meanwhile; none is moved twice.
func (b *diskBalancer) server(node string) error {
	tried, failures := map[base.Gpid]bool{}, 0
	for {
		if err := b.others(node); err != nil || b.person.Err() != nil {
			return err
		}
		s, err := diskView(b.e, b.ctx, node)
		if err != nil {
			return err
		}
		for i := range s.Replicas {
			r := &s.Replicas[i]
			r.Fixed = r.Fixed || tried[r.Gpid]
		}
		p := diskplan.Make(s, diskplan.Defaults)
		if len(p.Moves) == 0 {
			return nil
		}
		m := &p.Moves[0]
		tried[m.Gpid] = true
		told := diskMoveJSON{Server: node, Partition: m.Gpid.String(), From: m.From, To: m.To, Bytes: m.Bytes, Why: m.Why}
		b.say("%v (%s), the first of %d: %s", &told, size(m.Bytes), len(p.Moves), Escape([]byte(m.Why)))
		err = b.move(node, m)
		if err == nil {
			b.done = append(b.done, told)
			continue
		}
		told.Error = err.Error()
		b.failed = append(b.failed, told)
		b.say("failed: %s", Escape([]byte(told.Error)))
		if failures++; failures >= maxDiskFailures {
			return fmt.Errorf("%d moves failed: the rest of this server is left as it is", failures)
		}
		if base.CodeOf(err) == base.ErrServiceNotActive {
			return nil // it can't, and has said so
		}
	}
}

func (b *diskBalancer) say(format string, args ...any) {
	if !b.e.JSON {
		fmt.Fprintf(b.e.Out, format+"\n", args...)
	}
}

// move has a server move a replica, and waits until that is done.
func (b *diskBalancer) move(node string, m *diskplan.Move) error {
	addr, err := nodeAddr(node)
	if err != nil {
		return err
	}
	adm := b.e.Client.Admin()
	if err := adm.MoveDisk(b.ctx, node, m.Gpid, m.From, m.To); err != nil {
		return err
	}
	if err := b.await(node, m.Gpid.String(), m.From, m.To); err != nil {
		return err
	}
	// It has to be given its role again. The next one isn't taken out of service before.
	for end := time.Now().Add(moveSettles); ; time.Sleep(poll) {
		reps, err := adm.Replicas(b.ctx, addr)
		k := slices.IndexFunc(reps, func(r metadata.ReplicaInfo) bool { return r.Pid == m.Gpid })
		switch {
		case err == nil && k >= 0 && reps[k].DiskTag == m.To && member(&reps[k]):
			return nil
		case err == nil && k < 0:
			return nil // the metas have it elsewhere meanwhile
		case time.Now().After(end):
			return fmt.Errorf("it was moved, and isn't a member again after %v: `pegasus table show TABLE --why` tells what is done", moveSettles)
		}
	}
}

// movesOf asks a server for its moves. An older one knows none.
func (b *diskBalancer) movesOf(node string) (answer.DiskMoves, error) {
	return movesOf(b.e, b.ctx, node)
}

// movesOf asks a server for its moves.
func movesOf(e *Env, ctx context.Context, node string) (answer.DiskMoves, error) {
	text, err := e.Client.Admin().RemoteCommand(ctx, node, "replica.disk-moves")
	if err != nil {
		return nil, err
	}
	list, err := answer.ReadMoves(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", node, err)
	}
	return list, nil
}

// others waits for moves that somebody else began, or this command before it was interrupted.
func (b *diskBalancer) others(node string) error {
	list, err := b.movesOf(node)
	if err != nil {
		return err
	}
	for _, m := range list {
		if m.UnderWay() && b.person.Err() == nil {
			b.say("%s: waits for a move that is under way: replica %s from %s to %s", node, Escape([]byte(m.Replica)), Escape([]byte(m.From)), Escape([]byte(m.To)))
			if err := b.await(node, m.Replica, m.From, m.To); err != nil {
				b.say("it failed: %s", Escape([]byte(err.Error())))
			}
		}
	}
	return nil
}

// await waits until a move has ended, and says why if it failed.
func (b *diskBalancer) await(node, replica, from, to string) error {
	told, copied, heard := false, int64(-1), time.Now()
	for {
		list, err := b.movesOf(node)
		last := list.Last(answer.Of(replica, from, to))
		switch {
		case err == nil && last == nil:
			return errors.New("the server doesn't know of the move any more: it may have been started again; call the command again")
		case err == nil && last.State == "CLOSED":
			return nil
		case err == nil && !last.UnderWay():
			return errors.New(last.Error)
		case err == nil && last.Done != copied:
			copied, heard = last.Done, time.Now()
		}
		if time.Since(heard) > moveSilence {
			return fmt.Errorf("nothing was heard of the move for %v: `pegasus disk ls` shows how the disks are", moveSilence)
		}
		interrupted := b.person.Done()
		if told {
			interrupted = nil
		}
		select {
		case <-interrupted:
			told = true
			b.say("interrupted: stops when this move has ended; the server goes on with it in any case")
		case <-time.After(poll):
		}
	}
}
