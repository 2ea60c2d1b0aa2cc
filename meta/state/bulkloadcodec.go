package state

import (
	"pegasus/base"
	"pegasus/base/tbin"
)

func (s *bulkLoads) empty() bool { return len(s.list) == 0 && s.last == 0 }

func (s *bulkLoads) reset() { *s = bulkLoads{} }

func (s *bulkLoads) appendFields(b []byte) []byte {
	return appendI64(appendStructs[BulkLoad](b, 1, s.list), 2, s.last)
}

func (s *bulkLoads) readField(r *tbin.Reader, t tbin.Type, id int16) {
	switch (field{id, t}) {
	case field{1, tbin.List}:
		s.list = readStructs[BulkLoad](r)
	case field{2, tbin.I64}:
		s.last = r.I64()
	default:
		unknownField(r, id)
	}
	for i := range s.list {
		if l := &s.list[i]; !l.sound() || i > 0 && s.list[i-1].Table >= l.Table {
			r.Fail(tbin.ErrMalformed)
			return
		}
	}
}

// sound tells whether a load can be one that was written.
func (l *BulkLoad) sound() bool {
	if l.Table <= 0 || l.ID <= 0 || l.Rate < 0 || l.Status < LoadReads || l.Status > LoadCanceled || len(l.Parts) == 0 || len(l.Parts) > maxPartitions {
		return false
	}
	for i := range l.Parts {
		if p := &l.Parts[i]; p.Status < PartReads || p.Status > PartTaken {
			return false
		}
	}
	return true
}

func (l *BulkLoad) appendFields(b []byte) []byte {
	b = appendI64(b, 1, int64(l.Table))
	b = appendI64(b, 2, l.ID)
	b = appendString(b, 3, l.Provider)
	b = appendString(b, 4, l.Root)
	b = appendString(b, 5, l.Cluster)
	b = appendString(b, 6, l.Name)
	b = appendBool(b, 7, l.Behind)
	b = appendI64(b, 8, l.Timetag)
	b = appendI64(b, 9, l.Begun)
	b = appendI64(b, 10, l.Ended)
	b = appendI64(b, 11, int64(l.Status))
	b = appendString(b, 12, string(l.Err))
	b = appendString(b, 13, l.Reason)
	b = appendStructs[BulkPart](b, 14, l.Parts)
	if l.Rate != 0 {
		b = appendI64(b, 15, l.Rate)
	}
	return b
}

func (l *BulkLoad) readField(r *tbin.Reader, t tbin.Type, id int16) {
	switch (field{id, t}) {
	case field{1, tbin.I64}:
		l.Table = int32(r.I64())
	case field{2, tbin.I64}:
		l.ID = r.I64()
	case field{3, tbin.String}:
		l.Provider = r.String()
	case field{4, tbin.String}:
		l.Root = r.String()
	case field{5, tbin.String}:
		l.Cluster = r.String()
	case field{6, tbin.String}:
		l.Name = r.String()
	case field{7, tbin.Bool}:
		l.Behind = r.Bool()
	case field{8, tbin.I64}:
		l.Timetag = r.I64()
	case field{9, tbin.I64}:
		l.Begun = r.I64()
	case field{10, tbin.I64}:
		l.Ended = r.I64()
	case field{11, tbin.I64}:
		l.Status = BulkLoadStatus(r.I64())
	case field{12, tbin.String}:
		l.Err = base.ErrorCode(r.String())
	case field{13, tbin.String}:
		l.Reason = r.String()
	case field{14, tbin.List}:
		l.Parts = readStructs[BulkPart](r)
	case field{15, tbin.I64}:
		l.Rate = r.I64()
	default:
		unknownField(r, id)
	}
}

func (p *BulkPart) appendFields(b []byte) []byte {
	b = appendI64(b, 1, int64(p.Status))
	b = appendString(b, 2, p.Digest)
	b = appendI64(b, 3, p.Rows)
	b = appendI64(b, 4, p.Bytes)
	b = appendI64(b, 5, p.Decree)
	return appendI64(b, 6, p.HeldMS)
}

