package faults

import (
	"fmt"
	"strings"
)

// Kind is what an operation does.
type Kind uint8

// The operations of a history. All of one are about one hash key; Scan and MultiGet read all
// of its rows at one moment.
const (
	Get Kind = iota
	Set
	Del
	Incr
	CheckAndSet
	MultiSet
	MultiDel
	MultiGet
	Scan
	kinds
)

var kindNames = [kinds]string{"get", "set", "del", "incr", "check_and_set", "multi_set", "multi_del", "multi_get", "scan"}

func (k Kind) String() string { return kindNames[k] }

// MarshalText makes histories readable.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// rows is how many sort keys a hash key has. The last one is a counter: it is set rarely
// and incremented often.
const (
	rows    = 4
	counter = rows - 1
)

// The conditions of CheckAndSet.
const (
	ifAbsent = iota
	ifPresent
	ifEqual
)

// Op is one operation of a history. Values are numbers above 0; 0 stands for "no such row".
type Op struct {
	Key    int32 `json:"key"`
	Worker int32 `json:"worker"`
	Kind   Kind  `json:"op"`
	Row    uint8 `json:"row"`  // which row is read or written
	Mask   uint8 `json:"mask"` // which rows, for the multi operations
	// CheckAndSet: the row that is looked at, the condition, the number it is about.
	CheckRow uint8 `json:"check_row"`
	Check    uint8 `json:"check"`
	Operand  int64 `json:"operand"`
	Value    int64 `json:"value"` // what is written; what is added, for incr

	// The outcome. Unknown: it may have happened, or happen at any later moment.
	Unknown bool        `json:"unknown"`
	Applied bool        `json:"applied"` // check_and_set: the condition held
	Got     int64       `json:"got"`     // what was read; the row that was looked at, for check_and_set; the sum, for incr
	All     [rows]int64 `json:"all"`     // what multi_get and scan read

	// Call and Return are in nanoseconds of the run.
	Call   int64  `json:"call"`
	Return int64  `json:"return"`
	Server string `json:"server"`
}

// writes tells whether the operation changes rows.
func (k Kind) writes() bool {
	switch k {
	case Get, MultiGet, Scan:
		return false
	}
	return true
}

// state is the rows of a hash key.
type state [rows]int64

// step applies op to s. ok tells whether op could have had the outcome that it had.
func (s state) step(op *Op) (next state, ok bool) {
	switch op.Kind {
	case Get:
		return s, s[op.Row] == op.Got
	case MultiGet, Scan:
		return s, s == op.All
	case Set:
		s[op.Row] = op.Value
	case Del:
		s[op.Row] = 0
	case Incr:
		s[op.Row] += op.Value
		return s, op.Unknown || s[op.Row] == op.Got
	case MultiSet, MultiDel:
		v := op.Value
		if op.Kind == MultiDel {
			v = 0
		}
		for i := range s {
			if op.Mask>>i&1 != 0 {
				s[i] = v
			}
		}
	case CheckAndSet:
		old := s[op.CheckRow]
		var holds bool
		switch op.Check {
		case ifAbsent:
			holds = old == 0
		case ifPresent:
			holds = old != 0
		case ifEqual:
			holds = old != 0 && old == op.Operand
		}
		if holds {
			s[op.Row] = op.Value
		}
		return s, op.Unknown || holds == op.Applied && old == op.Got
	}
	return s, true
}

// String tells the operation and its outcome in a line.
func (op *Op) String() string {
	var b strings.Builder
	b.WriteString(op.Kind.String())
	unless := func(format string, v any) {
		if op.Unknown {
			b.WriteString(" -> ?")
		} else {
			fmt.Fprintf(&b, " -> "+format, v)
		}
	}
	switch op.Kind {
	case Get:
		fmt.Fprintf(&b, " r%d", op.Row)
		unless("%d", op.Got)
	case MultiGet, Scan:
		unless("%v", op.All)
	case Set:
		fmt.Fprintf(&b, " r%d = %d", op.Row, op.Value)
		unless("%s", "ok")
	case Del:
		fmt.Fprintf(&b, " r%d", op.Row)
		unless("%s", "ok")
	case Incr:
		fmt.Fprintf(&b, " r%d += %d", op.Row, op.Value)
		unless("%d", op.Got)
	case MultiSet, MultiDel:
		fmt.Fprintf(&b, " %04b = %d", op.Mask, op.Value)
		unless("%s", "ok")
	case CheckAndSet:
		fmt.Fprintf(&b, " if r%d %s then r%d = %d", op.CheckRow,
			[]string{"is absent", "is there", fmt.Sprintf("== %d", op.Operand)}[op.Check], op.Row, op.Value)
		unless("%s", fmt.Sprintf("%t, it was %d", op.Applied, op.Got))
	}
	return b.String()
}
