//go:build race

package rpc

import "syscall"

// Here the calls of package syscall are used, which tell the race detector that what one end
// wrote comes before what the other end read.

func rawRead(fd uintptr, b []byte) (int, syscall.Errno) { return withErrno(syscall.Read(int(fd), b)) }

func rawWrite(fd uintptr, b []byte) (int, syscall.Errno) { return withErrno(syscall.Write(int(fd), b)) }

func withErrno(n int, err error) (int, syscall.Errno) {
	errno, _ := err.(syscall.Errno)
	if err != nil && errno == 0 {
		errno = syscall.EIO
	}
	return n, errno
}
