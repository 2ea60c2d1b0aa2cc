package state

import (
	"cmp"

	"pegasus/base/tbin"
)

func (s *duplications) empty() bool { return len(s.list) == 0 }

func (s *duplications) reset() { *s = duplications{} }

func (s *duplications) appendFields(b []byte) []byte { return appendStructs[Duplication](b, 1, s.list) }

func (s *duplications) readField(r *tbin.Reader, t tbin.Type, id int16) {
	switch (field{id, t}) {
	case field{1, tbin.List}:
		s.list = readStructs[Duplication](r)
	default:
		unknownField(r, id)
	}
	for i := range s.list {
		d := &s.list[i]
		if d.Status < DupPrepare || d.Status > DupPause || d.Mode < DupSlow || d.Mode > DupFast || d.Remote == "" || d.RemoteTable == "" || !d.halvesValid() ||
			i > 0 && cmp.Or(cmp.Compare(s.list[i-1].Table, d.Table), cmp.Compare(s.list[i-1].ID, d.ID)) >= 0 {
			r.Fail(tbin.ErrMalformed)
			return
		}
	}
}

// Decrees are written as one more than they are: 0 is NotConfirmed.
func appendDecrees(b []byte, id int16, list []int64) []byte {
	up := make([]Addr, len(list))
	for i, d := range list {
		up[i] = Addr(d + 1)
	}
	return appendAddrs(b, id, up)
}

func readDecrees(r *tbin.Reader) (list []int64) {
	for _, a := range readAddrs(r) {
		if int64(a) < 0 {
			r.Fail(tbin.ErrMalformed)
		}
		list = append(list, int64(a)-1)
	}
	return list
}

func (d *Duplication) appendFields(b []byte) []byte {
	b = appendI64(b, 1, int64(d.Table))
	b = appendI64(b, 2, int64(d.ID))
	b = appendString(b, 3, d.Remote)
	b = appendString(b, 4, d.RemoteTable)
	b = appendI64(b, 5, int64(d.RemoteReplicas))
	b = appendI64(b, 6, d.Created)
	b = appendI64(b, 7, int64(d.Status))
	b = appendI64(b, 8, int64(d.Mode))
	b = appendBool(b, 9, d.Checkpoint)
	b = appendDecrees(b, 10, d.Confirmed)
	// From version.RemoteTables on.
	b = appendI64(b, 11, int64(d.RemoteID))
	b = appendBool(b, 12, d.RemoteMade)
	// From version.DuplicatedSplits on.
	b = appendStructs[Half](b, 13, d.Halves)
	return appendDecrees(b, 14, d.Copied)
}

func (d *Duplication) readField(r *tbin.Reader, t tbin.Type, id int16) {
	switch (field{id, t}) {
	case field{1, tbin.I64}:
		d.Table = int32(r.I64())
	case field{2, tbin.I64}:
		d.ID = int32(r.I64())
	case field{3, tbin.String}:
		d.Remote = r.String()
	case field{4, tbin.String}:
		d.RemoteTable = r.String()
	case field{5, tbin.I64}:
		d.RemoteReplicas = int32(r.I64())
	case field{6, tbin.I64}:
		d.Created = r.I64()
	case field{7, tbin.I64}:
		d.Status = DuplicationStatus(r.I64())
	case field{8, tbin.I64}:
		d.Mode = DuplicationMode(r.I64())
	case field{9, tbin.Bool}:
		d.Checkpoint = r.Bool()
	case field{10, tbin.List}:
		d.Confirmed = readDecrees(r)
	case field{11, tbin.I64}:
		d.RemoteID = int32(r.I64())
	case field{12, tbin.Bool}:
		d.RemoteMade = r.Bool()
	case field{13, tbin.List}:
		d.Halves = readStructs[Half](r)
	case field{14, tbin.List}:
		d.Copied = readDecrees(r)
	default:
		unknownField(r, id)
	}
}

