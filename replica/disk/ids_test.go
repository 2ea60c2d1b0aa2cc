package disk

import (
	"encoding/json"
	"errors"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"pegasus/base"
	"pegasus/base/version"
	"pegasus/replica/wal"
)

// dirHost has the replicas opened that are in a directory that is opened again, and does at once
// what others do meanwhile.
type dirHost struct {
	Host
	opened []base.Gpid
}

func (h *dirHost) Go(f func())                      { f() }
func (h *dirHost) SyncSoon()                        {}
func (h *dirHost) Fail(*Dir, error)                 {}
func (h *dirHost) Replicas() []Replica              { return nil }
func (h *dirHost) Broken() map[base.Gpid]Broken     { return nil }
func (h *dirHost) Opening(base.Gpid) bool           { return false }
func (h *dirHost) DeleteTime() (time.Time, error)   { return time.Now(), nil }
func (h *dirHost) TakeOut(*Dir) (Taken, bool)       { return h, true }
func (h *dirHost) Len() int                         { return 0 }
func (h *dirHost) Close()                           {}
func (h *dirHost) Leave()                           {}
func (h *dirHost) Reopen(here []base.Gpid, _ error) { h.opened = here }

// hostOf is a dirHost as package disk wants it: Reopen has two meanings.
type hostOf struct{ *dirHost }

func (h hostOf) Reopen(base.Gpid, Broken, func(error)) {}

// server is what a test starts and stops, with its data directories in a folder.
type server struct {
	t      *testing.T
	folder string
	tags   []string
	host   *dirHost
	set    *Set
}

func newDisks(t *testing.T, tags ...string) *server {
	s := &server{t: t, folder: t.TempDir(), tags: tags}
	s.start()
	t.Cleanup(s.stop)
	return s
}

func (s *server) path(tag string) string { return filepath.Join(s.folder, tag) }

func (s *server) options() Options {
	o := Options{Cluster: "c", Node: "1.2.3.4:5", WAL: wal.Options{}}
	for _, tag := range s.tags {
		o.Dirs = append(o.Dirs, Place{tag, s.path(tag)})
	}
	return o
}

