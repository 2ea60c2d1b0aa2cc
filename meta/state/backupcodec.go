package state

import "pegasus/base/tbin"

func appendIDs(b []byte, id int16, ids []int32) []byte {
	list := make([]Addr, len(ids))
	for i, v := range ids {
		list[i] = Addr(uint32(v))
	}
	return appendAddrs(b, id, list)
}

func readIDs(r *tbin.Reader) (ids []int32) {
	for _, v := range readAddrs(r) {
		ids = append(ids, int32(uint32(v)))
	}
	return ids
}

// appendStructs appends a list of structs, nothing if there is none.
func appendStructs[T any, P interface {
	*T
	fields
}](b []byte, id int16, list []T) []byte {
	if len(list) == 0 {
		return b
	}
	b = tbin.AppendList(tbin.AppendField(b, tbin.List, id), tbin.Struct, len(list))
	for i := range list {
		b = tbin.AppendStop(P(&list[i]).appendFields(b))
	}
	return b
}

// readStructs reads a list of structs.
func readStructs[T any, P interface {
	*T
	fields
}](r *tbin.Reader) (out []T) {
	n := list(r, tbin.Struct, 1)
	for i := 0; i < n && r.Err() == nil; i++ {
		var v T
		readStruct(r, P(&v).readField)
		out = append(out, v)
	}
	return out
}

func (b *backups) empty() bool { return len(b.policies) == 0 && b.lastID == 0 }

func (b *backups) reset() { *b = backups{} }

func (b *backups) appendFields(buf []byte) []byte {
	buf = appendStructs[BackupPolicy](buf, 1, b.policies)
	buf = appendI64(buf, 2, b.lastID)
	return appendStructs[Backup](buf, 3, b.list)
}

func (b *backups) readField(r *tbin.Reader, t tbin.Type, id int16) {
	ok := true
	switch (field{id, t}) {
	case field{1, tbin.List}:
		b.policies = readStructs[BackupPolicy](r)
		last := ""
		for _, p := range b.policies {
			ok, last = ok && p.Name > last && ascending(p.Tables), p.Name
		}
	case field{2, tbin.I64}:
		b.lastID = r.I64()
		ok = b.lastID > 0 && b.list == nil
	case field{3, tbin.List}: // behind lastID
		b.list = readStructs[Backup](r)
		last := int64(0)
		for _, v := range b.list {
			ok, last = ok && v.ID > last && v.ID <= b.lastID && v.Status >= BackupRunning && v.Status <= BackupCancelled, v.ID
		}
	default:
		unknownField(r, id)
	}
	if !ok {
		r.Fail(tbin.ErrMalformed)
	}
}

func (p *BackupPolicy) appendFields(b []byte) []byte {
	b = appendString(b, 1, p.Name)
	b = appendString(b, 2, p.Provider)
	b = appendIDs(b, 3, p.Tables)
	b = appendI64(b, 4, p.Interval)
	b = appendI64(b, 5, int64(p.Keep))
	b = appendI64(b, 6, int64(p.Start))
	b = appendBool(b, 7, p.Disabled)
	return appendI64(b, 8, p.LastStart)
}

func (p *BackupPolicy) readField(r *tbin.Reader, t tbin.Type, id int16) {
	switch (field{id, t}) {
	case field{1, tbin.String}:
		p.Name = r.String()
	case field{2, tbin.String}:
		p.Provider = r.String()
	case field{3, tbin.List}:
		p.Tables = readIDs(r)
	case field{4, tbin.I64}:
		p.Interval = r.I64()
	case field{5, tbin.I64}:
		p.Keep = int32(r.I64())
	case field{6, tbin.I64}:
		p.Start = int32(r.I64())
	case field{7, tbin.Bool}:
		p.Disabled = r.Bool()
	case field{8, tbin.I64}:
		p.LastStart = r.I64()
	default:
		unknownField(r, id)
	}
}

func (v *Backup) appendFields(b []byte) []byte {
	b = appendI64(b, 1, v.ID)
	b = appendString(b, 2, v.Policy)
	b = appendString(b, 3, v.Provider)
	b = appendString(b, 4, v.Path)
	b = appendString(b, 5, v.Root)
	b = appendI64(b, 6, v.Began)
	b = appendI64(b, 7, v.Ended)
	b = appendI64(b, 8, int64(v.Status))
	b = appendString(b, 9, v.Why)
	b = appendBool(b, 10, v.Cleaning)
	b = appendBool(b, 11, v.Deleting)
	return appendStructs[BackupTable](b, 12, v.Tables)
}

func (v *Backup) readField(r *tbin.Reader, t tbin.Type, id int16) {
	switch (field{id, t}) {
	case field{1, tbin.I64}:
		v.ID = r.I64()
	case field{2, tbin.String}:
		v.Policy = r.String()
	case field{3, tbin.String}:
		v.Provider = r.String()
	case field{4, tbin.String}:
		v.Path = r.String()
	case field{5, tbin.String}:
		v.Root = r.String()
	case field{6, tbin.I64}:
		v.Began = r.I64()
	case field{7, tbin.I64}:
		v.Ended = r.I64()
	case field{8, tbin.I64}:
		v.Status = BackupStatus(r.I64())
	case field{9, tbin.String}:
		v.Why = r.String()
	case field{10, tbin.Bool}:
		v.Cleaning = r.Bool()
	case field{11, tbin.Bool}:
		v.Deleting = r.Bool()
	case field{12, tbin.List}:
		v.Tables = readStructs[BackupTable](r)
	default:
		unknownField(r, id)
	}
}

