package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/base/durable"
	"pegasus/base/metabackup"
	"pegasus/client"
	"pegasus/gen/metaquorum"
	"pegasus/gen/placement"
)

type metaJSON struct {
	Address  string   `json:"address"`
	Role     string   `json:"role"` // leader, follower, candidate, learning, joining, removed, unreachable
	Leader   string   `json:"leader,omitempty"`
	Term     int64    `json:"term"`
	Last     int64    `json:"last_entry"`
	LastTerm int64    `json:"last_entry_term"`
	Applied  int64    `json:"applied"`
	Tables   int32    `json:"tables"`
	Quorum   string   `json:"quorum,omitempty"`
	Cluster  string   `json:"cluster,omitempty"`
	Members  []string `json:"members"` // as this one knows them
	Restored bool     `json:"restored,omitempty"`
	Hint     string   `json:"hint,omitempty"`
	// Version is what the cluster's members may write, Understands the newest version that this
	// server's program understands.
	Version     int32  `json:"cluster_version"`
	Understands int32  `json:"understands_version"`
	Error       string `json:"error,omitempty"`
}

// MetaStatus shows the quorum: it asks each of metas and all members that they name. It
// works without a leader, too, and fails if nobody answers.
func (e *Env) MetaStatus(ctx context.Context, metas []string) error {
	answers := askMetas(e, ctx, metas)
	q, leads := client.JudgeMetas(answers), client.Leader(answers)
	list := make([]metaJSON, len(answers))
	var leader *metaJSON
	g := newGrid("address", "role", "term", "last entry", "applied", "tables", "understands", "quorum")
	for i := range answers {
		m := &list[i]
		*m = metaOf(&answers[i])
		if &answers[i] == leads {
			leader = m
		}
		g.add(m.Address, m.Role, m.Term, fmt.Sprintf("%d/%d", m.LastTerm, m.Last), m.Applied, m.Tables, understands(m), m.Quorum)
	}
	var unreached, unled error
	switch {
	case !q.Reached:
		unreached = &unreachedError{q.Why[0].String()}
	case !q.Serves:
		unled = errors.New("no meta server leads: nothing of the cluster can be changed, and clients can't find their tables")
	}
	if e.JSON {
		return errors.Join(e.json(list), unreached, unled)
	}
	if err := g.print(e.Out); err != nil {
		return err
	}
	for i := range list {
		if list[i].Error != "" {
			fmt.Fprintf(e.Out, "%s: %s\n", list[i].Address, list[i].Error)
		}
	}
	if unreached != nil {
		return unreached
	}
	fmt.Fprintf(e.Out, "members: %d, answering: %d, majority: %d\n", q.Members, q.Answering, q.Members/2+1)
	if leader != nil {
		fmt.Fprintf(e.Out, "cluster version %d\n", leader.Version)
		if leader.Understands > leader.Version {
			fmt.Fprintln(e.Out, "a newer version is available once all servers run this program: `pegasus meta upgrade-version`")
		}
	}
	for _, r := range q.Why {
		printReasons(e.Out, []placement.Reason{{What: r.What, ToDo: r.Do}})
	}
	return unled
}

// unreachedError is that no meta server answers, in the words of who judges them.
type unreachedError struct{ why string }

func (e *unreachedError) Error() string { return e.why }

// ExitStatus is ExitNoAnswer.
func (e *unreachedError) ExitStatus() int { return ExitNoAnswer }

func understands(m *metaJSON) string {
	if m.Understands == 0 {
		return ""
	}
	return fmt.Sprintf("version %d", m.Understands)
}

// UpgradeVersion raises the version of the cluster, 0: to the newest that the leader
// understands, and shows what each member understands.
func (e *Env) UpgradeVersion(ctx context.Context, to int32, dryRun bool) error {
	r, err := e.Client.Admin().UpgradeVersion(ctx, to, dryRun)
	if r == nil {
		return err
	}
	if e.JSON {
		if err != nil {
			return err
		}
		return e.json(r)
	}
	g := newGrid("address", "what", "understands", "")
	for _, m := range r.Members {
		what, version := "replica", ""
		if m.Meta {
			what = "meta"
		}
		if m.Version > 0 {
			version = fmt.Sprintf("version %d", m.Version)
		}
		g.add(m.Address, what, version, m.Error)
	}
	if perr := g.print(e.Out); err == nil {
		err = perr
	}
	if err != nil {
		return err
	}
	switch {
	case dryRun:
		fmt.Fprintf(e.Out, "the cluster has version %d; all members understand the newer one\n", r.Was)
	case r.Was == r.Now:
		fmt.Fprintf(e.Out, "the cluster already has version %d\n", r.Now)
	default:
		fmt.Fprintf(e.Out, "the cluster now has version %d (before: %d); members can't go back to a program that doesn't understand it\n", r.Now, r.Was)
	}
	return nil
}

// metaWait is how long one meta is waited for.
const metaWait = 3 * time.Second

// askMetas asks each of metas and all members that they name.
func askMetas(e *Env, ctx context.Context, metas []string) []client.MetaAnswer {
	return client.AskMetas(ctx, metas, metaWait, e.Client.Admin().MetaStatus)
}

