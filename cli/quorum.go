package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"pegasus/gen/metaquorum"
	"pegasus/meta/archive"
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
	Error    string   `json:"error,omitempty"`
}

// MetaStatus shows the quorum: it asks each of metas and all members that they name. It
// works without a leader, too.
func (e *Env) MetaStatus(ctx context.Context, metas []string) error {
	list := e.askMetas(ctx, metas)
	members, alive := map[string]bool{}, 0
	var leader *metaJSON
	for i := range list {
		m := &list[i]
		if m.Role == "leader" && (leader == nil || m.Term > leader.Term) {
			leader = m
		}
	}
	source := list
	if leader != nil {
		source = []metaJSON{*leader}
	}
	for i := range source {
		for _, a := range source[i].Members {
			members[a] = true
		}
	}
	quorums := map[string]bool{}
	g := newGrid("address", "role", "term", "last entry", "applied", "tables", "quorum")
	for i := range list {
		m := &list[i]
		if m.Error == "" && members[m.Address] {
			alive++
		}
		if m.Quorum != "" {
			quorums[m.Quorum] = true
		}
		g.add(m.Address, m.Role, m.Term, fmt.Sprintf("%d/%d", m.LastTerm, m.Last), m.Applied, m.Tables, m.Quorum)
	}
	if e.JSON {
		return e.json(list)
	}
	if err := g.print(e.Out); err != nil {
		return err
	}
	fmt.Fprintf(e.Out, "%d members, %d of them answer, %d are a majority\n", len(members), alive, len(members)/2+1)
	switch {
	case leader != nil && leader.Restored:
		fmt.Fprintln(e.Out, "the state comes from a backup or from a quorum that was made anew, and may be old: no configuration changes until `pegasus recover` has asked the replica servers")
	case len(quorums) > 1:
		fmt.Fprintln(e.Out, "they are not of one quorum: one has the data of another cluster, or of before a quorum was made anew")
	case leader == nil && alive < len(members)/2+1:
		fmt.Fprintln(e.Out, "no majority, so nobody leads: start the others; if they are lost for good, stop all, and run `pegasus meta recover-quorum` on the one whose last entry is the highest")
	case leader == nil:
		fmt.Fprintln(e.Out, "nobody leads at the moment")
	}
	return nil
}

// askMetas asks metas and whom they name, until nobody new is named.
func (e *Env) askMetas(ctx context.Context, metas []string) []metaJSON {
	known := map[string]bool{}
	var list []metaJSON
	for ask := metas; len(ask) > 0; {
		var mu sync.Mutex
		var wg sync.WaitGroup
		var next []string
		for _, addr := range ask {
			if known[addr] {
				continue
			}
			known[addr] = true
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
				defer cancel()
				m := metaJSON{Address: addr, Role: "unreachable", Members: []string{}}
				r, err := e.Client.Admin().MetaStatus(ctx, addr)
				if err != nil {
					m.Error = err.Error()
				} else {
					m.Role, m.Leader, m.Term, m.Last, m.LastTerm, m.Applied = r.Role, r.Leader, r.Term, r.LastIndex, r.LastTerm, r.Applied
					m.Tables, m.Quorum, m.Cluster, m.Members, m.Restored = r.Tables, r.Quorum, r.Cluster, addresses(r.Members), r.Restored
				}
				mu.Lock()
				defer mu.Unlock()
				list = append(list, m)
				next = append(next, m.Members...)
			})
		}
		wg.Wait()
		ask = next
	}
	slices.SortFunc(list, func(a, b metaJSON) int { return strings.Compare(a.Address, b.Address) })
	return list
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
	members, err := e.Client.Admin().AddMeta(ctx, addr)
	if err != nil {
		return err
	}
	return e.print(map[string]any{"added": addr, "members": addresses(members)},
		"%s is a member of the quorum now: %s\nput it into cluster.meta_servers of all servers and clients before their next restart", addr, strings.Join(addresses(members), " "))
}

// MetaRemove takes a meta server out of the quorum.
func (e *Env) MetaRemove(ctx context.Context, addr string) error {
	members, err := e.Client.Admin().RemoveMeta(ctx, addr)
	if err != nil {
		return err
	}
	return e.print(map[string]any{"removed": addr, "members": addresses(members)},
		"%s is out of the quorum, which is now: %s\nstop it, and take it out of cluster.meta_servers of all servers and clients", addr, strings.Join(addresses(members), " "))
}

// MetaBackup writes the state of the meta servers into a file that must not exist.
func (e *Env) MetaBackup(ctx context.Context, path string) (err error) {
	data, err := e.Client.Admin().BackupMeta(ctx)
	if err != nil {
		return err
	}
	b, err := archive.Decode(data)
	if err != nil {
		return fmt.Errorf("what the meta server sent: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("file %s exists: name another one; a backup is never overwritten", path)
	}
	if err != nil {
		return fmt.Errorf("write the backup: %w", err)
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write the backup: %w", err), os.Remove(path))
	}
	return e.print(map[string]any{"file": path, "cluster": b.Cluster, "entry": b.Index, "bytes": len(data), "taken": moment(b.Second)},
		"%s: the state of cluster %s up to entry %d, %d bytes", path, b.Cluster, b.Index, len(data))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// MetaRevived tells what became of a data directory.
func MetaRevived(w io.Writer, how, cluster, server string, tables int, index, term uint64, next string) {
	fmt.Fprintf(w, "%s is the only member of the quorum of cluster %s now, with %d tables, %s (entry %d of term %d)\n%s\n", server, cluster, tables, how, index, term, next)
}
