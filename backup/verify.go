package backup

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"io"
	"slices"

	"pegasus/blob"
	"pegasus/rocks/remote"
)

// Problem is a file of a backup that is wrong.
type Problem struct {
	File string `json:"file"` // from the root of the store; may be a directory
	Err  error  `json:"-"`
}

// Report is what Verify found.
type Report struct {
	Location
	Info     Info // zero if it can't be read
	Tables   []TableReport
	Problems []Problem // none: the backup is complete and whole
}

// TableReport is what Verify found of a table.
type TableReport struct {
	Table
	Manifest   bool // it has our manifests; else it is upstream's, and was compared with what upstream's files say
	Rows       int64
	Expired    int64 // of Rows, at VerifyOptions.Now
	Files      int
	Bytes      int64
	Partitions []PartitionReport
}

// PartitionReport is what Verify found of a partition.
type PartitionReport struct {
	Index  int32
	Decree int64
	Rows   int64
	Clock  uint32 // of Digest: that of the manifest, or VerifyOptions.Now
	Digest Sum
	Whole  bool // nothing is wrong with it
}

// VerifyOptions say what is verified.
type VerifyOptions struct {
	Table string // only this table; empty: all
	Now   uint32 // Clock
	// Progress hears of the bytes of files that were read, and of those of all tables that were begun; nil: nobody does.
	Progress func(done, all int64)
}

// Verify reads all of a backup: sizes and MD5 of its files, each row, and what our manifests say. An error is one of the place, or that the backup doesn't exist;
// what is wrong with the backup stands in the report.
func Verify(ctx context.Context, s *blob.Store, f Found, o VerifyOptions) (Report, error) {
	v := &verifier{ctx: ctx, s: s, o: o, seen: map[string]bool{}, r: Report{Location: f.Location}}
	err := v.all(f)
	return v.r, err
}

type verifier struct {
	ctx       context.Context
	s         *blob.Store
	o         VerifyOptions
	seen      map[string]bool // files with a problem
	done, sum int64
	r         Report
}

// note keeps a problem. It returns an error that isn't one of the backup.
func (v *verifier) note(err error) error {
	if err == nil || !Damaged(err) {
		return err
	}
	p := Problem{Err: err}
	var e *Error
	if errors.As(err, &e) {
		p.File = e.File
	}
	if !v.seen[p.File] {
		v.seen[p.File] = true
		v.r.Problems = append(v.r.Problems, p)
	}
	return nil
}

func (v *verifier) all(f Found) error {
	var err error
	if v.r.Info, err = ReadInfo(v.ctx, v.s, f.Location); v.note(err) != nil {
		return err
	}
	tables := slices.Clone(f.Tables)
	for id, name := range v.r.Info.Tables() {
		t := f.Location.Table(name, id)
		if slices.Contains(tables, t) || v.o.Table != "" && name != v.o.Table {
			continue
		}
		if err := v.note(bad(v.s, t.Dir(), ErrDamaged, "%s names this table, and it isn't there", infoFile)); err != nil {
			return err
		}
	}
	if v.o.Table != "" {
		t, err := f.Table(v.s, v.o.Table)
		if err != nil {
			return err
		}
		tables = []Table{t}
	}
	for _, t := range tables {
		r, err := v.table(t)
		v.r.Tables = append(v.r.Tables, r)
		if err != nil {
			return err
		}
	}
	return nil
}

func (v *verifier) table(t Table) (TableReport, error) {
	r := TableReport{Table: t}
	info, err := ReadTable(v.ctx, v.s, t)
	if errors.Is(err, ErrNone) {
		err = bad(v.s, t.MetadataFile(), ErrDamaged, "it isn't there: without it the table can't be restored")
	}
	if err != nil {
		return r, v.note(err)
	}
	m, err := ReadTableManifest(v.ctx, v.s, t)
	if err := v.note(err); err != nil {
		return r, err
	}
	if m != nil && len(m.Partitions) != int(info.PartitionCount) {
		if err := v.note(bad(v.s, t.ManifestFile(), ErrDamaged, "it has %d partitions, %s says %d", len(m.Partitions), tableFile, info.PartitionCount)); err != nil {
			return r, err
		}
		m = nil
	}
	r.Manifest = m != nil
	if v.o.Progress != nil {
		all, err := Measure(v.ctx, v.s, t, info.PartitionCount)
		if err != nil {
			return r, err
		}
		v.sum += all
	}
	for i := range info.PartitionCount {
		var want *PartitionState
		if m != nil {
			want = &m.Partitions[i]
		}
		p, err := v.partition(t, i, want, &r)
		r.Partitions = append(r.Partitions, p)
		if err != nil {
			return r, err
		}
	}
	status, err := read(v.ctx, v.s, t.StatusFile(), mostSmall, ErrNone, ParseStatus)
	switch {
	case errors.Is(err, ErrNone): // upstream's one-shot backups have none
	case err != nil:
		return r, v.note(err)
	case status.Bytes != r.Bytes && len(v.r.Problems) == 0:
		return r, v.note(bad(v.s, t.StatusFile(), ErrDamaged, "it says that the table has %d bytes, its partitions have %d", status.Bytes, r.Bytes))
	}
	return r, nil
}