// metaOf is what is shown of a meta.
func metaOf(a *client.MetaAnswer) metaJSON {
	m := metaJSON{Address: a.Addr, Role: "unreachable", Members: []string{}}
	r := a.Is
	if r == nil {
		m.Error = a.Err.Error()
		return m
	}
	m.Role, m.Leader, m.Term, m.Last, m.LastTerm, m.Applied = r.Role, r.Leader, r.Term, r.LastIndex, r.LastTerm, r.Applied
	m.Tables, m.Quorum, m.Cluster, m.Members, m.Restored = r.Tables, r.Quorum, r.Cluster, addresses(r.Members), r.Restored
	m.Hint = r.Hint.Or("")
	m.Version, m.Understands = max(1, r.ClusterVersion.V), max(1, r.Version.V)
	return m
}

// metaAddr says what is wrong with the address of a meta server.
func metaAddr(addr string) error {
	if err := config.CheckAddr(addr); err != nil {
		return fmt.Errorf("%w; give the address (host:port) of a meta server; `pegasus meta status` lists them", err)
	}
	return nil
}

func addresses(members []metaquorum.QuorumMember) []string {
	list := make([]string, len(members))
	for i, m := range members {
		list[i] = m.Address
	}
	return list
}

// MetaAdd makes a meta server that was started with --join a member of the quorum.
func (e *Env) MetaAdd(ctx context.Context, addr string) error {
	if err := metaAddr(addr); err != nil {
		return err
	}
	members, err := e.Client.Admin().AddMeta(ctx, addr)
	if err != nil {
		return err
	}
	return e.print(map[string]any{"added": addr, "members": addresses(members)},
		"%s is a member of the quorum: %s\nadd it to cluster.meta_servers of all servers and clients before their next restart", addr, strings.Join(addresses(members), " "))
}

// MetaRemove takes a meta server out of the quorum.
func (e *Env) MetaRemove(ctx context.Context, addr string) error {
	if err := metaAddr(addr); err != nil {
		return err
	}
	if e.DryRun {
		leader, err := e.leadingMeta(ctx)
		if err != nil {
			return err
		}
		st, err := e.Client.Admin().MetaStatus(ctx, leader)
		if err != nil {
			return err
		}
		have := addresses(st.Members)
		left := slices.DeleteFunc(slices.Clone(have), func(m string) bool { return m == addr })
		switch {
		case len(left) == len(have):
			return fmt.Errorf("%s is no member of the quorum, which is %s: %w", addr, strings.Join(have, " "), base.ErrObjectNotFound)
		case len(left) == 0:
			return fmt.Errorf("%s is the only member of the quorum: add another one first", addr)
		}
		return e.would(map[string]any{"removed": addr, "members": left}, "%s leaves the quorum, and %s are left", addr, strings.Join(left, " "))
	}
	members, err := e.Client.Admin().RemoveMeta(ctx, addr)
	if err != nil {
		return err
	}
	return e.print(map[string]any{"removed": addr, "members": addresses(members)},
		"%s is no longer a member of the quorum: %s\nstop it, and remove it from cluster.meta_servers of all servers and clients", addr, strings.Join(addresses(members), " "))
}

// MetaTransfer has the meta server at addr lead, "": the one that is best at it. With dryRun it only says who leads.
func (e *Env) MetaTransfer(ctx context.Context, addr string, dryRun bool) error {
	if addr != "" {
		if err := metaAddr(addr); err != nil {
			return err
		}
	}
	a := e.Client.Admin()
	if dryRun {
		leader, err := e.leadingMeta(ctx)
		if err != nil {
			return err
		}
		if addr == leader {
			return e.print(map[string]any{"was": leader, "to": addr}, "%s leads already", leader)
		}
		return e.print(map[string]any{"was": leader, "to": addr}, "%s leads, and would hand over to %s", leader, cmp.Or(addr, "the one that has most of the log"))
	}
	was, leader, err := a.TransferMeta(ctx, addr)
	if err != nil {
		return err
	}
	if was == leader {
		return e.print(map[string]any{"was": was, "leader": leader}, "%s leads already", leader)
	}
	return e.print(map[string]any{"was": was, "leader": leader}, "%s leads now, before: %s", leader, was)
}

// leadingMeta is the address of the meta server that leads.
func (e *Env) leadingMeta(ctx context.Context) (string, error) {
	info, err := e.Client.Admin().ClusterInfo(ctx)
	if err != nil {
		return "", err
	}
	for _, kv := range info {
		if kv.Key == "primary_meta_server" {
			return kv.Val, nil
		}
	}
	return "", errors.New("the meta servers don't tell which of them leads")
}

// MetaBackup writes the state of the meta servers into a file that must not exist.
func (e *Env) MetaBackup(ctx context.Context, path string) (err error) {
	data, err := e.Client.Admin().BackupMeta(ctx)
	if err != nil {
		return err
	}
	b, err := metabackup.Decode(data)
	if err != nil {
		return fmt.Errorf("the backup from the meta server: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("file %s exists: give another one; a backup is never overwritten", path)
	}
	if err != nil {
		return fmt.Errorf("write the backup: %w", err)
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = durable.Dir(filepath.Dir(path))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write the backup: %w", err), os.Remove(path))
	}
	return e.print(map[string]any{"file": path, "cluster": b.Cluster, "entry": b.Index, "bytes": len(data), "taken": moment(b.Second)},
		"%s: state of cluster %s up to entry %d, %d bytes", path, b.Cluster, b.Index, len(data))
}

// MetaRevived tells what became of a data directory.
func MetaRevived(w io.Writer, how, cluster, server string, tables int, index, term uint64, next string) {
	fmt.Fprintf(w, "%s is now the only member of the quorum of cluster %s, with %d tables, %s (entry %d of term %d)\n%s\n", server, cluster, tables, how, index, term, next)
}
