//go:build invariants

package pacifica

import "fmt"

// check panics when an invariant that one replica can see by itself is broken.
func (c *Core) check() {
	bad := func(what string) {
		panic(fmt.Sprintf("pacifica invariant broken: %s: %v verified %d", what, c, c.verified))
	}
	if c.persisted > c.last() || c.committed > c.last() {
		bad("past the end of the window")
	}
	if c.first > c.committed+1 {
		bad("uncommitted entries are missing")
	}
	for i := range c.entries {
		if c.entries[i].Decree != c.first+int64(i) {
			bad("a gap in the window")
		}
		if i > 0 && c.entries[i].Ballot < c.entries[i-1].Ballot {
			bad("a falling ballot")
		}
	}
	switch c.status {
	case Primary:
		if c.committed > c.persisted {
			bad("committed what is not durable here")
		}
		for _, p := range c.peers {
			if (!p.learner || p.asked) && c.committed > max(p.match, c.base) {
				bad("committed what a member doesn't hold")
			}
		}
	case Secondary, Learner:
		if c.committed > c.verified || c.verified > c.last() {
			bad("committed what the primary did not confirm")
		}
	}
}
