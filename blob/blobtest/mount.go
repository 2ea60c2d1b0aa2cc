package blobtest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"pegasus/internal/repo"
)

// Lacking skips a test whose runtime isn't on this machine; with CI=true nothing may be lacking.
func Lacking(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("left out: "+format, args...)
	}
	t.Skipf("left out: "+format, args...)
}

// InMount runs the calling test once more in a process that may mount. It returns true in there.
func InMount(t *testing.T) (inside bool) {
	t.Helper()
	const env = "BLOB_TEST_MOUNT"
	if os.Getenv(env) != "" {
		if err := syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
			t.Fatal(err)
		}
		return true
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), env+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
	}
	// The child dies with the thread that made it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
		t.Logf("%s", out)
	case errors.As(err, &exit):
		t.Errorf("%v\n%s", err, out)
	default:
		Lacking(t, "no mount namespace: %v", err)
	}
	return false
}

// Mount mounts a file system of so many bytes in memory at dir, or at a new directory if it is "".
func Mount(t *testing.T, dir string, bytes int, flags uintptr) string {
	t.Helper()
	if dir == "" {
		dir = t.TempDir()
	}
	if err := syscall.Mount("none", dir, "tmpfs", flags, fmt.Sprintf("size=%d", bytes)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// Flip changes a byte in the middle of a file, whose time stays.
func Flip(t *testing.T, path string) {
	t.Helper()
	fi, err := os.Stat(path)
	if err != nil {
		t.Error(err)
		return
	}
	b, err := os.ReadFile(path)
	if err == nil {
		b[len(b)/2] ^= 1
		err = os.WriteFile(path, b, 0o644)
	}
	if err == nil {
		err = os.Chtimes(path, fi.ModTime(), fi.ModTime())
	}
	if err != nil {
		t.Error(err)
	}
}

// root returns the directory of the module.
func root(t *testing.T) string {
	t.Helper()
	dir, err := repo.Root()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
