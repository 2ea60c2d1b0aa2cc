package backup

import (
	"bytes"
	"context"
	"errors"

	"pegasus/blob"
	"pegasus/gen/layer2"
)

// Most bytes of the files that are read as a whole.
const (
	mostSmall    = 4 << 10
	mostDocument = 64 << 20
)

// read reads a document. absent is the kind of error if it isn't there.
func read[T any](ctx context.Context, s *blob.Store, name string, most int64, absent error, parse func([]byte) (T, error)) (T, error) {
	var none T
	b, err := s.Get(ctx, name, most)
	if err != nil {
		return none, blame(s, name, absent, err)
	}
	v, err := parse(b)
	switch {
	case errors.Is(err, ErrFormat):
		return none, &Error{s.Name(), name, ErrFormat, err}
	case err != nil:
		return none, &Error{s.Name(), name, ErrDamaged, err}
	}
	return v, nil
}

// write writes a document.
func write(ctx context.Context, s *blob.Store, name string, v any) error {
	b, err := encode(v)
	if err == nil {
		_, err = s.PutBytes(ctx, name, b)
	}
	return err
}

// ReadInfo reads backup_info: ErrIncomplete without it.
func ReadInfo(ctx context.Context, s *blob.Store, l Location) (Info, error) {
	i, err := read(ctx, s, l.InfoFile(), mostDocument, ErrIncomplete, ParseInfo)
	if err == nil && i.ID != l.ID {
		err = bad(s, l.InfoFile(), ErrDamaged, "it is of backup %d", i.ID)
	}
	return i, err
}

// ReadTable reads app_metadata: ErrNone without it.
func ReadTable(ctx context.Context, s *blob.Store, t Table) (layer2.AppInfo, error) {
	info, err := read(ctx, s, t.MetadataFile(), mostDocument, ErrNone, ParseTable)
	if err == nil && (info.AppId != t.AppID || info.AppName != t.Name) {
		return info, bad(s, t.MetadataFile(), ErrDamaged, "it is of table %s with id %d", info.AppName, info.AppId)
	}
	return info, err
}

// WriteTable writes app_metadata, with which the backup of a table begins. One that says the same stays as it is:
// whoever reads it meanwhile isn't disturbed.
func WriteTable(ctx context.Context, s *blob.Store, l Location, info *layer2.AppInfo) error {
	t := l.Table(info.AppName, info.AppId)
	if err := t.Check(); err != nil {
		return err
	}
	b, err := EncodeTable(info)
	if err != nil {
		return err
	}
	if was, err := s.Get(ctx, t.MetadataFile(), mostDocument); err == nil && bytes.Equal(was, b) {
		return nil
	}
	_, err = s.PutBytes(ctx, t.MetadataFile(), b)
	return err
}

// Current returns the directory of a partition (Table.Partition) that current_checkpoint names; "" if there is none: the partition
// isn't complete.
func Current(ctx context.Context, s *blob.Store, dir string) (checkpoint string, err error) {
	checkpoint, err = read(ctx, s, blob.Join(dir, currentFile), mostSmall, ErrIncomplete, ParseCurrent)
	if errors.Is(err, ErrIncomplete) {
		return "", nil
	}
	return checkpoint, err
}

// ReadMetadata reads backup_metadata of a partition's directory that Current names.
func ReadMetadata(ctx context.Context, s *blob.Store, dir, checkpoint string) (Metadata, error) {
	return read(ctx, s, blob.Join(dir, checkpoint, metadataFile), mostDocument, ErrDamaged, ParseMetadata)
}

// ReadManifest reads our manifest beside backup_metadata; nil if there is none, since upstream wrote the backup.
func ReadManifest(ctx context.Context, s *blob.Store, dir, checkpoint string) (*Manifest, error) {
	m, err := read(ctx, s, blob.Join(dir, checkpoint, manifestFile), mostDocument, ErrNone, ParseManifest)
	if errors.Is(err, ErrNone) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &m, nil
}

// ReadTableManifest reads our manifest of a table; nil if there is none.
func ReadTableManifest(ctx context.Context, s *blob.Store, t Table) (*TableManifest, error) {
	m, err := read(ctx, s, t.ManifestFile(), mostDocument, ErrNone, ParseTableManifest)
	if errors.Is(err, ErrNone) {
		return nil, nil
	}
	if err == nil && (m.AppID != t.AppID || m.Table != t.Name) {
		err = bad(s, t.ManifestFile(), ErrDamaged, "it is of table %s with id %d", m.Table, m.AppID)
	}
	if err != nil {
		return nil, err
	}
	return &m, nil
}
