package disk

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// TestMounts unmounts and mounts for real, in a process with mounts of its own.
func TestMounts(t *testing.T) {
	const inside = "PEGASUS_TEST_OWN_MOUNTS"
	if os.Getenv(inside) != "" {
		testMounts(t)
		return
	}
	c := exec.Command(os.Args[0], "-test.run=^TestMounts$")
	c.Env = append(os.Environ(), inside+"=1")
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}, GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}}
	out, err := c.CombinedOutput()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EINVAL) {
		t.Skipf("this system gives a process no mounts of its own: %v", err)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func testMounts(t *testing.T) {
	s := newDisks(t, "a", "b")
	s.stop()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	bind := func() {
		t.Helper()
		must(syscall.Mount(s.path("b.disk"), s.path("b"), "", syscall.MS_BIND, ""))
	}
	detach := func() {
		t.Helper()
		must(syscall.Unmount(s.path("b"), syscall.MNT_DETACH)) // though files are open
	}
	s.unmount("b")
	bind()
	s.start()
	s.tick()
	s.works()
	detach()
	s.tick()
	s.out("b", "mount")
	s.empty("b")
	s.restart()
	s.out("b", "mount")
	bind()
	s.tick()
	s.works()

	// The content of the disk on another one.
	was := s.set.All()[1].Log()
	must(syscall.Mount("none", s.path("b"), "tmpfs", 0, ""))
	must(os.CopyFS(s.path("b"), os.DirFS(s.path("b.disk"))))
	s.tick()
	s.works()
	if s.set.All()[1].Log() == was {
		t.Error("the log on the disk that was unmounted is in use")
	}
	s.stop()
	detach()
	detach()
	bind()
	s.start()
	s.works()
	t.Cleanup(detach)
}
