package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"pegasus/base"
	"pegasus/base/pause"
	"pegasus/remotecmd/answer"
)

// diskJSON is a data directory as its server describes it, and which server that is.
type diskJSON struct {
	Server string `json:"server"`
	answer.Disk
}

// outlook says in words what becomes of a directory.
func (d *diskJSON) outlook() string {
	switch {
	case d.Next == "":
		return ""
	case d.Retry > 0:
		return fmt.Sprintf("%s in %v", d.Next, time.Duration(d.Retry*float64(time.Second)).Round(time.Second))
	}
	return d.Next
}

// Disks are the commands about data directories.
type Disks struct{ *Env }

// List lists the data directories of the replica servers that live, those that are in
// trouble with their errors.
func (e Disks) List(ctx context.Context) error {
	a := e.Client.Admin()
	nodes, err := a.NodeRoles(ctx)
	if err != nil {
		return err
	}
	list := []diskJSON{}
	var failed error
	var dead []string
	for _, n := range nodes.Nodes {
		if !n.Alive {
			dead = append(dead, n.Node.String())
			continue
		}
		there, err := disksOf(e.Env, ctx, n.Node.String())
		failed = errors.Join(failed, err) // the others are worth a look nonetheless
		list = append(list, there...)
	}
	if e.JSON {
		return errors.Join(e.json(list), failed)
	}
	return errors.Join(printDisks(e.Env, list, dead), failed)
}

// shownHolds is how many holds of a log are printed.
const shownHolds = 10

func printDisks(e *Env, list []diskJSON, dead []string) error {
	g := newGrid("server", "tag", "path", "state", "#replicas", "#broken", "#free", "#of", "#trash", "what next")
	for i := range list {
		d := &list[i]
		g.add(d.Server, Escape([]byte(d.Tag)), Escape([]byte(d.Path)), d.State, d.Replicas, d.Broken, size(d.Available), size(d.Total), size(d.TrashBytes), d.outlook())
	}
	if err := g.print(e.Out); err != nil {
		return err
	}
	if len(dead) > 0 {
		fmt.Fprintf(e.Out, "not asked, because they are dead: %s\n", strings.Join(dead, ", "))
	}
	for _, d := range list {
		if d.Error != "" {
			fmt.Fprintf(e.Out, "%s %s: %s\n", d.Server, Escape([]byte(d.Tag)), Escape([]byte(d.Error)))
		}
		if d.Added {
			fmt.Fprintf(e.Out, "%s %s: was added while the server ran: add \"%s:%s\" to replica.data_dirs, too\n", d.Server, Escape([]byte(d.Tag)), Escape([]byte(d.Tag)), Escape([]byte(d.Path)))
		}
		for _, m := range d.Moves {
			fmt.Fprintf(e.Out, "%s %s: replica %s moves to %s: %s of %s copied in %v\n", d.Server, Escape([]byte(d.Tag)), m.Replica, Escape([]byte(m.To)), size(m.Done), size(m.Bytes), time.Duration(m.Seconds*float64(time.Second)).Round(time.Second))
		}
		for i, h := range d.Holds {
			if i == shownHolds {
				fmt.Fprintf(e.Out, "%s %s: and %d others keep something in the log: --json lists them\n", d.Server, Escape([]byte(d.Tag)), len(d.Holds)-i)
				break
			}
			fmt.Fprintf(e.Out, "%s %s: the log keeps what follows decree %d of replica %s for %s\n", d.Server, Escape([]byte(d.Tag)), h.Decree, h.Replica, Escape([]byte(h.Holder)))
		}
	}
	return nil
}

func disksOf(e *Env, ctx context.Context, node string) ([]diskJSON, error) {
	text, err := e.Client.Admin().RemoteCommand(ctx, node, "replica.disks")
	if err != nil {
		return nil, err
	}
	list, err := answer.Read[[]diskJSON](node, "replica.disks", text)
	if err != nil {
		return nil, err
	}
	for i := range list {
		list[i].Server = node
	}
	return list, nil
}

// Retry has a replica server try a data directory again that failed.
func (e Disks) Retry(ctx context.Context, node, tag string) error {
	return e.command(ctx, node, "replica.disk-retry", tag)
}

// Abandon has a replica server give up a data directory that failed.
func (e Disks) Abandon(ctx context.Context, node, tag string) error {
	if e.DryRun {
		d, err := e.dir(ctx, node, tag)
		if err != nil {
			return err
		}
		if d.State != "IO_ERROR" {
			return fmt.Errorf("%s: data directory %q hasn't failed: it is %s", node, tag, d.State)
		}
		return e.would(map[string]any{"server": node, "tag": tag, "broken_replicas": d.Broken}, "%s of %s (%s) is abandoned, with %d replicas", Escape([]byte(tag)), node, Escape([]byte(d.Path)), d.Broken)
	}
	return e.command(ctx, node, "replica.disk-abandon", tag)
}

