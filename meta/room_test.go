package meta

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/gen/metaadmin"
	"pegasus/meta/state"
)

// inMount runs the calling test once more in a process that may mount.
func inMount(t *testing.T) (inside bool) {
	t.Helper()
	const env = "META_TEST_MOUNT"
	if os.Getenv(env) != "" {
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), env+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
	case errors.As(err, &exit):
		t.Errorf("%v\n%s", err, out)
	default:
		t.Skipf("needs a mount namespace: %v", err)
	}
	return false
}

// smallDisk mounts a file system of that size.
func smallDisk(t *testing.T, bytes int) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("none", dir, "tmpfs", 0, fmt.Sprintf("size=%d", bytes)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// fillDisk takes all that is free in dir.
func fillDisk(t *testing.T, dir string) {
	f, err := os.OpenFile(filepath.Join(dir, "ballast"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			if !errors.Is(err, syscall.ENOSPC) {
				t.Error(err)
				return
			}
			size /= 2
		}
	}
}

// The disk of the only meta is full when a table is created, and stays so: the table is
// refused, and everything else goes on; with a reserve also what needs to be written.
func TestDiskOfTheOnlyMetaIsFull(t *testing.T) {
	if !inMount(t) {
		return
	}
	for _, greedy := range []bool{false, true} {
		t.Run(fmt.Sprintf("greedy=%v", greedy), func(t *testing.T) {
			disk := smallDisk(t, 8<<20)
			data := filepath.Join(disk, "data")
			if err := os.Mkdir(data, 0o755); err != nil {
				t.Fatal(err)
			}
			c := newClusterIn(t, 0, []string{data}, 3, func(cfg *config.Config) {
				steady(cfg)
				cfg.Meta.ReserveBytes = 4 << 20
			})
			c.mustCreate("old", 4, 3)
			c.whole("old", 3)
			term := c.metas[0].srv.quorum.raft.CurrentTerm()
			fillDisk(t, disk)
			stop := make(chan struct{})
			var wg sync.WaitGroup
			defer wg.Wait()
			ended := sync.OnceFunc(func() { close(stop) })
			defer ended()
			if greedy { // whatever the reserve gives up is taken by somebody else
				wg.Go(func() {
					tick := time.NewTicker(time.Millisecond)
					defer tick.Stop()
					for {
						fillDisk(t, disk)
						select {
						case <-stop:
							return
						case <-tick.C:
						}
					}
				})
			}
			for i := range 300 {
				name := fmt.Sprintf("new%d", i)
				if r := c.create(name, 64, 3); r.Err != base.ErrDiskInsufficient {
					t.Fatalf("create %s: %v", name, r.Err)
				}
			}
			// Roles are given to others as long as the reserve lasts.
			dead := c.reps[0]
			dead.kill()
			if !greedy {
				until(t, "nobody is the primary that is dead", func() bool {
					for _, p := range c.query("old").Partitions {
						if p.Primary == 0 || p.Primary == dead.addr {
							return false
						}
					}
					return true
				})
			}
			seen := func() (n int) {
				for _, f := range c.reps[1:] {
					f.mu.Lock()
					n += f.synced
					f.mu.Unlock()
				}
				return n
			}
			before := seen()
			until(t, "the others are acknowledged and told their roles", func() bool { return seen() >= before+10 })
			if now := c.metas[0].srv.quorum.raft.CurrentTerm(); now != term {
				t.Errorf("the meta lost its leadership: term %d, was %d", now, term)
			}
			ended()
			wg.Wait()
			if err := os.Remove(filepath.Join(disk, "ballast")); err != nil {
				t.Fatal(err)
			}
			until(t, "the reserve is whole", func() bool { return !c.metas[0].srv.quorum.room.short() })
			c.mustCreate("new", 4, 2)
			dead.begin(nil)
			c.whole("old", 3)
		})
	}
}

// A table is refused that has no room, though there is some.
func TestRoomIsCheckedBeforeATable(t *testing.T) {
	c := newCluster(t, 1, 1, nil)
	room := c.metas[0].srv.quorum.room
	var avail atomic.Int64
	avail.Store(8 << 20)
	room.mu.Lock()
	room.available = func() (int64, error) { return avail.Load(), nil }
	room.mu.Unlock()
	if r := c.create("large", 10000, 1); r.Err != base.ErrDiskInsufficient {
		t.Errorf("a large table: %v", r.Err)
	}
	c.mustCreate("small", 4, 1)
	avail.Store(0)
	if r := c.create("none", 1, 1); r.Err != base.ErrDiskInsufficient {
		t.Errorf("a table without room: %v", r.Err)
	}
	var r metaadmin.ConfigurationMetaControlResponse
	c.ask("RPC_CM_CONTROL_META", &metaadmin.ConfigurationMetaControlRequest{Level: metaadmin.FlLively}, &r)
	if r.Err != base.ErrDiskInsufficient {
		t.Errorf("a setting without room: %v", r.Err)
	}
}

// A meta that is elected leads although its disk is full and little of the reserve is left; and if
// it can't, because it has something to write first, it does as soon as there is room: raft tells
// of an election once.
func TestElectedWithoutRoom(t *testing.T) {
	c := newCluster(t, 1, 1, nil)
	c.mustCreate("t", 4, 1)
	s := c.metas[0].srv
	room := s.quorum.room
	var avail atomic.Int64
	room.mu.Lock()
	room.available = func() (int64, error) { return avail.Load(), nil }
	room.mu.Unlock()
	room.left.Store(1)
	led := s.leader.Load()
	s.quorum.notify <- true
	until(t, "it leads without room", func() bool { l := s.leader.Load(); return l != nil && l != led })
	c.whole("t", 1)
	s.fsm.mu.Lock()
	unnamed := state.New()
	if _, err := unnamed.Apply(state.Encode(&state.Init{Quorum: s.fsm.st.Quorum()})); err != nil {
		t.Error(err)
	}
	s.fsm.st = unnamed
	s.fsm.mu.Unlock()
	s.quorum.notify <- true
	until(t, "it can't lead", func() bool { return s.leader.Load() == nil })
	avail.Store(1 << 61)
	until(t, "it leads once there is room", s.Leading)
}

func testRoom(t *testing.T, want int64) *room {
	r := newRoom(t.TempDir(), want, testLog())
	r.available = func() (int64, error) { return 1 << 40, nil }
	r.refill()
	if r.left.Load() != want {
		t.Fatalf("the reserve has %d bytes", r.left.Load())
	}
	return r
}

// What doesn't fit is written once parts of the reserve are given up; the order of what is
// refused: first what can wait, then the changes of partitions, and never what an election
// takes while anything is left.
func TestReserve(t *testing.T) {
	r := testRoom(t, 64<<10)
	r.available = func() (int64, error) { return 0, nil }
	change, table := &state.ChangeConfigs{}, &state.CreateTable{Partitions: 1}
	for part := range reserveParts {
		if err := r.admit(table, 10); !errors.Is(err, base.ErrDiskInsufficient) {
			t.Errorf("part %d: a table: %v", part, err)
		}
		if err := r.admit(change, 10); (err == nil) != (part < reserveParts/2) {
			t.Errorf("part %d: a change: %v", part, err)
		}
		if !r.giveUp() {
			t.Errorf("part %d can't be given up", part)
		}
		info, err := os.Stat(r.path())
		if err != nil || info.Size() != r.left.Load() {
			t.Errorf("part %d: the file: %v %v", part, info, err)
		}
	}
	if r.giveUp() {
		t.Error("more is given up than there is")
	}
	r.refill()
	if r.left.Load() != 0 {
		t.Error("a reserve is made without room")
	}
	again := newRoom(r.dir, r.want, testLog())
	again.available = func() (int64, error) { return 2 << 20, nil }
	again.refill()
	if again.short() || again.hint() != "" {
		t.Errorf("the reserve has %d bytes: %s", again.left.Load(), again.hint())
	}
}

// Terms and votes wait for room when nothing is left of the reserve, and end with the server.
func TestElectionsWaitForRoom(t *testing.T) {
	r := testRoom(t, 4<<10)
	s := &logStore{room: r, closed: make(chan struct{})}
	var full atomic.Bool
	full.Store(true)
	write := func() error {
		if full.Load() {
			return &os.PathError{Op: "write", Err: syscall.ENOSPC}
		}
		return nil
	}
	if err := s.waitForRoom(write); !isDiskFull(err) {
		t.Errorf("before raft runs: %v", err)
	}
	if r.left.Load() != 0 {
		t.Errorf("the reserve has %d bytes", r.left.Load())
	}
	s.running.Store(true)
	done := make(chan error, 1)
	go func() { done <- s.waitForRoom(write) }()
	until(t, "it waits", s.waiting.Load)
	full.Store(false)
	if err := <-done; err != nil || s.waiting.Load() {
		t.Errorf("with room: %v", err)
	}
	full.Store(true)
	ended := make(chan bool)
	go func() {
		defer close(ended)
		_ = s.waitForRoom(write)
		ended <- true
	}()
	until(t, "it waits", s.waiting.Load)
	close(s.closed)
	if <-ended {
		t.Error("a vote that isn't durable is taken for one that is")
	}
}

var (
	_ raft.LogStore    = (*logStore)(nil)
	_ raft.StableStore = (*logStore)(nil)
)
