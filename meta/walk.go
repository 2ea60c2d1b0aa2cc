package meta

import "pegasus/meta/state"

// walkPiece is how many partitions are looked at without letting go of the locks: about a
// millisecond's work.
const walkPiece = 1024

// walk goes over the partitions of all available tables piece by piece, so that queries,
// beacons and changes don't wait for the whole of it. What changes between two pieces is
// seen before or after the change. The zero value is at the beginning.
type walk struct {
	table int32 // the next one, or a later one
	part  int   // of that table
	done  bool
}

// piece calls f for partitions from to to-1 of tables, until walkPiece of them were seen or
// there are no more. from is 0 for each table once, unless it vanishes meanwhile.
func (w *walk) piece(st *state.State, f func(t *state.Table, from, to int)) {
	room := walkPiece
	w.done = true
	st.TablesFrom(w.table, func(t *state.Table) bool {
		if t.ID != w.table {
			w.table, w.part = t.ID, 0
		}
		if t.Status != state.Available {
			return true
		}
		if room <= 0 {
			w.done = false
			return false
		}
		from := min(w.part, len(t.Parts))
		to := min(len(t.Parts), from+room)
		f(t, from, to)
		room -= to - from + 1 // a table is some work too
		w.part = to
		if to < len(t.Parts) {
			w.done = false
			return false
		}
		w.table, w.part = t.ID+1, 0
		return true
	})
}

// walk calls f for all partitions of available tables, with the State locked for a piece at
// a time.
func (f *fsm) walk(fn func(t *state.Table, from, to int)) {
	for w := (walk{}); !w.done; {
		f.read(func(st *state.State) { w.piece(st, fn) })
	}
}
