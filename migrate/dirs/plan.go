package dirs

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strconv"
	"strings"

	"pegasus/base"
	"pegasus/cppdata"
)

// Options say what is looked at.
type Options struct {
	Dirs   []string
	Only   []string          // names or ids of tables; empty: all but the dropped ones
	Rename map[string]string // from a name or id to the name that the table gets
	Looked func(done, all int)
}

// Plan is what would be done.
type Plan struct {
	Found   *cppdata.Found
	Tables  []Table
	Left    []string // tables that aren't taken, and why
	Orphans []*cppdata.Replica
}

// Table is one that is taken.
type Table struct {
	cppdata.Table
	To string // its name in the cluster
}

// Look looks at directories.
func Look(ctx context.Context, o Options) (*Plan, error) {
	p := &Plan{}
	var err error
	if p.Found, err = cppdata.Find(ctx, o.Dirs...); err != nil {
		return nil, err
	}
	done := make(chan struct{}, len(p.Found.Replicas)+1)
	told := make(chan struct{})
	go func() {
		defer close(told)
		n := 0
		for range done {
			if n++; o.Looked != nil {
				o.Looked(n, len(p.Found.Replicas))
			}
		}
	}()
	tables, orphans, err := cppdata.Survey(ctx, p.Found.Replicas, func(*cppdata.Replica) { done <- struct{}{} })
	close(done)
	<-told
	if err != nil {
		return nil, err
	}
	p.Orphans = orphans
	return p, p.choose(tables, o)
}

// choose takes the tables that are asked for.
func (p *Plan) choose(tables []cppdata.Table, o Options) error {
	used := map[string]bool{}
	named := func(list func(string) bool, t *cppdata.Table) (string, bool) {
		for _, key := range []string{strconv.Itoa(int(t.ID)), t.Name} {
			if list(key) {
				used[key] = true
				return key, true
			}
		}
		return "", false
	}
	for i := range tables {
		t := Table{Table: tables[i], To: tables[i].Name}
		_, asked := named(func(k string) bool { return slices.Contains(o.Only, k) }, &t.Table)
		switch {
		case len(o.Only) > 0 && !asked:
			p.Left = append(p.Left, fmt.Sprintf("table %s (id %d) isn't asked for", t.Name, t.ID))
			continue
		case t.Dropped && !asked:
			p.Left = append(p.Left, fmt.Sprintf("table %s (id %d) was dropped; name it to have it", t.Name, t.ID))
			continue
		}
		if key, ok := named(func(k string) bool { _, ok := o.Rename[k]; return ok }, &t.Table); ok {
			t.To = o.Rename[key]
		}
		p.Tables = append(p.Tables, t)
	}
	for _, k := range o.Only {
		if !used[k] {
			return fmt.Errorf("table %s isn't among those of the directories", k)
		}
	}
	for k := range o.Rename {
		if !used[k] {
			return fmt.Errorf("table %s, which is to be renamed, isn't among those of the directories", k)
		}
	}
	for i := range p.Tables {
		if t := &p.Tables[i]; len(t.To) > base.MaxTableName {
			return fmt.Errorf("table %d would be called %.*q...: a name has at most %d bytes, so rename it by its id", t.ID, base.MaxTableName, t.To, base.MaxTableName)
		}
		for j := range i {
			if a, b := &p.Tables[j], &p.Tables[i]; a.To == b.To {
				return fmt.Errorf("tables %d and %d would both be called %s: leave one of them out, or rename it by its id", a.ID, b.ID, a.To)
			}
		}
	}
	return nil
}

// Lacking is the error of tables of which not all rows are there.
type Lacking struct{ What []string }

func (e *Lacking) Error() string {
	return fmt.Sprintf("not all rows are there: %s", strings.Join(e.What, "; "))
}

// Whole returns a *Lacking that names what isn't there, or can't be read.
func (p *Plan) Whole() error {
	var what []string
	for i := range p.Tables {
		what = append(what, p.Tables[i].Lacking()...)
	}
	for _, o := range p.Orphans {
		what = append(what, fmt.Sprintf("nobody says of which table %s is: %v", o.Path, o.Err))
	}
	if len(p.Tables) == 0 {
		return errors.New(strings.Join(append([]string{"there is no table to be taken"}, what...), "; "))
	}
	if len(what) > 0 {
		return &Lacking{what}
	}
	return nil
}

// Lacking says which of the table's partitions aren't whole, and where another table has its id.
func (t *Table) Lacking() (what []string) {
	what = append(what, t.others()...)
	for i := range t.Parts {
		if p := &t.Parts[i]; !p.Whole() {
			what = append(what, t.Partition(i)+strings.Join(p.Notes, ", "))
		}
	}
	return what
}

// others says which replicas are of another table that has the same id: of another cluster, or of one that was dropped before. Rows of that aren't taken.
func (t *Table) others() (what []string) {
	for i := range t.Parts {
		for _, r := range t.Parts[i].All {
			if in := &r.Info; in.AppId == t.ID && in.AppName != t.Name && in.CreateSecond != t.Info.CreateSecond {
				what = append(what, fmt.Sprintf("%s is of table %s, which has the id %d as table %s does: the directories are of two clusters, so take them one after another", r.Path, in.AppName, t.ID, t.Name))
			}
		}
	}
	return what
}

// Partition is what a line about a partition begins with.
func (t *Table) Partition(i int) string { return fmt.Sprintf("partition %d of table %s: ", i, t.Name) }

// Notes are the differences between replicas, and what is wrong with them.
func (t *Table) Notes() (notes []string) {
	for i := range t.Parts {
		for _, n := range t.Parts[i].Notes {
			notes = append(notes, fmt.Sprintf("partition %d: %s", i, n))
		}
	}
	return notes
}

// Bytes is how much is read of the table.
func (t *Table) Bytes() (n int64) {
	for i := range t.Parts {
		if b := t.Parts[i].Best; b != nil {
			n += b.Bytes + b.LogBytes
		}
	}
	return n
}

// Choice names the replicas that were chosen: a run with others can't go on where one was.
func (t *Table) Choice() string {
	h := crc32.NewIEEE()
	for i := range t.Parts {
		if b := t.Parts[i].Best; b != nil {
			fmt.Fprintf(h, "%d %s %d %d\n", i, b.Path, b.Ballot, b.Decree)
		}
	}
	return fmt.Sprintf("%s (id %d of C++ servers, replicas %08x)", t.Name, t.ID, h.Sum32())
}
