package disk

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pegasus/base"
	"pegasus/base/version"
	"pegasus/faults/hook"
)

// contents lists what is below a directory.
func contents(t *testing.T, path string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(path, func(p string, _ os.DirEntry, err error) error {
		names = append(names, p)
		return err
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return names
}

// tagsOf are the tags of a server's directories.
func (s *server) tagsOf() (tags []string) {
	for _, d := range s.set.All() {
		tags = append(tags, d.Tag)
	}
	return tags
}

func (s *server) want(tags string) {
	s.t.Helper()
	if got := strings.Join(s.tagsOf(), " "); got != tags {
		s.t.Errorf("the directories are %q, not %q", got, tags)
	}
}

// TestAddedDirectoryIsRemembered: it is used after a restart without being configured, also when its disk
// comes later, and the configuration takes it over.
func TestAddedDirectoryIsRemembered(t *testing.T) {
	s := newDisks(t, "a", "b")
	if err := s.set.AddAll("c:" + s.path("c") + ",d:" + s.path("d")); err != nil {
		t.Fatal(err)
	}
	s.want("a b c d")
	if !s.set.Report()[2].Added || s.set.Report()[1].Added {
		t.Errorf("%+v", s.set.Report())
	}
	s.works()
	g := base.Gpid{AppID: 7}
	s.addReplica("c", g)
	s.stop()
	if err := os.Rename(s.path("d"), s.path("away")); err != nil {
		t.Fatal(err)
	}
	s.start()
	s.want("a b c d")
	found, err := s.set.Find(nil)
	if err != nil || found[g] == nil || found[g].Tag != "c" {
		t.Errorf("%v, %v", found, err)
	}
	s.out("d", "mount its disk")
	s.stop()
	if err := os.Rename(s.path("away"), s.path("d")); err != nil {
		t.Fatal(err)
	}
	id := s.says("c").Dir
	s.tags = []string{"a", "b", "c"}
	s.start()
	s.want("a b c d")
	s.works()
	if says := s.says("c"); says.Dir != id || len(says.Added) != 1 || says.Added["d"] == "" {
		t.Errorf("%+v", says)
	}
}

// TestBadDirectoryIsNotAdded: nothing changes, and nothing is left behind.
func TestBadDirectoryIsNotAdded(t *testing.T) {
	set := hurtDisks(t)
	s := newDisks(t, "a", "b")
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(s.path("full"), "mine"), "x")
	write(s.path("file"), "x")
	write(IdentName(s.path("other")), `{"format":1,"cluster":"other","node":"1.2.3.4:5"}`)
	write(IdentName(s.path("server")), `{"format":1,"cluster":"c","node":"1.2.3.4:6"}`)
	write(IdentName(s.path("torn")), `{"form`)
	write(IdentName(s.path("newer")), `{"format":99,"cluster":"c","node":"1.2.3.4:5"}`)
	write(IdentName(s.path("used")), `{"format":1,"cluster":"c","node":"1.2.3.4:5","dir_id":"old"}`)
	write(filepath.Join(s.path("used"), "reps", "1.0"+ReplicaSuffix, "info.json"), `{}`)
	if err := os.Mkdir(s.path("empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(s.path("a"), s.path("link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(s.path("nowhere"), s.path("dangling")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, tag, path, want string
		code                  base.ErrorCode
		hurt                  hook.Control
		minFree               int64
	}{
		{name: "no tag", tag: "", path: s.path("c"), want: "no tag", code: base.ErrInvalidParameters},
		{name: "bad tag", tag: "a/b", path: s.path("c"), want: "no tag", code: base.ErrInvalidParameters},
		{name: "relative", tag: "c", path: "c", want: "absolute", code: base.ErrInvalidParameters},
		{name: "tag twice", tag: "a", path: s.path("c"), want: "has that tag", code: base.ErrNodeAlreadyExist},
		{name: "same path", tag: "c", path: s.path("a") + "/", want: "directory a", code: base.ErrNodeAlreadyExist},
		{name: "link", tag: "c", path: s.path("link"), want: "directory a", code: base.ErrNodeAlreadyExist},
		{name: "within", tag: "c", path: s.path("a") + "/reps", want: "within the other", code: base.ErrInvalidParameters},
		{name: "within a link", tag: "c", path: s.path("link") + "/new", want: "within the other", code: base.ErrInvalidParameters},
		{name: "around", tag: "c", path: s.folder, want: "within the other", code: base.ErrInvalidParameters},
		{name: "no parent", tag: "c", path: s.path("x/y"), want: "mount its disk", code: base.ErrFileOperationFailed},
		{name: "link to nothing", tag: "c", path: s.path("dangling"), want: "what isn't there", code: base.ErrFileOperationFailed},
		{name: "file", tag: "c", path: s.path("file"), want: "not a directory", code: base.ErrInvalidParameters},
		{name: "not empty", tag: "c", path: s.path("full"), want: "has mine", code: base.ErrDirNotEmpty},
		{name: "other cluster", tag: "c", path: s.path("other"), want: `cluster "other"`, code: base.ErrDirNotEmpty},
		{name: "other server", tag: "c", path: s.path("server"), want: "1.2.3.4:6", code: base.ErrDirNotEmpty},
		{name: "torn", tag: "c", path: s.path("torn"), want: "can't be read", code: base.ErrDirNotEmpty},
		{name: "used", tag: "c", path: s.path("used"), want: "holds replicas", code: base.ErrDirNotEmpty},
		{name: "no room", tag: "c", path: s.path("c"), want: "are free", code: base.ErrDiskInsufficient, minFree: 100},
		{name: "read-only", tag: "c", path: s.path("c"), want: "input/output", code: base.ErrFileOperationFailed, hurt: hook.Control{Error: "EIO", Ops: []hook.Op{hook.OpCreate, hook.OpWrite}, Path: s.path("c")}},
		{name: "doesn't sync", tag: "c", path: s.path("empty"), want: "input/output", code: base.ErrFileOperationFailed, hurt: hook.Control{Error: "EIO", Ops: []hook.Op{hook.OpSync}, Path: s.path("empty")}},
		{name: "another can't remember", tag: "c", path: s.path("c"), want: "no space", code: base.ErrFileOperationFailed, hurt: hook.Control{Error: "ENOSPC", Ops: []hook.Op{hook.OpCreate}, Path: s.path("b")}},
	} {
		before := contents(t, s.folder)
		s.set.minFree.Store(c.minFree)
		set(c.hurt)
		err := s.set.Add(Place{c.tag, c.path})
		set(hook.Control{})
		s.set.minFree.Store(0)
		if err == nil || !strings.Contains(err.Error(), c.want) || base.CodeOf(err) != c.code {
			t.Errorf("%s: %v, %v", c.name, base.CodeOf(err), err)
		}
		if after := contents(t, s.folder); strings.Join(after, "\n") != strings.Join(before, "\n") {
			t.Errorf("%s: left behind: %v", c.name, after)
		}
		s.want("a b")
		s.works()
	}
	s.restart()
	s.want("a b")
	s.works()
	if says := s.says("a"); len(says.Added) != 0 || len(says.Dirs) != 2 {
		t.Errorf("%+v", says)
	}
	if err := s.set.Add(Place{"c", s.path("c")}); err != nil { // nothing of all that is in its way
		t.Error(err)
	}
}

// TestAddAgainAfterCrash: what an attempt left that ended before the others knew of it is no obstacle.
func TestAddAgainAfterCrash(t *testing.T) {
	s := newDisks(t, "a")
	id := newIdentity("c", "1.2.3.4:5", "")
	id.add(Place{"c", s.path("c")}, newDirID(), 7)
	if err := id.prepare(Place{"c", s.path("c")}); err != nil {
		t.Fatal(err)
	}
	s.restart()
	s.want("a")
	if err := s.set.Add(Place{"c", s.path("c")}); err != nil {
		t.Fatal(err)
	}
	if err := s.set.Keep("id", version.First); err != nil {
		t.Error(err)
	}
	s.restart()
	s.want("a c")
	s.works()
}
