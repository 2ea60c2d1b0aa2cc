package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"pegasus/base"
)

// A replica that the meta has no use for is not removed, but moved to .trash of its data
// directory, as .trash/<app>.<idx>.<microseconds>.<reason>, and goes later: the meta can be
// wrong, and it may have been the last copy of something. What it holds is what it had
// applied: writes that were prepared and not known to be committed yet stay behind in the log. To have it back, stop the server, move the directory to reps/<app>.<idx>.pegasus, and start the server.

const (
	// TrashDir is the folder of a data directory that holds what nobody has a use for.
	TrashDir = ".trash"
	// trashEvery is how often it is looked at whether something in it is to go.
	trashEvery = 10 * time.Second
)

// Trashed is one replica in a data directory's trash.
type Trashed struct {
	Path string
	When time.Time // when it came there
}

// Bytes adds up its files.
func (t Trashed) Bytes() (int64, error) { return sizeOf(t.Path) }

// SetAside moves a replica's directory to the trash.
func (d *Dir) SetAside(g base.Gpid, reason string, now time.Time) (to string, err error) {
	dir := filepath.Join(d.Path, TrashDir)
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	to = filepath.Join(dir, g.String()+"."+strconv.FormatInt(now.UnixMicro(), 10)+"."+reason)
	if err := os.Rename(d.ReplicaPath(g), to); err != nil {
		return "", err
	}
	return to, errors.Join(SyncDir(dir), SyncDir(filepath.Join(d.Path, "reps")), SyncDir(d.Path))
}

// Trash lists what is in the trash, the oldest first. What isn't of us is left alone.
func (d *Dir) Trash() ([]Trashed, error) {
	es, err := os.ReadDir(filepath.Join(d.Path, TrashDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []Trashed
	for _, e := range es {
		parts := strings.Split(e.Name(), ".")
		if len(parts) != 4 || !e.IsDir() {
			continue
		}
		us, err := strconv.ParseInt(parts[2], 10, 64)
		if err != nil {
			continue
		}
		list = append(list, Trashed{filepath.Join(d.Path, TrashDir, e.Name()), time.UnixMicro(us)})
	}
	slices.SortFunc(list, func(a, b Trashed) int { return a.When.Compare(b.When) })
	return list, nil
}

// sizeOf adds up the files under path.
func sizeOf(path string) (n int64, err error) {
	err = filepath.WalkDir(path, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		st, err := e.Info()
		if err == nil {
			n += st.Size()
		}
		return err
	})
	return n, err
}

// tidyTrash removes what is older than age, or too much: the oldest first, until at most `most`
// bytes are left. It returns how many replicas are left, and their bytes.
func (d *Dir) tidyTrash(now time.Time, age time.Duration, most int64) (left int, bytes int64, err error) {
	list, err := d.Trash()
	if err != nil {
		return 0, 0, err
	}
	sizes := make([]int64, len(list))
	for i, t := range list {
		n, e := t.Bytes()
		err = errors.Join(err, e)
		sizes[i] = n
		bytes += n
	}
	left = len(list)
	for i, t := range list {
		if now.Sub(t.When) < age && bytes <= most {
			break
		}
		if e := os.RemoveAll(t.Path); e != nil {
			err = errors.Join(err, e)
			continue
		}
		bytes -= sizes[i]
		left--
	}
	if err != nil {
		return left, bytes, fmt.Errorf("trash of data directory %s: %w", d.Path, err)
	}
	return left, bytes, nil
}

// emptyTrash has the trash of the data directories looked at now and then, each by itself: see
// watchDisks.
func (s *Set) emptyTrash(now time.Time) {
	if now.Sub(s.trashSeen) < trashEvery {
		return
	}
	s.trashSeen = now
	for _, d := range s.All() {
		if !d.tidying.CompareAndSwap(false, true) {
			continue
		}
		s.host.Go(func() {
			defer d.tidying.Store(false)
			s.tidy(d, now)
		})
	}
}

// tidy keeps the trash of a data directory within its bounds. While it isn't known which clock is
// right nothing in it is old. Of a disk without room the oldest goes each time.
func (s *Set) tidy(d *Dir, now time.Time) {
	when, age := s.trashTime(now)
	most := int64(math.MaxInt64)
	if total, _ := d.Capacity(); total > 0 {
		most = total / 100 * int64(s.o.TrashRatio)
	}
	if err := d.boundTrash(d.State(), when, age, most); err != nil {
		s.log.Warn(err)
	}
}

// trashTime is the time by which the trash ages, and the age that it may have.
func (s *Set) trashTime(now time.Time) (time.Time, time.Duration) {
	when, err := s.host.DeleteTime()
	if err != nil && s.o.TrashAge > 0 {
		return now, math.MaxInt64
	}
	return when, s.o.TrashAge
}

// boundTrash removes what is to go from a directory in that state.
func (d *Dir) boundTrash(state State, when time.Time, age time.Duration, most int64) error {
	if state == Failed {
		return nil
	}
	left, bytes, err := d.tidyTrash(when, age, most)
	if err == nil && left > 0 && state == Short {
		left, bytes, err = d.tidyTrash(when, age, bytes-1)
	}
	d.trashCount.Store(int64(left))
	d.trashBytes.Store(bytes)
	return err
}
