package disk

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
)

// errAway marks a data directory whose disk isn't mounted, or is another one.
var errAway = errors.New("its disk is not there")

// newDirID returns the id of a directory that is made: 26 characters.
func newDirID() string { return strings.ToLower(rand.Text()) }

// finding is what is at the place of a data directory before anything is made there.
type finding struct {
	Place
	file bool   // it has the file of its identity
	id   string // what that says, "" in a file of before there were ids
}

// match says which id the directory of each tag has or is to have, and which places don't have
// theirs. known is what the directories remember. Two that changed places, or tags, are all there,
// so both are used: moved tells the tag by which each was known. What is at none of the places is
// missed at the place that would have it, and nothing new is made there.
func match(found []finding, known map[string]string) (ids map[string]string, away map[string]bool, moved map[string]string) {
	ids, away, moved = map[string]string{}, map[string]bool{}, map[string]string{}
	at, was := map[string]string{}, map[string]string{} // the tags of ids now, and as known
	for tag, id := range known {
		was[id] = tag
	}
	take := func(f finding, id string) { ids[f.Tag], at[id] = id, f.Tag }
	for _, f := range found {
		if f.id != "" && f.id == known[f.Tag] && at[f.id] == "" {
			take(f, f.id)
		}
	}
	for _, f := range found {
		if ids[f.Tag] == "" && f.id != "" && was[f.id] != "" && at[f.id] == "" {
			take(f, f.id)
			moved[f.Tag] = was[f.id]
		}
	}
	for _, f := range found {
		if ids[f.Tag] != "" {
			continue
		}
		// Where the directory of this tag is now, another one isn't, and so on.
		missed := known[f.Tag]
		for range known {
			if missed != "" && at[missed] != "" {
				missed = known[at[missed]]
			}
		}
		switch {
		case missed != "" && at[missed] == "":
			take(f, missed)
			away[f.Tag] = !f.file || f.id != "" // else a program of before there were ids wrote it
		case f.id != "" && at[f.id] == "":
			take(f, f.id)
		default: // there is none, or it is a copy of another one
			take(f, newDirID())
		}
	}
	return ids, away, moved
}

// awayError says that the directory at the place p isn't the one that it is to be: it has the id
// is, "" if it has none, that of the tag by if that is known. node is the server's address.
func awayError(p Place, node, want, is, by string) error {
	retry := fmt.Sprintf("`pegasus disk retry %s %s`", node, p.Tag)
	switch {
	case is == "":
		return fmt.Errorf("data directory %s (%s): %w: the directory with the id %s was here, now there is no pegasus.json: mount its disk, and the server uses it again by itself; if the disk was replaced, mount the new, empty one and run %s",
			p.Path, p.Tag, errAway, want, retry)
	case by != "":
		return fmt.Errorf("data directory %s (%s): %w: the directory with the id %s was here, now there is that of %s: mount each at its place, or restart the server, which takes them as they are",
			p.Path, p.Tag, errAway, want, by)
	}
	return fmt.Errorf("data directory %s (%s): %w: the directory with the id %s was here, now there is one with the id %s: mount the right disk, and the server uses it again by itself; to use the one that is mounted run %s",
		p.Path, p.Tag, errAway, want, is, retry)
}
