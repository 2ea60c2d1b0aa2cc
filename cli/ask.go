package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Asker asks the person at the keyboard before something that can't be taken back, or not easily.
type Asker struct {
	In   io.Reader
	Errs io.Writer
	Yes  bool // nobody is asked
}

// IsTerminal tells whether a person sits at a stream.
func IsTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// Ask asks whether to do what, and wants the word to be written. Other answers, and none, are an error.
func (a *Asker) Ask(ctx context.Context, what, word string) error {
	if a.Yes {
		return nil
	}
	fmt.Fprintf(a.Errs, "%s Write %s to go on: ", what, word)
	if err := awaitTyped(ctx, a.In); err != nil {
		fmt.Fprintln(a.Errs)
		return err
	}
	answer := make(chan string, 1)
	go func() { answer <- readLine(a.In) }()
	var got string
	select {
	case got = <-answer:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if got != word {
		return errors.New("nothing is removed or changed; without a terminal give --yes")
	}
	return nil
}

// awaitTyped waits until a line was typed at a terminal. So nobody goes on reading after Ctrl-C, who would take what is typed next.
func awaitTyped(ctx context.Context, in io.Reader) error {
	if !IsTerminal(in) {
		return nil
	}
	fd := []unix.PollFd{{Fd: int32(in.(*os.File).Fd()), Events: unix.POLLIN}}
	for ctx.Err() == nil {
		if n, err := unix.Poll(fd, 50); n > 0 || err != nil && !errors.Is(err, unix.EINTR) {
			return nil // what is wrong is found by who reads
		}
	}
	return context.Cause(ctx)
}

// AskIfThere is Ask for what can be taken back: without a terminal it is done.
func (a *Asker) AskIfThere(ctx context.Context, what, word string) error {
	if !IsTerminal(a.In) {
		return nil
	}
	return a.Ask(ctx, what, word)
}