func (s *server) start() {
	s.t.Helper()
	s.host = &dirHost{}
	var err error
	if s.set, err = Open(s.options(), hostOf{s.host}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) stop() {
	s.t.Helper()
	if err := s.set.Close(); err != nil {
		s.t.Error(err)
	}
}

func (s *server) restart() {
	s.t.Helper()
	s.stop()
	s.start()
}

// tick lets so much time pass that everything is due.
func (s *server) tick() {
	for range 2 {
		s.set.Tick(time.Now().Add(time.Hour))
	}
}

func (s *server) move(from, to string) {
	s.t.Helper()
	if err := os.Rename(s.path(from), s.path(to)); err != nil {
		s.t.Fatal(err)
	}
}

// unmount leaves an empty mount point behind.
func (s *server) unmount(tag string) {
	s.t.Helper()
	s.move(tag, tag+".disk")
	if err := os.Mkdir(s.path(tag), 0o755); err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) mount(disk, tag string) {
	s.t.Helper()
	if err := os.RemoveAll(s.path(tag)); err != nil {
		s.t.Fatal(err)
	}
	s.move(disk, tag)
}

// out wants the directory to be out of service for a reason that names all of want, and no other
// one to be.
func (s *server) out(tag string, want ...string) {
	s.t.Helper()
	for _, k := range s.set.Report() {
		if k.Tag != tag {
			if k.State != "NORMAL" {
				s.t.Errorf("%s is %s: %s", k.Tag, k.State, k.Error)
			}
			continue
		}
		if k.State != "IO_ERROR" {
			s.t.Fatalf("%s is %s", tag, k.State)
		}
		for _, w := range append(want, s.path(tag)) {
			if !strings.Contains(k.Error, w) {
				s.t.Errorf("%s: the error %q doesn't say %q", tag, k.Error, w)
			}
		}
	}
}

func (s *server) works() {
	s.t.Helper()
	s.out("")
}

func (s *server) empty(tag string) {
	s.t.Helper()
	if es, err := os.ReadDir(s.path(tag)); err != nil || len(es) > 0 {
		s.t.Errorf("in the mount point %s: %v, %v", tag, es, err)
	}
}

func (s *server) says(tag string) (id Ident) {
	s.t.Helper()
	if err := ReadJSON(IdentName(s.path(tag)), &id); err != nil {
		s.t.Fatal(err)
	}
	return id
}

func (s *server) retry(tag string) {
	s.t.Helper()
	for _, d := range s.set.All() {
		if d.Tag == tag {
			if err := s.set.retry(d); err != nil {
				s.t.Fatal(err)
			}
		}
	}
}

// addReplica makes the directory of a replica.
func (s *server) addReplica(disk string, g base.Gpid) {
	s.t.Helper()
	if err := os.Mkdir((&Dir{Path: s.path(disk)}).ReplicaPath(g), 0o755); err != nil {
		s.t.Fatal(err)
	}
}

// A disk that is unmounted while the server runs is out of service, nothing is made in its mount
// point, and it is used again once it is mounted. That counts as no failure.
func TestUnmountedWhileRunning(t *testing.T) {
	for _, tags := range [][]string{{"a"}, {"a", "b"}} {
		s := newDisks(t, tags...)
		g := base.Gpid{AppID: 1}
		s.addReplica("a", g)
		s.tick()
		s.works()
		for range 2 * ReviveTimes {
			s.unmount("a")
			s.tick()
			s.out("a", "mount", "pegasus.json", "pegasus disk retry 1.2.3.4:5 a", s.says("a.disk").Dir)
			s.tick()
			s.empty("a")
			if total, _ := s.set.All()[0].Capacity(); total != 0 {
				t.Error("the size of what is at its place is shown as its own")
			}
			s.mount("a.disk", "a")
			s.tick()
			s.works()
		}
		if n := s.set.Report()[0].Failures; n != 0 || !slices.Equal(s.host.opened, []base.Gpid{g}) {
			t.Errorf("%d failures; opened: %v", n, s.host.opened)
		}
		// The whole directory is gone, as below an unmounted one.
		s.move("a", "a.disk")
		s.tick()
		s.out("a", "mount")
		s.move("a.disk", "a")
		s.tick()
		s.works()
	}
}

// The same content on another file system is not what the server has open.
func TestMountedAnew(t *testing.T) {
	s := newDisks(t, "a")
	d := s.set.All()[0]
	s.tick()
	was := d.Log()
	st, err := vfs.Default.Stat("/proc")
	if err != nil {
		t.Skip(err)
	}
	device := st.DeviceID()
	d.device.Store(&device)
	s.set.watchDisks()
	if err := was.Failed(); !errors.Is(err, errAway) || !strings.Contains(err.Error(), "mounted anew") {
		t.Fatalf("%v", err)
	}
	s.tick()
	s.works()
	if d.Log() == was {
		t.Error("the log wasn't opened again")
	}
}

// A start on a bare mount point makes nothing there; the disk is used once it is mounted, with all
// that is on it.
func TestStartOnMountPoint(t *testing.T) {
	s := newDisks(t, "a", "b")
	g := base.Gpid{AppID: 1}
	s.addReplica("b", g)
	id := s.says("b").Dir
	if id == "" || s.says("a").Dirs["b"] != id || s.says("a").Dir == id {
		t.Fatalf("a says %+v, b %+v", s.says("a"), s.says("b"))
	}
	s.stop()
	s.unmount("b")
	s.start()
	s.out("b", id, "mount", "pegasus disk retry 1.2.3.4:5 b")
	if found, err := s.set.Find(nil); err != nil || len(found) != 0 {
		t.Errorf("found %v, %v", found, err)
	}
	s.tick()
	s.restart() // it isn't forgotten by that
	s.out("b", id)
	s.tick()
	s.empty("b")
	if err := s.set.All()[1].Usable(); base.CodeOf(err) != base.ErrDiskIoError {
		t.Errorf("%v", err)
	}
	s.mount("b.disk", "b")
	s.tick()
	s.works()
	if !slices.Equal(s.host.opened, []base.Gpid{g}) {
		t.Errorf("opened: %v", s.host.opened)
	}
	s.restart()
	s.works()
	if s.says("b").Dir != id {
		t.Error("it has another id now")
	}
}

// A disk that was replaced is used when an administrator says so, and then it is the old one that isn't.
func TestReplacedDiskIsAccepted(t *testing.T) {
	s := newDisks(t, "a", "b")
	old := s.says("b").Dir
	s.stop()
	s.unmount("b")
	s.start()
	s.retry("b")
	s.tick()
	s.works()
	id := s.says("b").Dir
	if id == "" || id == old || s.says("a").Dirs["b"] != id || s.says("a").Change != s.says("b").Change {
		t.Fatalf("it was %s; a says %+v, b %+v", old, s.says("a"), s.says("b"))
	}
	s.restart()
	s.works()

	s.move("b", "b.new")
	s.move("b.disk", "b")
	s.tick()
	s.out("b", old, id, "pegasus disk retry")
	s.restart()
	s.out("b", old, id, "pegasus disk retry")
	s.retry("b")
	s.tick()
	s.works()
	if s.says("b").Dir != old || s.says("a").Dirs["b"] != old {
		t.Errorf("a says %+v, b %+v", s.says("a"), s.says("b"))
	}
	s.restart()
	s.works()
}

// Two disks that changed places while the server runs are out of service; after a start they
// are used, because all is there.
func TestExchangedDisks(t *testing.T) {
	s := newDisks(t, "a", "b", "c")
	a, b := s.says("a").Dir, s.says("b").Dir
	s.move("a", "x")
	s.move("b", "a")
	s.move("x", "b")
	s.tick()
	for i, other := range []string{"b", "a"} {
		d := s.set.All()[i]
		s.retry(d.Tag)
		s.tick()
		if k := s.set.Report()[i]; k.State != "IO_ERROR" || !strings.Contains(k.Error, "that of "+other) {
			t.Errorf("%s is %s: %s", d.Tag, k.State, k.Error)
		}
	}
	s.restart()
	s.tick()
	s.works()
	if want := map[string]string{"a": b, "b": a, "c": s.says("c").Dir}; !maps.Equal(s.says("c").Dirs, want) || !maps.Equal(s.says("a").Dirs, want) {
		t.Errorf("c remembers %v", s.says("c").Dirs)
	}
	// One of the places has the other's, and the other is missing.
	s.stop()
	if err := os.RemoveAll(s.path("b")); err != nil {
		t.Fatal(err)
	}
	s.move("a", "b")
	if err := os.Mkdir(s.path("a"), 0o755); err != nil {
		t.Fatal(err)
	}
	s.start()
	s.out("a", a)
	s.empty("a")
}

// before is what programs knew that knew of no ids of directories.
type before struct {
	Format  version.Version `json:"format"`
	Cluster string          `json:"cluster"`
	ID      string          `json:"cluster_id,omitempty"`
	Node    string          `json:"node"`
}

// A file of before there were ids gets one; a program of before reads one with it; and what that
// wrote is still the same directory.
func TestFilesOfBefore(t *testing.T) {
	s := newDisks(t, "a", "b")
	s.stop()
	for _, tag := range s.tags {
		if err := WriteJSON(IdentName(s.path(tag)), &before{version.First, "c", "", "1.2.3.4:5"}); err != nil {
			t.Fatal(err)
		}
	}
	s.start()
	s.works()
	id := s.says("b").Dir
	if id == "" || s.says("a").Dirs["b"] != id || s.says("a").Dir == id {
		t.Fatalf("a says %+v, b %+v", s.says("a"), s.says("b"))
	}
	s.stop()
	var old before
	text, err := os.ReadFile(IdentName(s.path("b")))
	if err == nil {
		err = json.Unmarshal(text, &old)
	}
	if want := (before{version.First, "c", "", "1.2.3.4:5"}); err != nil || old != want {
		t.Fatalf("%+v %v", old, err)
	}
	if err := WriteJSON(IdentName(s.path("b")), &old); err != nil {
		t.Fatal(err)
	}
	s.start()
	s.works()
	if s.says("b").Dir != id {
		t.Errorf("b says %+v", s.says("b"))
	}
	s.stop()
	s.unmount("b")
	s.start()
	s.out("b", id)
}

// TestFirstStartIsCutOff: whatever part of a first start is done before the power goes, or of one that finds more directories in the
// configuration, the next start uses all of them.
func TestFirstStartIsCutOff(t *testing.T) {
	was := vfs.Default
	t.Cleanup(func() { vfs.Default = was })
	var calls, last atomic.Int64
	vfs.Default = errorfs.Wrap(was, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileClose || calls.Add(1) <= last.Load() {
			return nil
		}
		return &os.PathError{Op: "planted", Path: op.Path, Err: syscall.EIO}
	}))
	for _, before := range [][]string{nil, {"a"}} {
		cut := 0
		for n := int64(0); ; n += 7 {
			s := &server{t: t, folder: t.TempDir(), tags: before}
			last.Store(math.MaxInt64)
			if before != nil {
				s.start()
				s.stop()
			}
			s.tags = []string{"a", "b", "c"}
			calls.Store(0)
			last.Store(n)
			set, err := Open(s.options(), hostOf{&dirHost{}})
			if err == nil {
				_ = set.Close()
			}
			last.Store(math.MaxInt64)
			for range 2 {
				s.start()
				s.works()
				s.stop()
			}
			says := s.says("a")
			for _, tag := range s.tags {
				if is := s.says(tag); is.Dir != says.Dirs[tag] || len(is.Dirs) != 3 || is.Change != says.Change {
					t.Errorf("cut off after %d calls: %s says %+v, a %+v", n, tag, is, says)
				}
			}
			if err == nil || t.Failed() {
				break
			}
			cut++
		}
		if cut < 10 {
			t.Errorf("the test tests little: %d starts were cut off", cut)
		}
	}
}