func (v *verifier) partition(t Table, index int32, want *PartitionState, r *TableReport) (PartitionReport, error) {
	dir := t.Partition(index)
	out := PartitionReport{Index: index, Clock: v.o.Now}
	before := len(v.r.Problems)
	err := v.rows(t, index, want, r, &out)
	if err != nil && Damaged(err) {
		if err = v.note(err); err == nil {
			err = v.eachFile(dir)
		}
	}
	out.Whole = err == nil && len(v.r.Problems) == before
	return out, err
}

// rows reads a partition as a restore would.
func (v *verifier) rows(t Table, index int32, want *PartitionState, r *TableReport, out *PartitionReport) error {
	dir := t.Partition(index)
	p, err := OpenPartition(v.ctx, v.s, dir, OpenOptions{Read: func(n int64) {
		v.done += n
		if v.o.Progress != nil {
			v.o.Progress(v.done, v.sum)
		}
	}})
	if err != nil {
		return err
	}
	r.Files += len(p.Metadata.Files)
	r.Bytes += p.Metadata.Bytes
	out.Decree = p.Metadata.Decree
	if m := p.Manifest; m != nil {
		out.Clock = m.Clock
		if m.Table != t.Name || m.AppID != t.AppID || m.Partition != index {
			return bad(v.s, blob.Join(p.path(), manifestFile), ErrDamaged, "it is of partition %d of table %s with id %d", m.Partition, m.Table, m.AppID)
		}
		if want != nil && (want.Checkpoint != p.Checkpoint || want.Rows != m.Rows || want.Digest != m.Digest || want.Decree != m.Decree) {
			return bad(v.s, t.ManifestFile(), ErrDamaged, "it says that partition %d is %s with %d rows at decree %d and digest %s; %s has %d rows at decree %d and digest %s",
				index, want.Checkpoint, want.Rows, want.Decree, want.Digest, p.Checkpoint, m.Rows, m.Decree, m.Digest)
		}
	} else if want != nil {
		return bad(v.s, blob.Join(p.path(), manifestFile), ErrDamaged, "it isn't there, though %s of the table names the partition", manifestFile)
	}
	rows, err := p.Rows(v.ctx)
	if err != nil {
		return err
	}
	defer rows.Close()
	digest := NewDigest(out.Clock)
	expired := int64(0)
	for rows.Next() {
		digest.Add(rows.Key(), rows.Value())
		out.Rows++
		if rows.Value().Expired(v.o.Now) {
			expired++
		}
	}
	r.Rows += out.Rows
	r.Expired += expired
	out.Digest = digest.Sum()
	return rows.Close()
}

// eachFile looks at each file of a partition in which something is wrong, so that all that are wrong get named.
func (v *verifier) eachFile(dir string) error {
	checkpoint, err := Current(v.ctx, v.s, dir)
	if err != nil || checkpoint == "" {
		return v.note(err)
	}
	if _, err := ReadManifest(v.ctx, v.s, dir, checkpoint); err != nil {
		if err := v.note(err); err != nil {
			return err
		}
	}
	m, err := ReadMetadata(v.ctx, v.s, dir, checkpoint)
	if err != nil {
		return v.note(err)
	}
	for _, f := range m.Files {
		err := blame(v.s, blob.Join(dir, checkpoint, f.Name), ErrDamaged, remote.CheckStored(v.ctx, v.s, blob.Join(dir, checkpoint), metadataFile, f))
		if err == nil {
			err = checkContent(v.ctx, v.s, blob.Join(dir, checkpoint), f)
		}
		if err := v.note(err); err != nil {
			return err
		}
	}
	return nil
}

// checkContent reads a file and compares it.
func checkContent(ctx context.Context, s *blob.Store, dir string, f File) error {
	name := blob.Join(dir, f.Name)
	r, err := s.Open(ctx, name)
	if err != nil {
		return blame(s, name, ErrDamaged, err)
	}
	defer r.Close()
	h := md5.New()
	if _, err := io.Copy(h, r); err != nil {
		return blame(s, name, ErrDamaged, err)
	}
	if sum := hex.EncodeToString(h.Sum(nil)); f.MD5 != "" && sum != f.MD5 {
		return bad(s, name, ErrDamaged, "its MD5 is %s, %s says %s", sum, metadataFile, f.MD5)
	}
	return nil
}
