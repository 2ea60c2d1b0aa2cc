package cppdata

import (
	"fmt"

	"pegasus/cppdata/plog"
	"pegasus/rocks/damage"
)

// placed is a mutation and where it was found.
type placed struct {
	file string
	m    plog.Mutation
}

// order puts the mutations of a log into the order in which they count, as a C++ server does when it starts.
type order struct {
	after   int64 // the store has all up to this decree
	start   int64 // offset in the log before which nothing is valid
	apply   func(file string, m *plog.Mutation) error
	done    int64 // decree up to which all was applied
	last    int64 // largest decree that was seen, at least done
	ballot  int64 // largest
	commits int64 // largest decree that a mutation says is committed
	bits    int64 // ballot of the mutation that was applied last
	waiting map[int64]placed
	failed  bool // apply returned an error
}

func newOrder(after, start int64, apply func(string, *plog.Mutation) error) *order {
	return &order{after: after, start: start, apply: apply, done: after, last: after, commits: after, waiting: map[int64]placed{}}
}

// add takes the next mutation of the log.
func (o *order) add(file string, m *plog.Mutation) error {
	if m.Offset < o.start {
		return nil
	}
	o.ballot = max(o.ballot, m.Ballot)
	if m.Decree <= 0 || m.Committed < 0 || m.Committed >= m.Decree {
		return damage.Newf(file, -1, plog.Log, "the mutation at offset %d of the log has decree %d, and says that %d is committed", m.Offset, m.Decree, m.Committed)
	}
	o.commits = max(o.commits, m.Committed)
	if m.Decree > o.done {
		if is, ok := o.waiting[m.Decree]; !ok || is.m.Ballot < m.Ballot {
			o.waiting[m.Decree] = placed{file, *m}
		}
		o.last = max(o.last, m.Decree)
	}
	return o.commit(file, m)
}

// commit applies what m says is committed.
func (o *order) commit(file string, m *plog.Mutation) error {
	for o.done < m.Committed {
		ok, err := o.step()
		if err != nil {
			return err
		}
		if !ok {
			return damage.Newf(file, -1, plog.Log, "the mutation of decree %d says that %d is committed, and that of decree %d is neither in the store nor in the log before it", m.Decree, m.Committed, o.done+1)
		}
	}
	return nil
}

// step applies the next mutation, if it is there.
func (o *order) step() (bool, error) {
	p, ok := o.waiting[o.done+1]
	if !ok || p.m.Ballot < o.bits {
		return false, nil
	}
	if err := o.apply(p.file, &p.m); err != nil {
		o.failed = true
		return false, err
	}
	delete(o.waiting, o.done+1)
	o.done++
	o.bits = p.m.Ballot
	return true, nil
}

// end applies what follows without a gap, and returns how many mutations are left behind one.
func (o *order) end() (left int, err error) {
	for !o.failed {
		ok, err := o.step()
		if err != nil {
			return 0, err
		}
		if !ok {
			break
		}
	}
	return len(o.waiting), nil
}

// place is where a mutation is, for people.
func place(file string, m *plog.Mutation) string {
	return fmt.Sprintf("%s: the mutation of decree %d, at offset %d of the log", file, m.Decree, m.Offset)
}