// TestOneDirectoryTwice: a directory that two places are is found before two logs are opened in it.
func TestOneDirectoryTwice(t *testing.T) {
	s := &server{t: t, folder: t.TempDir(), tags: []string{"a", "b"}}
	if err := errors.Join(os.Mkdir(s.path("a"), 0o755), os.Symlink(s.path("a"), s.path("b"))); err != nil {
		t.Fatal(err)
	}
	if set, err := Open(s.options(), hostOf{&dirHost{}}); err == nil || !strings.Contains(err.Error(), "are the same one") {
		t.Errorf("%v, %v", set, err)
	}
	s.empty("a")
}

func TestMatch(t *testing.T) {
	type at map[string]string // "-": nothing is there, "": a file without an id
	for name, c := range map[string]struct {
		known, found, want map[string]string // "new" is an id that nobody had
		away               string
	}{
		"the first start":       {nil, at{"a": "-", "b": "-"}, at{"a": "new", "b": "new"}, ""},
		"as it was":             {at{"a": "1", "b": "2"}, at{"a": "1", "b": "2"}, at{"a": "1", "b": "2"}, ""},
		"one is missing":        {at{"a": "1", "b": "2"}, at{"a": "1", "b": "-"}, at{"a": "1", "b": "2"}, "b"},
		"one is another":        {at{"a": "1", "b": "2"}, at{"a": "1", "b": "9"}, at{"a": "1", "b": "2"}, "b"},
		"one is a copy":         {at{"a": "1", "b": "2"}, at{"a": "1", "b": "1"}, at{"a": "1", "b": "2"}, "b"},
		"one has none":          {at{"a": "1", "b": "2"}, at{"a": "1", "b": ""}, at{"a": "1", "b": "2"}, ""},
		"one is new":            {at{"a": "1"}, at{"a": "1", "b": "-"}, at{"a": "1", "b": "new"}, ""},
		"one comes from before": {at{"a": "1"}, at{"a": "1", "b": "9"}, at{"a": "1", "b": "9"}, ""},
		"a copy is new":         {at{"a": "1"}, at{"a": "1", "b": "1"}, at{"a": "1", "b": "new"}, ""},
		"exchanged":             {at{"a": "1", "b": "2"}, at{"a": "2", "b": "1"}, at{"a": "2", "b": "1"}, ""},
		"moved, the rest gone":  {at{"a": "1", "b": "2"}, at{"a": "2", "b": "-"}, at{"a": "2", "b": "1"}, "b"},
		"new before the others": {at{"d1": "1", "d2": "2"}, at{"d1": "-", "d2": "1", "d3": "2"}, at{"d1": "new", "d2": "1", "d3": "2"}, ""},
		"the first is left out": {at{"d1": "1", "d2": "2", "d3": "3"}, at{"d1": "2", "d2": "3"}, at{"d1": "2", "d2": "3"}, ""},
		"damaged memory":        {at{"a": "1", "b": "1"}, at{"a": "1", "b": "-"}, at{"a": "1", "b": "new"}, ""},
		"another tag":           {at{"a": "1"}, at{"b": "1"}, at{"b": "1"}, ""},
	} {
		var found []finding
		for _, tag := range slices.Sorted(maps.Keys(c.found)) {
			f := finding{Place: Place{Tag: tag}, file: c.found[tag] != "-"}
			if f.file {
				f.id = c.found[tag]
			}
			found = append(found, f)
		}
		ids, away, _ := match(found, c.known)
		for tag, want := range c.want {
			if got := ids[tag]; got != want && (want != "new" || len(got) != 26) || away[tag] != (tag == c.away) {
				t.Errorf("%s: %s is to have the id %q, want %q; it is missing: %t", name, tag, got, want, away[tag])
			}
		}
		if len(ids) != len(c.want) {
			t.Errorf("%s: %v", name, ids)
		}
	}
}

