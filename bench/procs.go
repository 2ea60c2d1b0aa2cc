package bench

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ParsePids reads process ids: numbers separated by commas, or the directory of a onebox,
// whose servers' pid files are read.
func ParsePids(s string) ([]int, error) {
	if s == "" {
		return nil, nil
	}
	var words []string
	if fi, err := os.Stat(s); err == nil && fi.IsDir() {
		files, _ := filepath.Glob(filepath.Join(s, "*", "pid"))
		for _, f := range files {
			data, err := os.ReadFile(f)
			if err != nil {
				return nil, fmt.Errorf("--pids: %w", err)
			}
			words = append(words, strings.TrimSpace(string(data)))
		}
		if len(words) == 0 {
			return nil, fmt.Errorf("--pids %s: no file matches */pid in this directory", s)
		}
	} else {
		words = strings.Split(s, ",")
	}
	var pids []int
	for _, w := range words {
		pid, err := strconv.Atoi(strings.TrimSpace(w))
		if err != nil || pid < 1 {
			return nil, fmt.Errorf("--pids %q: give comma-separated process ids, or the directory of a onebox", s)
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// cpuOf returns the processor time a process has used.
func cpuOf(pid int) (time.Duration, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The command's name, in parentheses, may hold anything; fields count from behind it.
	f := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
	if len(f) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(f))
	}
	user, err1 := strconv.ParseInt(string(f[11]), 10, 64)
	sys, err2 := strconv.ParseInt(string(f[12]), 10, 64)
	if err1 != nil || err2 != nil {
		return 0, fmt.Errorf("/proc/%d/stat: %q %q", pid, f[11], f[12])
	}
	const tick = 10 * time.Millisecond // Linux tells user space 100 ticks a second, always
	return time.Duration(user+sys) * tick, nil
}

// peakOf returns the most memory a process has had resident, in bytes; 0 if unknown.
func peakOf(pid int) int64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return kb << 10
		}
	}
	return 0
}

// ownCPU returns the processor time this process has used.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
