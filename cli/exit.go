package cli

import (
	"context"
	"errors"

	"pegasus/base"
	"pegasus/client"
)

// The exit statuses of all commands.
const (
	ExitFailed      = 1
	ExitPartly      = 2
	ExitNotFound    = 3
	ExitNoAnswer    = 4
	ExitUsage       = 5
	ExitUnmet       = 6
	ExitIll         = 7
	ExitDown        = 8
	ExitInterrupted = 130
)

// ExitStatuses explains them, for the reference page.
var ExitStatuses = []struct {
	Status int
	Means  string
}{
	{0, "it is done; `pegasus status`: everything is healthy"},
	{ExitFailed, "it failed, and the message says why; `pegasus health`: some data can't be read or written; `pegasus compare`: rows differ"},
	{ExitPartly, "a part is done, or what was checked is damaged: bad rows of an import, a backup that isn't whole, files that can't be read"},
	{ExitNotFound, "the row or the table doesn't exist"},
	{ExitNoAnswer, "the cluster, or the server that is needed, doesn't answer in time"},
	{ExitUsage, "the command line is wrong: nothing was done"},
	{ExitUnmet, "the condition of a check-and-set or check-and-mutate didn't hold: nothing was written"},
	{ExitIll, "`pegasus status`: everything can be read and written, and something is missing: a replica, a server, a meta server"},
	{ExitDown, "`pegasus status`: some data can't be read or written, or isn't known to be"},
	{ExitInterrupted, "Ctrl-C, or the signal TERM"},
}

// UsageError is a command line that is wrong.
type UsageError struct{ error }

// NewUsageError says that a command line is wrong.
func NewUsageError(err error) error { return &UsageError{err} }

func (e *UsageError) Unwrap() error { return e.error }

// ExitStatus is what the program ends with after an error.
func ExitStatus(err error) int {
	var (
		known   interface{ ExitStatus() int }
		usage   *UsageError
		missing *NotFoundError
	)
	switch {
	case err == nil:
		return 0
	case errors.As(err, &known):
		return known.ExitStatus()
	case errors.As(err, &usage):
		return ExitUsage
	case errors.As(err, &missing):
		return ExitNotFound
	case errors.Is(err, context.Canceled):
		return ExitInterrupted
	case errors.Is(err, client.ErrNoAnswer):
		return ExitNoAnswer
	}
	switch base.CodeOf(err) {
	case base.ErrObjectNotFound, base.ErrAppNotExist:
		return ExitNotFound
	case base.ErrTimeout, base.ErrNetworkFailure:
		return ExitNoAnswer
	}
	return ExitFailed
}
