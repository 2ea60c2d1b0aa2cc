package blobtest

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// S3Server is a running S3 server with one directory for each bucket.
type S3Server struct {
	Endpoint string // URL
	Dir      string // has a directory for each bucket
	Access   string
	Secret   string

	addr, bin string
	cmd       *exec.Cmd
	ended     <-chan struct{}
}

const (
	s3Package = "github.com/versity/versitygw/cmd/versitygw"
	s3Region  = "us-east-1"
)

// S3Binary builds the S3 server, and returns where it is.
func S3Binary(t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	bin := filepath.Join(root(t), "bin", "testtools", "versitygw")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", bin, s3Package)
	cmd.Dir = filepath.Join(root(t), "blob", "blobtest", "s3server")
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=readonly", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		Lacking(t, "the S3 server can't be built: %v\n%s", err, out)
	}
	return bin
}

// StartS3 starts an S3 server whose buckets are the directories in dir, until the test ends.
func StartS3(t *testing.T, dir string) *S3Server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	s := &S3Server{Endpoint: "http://" + addr, Dir: dir, Access: "test-access", Secret: "test-secret", addr: addr, bin: S3Binary(t)}
	s.Start(t)
	t.Cleanup(func() { s.Kill() })
	return s
}

// Kill kills the server.
func (s *S3Server) Kill() {
	s.cmd.Process.Kill()
	<-s.ended
}

// Start starts the server again, after Kill.
func (s *S3Server) Start(t *testing.T) {
	t.Helper()
	out, err := os.Create(filepath.Join(t.TempDir(), "s3server.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	s.cmd = exec.CommandContext(context.WithoutCancel(t.Context()), s.bin, "--port", s.addr, "--access", s.Access, "--secret", s.Secret,
		"--region", s3Region, "--quiet", "posix", s.Dir)
	s.cmd.Env = []string{"HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH")}
	s.cmd.Stdout, s.cmd.Stderr = out, out
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	cmd, ended := s.cmd, make(chan struct{})
	s.ended = ended
	var why error
	go func() {
		defer close(ended)
		why = cmd.Wait()
	}()
	said := func() []byte { b, _ := os.ReadFile(out.Name()); return b }
	for deadline := time.Now().Add(30 * time.Second); ; {
		c, err := net.DialTimeout("tcp", s.addr, time.Second)
		if err == nil {
			c.Close()
			return
		}
		select {
		case <-ended:
			t.Fatalf("the S3 server ended: %v\n%s", why, said())
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("the S3 server doesn't listen: %v\n%s", err, said())
		}
	}
}
