package disk

import (
	"slices"
	"sync/atomic"
)

// list is the directories of a server. It is replaced when one is added.
type list struct{ dirs atomic.Pointer[[]*Dir] }

// All returns the directories: those of the configuration in its order, then those that were added.
// Nobody changes the list.
func (l *list) All() []*Dir {
	if all := l.dirs.Load(); all != nil {
		return *all
	}
	return nil
}

// put appends a directory to those that All returns.
func (l *list) put(d *Dir) {
	all := append(slices.Clone(l.All()), d)
	l.dirs.Store(&all)
}
