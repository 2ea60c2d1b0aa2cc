package client

import (
	"errors"
	"fmt"
	"net"
	"time"

	"pegasus/base"
)

// Error tells how a call on a table failed for good.
type Error struct {
	Op        string // for example "RPC_RRDB_RRDB_PUT"
	Table     string
	Partition base.Gpid
	Addr      string // the server asked last; "" if there was none to ask
	Attempts  int
	Elapsed   time.Duration
	Unknown   bool  // a write that may or may not have been applied
	Err       error // the last attempt's error; wraps a base.ErrorCode
}

// Error returns one line: what failed, where, how often it was tried, and why.
func (e *Error) Error() string {
	s := fmt.Sprintf("%s on table %q, partition %v", e.Op, e.Table, e.Partition)
	if e.Addr != "" {
		s += " at " + e.Addr
	}
	if e.Attempts > 1 {
		s += fmt.Sprintf(", %d attempts in %v", e.Attempts, e.Elapsed.Round(time.Millisecond))
	}
	if e.Unknown {
		s += ", may or may not have been applied"
	}
	return s + ": " + e.Err.Error()
}

// Unwrap returns the last attempt's error.
func (e *Error) Unwrap() error { return e.Err }

// StoreError is a code of the storage engine in an answer (the `error` field of rrdb's
// responses, RocksDB's numbers).
type StoreError struct {
	Op   string
	Code int32
}

// The codes that callers tell apart.
const (
	CodeNotFound        = base.StoreNotFound
	CodeInvalidArgument = base.StoreInvalidArgument
	CodeIncomplete      = base.StoreIncomplete
	CodeTryAgain        = base.StoreTryAgain
)

func (e *StoreError) Error() string {
	if name := base.StoreCodeName(e.Code); name != "" {
		s := fmt.Sprintf("%s: %s (code %d)", e.Op, name, e.Code)
		if why := refusals[e.Op]; e.Code == CodeInvalidArgument && why != "" {
			s += ": " + why
		}
		return s
	}
	return fmt.Sprintf("%s: storage error %d", e.Op, e.Code)
}

// refusals say what a server can have against an argument that this package has let through.
var refusals = map[string]string{
	"incr":             "the row's value is not a decimal number, or the sum doesn't fit into 64 bits",
	"check-and-set":    "the operand, or the value of the row to check, is not a whole number that fits into 64 bits",
	"check-and-mutate": "the operand, or the value of the row to check, is not a whole number that fits into 64 bits",
	"multi-get":        "the server doesn't know the filter's type",
	"scan":             "the server doesn't know a filter's type",
	"batch-get":        "there are no keys",
}

func storeError(op string, code int32) error {
	if code == 0 {
		return nil
	}
	return &StoreError{op, code}
}

// SettingError is a setting that a table isn't to be given. Nothing was sent.
type SettingError struct {
	Name string
	Hint string // why not
}

func (e *SettingError) Error() string { return e.Name + ": " + e.Hint }

// Unwrap returns base.ErrInvalidParameters.
func (e *SettingError) Unwrap() error { return base.ErrInvalidParameters }

// AdminError is a refusal by the meta server. It unwraps to the code.
type AdminError struct {
	Op   string // in words: `create table "temp"`
	Meta string // who refused
	Code base.ErrorCode
	Hint string // the server's own words, often empty
}

func (e *AdminError) Error() string {
	s := fmt.Sprintf("%s: meta server %s answered %s", e.Op, e.Meta, e.Code)
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

// Unwrap returns the code.
func (e *AdminError) Unwrap() error { return e.Code }

var errNoPrimary = fmt.Errorf("the partition currently has no primary: %w", base.ErrInactiveState)

// verdict is what follows from an attempt's error.
type verdict struct {
	again   bool // worth another attempt
	resolve bool // after asking the meta who serves the partition
	unknown bool // the server may have done it nevertheless
}

// judge decides about an attempt's error. Codes that tell about the request itself, and
// throttling (ERR_BUSY), which is the table owner's decision, end the call.
func judge(err error) verdict {
	switch code := base.CodeOf(err); code {
	case base.ErrObjectNotFound, base.ErrInvalidState, base.ErrParentPartitionMisused, base.ErrInactiveState:
		return verdict{again: true, resolve: true}
	case base.ErrNotEnoughMember:
		return verdict{again: true, resolve: true}
	case base.ErrCapacityExceeded, base.ErrSplitting, base.ErrTryAgain:
		return verdict{again: true}
	case base.ErrTimeout:
		return verdict{again: true, resolve: true, unknown: true}
	case base.ErrNetworkFailure:
		return verdict{again: true, resolve: true, unknown: !neverSent(err)}
	}
	return verdict{}
}

// neverSent: no connection came about, so the request stayed here.
func neverSent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}
