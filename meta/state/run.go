package state

import (
	"pegasus/base"
	"pegasus/base/tbin"
)

// Run is a rebalancing that an administrator asked for. It stands in the State so that a
// new leader carries it on.
type Run struct {
	ID            int64 // counts runs from 1
	Table         int32 // 0: all
	PrimariesOnly bool
	Began         int64 // Unix seconds
	// Of one that has ended: when (0: it goes on), why, and what it came to.
	Ended               int64
	Why                 string
	Done, Failed, Bytes int64
}

// Active tells whether the run has begun and not ended.
func (r *Run) Active() bool { return r.ID != 0 && r.Ended == 0 }

// StartRun begins a Run of a table, 0: of all. base.ErrBusy if one goes on; the table has to
// be available.
type StartRun struct {
	Table         int32
	PrimariesOnly bool
	Now           int64 // Unix seconds
}

// EndRun ends the Run of that id; base.ErrInvalidState if it isn't the one that goes on.
type EndRun struct {
	ID                  int64
	Now                 int64 // Unix seconds
	Why                 string
	Done, Failed, Bytes int64
}

// Run returns the last Run, the zero value if there never was one.
func (s *State) Run() Run { return s.run }

func (*StartRun) kind() kind { return kindStartRun }
func (*EndRun) kind() kind   { return kindEndRun }

func (c *StartRun) apply(s *State) Result {
	if s.run.Active() {
		return failed(base.ErrBusy)
	}
	if c.Table != 0 {
		if t, code := s.available(c.Table); t == nil {
			return failed(code)
		}
	}
	s.run = Run{ID: s.run.ID + 1, Table: c.Table, PrimariesOnly: c.PrimariesOnly, Began: c.Now}
	return Result{Err: base.ErrOK, TableID: c.Table}
}

func (c *EndRun) apply(s *State) Result {
	r := &s.run
	if !r.Active() || c.ID != r.ID {
		return failed(base.ErrInvalidState)
	}
	r.Ended, r.Why, r.Done, r.Failed, r.Bytes = max(c.Now, 1), c.Why, c.Done, c.Failed, c.Bytes
	return Result{Err: base.ErrOK}
}

func (c *StartRun) appendFields(b []byte) []byte {
	r := Run{Table: c.Table, PrimariesOnly: c.PrimariesOnly, Began: c.Now}
	return r.appendFields(b)
}

func (c *StartRun) readField(r *tbin.Reader, t tbin.Type, id int16) {
	run := Run{Table: c.Table, PrimariesOnly: c.PrimariesOnly, Began: c.Now}
	run.readField(r, t, id)
	c.Table, c.PrimariesOnly, c.Now = run.Table, run.PrimariesOnly, run.Began
}

func (c *EndRun) appendFields(b []byte) []byte {
	r := Run{ID: c.ID, Ended: c.Now, Why: c.Why, Done: c.Done, Failed: c.Failed, Bytes: c.Bytes}
	return r.appendFields(b)
}

func (c *EndRun) readField(r *tbin.Reader, t tbin.Type, id int16) {
	run := Run{ID: c.ID, Ended: c.Now, Why: c.Why, Done: c.Done, Failed: c.Failed, Bytes: c.Bytes}
	run.readField(r, t, id)
	*c = EndRun{ID: run.ID, Now: run.Ended, Why: run.Why, Done: run.Done, Failed: run.Failed, Bytes: run.Bytes}
}

func (v *Run) appendFields(b []byte) []byte {
	b = appendI64(b, 1, v.ID)
	b = appendI64(b, 2, int64(v.Table))
	b = appendBool(b, 3, v.PrimariesOnly)
	b = appendI64(b, 4, v.Began)
	b = appendI64(b, 5, v.Ended)
	b = appendString(b, 6, v.Why)
	b = appendI64(b, 7, v.Done)
	b = appendI64(b, 8, v.Failed)
	return appendI64(b, 9, v.Bytes)
}

func (v *Run) readField(r *tbin.Reader, t tbin.Type, id int16) {
	switch (field{id, t}) {
	case field{1, tbin.I64}:
		v.ID = r.I64()
	case field{2, tbin.I64}:
		v.Table = int32(r.I64())
	case field{3, tbin.Bool}:
		v.PrimariesOnly = r.Bool()
	case field{4, tbin.I64}:
		v.Began = r.I64()
	case field{5, tbin.I64}:
		v.Ended = r.I64()
	case field{6, tbin.String}:
		v.Why = r.String()
	case field{7, tbin.I64}:
		v.Done = r.I64()
	case field{8, tbin.I64}:
		v.Failed = r.I64()
	case field{9, tbin.I64}:
		v.Bytes = r.I64()
	default:
		r.Skip(t)
	}
}
