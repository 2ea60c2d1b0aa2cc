package cppdata

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"pegasus/base"
	"pegasus/cppdata/plog"
	"pegasus/rocks/damage"
)

// Names in a replica's directory.
const (
	initInfoFile = ".init-info"
	logDir       = "plog"
	kmsFile      = ".kms-info"    // of a data directory whose files are encrypted
	ourFile      = "pegasus.json" // of a data directory of ours, which may be the same one: what is in ourDirs then isn't of a C++ server
)

// ourDirs are the folders of a data directory of ours.
var ourDirs = []string{"reps", "tmp", "wal", ".trash"}

var storeDir = filepath.Join("data", "rdb")

// appType is that of tables of Pegasus; upstream's library has others, for tests.
const appType = "pegasus"

// replicaName is the name of a replica's directory, asideName of one that a server has put aside.
var (
	replicaName = regexp.MustCompile(`^([0-9]+)\.([0-9]+)\.([a-z_]+)$`)
	asideName   = regexp.MustCompile(`^[0-9]+\.[0-9]+\..*\.(err|gar|bak|ori|tmp)$`)
)

// maxDepth is how deep below a directory that was named replicas are looked for: <data dir>/<tag>/replica/reps.
const maxDepth = 4

// Place is the directory of a replica.
type Place struct {
	Gpid base.Gpid
	Path string
}

// Found is what lies in directories.
type Found struct {
	Replicas []Place
	Shared   []string // directories of shared logs, which old releases have
	Aside    []string // directories that servers have put aside
	Other    []string // what is in a folder of replicas besides
}

// ErrInUse says that a server runs on a directory.
var ErrInUse = errors.New("a server is running on it: stop it first")

// ErrNone says that there are no replicas in a directory.
var ErrNone = errors.New("no replicas of a C++ server are there")

// Find looks for replicas in directories: those that a server's configuration names as data_dirs, or any directory up to
// a few levels above the replicas, or one replica's. A directory in use, and one without a replica, is an error.
func Find(ctx context.Context, dirs ...string) (*Found, error) {
	f := &Found{}
	for _, dir := range dirs {
		before := len(f.Replicas)
		if err := f.look(ctx, filepath.Clean(dir), maxDepth); err != nil {
			return nil, fmt.Errorf("look for replicas in %s: %w", dir, err)
		}
		if len(f.Replicas) == before && len(f.Aside) == 0 {
			return nil, fmt.Errorf("look for replicas in %s: %w: there should be directories like reps/1.0.%s", dir, ErrNone, appType)
		}
	}
	slices.SortFunc(f.Replicas, func(a, b Place) int {
		if c := a.Gpid.Compare(b.Gpid); c != 0 {
			return c
		}
		return strings.Compare(a.Path, b.Path)
	})
	f.Replicas = slices.Compact(f.Replicas)
	for i := range f.Replicas {
		if err := f.Replicas[i].inUse(); err != nil {
			return nil, err
		}
	}
	for _, dir := range f.Shared {
		if err := sharedLog(dir); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// sharedLog returns an error if the shared log of a server has mutations: up to 2.3 a server acknowledged by it, and wrote private logs some time later.
func sharedLog(dir string) error {
	files, _, err := plog.List(dir)
	if err != nil {
		return err
	}
	for _, l := range files {
		path := filepath.Join(dir, l.Name)
		f, err := os.Open(path)
		if err != nil {
			return fmt.Errorf("look into a shared log: %w", err)
		}
		defer f.Close()
		r, err := plog.NewReader(path, f, l.Size)
		switch {
		case errors.Is(err, plog.ErrNoHeader):
			continue
		case err != nil:
			return err
		case r.Next() || r.Err() != nil:
			return errors.Join(&damage.Unsupported{File: path, What: "writes that the replicas may lack, as releases before 2.4 leave them when they end: start the server once with release 2.4 or 2.5, and stop it"}, r.Err())
		}
	}
	return nil
}

func (f *Found) look(ctx context.Context, dir string, depth int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	name := filepath.Base(dir)
	if m := replicaName.FindStringSubmatch(name); m != nil {
		return f.add(dir, m)
	}
	if asideName.MatchString(name) {
		f.Aside = append(f.Aside, dir)
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	ours := slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() == ourFile })
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch {
		case ours && slices.Contains(ourDirs, e.Name()):
		case e.Name() == kmsFile:
			return fmt.Errorf("%s is there: the files are encrypted, and can't be read here; copy the tables with a duplication", path)
		case !e.IsDir() && e.Type()&fs.ModeSymlink == 0:
			if name == "reps" && !strings.HasPrefix(e.Name(), ".") {
				f.Other = append(f.Other, path)
			}
		case e.Name() == "slog":
			f.Shared = append(f.Shared, path)
		case replicaName.MatchString(e.Name()) || asideName.MatchString(e.Name()):
			if err := f.look(ctx, path, 0); err != nil {
				return err
			}
		case depth > 0 && name != "reps":
			info, err := os.Stat(path)
			if err != nil || !info.IsDir() {
				continue // a link to nowhere, or to a file
			}
			if err := f.look(ctx, path, depth-1); err != nil {
				return err
			}
		case name == "reps":
			f.Other = append(f.Other, path)
		}
	}
	return nil
}

func (f *Found) add(dir string, m []string) error {
	id, err1 := strconv.ParseInt(m[1], 10, 32)
	index, err2 := strconv.ParseInt(m[2], 10, 32)
	if err1 != nil || err2 != nil || id == 0 || m[3] != appType {
		f.Other = append(f.Other, dir)
		return nil
	}
	f.Replicas = append(f.Replicas, Place{Gpid: base.Gpid{AppID: int32(id), PartitionIndex: int32(index)}, Path: dir})
	return nil
}

// inUse returns an error, ErrInUse, if a process holds RocksDB's lock.
func (p Place) inUse() error {
	name := filepath.Join(p.Path, storeDir, "LOCK")
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a copy has none
	}
	if err != nil {
		return fmt.Errorf("see whether a server uses %s: %w", p.Path, err)
	}
	defer f.Close()
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_GETLK, &lock); err != nil {
		return fmt.Errorf("see whether a server uses %s: %w", p.Path, err)
	}
	if lock.Type != unix.F_UNLCK {
		by := ""
		if lock.Pid > 0 {
			by = fmt.Sprintf(" (process %d has %s)", lock.Pid, name)
		}
		return fmt.Errorf("%s: %w%s", p.Path, ErrInUse, by)
	}
	return nil
}
