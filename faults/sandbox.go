package faults

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// sandboxEnv marks a process that runs in the sandbox.
const sandboxEnv = "PEGASUS_FAULTS_SANDBOX"

// InSandbox tells whether this process runs in the sandbox.
func InSandbox() bool { return os.Getenv(sandboxEnv) != "" }

// CheckSandbox returns why a sandbox can't be had on this machine, nil if it can.
func CheckSandbox() error {
	if _, err := exec.LookPath("ip"); err != nil {
		return fmt.Errorf("the tool ip is missing: install iproute2: %w", err)
	}
	cmd := exec.Command("ip", "link", "set", "lo", "up")
	cmd.SysProcAttr = sandboxAttr()
	if b, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("network namespaces can't be made here (run as root, or allow user namespaces): %w %s", err, b)
	}
	return nil
}

func sandboxAttr() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 {
		a.Cloneflags |= syscall.CLONE_NEWUSER
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		a.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	return a
}

// ReExec runs this program with args in a sandbox, a network namespace and a mount
// namespace of its own, and returns its exit status. It must be called from the main
// goroutine with the thread locked: the child dies with the thread that made it.
func ReExec(args []string) (int, error) {
	self, err := os.Executable()
	if err != nil {
		return 1, err
	}
	cmd := exec.Command(self, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), sandboxEnv+"=1")
	cmd.SysProcAttr = sandboxAttr()
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return 1, fmt.Errorf("start in a sandbox: %w", err)
	}
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		for {
			select {
			case s := <-signals:
				_ = cmd.Process.Signal(s)
			case <-ended:
				return
			}
		}
	}()
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return max(exit.ExitCode(), 1), nil
	}
	return 0, err
}

// privateMounts keeps what is mounted from here on to this process and its children.
func privateMounts() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	return nil
}

// smallDisk mounts a file system of so many bytes on dir.
func smallDisk(dir string, bytes int64) error {
	if err := unix.Mount("faults", dir, "tmpfs", 0, fmt.Sprintf("size=%d", bytes)); err != nil {
		return fmt.Errorf("mount a small disk on %s: %w", dir, err)
	}
	return nil
}
