package faults

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// fake is a correct store of one hash key.
type fake struct {
	mu sync.Mutex
	s  state
}

func (f *fake) do(op *Op) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch op.Kind {
	case Get:
		op.Got = f.s[op.Row]
	case MultiGet, Scan:
		op.All = f.s
	case Incr:
		op.Got = f.s[op.Row] + op.Value
	case CheckAndSet:
		op.Got = f.s[op.CheckRow]
		op.Applied = [...]bool{op.Got == 0, op.Got != 0, op.Got != 0 && op.Got == op.Operand}[op.Check]
	}
	f.s, _ = f.s.step(op)
}

// record makes a history of concurrent workers on one key. forget says which operations get
// no answer, half of which have no effect either.
func record(seed uint64, n int, forget func(*rand.Rand, *Op) bool) []*Op {
	var f fake
	var l load
	r := rand.New(rand.NewPCG(seed, 0))
	type running struct {
		op  *Op
		at  int // when it takes effect and ends, in steps
		end int
	}
	var ops []*Op
	var open []running
	for step := 1; len(ops) < n || len(open) > 0; step++ {
		if len(open) < 4 && len(ops) < n {
			op := &Op{Worker: int32(len(ops)), Key: 1, Call: int64(step * 10)}
			op.All = f.s
			l.choose(op, r)
			at := step + r.IntN(4)
			open = append(open, running{op, at, at + r.IntN(4)})
			ops = append(ops, op)
		}
		left := open[:0]
		for _, o := range open {
			if o.at == step {
				if forget(r, o.op) {
					o.op.Unknown = true
					if r.IntN(2) == 0 {
						o.op.Return = int64(step*10 + 5)
						continue
					}
				}
				f.do(o.op)
			}
			if o.end <= step {
				o.op.Return = int64(step*10 + 5)
				continue
			}
			left = append(left, o)
		}
		open = left
	}
	return ops
}

func never(*rand.Rand, *Op) bool { return false }

func TestGoodHistories(t *testing.T) {
	for seed := range uint64(20) {
		unknowns := 0
		ops := record(seed, 150, func(r *rand.Rand, op *Op) bool {
			if r.IntN(20) != 0 || op.Kind == Incr && unknowns > 3 {
				return false
			}
			unknowns++
			return true
		})
		if f, bad := checkKey(1, ops, "", time.Minute); bad {
			t.Fatalf("seed %d: undecided %t\n%s", seed, f.undecided, f.text)
		}
	}
}

// TestBadHistories plants what a broken store would do into good histories.
func TestBadHistories(t *testing.T) {
	plants := map[string]func(ops []*Op) bool{
		"a lost write": func(ops []*Op) bool {
			// The last multi_get sees what was before a set that ended long before.
			last := ops[len(ops)-1]
			*last = Op{Key: 1, Kind: MultiGet, Call: 1 << 40, Return: 1<<40 + 1}
			for i := range last.All {
				last.All[i] = 77777777
			}
			return true
		},
		"a stale read": func(ops []*Op) bool {
			for _, op := range ops[len(ops)/2:] {
				if op.Kind == Get && op.Got != 0 {
					op.Got = 1 << 50
					return true
				}
			}
			return false
		},
		"a lost increment": func(ops []*Op) bool {
			for i := len(ops) - 1; i >= 0; i-- {
				if op := ops[i]; op.Kind == Incr {
					op.Got += 1000
					return true
				}
			}
			return false
		},
		"a torn multi_set": func(ops []*Op) bool {
			for _, op := range ops {
				if op.Kind == MultiGet && op.All[0] != 0 && op.All[0] == op.All[1] {
					op.All[1] = 0
					return true
				}
			}
			return false
		},
		"a check that lies": func(ops []*Op) bool {
			for _, op := range ops[len(ops)/2:] {
				if op.Kind == CheckAndSet {
					op.Applied = !op.Applied
					return true
				}
			}
			return false
		},
	}
	for name, plant := range plants {
		t.Run(name, func(t *testing.T) {
			tried := 0
			for seed := range uint64(10) {
				ops := record(seed+100, 150, never)
				if !plant(ops) {
					continue
				}
				tried++
				dir := t.TempDir()
				f, bad := checkKey(1, ops, dir, time.Minute)
				if !bad || f.undecided {
					t.Fatalf("seed %d: not found", seed)
				}
				if _, err := os.Stat(filepath.Join(dir, "key-1.html")); err != nil || f.picture == "" {
					t.Errorf("no picture: %v", err)
				}
			}
			if tried == 0 {
				t.Error("no history to plant it in")
			}
		})
	}
}

