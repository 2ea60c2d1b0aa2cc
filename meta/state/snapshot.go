package state

import (
	"errors"
	"fmt"
	"slices"

	"pegasus/base/tbin"
)

// snapshotMagic begins a snapshot; the last byte is its version.
const snapshotMagic = "PGSMETA\x01"

// ErrNotSnapshot is what Restore wraps for data of another kind or version.
var ErrNotSnapshot = errors.New("no snapshot of a meta server's state")

// maxPartitions bounds what Restore allocates for one table.
const maxPartitions = 1 << 24

// AppendSnapshot appends the whole State.
func (s *State) AppendSnapshot(b []byte) []byte {
	b = append(b, snapshotMagic...)
	b = appendString(b, 1, s.cluster)
	b = appendI64(b, 2, int64(s.level))
	b = appendI64(b, 3, int64(s.lastID))
	b = appendString(b, 5, s.quorum)
	b = appendBool(b, 6, s.restored)
	b = tbin.AppendList(tbin.AppendField(b, tbin.List, 4), tbin.Struct, len(s.ids))
	s.Tables(func(t *Table) { b = tbin.AppendStop(t.appendFields(b)) })
	b = appendAddrs(b, 20, s.withRole(RoleNoPrimaries))
	b = appendAddrs(b, 21, s.withRole(RoleLeaving))
	if s.run.ID != 0 {
		b = tbin.AppendStop(s.run.appendFields(tbin.AppendField(b, tbin.Struct, 22)))
	}
	b = s.appendPurged(b, 23)
	return tbin.AppendStop(b)
}

// Restore returns the State that AppendSnapshot wrote. The error wraps ErrNotSnapshot or
// tbin.ErrMalformed.
func Restore(b []byte) (*State, error) {
	if len(b) < len(snapshotMagic) || string(b[:len(snapshotMagic)]) != snapshotMagic {
		return nil, fmt.Errorf("%d bytes: %w", len(b), ErrNotSnapshot)
	}
	s := New()
	r := tbin.NewReader(b[len(snapshotMagic):])
	readStruct(r, s.readField)
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("snapshot at byte %d of %d: %w", r.Offset(), len(b), err)
	}
	if r.Len() != 0 {
		return nil, fmt.Errorf("snapshot: %d bytes left over: %w", r.Len(), tbin.ErrMalformed)
	}
	return s, nil
}

func (s *State) readField(r *tbin.Reader, t tbin.Type, id int16) {
	switch (field{id, t}) {
	case field{1, tbin.String}:
		s.cluster = r.String()
	case field{2, tbin.I64}:
		if l := Level(r.I64()); l.valid() {
			s.level = l
		}
	case field{3, tbin.I64}:
		s.lastID = max(s.lastID, int32(r.I64()))
	case field{5, tbin.String}:
		s.quorum = r.String()
	case field{6, tbin.Bool}:
		s.restored = r.Bool()
	case field{20, tbin.List}:
		s.readRoles(r, RoleNoPrimaries)
	case field{21, tbin.List}:
		s.readRoles(r, RoleLeaving)
	case field{22, tbin.Struct}:
		s.run = Run{}
		readStruct(r, s.run.readField)
	case field{23, tbin.List}:
		s.readPurged(r)
	case field{4, tbin.List}:
		n := list(r, tbin.Struct, 1)
		for i := 0; i < n && r.Err() == nil; i++ {
			t := &Table{}
			readStruct(r, t.readField)
			if r.Err() != nil {
				return
			}
			if err := s.acceptable(t); err != nil {
				r.Fail(err)
				return
			}
			s.addTable(t)
		}
	default:
		r.Skip(t)
	}
}

// acceptable refuses what no State can have written.
func (s *State) acceptable(t *Table) error {
	switch {
	case len(s.ids) > 0 && t.ID <= s.ids[len(s.ids)-1]:
		return fmt.Errorf("table %d is out of order: %w", t.ID, tbin.ErrMalformed)
	case t.Status != Available && t.Status != Dropped:
		return fmt.Errorf("table %d has status %d: %w", t.ID, t.Status, tbin.ErrMalformed)
	case t.Status == Available && s.byName[t.Name] != nil:
		return fmt.Errorf("two tables named %q: %w", t.Name, tbin.ErrMalformed)
	}
	for i := range t.Parts {
		c := &t.Parts[i]
		for j, a := range c.Secondaries {
			for _, b := range c.Secondaries[:j] {
				if a == b {
					return fmt.Errorf("partition %d.%d has %v twice: %w", t.ID, i, a, tbin.ErrMalformed)
				}
			}
			if a == 0 || a == c.Primary {
				return fmt.Errorf("partition %d.%d has %v as a secondary: %w", t.ID, i, a, tbin.ErrMalformed)
			}
		}
	}
	return nil
}

func (t *Table) appendFields(b []byte) []byte {
	b = appendI64(b, 1, int64(t.ID))
	b = appendI64(b, 2, int64(t.Status))
	b = appendString(b, 3, t.Name)
	b = appendString(b, 4, t.Type)
	b = appendBool(b, 5, t.Stateful)
	b = appendI64(b, 6, int64(t.MaxReplicas))
	b = appendI64(b, 7, int64(t.InitPartitions))
	b = appendI64(b, 8, t.CreateSecond)
	b = appendI64(b, 9, t.DropSecond)
	b = appendI64(b, 10, t.ExpireSecond)
	b = appendBool(b, 11, t.AtomicIdempotent)
	b = appendBool(b, 12, t.Duplicating)
	b = appendBool(b, 13, t.BulkLoading)
	b = appendEnvs(b, 14, t.Envs)
	b = tbin.AppendList(tbin.AppendField(b, tbin.List, 15), tbin.Struct, len(t.Parts))
	for i := range t.Parts {
		b = tbin.AppendStop(t.Parts[i].appendFields(b))
	}
	return b
}

func (t *Table) readField(r *tbin.Reader, ft tbin.Type, id int16) {
	switch (field{id, ft}) {
	case field{1, tbin.I64}:
		t.ID = int32(r.I64())
	case field{2, tbin.I64}:
		t.Status = Status(r.I64())
	case field{3, tbin.String}:
		t.Name = r.String()
	case field{4, tbin.String}:
		t.Type = r.String()
	case field{5, tbin.Bool}:
		t.Stateful = r.Bool()
	case field{6, tbin.I64}:
		t.MaxReplicas = int32(r.I64())
	case field{7, tbin.I64}:
		t.InitPartitions = int32(r.I64())
	case field{8, tbin.I64}:
		t.CreateSecond = r.I64()
	case field{9, tbin.I64}:
		t.DropSecond = r.I64()
	case field{10, tbin.I64}:
		t.ExpireSecond = r.I64()
	case field{11, tbin.Bool}:
		t.AtomicIdempotent = r.Bool()
	case field{12, tbin.Bool}:
		t.Duplicating = r.Bool()
	case field{13, tbin.Bool}:
		t.BulkLoading = r.Bool()
	case field{14, tbin.Map}:
		t.Envs = mergeEnvs(nil, nil, readEnvs(r))
	case field{15, tbin.List}:
		n := list(r, tbin.Struct, 1)
		if n > maxPartitions {
			r.Fail(tbin.ErrMalformed)
			return
		}
		t.Parts = slices.Grow([]Config(nil), n) // none is nil, as without the field
		for i := 0; i < n && r.Err() == nil; i++ {
			var c Config
			readStruct(r, c.readField)
			t.Parts = append(t.Parts, c)
		}
	default:
		r.Skip(ft)
	}
}