// Whatever the files say, each place has an id of its own afterwards.
func FuzzIdentityFiles(f *testing.F) {
	f.Add([]byte(`{"format":1,"cluster":"c","node":"n","dir_id":"x","dirs":{"a":"x","b":"y"},"dirs_change":3}`), []byte("{}"))
	f.Add([]byte(`{"format":1,"cluster":"c","node":"n","dirs":{"a":"x","b":"x","":""},"dirs_change":-3}`), []byte(`{"format":1,"cluster":"c","node":"n","dir_id":"x"}`))
	f.Add([]byte(`{"format":1,"cluster":"c","node":"n","dir_id":"x","dirs":{"a":"x"},"dirs_change":4,"dirs_added":{"c":"/nowhere/c","":"","d":"/nowhere/c"}}`), []byte("{}"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		i := newIdentity("c", "n", "")
		var places []Place
		for tag, text := range map[string][]byte{"a": a, "b": b} {
			p := Place{tag, t.TempDir()}
			places = append(places, p)
			if err := os.WriteFile(IdentName(p.Path), text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		all := i.places(places)
		if len(all) > 2 {
			places = all
		}
		i.look(all, 2)
		for _, p := range places {
			_ = i.missing(p)
		}
		if ids := i.ident().Dirs; len(ids) != len(places) || ids["a"] == "" || ids["b"] == "" || ids["a"] == ids["b"] {
			t.Errorf("%v", ids)
		}
	})
}
