package sim

import "bytes"

// Find runs seeds with a planted bug until one finds it, and returns that seed and what it
// found; nil if none did.
func Find(bug string, first, seeds uint64) (seed uint64, v *Violation) {
	for seed = first; seed < first+seeds; seed++ {
		if _, v = Run(Options{Seed: seed, Bug: bug}); v != nil {
			return seed, v
		}
	}
	return 0, nil
}

// Tail keeps the last lines that are written to it.
type Tail struct {
	max   int
	lines [][]byte
	rest  []byte
}

// NewTail returns a Tail of max lines; of all if max is negative.
func NewTail(max int) *Tail { return &Tail{max: max} }

// Write implements io.Writer.
func (t *Tail) Write(p []byte) (int, error) {
	n := len(p)
	for {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			t.rest = append(t.rest, p...)
			return n, nil
		}
		t.lines = append(t.lines, append(t.rest, p[:i+1]...))
		t.rest, p = nil, p[i+1:]
		if t.max >= 0 && len(t.lines) > 2*t.max+1 {
			t.lines = append([][]byte(nil), t.lines[len(t.lines)-t.max:]...)
		}
	}
}

func (t *Tail) String() string {
	ls := t.lines
	if t.max >= 0 && len(ls) > t.max {
		ls = ls[len(ls)-t.max:]
	}
	return string(bytes.Join(ls, nil)) + string(t.rest)
}