func (v *BackupTable) appendFields(b []byte) []byte {
	b = appendI64(b, 1, int64(v.ID))
	b = appendString(b, 2, v.Name)
	b = appendI64(b, 3, int64(v.Partitions))
	b = appendBool(b, 4, v.Done)
	b = appendI64(b, 5, v.Bytes)
	return appendString(b, 6, v.Skipped)
}

func (v *BackupTable) readField(r *tbin.Reader, t tbin.Type, id int16) {
	switch (field{id, t}) {
	case field{1, tbin.I64}:
		v.ID = int32(r.I64())
	case field{2, tbin.String}:
		v.Name = r.String()
	case field{3, tbin.I64}:
		v.Partitions = int32(r.I64())
	case field{4, tbin.Bool}:
		v.Done = r.Bool()
	case field{5, tbin.I64}:
		v.Bytes = r.I64()
	case field{6, tbin.String}:
		v.Skipped = r.String()
	default:
		unknownField(r, id)
	}
}

func (c *SetBackupPolicy) appendFields(b []byte) []byte {
	return appendBool(c.Policy.appendFields(b), 20, c.New)
}

func (c *SetBackupPolicy) readField(r *tbin.Reader, t tbin.Type, id int16) {
	if (field{id, t}) == (field{20, tbin.Bool}) {
		c.New = r.Bool()
		return
	}
	c.Policy.readField(r, t, id)
}

func (c *RemoveBackupPolicy) appendFields(b []byte) []byte { return appendString(b, 1, c.Name) }

func (c *RemoveBackupPolicy) readField(r *tbin.Reader, t tbin.Type, id int16) {
	switch (field{id, t}) {
	case field{1, tbin.String}:
		c.Name = r.String()
	default:
		unknownField(r, id)
	}
}

func (c *StartBackup) appendFields(b []byte) []byte {
	b = appendI64(b, 1, c.ID)
	b = appendString(b, 2, c.Policy)
	b = appendString(b, 3, c.Provider)
	b = appendString(b, 4, c.Path)
	b = appendString(b, 5, c.Root)
	b = appendIDs(b, 6, c.Tables)
	return appendI64(b, 7, c.Now)
}

func (c *StartBackup) readField(r *tbin.Reader, t tbin.Type, id int16) {
	switch (field{id, t}) {
	case field{1, tbin.I64}:
		c.ID = r.I64()
	case field{2, tbin.String}:
		c.Policy = r.String()
	case field{3, tbin.String}:
		c.Provider = r.String()
	case field{4, tbin.String}:
		c.Path = r.String()
	case field{5, tbin.String}:
		c.Root = r.String()
	case field{6, tbin.List}:
		c.Tables = readIDs(r)
	case field{7, tbin.I64}:
		c.Now = r.I64()
	default:
		unknownField(r, id)
	}
}

func (c *NoteBackupTable) appendFields(b []byte) []byte {
	b = appendI64(b, 1, c.ID)
	b = appendI64(b, 2, int64(c.Table))
	b = appendI64(b, 3, c.Bytes)
	return appendString(b, 4, c.Skipped)
}

func (c *NoteBackupTable) readField(r *tbin.Reader, t tbin.Type, id int16) {
	switch (field{id, t}) {
	case field{1, tbin.I64}:
		c.ID = r.I64()
	case field{2, tbin.I64}:
		c.Table = int32(r.I64())
	case field{3, tbin.I64}:
		c.Bytes = r.I64()
	case field{4, tbin.String}:
		c.Skipped = r.String()
	default:
		unknownField(r, id)
	}
}

func (c *EndBackup) appendFields(b []byte) []byte {
	b = appendI64(b, 1, c.ID)
	b = appendI64(b, 2, int64(c.Status))
	b = appendI64(b, 3, c.Now)
	return appendString(b, 4, c.Why)
}

func (c *EndBackup) readField(r *tbin.Reader, t tbin.Type, id int16) {
	switch (field{id, t}) {
	case field{1, tbin.I64}:
		c.ID = r.I64()
	case field{2, tbin.I64}:
		c.Status = BackupStatus(r.I64())
	case field{3, tbin.I64}:
		c.Now = r.I64()
	case field{4, tbin.String}:
		c.Why = r.String()
	default:
		unknownField(r, id)
	}
}

func (c *CleanedBackup) appendFields(b []byte) []byte { return appendI64(b, 1, c.ID) }

func (c *CleanedBackup) readField(r *tbin.Reader, t tbin.Type, id int16) {
	switch (field{id, t}) {
	case field{1, tbin.I64}:
		c.ID = r.I64()
	default:
		unknownField(r, id)
	}
}
