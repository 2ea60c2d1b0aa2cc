package main

import (
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"
)

// TestTerminalCloses: a migration that has writes refused ends in its own way when its terminal is closed, and doesn't
// die of a pipe that nobody reads any more.
func TestTerminalCloses(t *testing.T) {
	if signal.Ignored(syscall.SIGHUP) {
		t.Skip("SIGHUP is ignored, as nohup has it")
	}
	defer signal.Reset(syscall.SIGPIPE)
	ctx, stop := withoutTerminal(t.Context())
	defer stop()
	if !signal.Ignored(syscall.SIGPIPE) {
		t.Error("SIGPIPE ends it")
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ctx.Done():
	case <-time.After(time.Minute):
		t.Error("SIGHUP doesn't end it")
	}
}