// dir asks a server about one of its data directories.
func (e Disks) dir(ctx context.Context, node, tag string) (*diskJSON, error) {
	if _, err := nodeAddr(node); err != nil {
		return nil, err
	}
	list, err := disksOf(e.Env, ctx, node)
	if err != nil {
		return nil, err
	}
	for i := range list {
		if list[i].Tag == tag {
			return &list[i], nil
		}
	}
	return nil, fmt.Errorf("%s has no data directory %q: `pegasus disk ls` lists them: %w", node, tag, base.ErrObjectNotFound)
}

// Add has a replica server use one more data directory.
func (e Disks) Add(ctx context.Context, node, tag, path string) error {
	return e.command(ctx, node, "replica.disk-add", tag+":"+path)
}

// Move has a replica server move a replica between two of its data directories, and waits for the end.
func (e Disks) Move(ctx context.Context, node, replica, from, to string) error {
	if _, err := nodeAddr(node); err != nil {
		return err
	}
	g, err := base.ParseGpid(replica)
	if err != nil {
		return fmt.Errorf("%q is not a replica: write APP_ID.PARTITION, as `pegasus table show` and `pegasus disk ls` do: %w", replica, err)
	}
	a := e.Client.Admin()
	if e.DryRun {
		return e.wouldMove(ctx, node, g, from, to)
	}
	began := time.Now()
	if err := a.MoveDisk(ctx, node, g, from, to); err != nil {
		return err
	}
	for {
		m, err := e.moveOf(ctx, node, g)
		switch {
		case err != nil:
			return err
		case m == nil:
			return fmt.Errorf("%s doesn't know any more how the move ended, because it was started again: `pegasus disk ls` shows where its replicas are", node)
		case m.Error != "":
			return fmt.Errorf("%s: replica %v stays in %s: %s", node, g, from, m.Error)
		case m.State == "CLOSED":
			if e.JSON {
				return e.json(m)
			}
			_, err := fmt.Fprintf(e.Out, "replica %v is in %s: %s copied in %v\n", g, to, size(m.Done), time.Since(began).Round(10*time.Millisecond))
			return err
		}
		if !pause.For(ctx, movePoll) {
			return fmt.Errorf("the server goes on to move replica %v: %w", g, ctx.Err())
		}
	}
}

// wouldMove says what a move would copy, if it can be made.
func (e Disks) wouldMove(ctx context.Context, node string, g base.Gpid, from, to string) error {
	there, err := e.dir(ctx, node, to)
	if err != nil {
		return err
	}
	if _, err := e.dir(ctx, node, from); err != nil {
		return err
	}
	addr, err := nodeAddr(node)
	if err != nil {
		return err
	}
	reps, err := e.Client.Admin().Replicas(ctx, addr)
	if err != nil {
		return err
	}
	for i := range reps {
		if r := &reps[i]; r.Pid == g && r.DiskTag == from {
			return e.would(map[string]any{"server": node, "replica": g.String(), "from": from, "to": to, "bytes": r.Bytes.V, "available_bytes": there.Available},
				"replica %v (%s) moves from %s to %s, which has room for %s", g, size(r.Bytes.V), Escape([]byte(from)), Escape([]byte(to)), size(there.Available))
		}
	}
	return fmt.Errorf("%s has no replica %v in %q: `pegasus table show` and `pegasus disk ls` show where they are: %w", node, g, from, base.ErrObjectNotFound)
}

// movePoll is how often it is asked how far a move is.
const movePoll = 200 * time.Millisecond

// moveOf returns the last move of a replica that a server knows of, nil if there is none.
func (e Disks) moveOf(ctx context.Context, node string, g base.Gpid) (last *answer.DiskMove, err error) {
	list, err := movesOf(e.Env, ctx, node)
	return list.Last(func(m *answer.DiskMove) bool { return m.Replica == g.String() }), err
}

func (e Disks) command(ctx context.Context, node, command, tag string) error {
	if _, err := nodeAddr(node); err != nil {
		return err
	}
	text, err := e.Client.Admin().RemoteCommand(ctx, node, command, tag)
	if err != nil {
		return err
	}
	if err := answered(text); err != nil {
		return fmt.Errorf("%s: %w", node, err)
	}
	return e.ok()
}

// answered reads the answer of a remote command that does something: {"error":"ok"}, or why not.
func answered(text string) error {
	var res struct {
		Error string `json:"error"`
	}
	if err := json.Unmarshal([]byte(text), &res); err != nil || res.Error == "" {
		return fmt.Errorf("unknown answer %q: the server may run an older version", text)
	}
	if res.Error != "ok" {
		return errors.New(strings.TrimPrefix(res.Error, "ERR: "))
	}
	return nil
}
