package base

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"testing"
)

func TestPassing(t *testing.T) {
	wrapped := func(e error) error {
		return fmt.Errorf("open the store: %w: %w", ErrDiskIoError, &os.PathError{Op: "open", Path: "x", Err: e})
	}
	for _, c := range []struct {
		err               error
		shortage, passing bool
	}{
		{nil, false, false},
		{errors.New("checksum mismatch"), false, false},
		{ErrCorruption, false, false},
		{wrapped(syscall.ENOENT), false, false},
		{wrapped(fs.ErrNotExist), false, false},
		{wrapped(syscall.EEXIST), false, false},
		{wrapped(syscall.EIO), false, true},
		{wrapped(syscall.EROFS), false, true},
		{wrapped(syscall.EACCES), false, true},
		{wrapped(syscall.ENOSPC), true, true},
		{wrapped(syscall.EDQUOT), true, true},
		{wrapped(syscall.EMFILE), true, true},
		{wrapped(syscall.ENFILE), true, true},
		{wrapped(syscall.ENOMEM), true, true},
		{wrapped(syscall.EINTR), true, true},
		{wrapped(context.DeadlineExceeded), true, true},
		{wrapped(os.ErrDeadlineExceeded), true, true},
		{errors.Join(ErrCorruption, wrapped(syscall.EMFILE)), true, true},
	} {
		if Shortage(c.err) != c.shortage || Passing(c.err) != c.passing {
			t.Errorf("%v: shortage %v, passing %v", c.err, Shortage(c.err), Passing(c.err))
		}
	}
}