func (c *AddDuplication) appendFields(b []byte) []byte {
	b = appendI64(b, 1, int64(c.Table))
	b = appendI64(b, 2, int64(c.ID))
	b = appendString(b, 3, c.Remote)
	b = appendString(b, 4, c.RemoteTable)
	b = appendI64(b, 5, int64(c.RemoteReplicas))
	b = appendBool(b, 6, c.Checkpoint)
	return appendI64(b, 7, c.Now)
}

func (c *AddDuplication) readField(r *tbin.Reader, t tbin.Type, id int16) {
	switch (field{id, t}) {
	case field{1, tbin.I64}:
		c.Table = int32(r.I64())
	case field{2, tbin.I64}:
		c.ID = int32(r.I64())
	case field{3, tbin.String}:
		c.Remote = r.String()
	case field{4, tbin.String}:
		c.RemoteTable = r.String()
	case field{5, tbin.I64}:
		c.RemoteReplicas = int32(r.I64())
	case field{6, tbin.Bool}:
		c.Checkpoint = r.Bool()
	case field{7, tbin.I64}:
		c.Now = r.I64()
	default:
		unknownField(r, id)
	}
}

func (c *ModifyDuplication) appendFields(b []byte) []byte {
	b = appendI64(b, 1, int64(c.Table))
	b = appendI64(b, 2, int64(c.ID))
	b = appendI64(b, 3, int64(c.Status))
	b = appendBool(b, 4, c.SetMode)
	return appendI64(b, 5, int64(c.Mode))
}

func (c *ModifyDuplication) readField(r *tbin.Reader, t tbin.Type, id int16) {
	switch (field{id, t}) {
	case field{1, tbin.I64}:
		c.Table = int32(r.I64())
	case field{2, tbin.I64}:
		c.ID = int32(r.I64())
	case field{3, tbin.I64}:
		c.Status = DuplicationStatus(r.I64())
	case field{4, tbin.Bool}:
		c.SetMode = r.Bool()
	case field{5, tbin.I64}:
		c.Mode = DuplicationMode(r.I64())
	default:
		unknownField(r, id)
	}
}

func (c *NoteRemoteTable) appendFields(b []byte) []byte {
	b = appendI64(b, 1, int64(c.Table))
	b = appendI64(b, 2, int64(c.ID))
	b = appendI64(b, 3, int64(c.RemoteID))
	return appendBool(b, 4, c.Made)
}

func (c *NoteRemoteTable) readField(r *tbin.Reader, t tbin.Type, id int16) {
	switch (field{id, t}) {
	case field{1, tbin.I64}:
		c.Table = int32(r.I64())
	case field{2, tbin.I64}:
		c.ID = int32(r.I64())
	case field{3, tbin.I64}:
		c.RemoteID = int32(r.I64())
	case field{4, tbin.Bool}:
		c.Made = r.Bool()
	default:
		unknownField(r, id)
	}
}

func (c *ConfirmDuplications) appendFields(b []byte) []byte {
	return appendStructs[Confirmation](b, 1, c.List)
}

func (c *ConfirmDuplications) readField(r *tbin.Reader, t tbin.Type, id int16) {
	switch (field{id, t}) {
	case field{1, tbin.List}:
		c.List = readStructs[Confirmation](r)
	default:
		unknownField(r, id)
	}
}

func (n *Confirmation) appendFields(b []byte) []byte {
	b = appendI64(b, 1, int64(n.Table))
	b = appendI64(b, 2, int64(n.ID))
	b = appendI64(b, 3, int64(n.Partition))
	b = appendI64(b, 4, n.Decree)
	b = appendI64(b, 5, n.Ballot)
	return appendI64(b, 6, n.Copied)
}

func (n *Confirmation) readField(r *tbin.Reader, t tbin.Type, id int16) {
	switch (field{id, t}) {
	case field{1, tbin.I64}:
		n.Table = int32(r.I64())
	case field{2, tbin.I64}:
		n.ID = int32(r.I64())
	case field{3, tbin.I64}:
		n.Partition = int32(r.I64())
	case field{4, tbin.I64}:
		n.Decree = r.I64()
	case field{5, tbin.I64}:
		n.Ballot = r.I64()
	case field{6, tbin.I64}:
		n.Copied = r.I64()
	default:
		unknownField(r, id)
	}
}
