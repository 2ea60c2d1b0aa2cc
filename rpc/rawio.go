//go:build !race

package rpc

import (
	"syscall"
	"unsafe"
)

// maxRaw is how much one raw call moves at most, so that none takes long.
const maxRaw = 64 << 10

// rawRead and rawWrite are read(2) and write(2) on a socket that doesn't block, without
// telling the scheduler. Go's own calls announce that they might block; with that, in a
// server that was idle, comes a wake-up of the runtime's monitor thread, which then looks on
// every 20 us: more work than handling a request. These calls only copy.
func rawRead(fd uintptr, b []byte) (int, syscall.Errno) {
	if len(b) > maxRaw {
		b = b[:maxRaw]
	}
	n, _, err := syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	if err != 0 {
		return -1, err
	}
	return int(n), 0
}

func rawWrite(fd uintptr, b []byte) (int, syscall.Errno) {
	if len(b) > maxRaw {
		b = b[:maxRaw]
	}
	n, _, err := syscall.RawSyscall(syscall.SYS_WRITE, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	if err != 0 {
		return -1, err
	}
	return int(n), 0
}
