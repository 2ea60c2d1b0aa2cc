package inplace

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"pegasus/base"
	"pegasus/migrate/dirs"
	"pegasus/replica/disk"
)

// Server is one whose data directories are made.
type Server struct {
	Addr base.RPCAddress // that it is known by
	Dirs []disk.Place
}

// place is a data directory of a server.
type place struct {
	server, dir int
	bytes       int64 // of what it gets, about
}

// part is a partition that is made.
type part struct {
	t     *dirs.Table
	index int
	bytes int64 // that are read
	at    []*place
	first *place // of at: the one that is to lead
}

func (p *part) gpid() base.Gpid { return p.t.Parts[p.index].Gpid }

// lay says where each partition goes: to the servers with the fewest bytes, and there to the directory with the fewest. It depends on nothing but its arguments, so that who
// goes on finds things where they were put.
func lay(tables []dirs.Table, servers []Server, replicas int) (parts []*part, places []*place) {
	load, leads := make([]int64, len(servers)), make([]int, len(servers))
	of := make([][]*place, len(servers))
	for i, s := range servers {
		for d := range s.Dirs {
			of[i] = append(of[i], &place{server: i, dir: d})
		}
		places = append(places, of[i]...)
	}
	order := make([]int, len(servers))
	for i := range order {
		order[i] = i
	}
	for i := range tables {
		t := &tables[i]
		for n := range t.Parts {
			p := &part{t: t, index: n, bytes: 1}
			if b := t.Parts[n].Best; b != nil {
				p.bytes += b.Bytes + b.LogBytes
			}
			slices.SortFunc(order, func(a, b int) int { return cmp.Or(cmp.Compare(load[a], load[b]), cmp.Compare(a, b)) })
			for _, s := range order[:min(copies(t, replicas), len(servers))] {
				to := slices.MinFunc(of[s], func(a, b *place) int { return cmp.Compare(a.bytes, b.bytes) })
				to.bytes += p.bytes
				load[s] += p.bytes
				p.at = append(p.at, to)
			}
			p.first = slices.MinFunc(p.at, func(a, b *place) int { return cmp.Compare(leads[a.server], leads[b.server]) })
			leads[p.first.server]++
			parts = append(parts, p)
		}
	}
	return parts, places
}

// copies is how many replicas a table gets.
func copies(t *dirs.Table, asked int) int { return max(1, cmp.Or(asked, int(t.Info.MaxReplicaCount))) }

// id names all that must be the same for a run that goes on: what is made, and where each partition goes.
func (j *job) id(p *dirs.Plan) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q %d %t\n", j.o.Config.Cluster.Name, j.o.Replicas, j.o.AcceptLoss)
	for _, s := range j.o.Servers {
		fmt.Fprintf(h, "%v %q\n", s.Addr, s.Dirs)
	}
	for i := range p.Tables {
		t := &p.Tables[i]
		take, _ := t.Settings()
		fmt.Fprintf(h, "%q %s %d %d %q\n", t.To, t.Choice(), t.Partitions, t.Info.MaxReplicaCount, take)
	}
	for _, p := range j.parts {
		fmt.Fprintf(h, "%v", p.gpid())
		for _, at := range p.at {
			fmt.Fprintf(h, " %d.%d %t", at.server, at.dir, at == p.first)
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// what tells people what is done.
func what(p *dirs.Plan, o *Options) string {
	var names []string
	for i := range p.Tables {
		names = append(names, p.Tables[i].To)
	}
	return fmt.Sprintf("a migration of the tables %s to %d servers of cluster %s", strings.Join(names, ", "), len(o.Servers), o.Config.Cluster.Name)
}
