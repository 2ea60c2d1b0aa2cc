package state

import (
	"slices"

	"pegasus/base"
	"pegasus/base/tbin"
)

// StartRestore makes a table whose partitions get their first members from a backup. Of From the fields
// up to SkipBad, but for those of the table, and Begun are of use. base.ErrObjectNotFound: the backup is being deleted.
type StartRestore struct {
	Table CreateTable
	From  Restoration
}

func (c *StartRestore) apply(s *State) Result {
	if s.backupGoing(&c.From) {
		return failed(base.ErrObjectNotFound)
	}
	res := c.Table.apply(s)
	if res.Err != base.ErrOK {
		return res
	}
	r := c.From
	r.TableID, r.Name, r.Partitions = res.TableID, c.Table.Name, c.Table.Partitions
	r.Status, r.Reason, r.Ended, r.Skipped = RestoreRuns, "", 0, nil
	restored.of(s).add(&r)
	return res
}

func (c *StartRestore) appendFields(b []byte) []byte {
	b = tbin.AppendStop(c.Table.appendFields(tbin.AppendField(b, tbin.Struct, 1)))
	return tbin.AppendStop(c.From.appendFields(tbin.AppendField(b, tbin.Struct, 2)))
}

func (c *StartRestore) readField(r *tbin.Reader, t tbin.Type, id int16) {
	switch (field{id, t}) {
	case field{1, tbin.Struct}:
		readStruct(r, c.Table.readField)
	case field{2, tbin.Struct}:
		readStruct(r, c.From.readField)
	default:
		unknownField(r, id)
	}
}

// EndRestore ends a restore. One that failed leaves no table behind: it is dropped, and its data may go
// from Expire on.
type EndRestore struct {
	ID     int32
	Failed bool
	Reason string
	Now    int64 // Unix time in milliseconds
	Expire int64 // Unix seconds
}

func (c *EndRestore) apply(s *State) Result {
	if !s.Restoring(c.ID) {
		return failed(base.ErrObjectNotFound)
	}
	status := RestoreDone
	if c.Failed {
		status = RestoreFailed
		if t, _ := s.tables.available(c.ID); t != nil {
			(&DropTable{ID: c.ID, Now: c.Now / 1000, Expire: c.Expire}).apply(s)
		}
	}
	restored.of(s).change(c.ID, func(r *Restoration) {
		r.Status, r.Reason, r.Ended = status, cut(c.Reason), c.Now
	})
	return Result{Err: base.ErrOK, TableID: c.ID}
}

func cut(reason string) string { return reason[:min(len(reason), maxReason)] }

func (c *EndRestore) appendFields(b []byte) []byte {
	b = appendI64(b, 1, int64(c.ID))
	b = appendBool(b, 2, c.Failed)
	b = appendString(b, 3, c.Reason)
	b = appendI64(b, 4, c.Now)
	return appendI64(b, 5, c.Expire)
}

func (c *EndRestore) readField(r *tbin.Reader, t tbin.Type, id int16) {
	switch (field{id, t}) {
	case field{1, tbin.I64}:
		c.ID = int32(r.I64())
	case field{2, tbin.Bool}:
		c.Failed = r.Bool()
	case field{3, tbin.String}:
		c.Reason = r.String()
	case field{4, tbin.I64}:
		c.Now = r.I64()
	case field{5, tbin.I64}:
		c.Expire = r.I64()
	default:
		unknownField(r, id)
	}
}

// SkipPartition notes that a partition is made empty, and why. base.ErrInvalidState if it has members, or
// the restore isn't one that may do without some.
type SkipPartition struct {
	ID, Partition int32
	Reason        string
}

func (c *SkipPartition) apply(s *State) Result {
	t, cfg, ok := s.Config(base.Gpid{AppID: c.ID, PartitionIndex: c.Partition})
	r := restored.of(s).get(c.ID)
	if !ok || r == nil {
		return failed(base.ErrObjectNotFound)
	}
	if !s.NeedsSeed(t, &cfg) || !r.SkipBad {
		return failed(base.ErrInvalidState)
	}
	restored.of(s).change(c.ID, func(r *Restoration) {
		list := slices.DeleteFunc(slices.Clone(r.Skipped), func(k Skipped) bool { return k.Partition == c.Partition })
		r.Skipped = append(list, Skipped{c.Partition, cut(c.Reason)})
	})
	return Result{Err: base.ErrOK, TableID: c.ID}
}

func (c *SkipPartition) appendFields(b []byte) []byte {
	b = appendI64(b, 1, int64(c.ID))
	b = appendI64(b, 2, int64(c.Partition))
	return appendString(b, 3, c.Reason)
}

func (c *SkipPartition) readField(r *tbin.Reader, t tbin.Type, id int16) {
	switch (field{id, t}) {
	case field{1, tbin.I64}:
		c.ID = int32(r.I64())
	case field{2, tbin.I64}:
		c.Partition = int32(r.I64())
	case field{3, tbin.String}:
		c.Reason = r.String()
	default:
		unknownField(r, id)
	}
}