func TestPrune(t *testing.T) {
	op := func(k Kind, v int64, unknown bool) *Op { return &Op{Kind: k, Value: v, Unknown: unknown} }
	read := &Op{Kind: Get, Got: 5}
	ops := []*Op{
		read,
		op(Set, 5, true), // seen
		op(Set, 6, true), // never seen
		op(Get, 0, true), // tells nothing
		op(Del, 0, true), // can't be told from the row's absence
		{Kind: Incr, Row: counter, Value: 1, Unknown: true},
		{Kind: Set, Row: counter, Value: 7, Unknown: true}, // sums hide it
		{Kind: MultiSet, Mask: 3, Value: 8, Unknown: true},
		op(Set, 9, false),
	}
	var got []string
	for _, o := range prune(ops) {
		got = append(got, o.Kind.String())
	}
	if s := strings.Join(got, " "); s != "get set del incr set set" {
		t.Errorf("kept %s", s)
	}
}

// TestUnknownConditions: what an unknown check_and_set found is known to nobody, so the write
// that made it hold can't be left out, nor the one that made that one hold.
func TestUnknownConditions(t *testing.T) {
	ops := []*Op{
		{Kind: Set, Row: 0, Value: 1, Unknown: true, Call: 1, Return: 2},
		{Kind: CheckAndSet, CheckRow: 0, Check: ifPresent, Row: 1, Value: 2, Unknown: true, Call: 3, Return: 4},
		{Kind: CheckAndSet, CheckRow: 1, Check: ifPresent, Row: 2, Value: 3, Unknown: true, Call: 5, Return: 6},
		{Kind: CheckAndSet, CheckRow: 0, Check: ifPresent, Row: 0, Value: 4, Unknown: true, Call: 7, Return: 8},
		{Kind: MultiSet, Mask: 2, Value: 5, Unknown: true, Call: 9, Return: 10},
		{Kind: MultiGet, All: [rows]int64{4, 5, 3}, Call: 11, Return: 12},
	}
	if f, bad := checkKey(1, ops, "", checkPatience); bad {
		t.Errorf("a good history is refused:\n%s", f.text)
	}
	// Without what made the first one hold it is wrong.
	if _, bad := checkKey(1, ops[1:], "", checkPatience); !bad {
		t.Error("a row was written on a condition that could not hold, and that is not found")
	}
	// What no condition asks for is still left out.
	if got := prune(append(ops[:len(ops):len(ops)], &Op{Kind: Set, Row: 2, Value: 9, Unknown: true})); len(got) != len(ops) {
		t.Errorf("%d of %d operations are kept", len(got), len(ops)+1)
	}
}

func TestHistoryFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "h.jsonl")
	h, err := newHistory(file)
	if err != nil {
		t.Fatal(err)
	}
	h.add(&Op{Key: 2, Kind: CheckAndSet, Applied: true, Got: 4})
	h.add(&Op{Key: 3, Kind: Scan})
	if err := h.close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil || strings.Count(string(b), "\n") != 2 || !strings.Contains(string(b), `"op":"check_and_set"`) {
		t.Errorf("%v: %s", err, b)
	}
	if f := h.check(t.TempDir(), time.Minute); len(f) != 1 || f[0].key != 2 {
		t.Errorf("findings: %+v", f) // nobody wrote the 4 that was read
	}
}
