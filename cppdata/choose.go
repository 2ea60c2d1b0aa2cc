package cppdata

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"golang.org/x/sync/errgroup"

	"pegasus/base"
	"pegasus/gen/layer2"
	"pegasus/rocks/damage"
	"pegasus/rocks/pegasus"
)

// Table is a table of which replicas were found.
type Table struct {
	ID         int32
	Name       string
	Partitions int32
	Dropped    bool
	Info       layer2.AppInfo // as most of the replicas that count have it
	Parts      []Partition    // all of its partitions
}

// Partition is what was found of a partition.
type Partition struct {
	Gpid base.Gpid
	Best *Replica // nil: there is none that can be believed
	All  []*Replica
	// Notes are differences between its replicas, and what is wrong with them.
	Notes []string
}

// Whole tells whether all rows that the partition had can be read, as far as the logs tell.
func (p *Partition) Whole() bool { return p.Best != nil && p.Best.Err == nil && p.Best.Torn == nil }

// examineAtOnce is how many replicas are looked at at a time.
const examineAtOnce = 4

// Survey examines replicas, and puts them together to tables. orphans are those of which nobody says what table they are of.
// looked is told of each one that was looked at; nil: nobody.
func Survey(ctx context.Context, places []Place, looked func(*Replica)) (tables []Table, orphans []*Replica, err error) {
	all := make([]*Replica, len(places))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(examineAtOnce)
	for i := range places {
		g.Go(func() (err error) {
			if all[i], err = Examine(gctx, places[i]); err == nil && looked != nil {
				looked(all[i])
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, nil, err
	}
	of := map[int32][]*Replica{}
	var ids []int32
	for _, r := range all {
		if _, ok := of[r.Gpid.AppID]; !ok {
			ids = append(ids, r.Gpid.AppID)
		}
		of[r.Gpid.AppID] = append(of[r.Gpid.AppID], r)
	}
	slices.Sort(ids)
	for _, id := range ids {
		if t, ok := assemble(id, of[id]); ok {
			tables = append(tables, t)
		} else {
			orphans = append(orphans, of[id]...)
		}
	}
	return tables, orphans, nil
}

// known is what replicas of a table must agree about.
type known struct {
	name       string
	partitions int32
	created    int64
}

func knownOf(i *layer2.AppInfo) known { return known{i.AppName, i.PartitionCount, i.CreateSecond} }

// assemble makes a table of its replicas. What most of them say of it counts; one that says something else isn't believed.
func assemble(id int32, all []*Replica) (t Table, ok bool) {
	votes := map[known]int{}
	for _, r := range all {
		if r.Info.AppId == id {
			votes[knownOf(&r.Info)]++
		}
	}
	var best known
	for k, n := range votes {
		if m := votes[best]; n > m || n == m && (k.partitions > best.partitions || k.partitions == best.partitions && k.name < best.name) {
			best = k
		}
	}
	if len(votes) == 0 {
		return t, false
	}
	for _, r := range all {
		if r.Info.AppId != id {
			continue
		}
		if is := knownOf(&r.Info); is != best && r.Err == nil {
			r.Err = damage.Newf(filepath.Join(r.Path, pegasus.AppInfoFile), -1, damage.AppInfo, "it says table %q of %d partitions, made at %d; other replicas of table %d say %q, %d and %d",
				is.name, is.partitions, is.created, id, best.name, best.partitions, best.created)
			r.Partial = false
		} else if is == best && t.ID == 0 {
			t = Table{ID: id, Name: best.name, Partitions: best.partitions, Info: r.Info}
		}
	}
	t.Parts = make([]Partition, t.Partitions)
	for i := range t.Parts {
		t.Parts[i].Gpid = base.Gpid{AppID: id, PartitionIndex: int32(i)}
	}
	for _, r := range all {
		if i := r.Gpid.PartitionIndex; i < t.Partitions {
			t.Parts[i].All = append(t.Parts[i].All, r)
			continue
		}
		// What is left of a split that was cancelled, or of a partition count that no longer is.
		if t.Partitions > 0 {
			p := &t.Parts[r.Gpid.PartitionIndex%t.Partitions]
			p.Notes = append(p.Notes, fmt.Sprintf("%s is left out: the table has %d partitions", r.Path, t.Partitions))
		}
	}
	for i := range t.Parts {
		t.Parts[i].choose()
	}
	t.agree(best)
	return t, true
}

// agree takes from the replicas that count what most of them say of the table: others may be of servers that were away when its settings changed.
func (t *Table) agree(as known) {
	votes, most := map[string]int{}, 0
	says := func(r *Replica) string { return string(r.Info.AppendThrift(nil)) }
	believed := func(p *Partition) bool {
		return p.Best != nil && p.Best.Info.AppId == t.ID && knownOf(&p.Best.Info) == as
	}
	for i := range t.Parts {
		if p := &t.Parts[i]; believed(p) {
			votes[says(p.Best)]++
		}
	}
	for i := range t.Parts {
		if p := &t.Parts[i]; believed(p) && votes[says(p.Best)] > most {
			most, t.Info = votes[says(p.Best)], p.Best.Info
		}
	}
	t.Dropped = t.Info.Status == layer2.AS_DROPPED || t.Info.Status == layer2.AS_DROPPING
	for i := range t.Parts {
		if p := &t.Parts[i]; believed(p) && !slices.Equal(p.Best.Info.Envs, t.Info.Envs) {
			p.Notes = append(p.Notes, fmt.Sprintf("%s has other settings of the table than most: they are left out", p.Best.Path))
		}
	}
}

// choose finds the replica that counts. What is committed is never lost, so who lacks some of it isn't complete: a learner, whose ballot may be
// the largest, or one whose log was cut. Of the others the larger ballot is of the later configuration, and of those of one ballot
// the larger decree may have been acknowledged by some. A replica that isn't whole counts only if no whole one has what is committed.
func (p *Partition) choose() {
	var committed int64
	var at *Replica
	for _, r := range p.All {
		if r.Committed > committed {
			committed, at = r.Committed, r
		}
	}
	rank := func(r *Replica) int {
		switch {
		case r.Err == nil && r.Decree >= committed:
			return 2
		case r.Err == nil || r.Partial:
			return 1
		}
		return 0
	}
	for _, r := range p.All {
		if rank(r) == 0 {
			continue
		}
		b := p.Best
		if b == nil || cmp.Or(cmp.Compare(rank(r), rank(b)), p.compare(r, b, rank(r) == 2)) > 0 {
			p.Best = r
		}
	}
	for _, r := range p.All {
		if r.Err != nil {
			p.Notes = append(p.Notes, fmt.Sprintf("%s isn't whole: %v", r.Path, r.Err))
		}
		if r.Torn != nil {
			p.Notes = append(p.Notes, fmt.Sprintf("a log ends in the middle of a write: %v", r.Torn))
		}
	}
	b := p.Best
	switch {
	case b == nil && len(p.All) == 0:
		p.Notes = append(p.Notes, "no replica was found")
		return
	case b == nil:
		p.Notes = append(p.Notes, "none of its replicas can be read")
		return
	}
	if b.Decree < committed {
		b.Err = errors.Join(b.Err, fmt.Errorf("%s has all up to decree %d, and %s knows that %d is committed: rows that were acknowledged are missing", b.Path, b.Decree, at.Path, committed))
		b.Partial = true
		if at != b {
			p.Notes = append(p.Notes, b.Err.Error())
		}
	}
	for _, r := range p.All {
		if r != b && r.Err == nil && (r.Ballot != b.Ballot || r.Decree != b.Decree) {
			p.Notes = append(p.Notes, fmt.Sprintf("%v is passed over for %v", r, b))
		}
	}
	if b.LogFiles == 0 && b.Err == nil {
		p.Notes = append(p.Notes, fmt.Sprintf("%s has no rows and no log: nothing was ever written to the partition, or its log is missing", b.Path))
	}
	if b.Behind > 0 {
		p.Notes = append(p.Notes, fmt.Sprintf("%d mutations at the end of the log of %s don't count: one before them is missing, so nobody was told that they are done", b.Behind, b.Path))
	}
}

// compare says which replica is the better one of two of a rank.
func (p *Partition) compare(a, b *Replica, whole bool) int {
	if whole {
		return cmp.Or(cmp.Compare(a.Ballot, b.Ballot), cmp.Compare(a.Decree, b.Decree), cmp.Compare(a.Committed, b.Committed))
	}
	return cmp.Or(cmp.Compare(a.Decree, b.Decree), cmp.Compare(a.Ballot, b.Ballot))
}
