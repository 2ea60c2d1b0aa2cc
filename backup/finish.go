package backup

import (
	"context"
	"errors"
	"time"

	"pegasus/blob"
)

// FinishTable ends the backup of a table whose partitions are all complete: it gathers their manifests, and writes ours of the table and
// app_backup_status. ErrIncomplete if a partition isn't. It may be repeated.
func FinishTable(ctx context.Context, s *blob.Store, t Table, partitions int32) (TableManifest, error) {
	m := TableManifest{Format: ManifestFormat, Table: t.Name, AppID: t.AppID, Written: time.Now().UnixMilli()}
	whole := true // there are manifests of all partitions
	for i := range partitions {
		dir := t.Partition(i)
		checkpoint, err := Current(ctx, s, dir)
		if err != nil {
			return TableManifest{}, err
		}
		if checkpoint == "" {
			return TableManifest{}, bad(s, blob.Join(dir, currentFile), ErrIncomplete, "partition %d isn't complete", i)
		}
		meta, err := ReadMetadata(ctx, s, dir, checkpoint)
		if err != nil {
			return TableManifest{}, err
		}
		m.Bytes += meta.Bytes
		p, err := ReadManifest(ctx, s, dir, checkpoint)
		if err != nil {
			return TableManifest{}, err
		}
		if p == nil { // a server of upstream wrote it
			whole = false
			continue
		}
		m.Rows += p.Rows
		m.RowBytes += p.RowBytes
		m.Partitions = append(m.Partitions, PartitionState{Checkpoint: checkpoint, Decree: p.Decree, Rows: p.Rows, Clock: p.Clock, Digest: p.Digest})
	}
	if whole {
		if err := write(ctx, s, t.ManifestFile(), m); err != nil {
			return TableManifest{}, err
		}
	}
	return m, write(ctx, s, t.StatusFile(), Status{Bytes: m.Bytes})
}

// Finish makes a backup complete: it writes backup_info. Each of its tables has been finished.
func Finish(ctx context.Context, s *blob.Store, l Location, i Info) error {
	for id, name := range i.Tables() {
		if _, err := read(ctx, s, l.Table(name, id).StatusFile(), mostSmall, ErrIncomplete, ParseStatus); err != nil {
			return err
		}
	}
	return write(ctx, s, l.InfoFile(), i)
}

// Delete removes a backup. It doesn't seem complete any more as soon as that begins, and what is left after a failure is
// removed by another call. It is no error if there is none.
func Delete(ctx context.Context, s *blob.Store, l Location) error {
	if err := l.Check(); err != nil {
		return err
	}
	err := s.Delete(ctx, l.InfoFile())
	if err != nil && !errors.Is(err, blob.ErrNotFound) {
		return err
	}
	// Who reads a table meanwhile shall see that it goes, and not take it for one that lacks partitions.
	entries, err := s.List(ctx, l.Dir())
	if err != nil && !errors.Is(err, blob.ErrNotFound) {
		return err
	}
	for _, e := range entries {
		_, last := cutLast(e.Name)
		if t, ok := parseTable(l, last); ok && e.Dir {
			if err := s.Delete(ctx, t.MetadataFile()); err != nil && !errors.Is(err, blob.ErrNotFound) {
				return err
			}
		}
	}
	return s.DeleteTree(ctx, l.Dir())
}
