package meta

import (
	"fmt"

	"pegasus/base"
)

// refusal is a code, and words that go without it.
type refusal struct {
	code base.ErrorCode
	why  string
	open bool // raft was asked: what it was asked for may yet be done
}

func (r *refusal) Error() string { return r.why }

func (r *refusal) Unwrap() error { return r.code }

func refuse(code base.ErrorCode, format string, args ...any) error {
	return &refusal{code: code, why: fmt.Sprintf(format, args...)}
}

// raftRefusal gives the error of a change that raft didn't make.
func raftRefusal(what string, err error) error {
	return &refusal{raftCode(err), fmt.Sprintf("%s: %v; `pegasus meta status` shows what became of it", what, err), true}
}
