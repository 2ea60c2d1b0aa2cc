package base

import (
	"context"
	"errors"
	"os"
	"syscall"
)

// Shortage tells whether err says that something ran out, or took too long: room on a disk,
// descriptors, memory, patience. Nothing is wrong with the disk then, nor with what is on it.
// Such an error is never taken for damage, nothing is moved aside or given up for good because
// of it, and what failed with it is tried again for as long as it takes.
func Shortage(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		return true
	}
	for _, e := range [...]syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EINTR,
		syscall.EAGAIN, syscall.EBUSY, syscall.ETIMEDOUT} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// Passing tells whether what failed with err may succeed later although nobody mends the files
// that it was about: a shortage, or whatever else the operating system says of a disk (EIO,
// EROFS, EACCES...), but for what it says of the files themselves: that they aren't there, or
// are of another kind. What fails so is not damaged as far as anybody knows; it is tried again,
// and if it is the disk that fails, not too often.
func Passing(err error) bool {
	if Shortage(err) {
		return true
	}
	var e syscall.Errno
	if !errors.As(err, &e) {
		return false
	}
	switch e {
	case syscall.ENOENT, syscall.ENOTDIR, syscall.EISDIR, syscall.EEXIST, syscall.ENOTEMPTY, syscall.EINVAL, syscall.ENAMETOOLONG, syscall.EXDEV:
		return false
	}
	return true
}
