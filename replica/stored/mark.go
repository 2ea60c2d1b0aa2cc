package stored

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pegasus/replica/disk"
)

const (
	// beingFilled is the file of a data directory that is being filled, filled that of one that is complete.
	beingFilled = "migrating.json"
	filled      = "migrated.json"
	markFormat  = 1
)

// Mark says of a data directory what it is filled with while no server runs on it.
type Mark struct {
	Format int `json:"format"`
	// Job is the same in all directories that are filled together, and for a run that goes on.
	Job string `json:"job"`
	// What is for people.
	What string `json:"what"`
	// Notes are what a later run has to know of replicas.
	Notes map[string]string `json:"notes,omitempty"`
}

func readMark(path, name string) (m Mark, there bool, err error) {
	file := filepath.Join(path, name)
	switch err := disk.ReadJSON(file, &m); {
	case errors.Is(err, fs.ErrNotExist):
		return m, false, nil
	case err != nil:
		return m, false, fmt.Errorf("read what data directory %s is filled with: %w; empty the directory to begin anew", path, err)
	case m.Format != markFormat:
		return m, false, fmt.Errorf("%s has format %d, this program reads %d: go on with the program that began it", file, m.Format, markFormat)
	}
	return m, true, nil
}

// Fill begins to fill a data directory, which is empty, or goes on with it. complete: it is filled already. besides are names that don't count.
func Fill(path string, m Mark, besides ...string) (complete bool, err error) {
	m.Format = markFormat
	for _, name := range []string{filled, beingFilled} {
		is, there, err := readMark(path, name)
		switch {
		case err != nil:
			return false, err
		case there && is.Job != m.Job:
			return false, fmt.Errorf("data directory %s has %s, begun with other arguments, or with other files: %s; now it would be %s. Give the same ones to go on, or empty the directory to begin anew", path, name, is.What, m.What)
		case there:
			return name == filled, nil
		}
	}
	if err := vfs.Default.MkdirAll(path, 0o755); err != nil {
		return false, fmt.Errorf("data directory %s: %w", path, err)
	}
	names, err := vfs.Default.List(path)
	if err != nil {
		return false, fmt.Errorf("data directory %s: %w", path, err)
	}
	for _, n := range names {
		if n != beingFilled+".tmp" && !slices.Contains(besides, n) {
			return false, fmt.Errorf("data directory %s isn't empty: %s is there; give an empty one", path, n)
		}
	}
	if err := disk.WriteJSON(filepath.Join(path, beingFilled), m); err != nil {
		return false, fmt.Errorf("data directory %s: %w", path, err)
	}
	return false, disk.SyncDir(filepath.Dir(path))
}

// Note adds a note to the mark of a data directory that is being filled.
func Note(path, about, note string) error {
	m, there, err := readMark(path, beingFilled)
	if err == nil && !there {
		err = fmt.Errorf("data directory %s isn't being filled: %w", path, fs.ErrNotExist)
	}
	if err != nil {
		return err
	}
	if m.Notes == nil {
		m.Notes = map[string]string{}
	}
	m.Notes[about] = note
	return disk.WriteJSON(filepath.Join(path, beingFilled), m)
}

// Notes returns the notes of the mark of a data directory that is being filled, or complete.
func Notes(path string) (map[string]string, error) {
	m, there, err := readMark(path, filled)
	if err == nil && !there {
		m, _, err = readMark(path, beingFilled)
	}
	return m.Notes, err
}

// Complete says that a data directory that was being filled is complete. It may be said again.
func Complete(path string) error {
	err := vfs.Default.Rename(filepath.Join(path, beingFilled), filepath.Join(path, filled))
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = disk.SyncDir(path)
	}
	if err == nil {
		_, err = vfs.Default.Stat(filepath.Join(path, filled))
	}
	if err != nil {
		return fmt.Errorf("data directory %s: %w", path, err)
	}
	return nil
}

// Usable says why no server may start on a data directory: nil if one may.
func Usable(path string) error {
	m, there, err := readMark(path, beingFilled)
	switch {
	case err != nil:
		return err
	case there:
		return fmt.Errorf("data directory %s isn't complete: %s was begun and not ended: run the same `pegasus migrate dirs --in-place` again, which goes on, or empty the directory", path, m.What)
	}
	return nil
}
