// Package hook lets a test hurt a running server: slow and failing disks, jumps of its wall
// clock. It is linked into the server only with the build tag faults (see
// cmd/pegasus/faults.go); a server built for use has nothing of it.
//
// It owns the control file: JSON of Control, looked at every 20 ms, absent or empty for no
// fault. The disk's faults sit in the file system that a replica server uses for stores, logs
// and what describes them (vfs.Default). The clock moves
// only in a binary built with time patched as well (build tag faultclock; package faults
// makes the patch), and never the monotonic part.
package hook

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// Env is the environment variable that names the control file.
const Env = "PEGASUS_FAULTS"

// pollEvery is how often the control file is looked at.
const pollEvery = 20 * time.Millisecond

// Control says what is wrong with a server's world.
type Control struct {
	// WriteDelayMS and SyncDelayMS are added to each write and to each sync.
	WriteDelayMS int `json:"write_delay_ms,omitempty"`
	SyncDelayMS  int `json:"sync_delay_ms,omitempty"`
	// Error is what operations of the kinds in Ops end with: "EIO" or "ENOSPC"; "" is none.
	Error string `json:"error,omitempty"`
	Ops   []Op   `json:"ops,omitempty"`
	// Path restricts errors to files with it in their path, for example "/wal/"; "" is all.
	Path string `json:"path,omitempty"`
	// OneIn lets only each n-th operation fail; 0 and 1: each.
	OneIn int `json:"one_in,omitempty"`
	// ClockOffsetS is added to the wall clock, in seconds.
	ClockOffsetS int64 `json:"clock_offset_s,omitempty"`
}

// Op is a kind of disk operation.
type Op string

// The kinds that can fail. OpCreate is all that changes a directory.
const (
	OpRead   Op = "read"
	OpWrite  Op = "write"
	OpSync   Op = "sync"
	OpCreate Op = "create"
)

// Write replaces a control file.
func Write(path string, c Control) error {
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, b, 0o644); err != nil {
		return fmt.Errorf("control file of faults: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("control file of faults: %w", err)
	}
	return nil
}

// Hook is one control file in force.
type Hook struct {
	path  string
	now   atomic.Pointer[Control]
	last  []byte
	count atomic.Uint64
	clock func(seconds int64)
}

// Install puts the faults of the control file that Env names into vfs.Default and the
// clock, for the rest of the process's life. Without Env it does nothing. It must be called
// before anything opens a file.
func Install() {
	path := os.Getenv(Env)
	if path == "" {
		return
	}
	h := New(path, setClock)
	vfs.Default = h.FS(vfs.Default)
	go func() {
		for {
			time.Sleep(pollEvery)
			h.Poll()
		}
	}()
}

// New returns a Hook for a control file; clock is told the offset whenever it changes.
func New(path string, clock func(seconds int64)) *Hook {
	h := &Hook{path: path, clock: clock}
	h.now.Store(&Control{})
	h.Poll()
	return h
}

// Poll looks at the control file. It is for one goroutine.
func (h *Hook) Poll() {
	b, err := os.ReadFile(h.path)
	if err != nil && !errors.Is(err, os.ErrNotExist) || string(b) == string(h.last) {
		return
	}
	c := new(Control)
	if len(b) > 0 {
		if err := json.Unmarshal(b, c); err != nil {
			fmt.Fprintf(os.Stderr, "faults: %s: %v\n", h.path, err)
			return
		}
	}
	h.last = b
	old := h.now.Swap(c)
	if c.ClockOffsetS != old.ClockOffsetS {
		h.clock(c.ClockOffsetS)
	}
}

// FS returns fs with the faults.
func (h *Hook) FS(fs vfs.FS) vfs.FS { return errorfs.Wrap(fs, injector{h}) }

type injector struct{ *Hook }

func (injector) String() string { return "control file" }

// MaybeError delays a file system operation, or ends it.
func (i injector) MaybeError(op errorfs.Op) error {
	c := i.now.Load()
	kind, ok := kindOf(op.Kind)
	if !ok {
		return nil
	}
	delay := 0
	switch kind {
	case OpWrite:
		delay = c.WriteDelayMS
	case OpSync:
		delay = c.SyncDelayMS
	}
	if delay > 0 {
		time.Sleep(time.Duration(delay) * time.Millisecond)
		c = i.now.Load()
	}
	if c.Error == "" || !c.has(kind) || !strings.Contains(filepath.ToSlash(op.Path), c.Path) {
		return nil
	}
	if n := i.count.Add(1); c.OneIn > 1 && n%uint64(c.OneIn) != 0 {
		return nil
	}
	errno := syscall.EIO
	if c.Error == "ENOSPC" {
		errno = syscall.ENOSPC
	}
	return &os.PathError{Op: string(kind), Path: op.Path, Err: errno}
}

func (c *Control) has(kind Op) bool {
	for _, o := range c.Ops {
		if o == kind {
			return true
		}
	}
	return false
}

func kindOf(k errorfs.OpKind) (Op, bool) {
	switch k {
	case errorfs.OpFileRead, errorfs.OpFileReadAt:
		return OpRead, true
	case errorfs.OpFileWrite, errorfs.OpFileWriteAt, errorfs.OpFilePreallocate:
		return OpWrite, true
	case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo, errorfs.OpFileFlush:
		return OpSync, true
	case errorfs.OpCreate, errorfs.OpLink, errorfs.OpRename, errorfs.OpReuseForWrite, errorfs.OpMkdirAll:
		return OpCreate, true
	}
	return "", false
}