func (p *BulkPart) readField(r *tbin.Reader, t tbin.Type, id int16) {
	switch (field{id, t}) {
	case field{1, tbin.I64}:
		p.Status = PartStatus(r.I64())
	case field{2, tbin.String}:
		p.Digest = r.String()
	case field{3, tbin.I64}:
		p.Rows = r.I64()
	case field{4, tbin.I64}:
		p.Bytes = r.I64()
	case field{5, tbin.I64}:
		p.Decree = r.I64()
	case field{6, tbin.I64}:
		p.HeldMS = r.I64()
	default:
		unknownField(r, id)
	}
}

func (n *PartNote) appendFields(b []byte) []byte {
	return appendI64(n.BulkPart.appendFields(b), 10, int64(n.Partition))
}

func (n *PartNote) readField(r *tbin.Reader, t tbin.Type, id int16) {
	if (field{id, t}) == (field{10, tbin.I64}) {
		n.Partition = int32(r.I64())
		return
	}
	n.BulkPart.readField(r, t, id)
}

func (c *StartBulkLoad) appendFields(b []byte) []byte {
	return tbin.AppendStop(c.From.appendFields(tbin.AppendField(b, tbin.Struct, 1)))
}

func (c *StartBulkLoad) readField(r *tbin.Reader, t tbin.Type, id int16) {
	if (field{id, t}) != (field{1, tbin.Struct}) {
		unknownField(r, id)
		return
	}
	readStruct(r, c.From.readField)
}

func (c *ControlBulkLoad) appendFields(b []byte) []byte {
	return appendI64(appendI64(b, 1, int64(c.Table)), 2, int64(c.Do))
}

func (c *ControlBulkLoad) readField(r *tbin.Reader, t tbin.Type, id int16) {
	readTwo(r, t, id, &c.Table, (*int32)(&c.Do))
}

// appendLoadID appends which load a command is about.
func appendLoadID(b []byte, table int32, load int64) []byte {
	return appendI64(appendI64(b, 1, int64(table)), 2, load)
}

func readLoadID(r *tbin.Reader, t tbin.Type, id int16, table *int32, load *int64) {
	switch (field{id, t}) {
	case field{1, tbin.I64}:
		*table = int32(r.I64())
	case field{2, tbin.I64}:
		*load = r.I64()
	default:
		unknownField(r, id)
	}
}

func (c *NoteBulkLoad) appendFields(b []byte) []byte {
	return appendStructs[PartNote](appendLoadID(b, c.Table, c.ID), 3, c.Notes)
}

func (c *NoteBulkLoad) readField(r *tbin.Reader, t tbin.Type, id int16) {
	if (field{id, t}) == (field{3, tbin.List}) {
		c.Notes = readStructs[PartNote](r)
		return
	}
	readLoadID(r, t, id, &c.Table, &c.ID)
}

func (c *FailBulkLoad) appendFields(b []byte) []byte {
	return appendString(appendString(appendLoadID(b, c.Table, c.ID), 3, string(c.Err)), 4, c.Reason)
}

func (c *FailBulkLoad) readField(r *tbin.Reader, t tbin.Type, id int16) {
	switch (field{id, t}) {
	case field{3, tbin.String}:
		c.Err = base.ErrorCode(r.String())
	case field{4, tbin.String}:
		c.Reason = r.String()
	default:
		readLoadID(r, t, id, &c.Table, &c.ID)
	}
}

func (c *EndBulkLoad) appendFields(b []byte) []byte {
	return appendI64(appendLoadID(b, c.Table, c.ID), 3, c.Now)
}

func (c *EndBulkLoad) readField(r *tbin.Reader, t tbin.Type, id int16) {
	if (field{id, t}) == (field{3, tbin.I64}) {
		c.Now = r.I64()
		return
	}
	readLoadID(r, t, id, &c.Table, &c.ID)
}

func (c *ClearBulkLoad) appendFields(b []byte) []byte { return appendI64(b, 1, int64(c.Table)) }

func (c *ClearBulkLoad) readField(r *tbin.Reader, t tbin.Type, id int16) {
	readTwo(r, t, id, &c.Table, new(int32))
}
