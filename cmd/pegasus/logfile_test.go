package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A server writes its log to the file of its configuration, and begins a new one on SIGHUP.
func TestLogFile(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	dir := t.TempDir()
	log, conf := filepath.Join(dir, "meta.log"), filepath.Join(dir, "pegasus.toml")
	text := fmt.Sprintf("[cluster]\nmeta_servers = [%q]\n[meta]\nlisten = %q\ndata_dir = %q\n[logging]\nfile = %q\n", addr, addr, dir, log)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var errw bytes.Buffer
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, []string{"server", "meta", "--config", conf}, &bytes.Buffer{}, &errw) }()
	await := func(path, line string) {
		t.Helper()
		for until := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			b, err := os.ReadFile(path)
			if err == nil && strings.Contains(string(b), line) {
				return
			}
			if time.Now().After(until) {
				t.Fatalf("%s has not %q: %v: %s", path, line, err, b)
			}
		}
	}
	await(log, "starts: pegasus")
	if err := os.Rename(log, log+".1"); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for until := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if run(ctx, []string{"server", "log-level", addr, "rpc=debug", "--meta", addr}, &out, &out) == 0 { // is logged
			break
		}
		if time.Now().After(until) {
			t.Fatalf("%s", &out)
		}
	}
	await(log, `remote command \"log-level rpc=debug\", asked by 127.0.0.1:`)
	await(log, ` (pegasus, `) // what the command says of itself
	cancel()
	if status := <-ended; status != 0 {
		t.Errorf("the server ended with %d: %s", status, &errw)
	}
	if s := errw.String(); !strings.Contains(s, "logs to "+log) || strings.Contains(s, "level=") {
		t.Errorf("standard error has %q", s)
	}
}
