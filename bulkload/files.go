package bulkload

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"

	"pegasus/base"
	"pegasus/blob"
	"pegasus/rocks/remote"
)

const (
	infoFile     = "bulk_load_info"
	metadataFile = "bulk_load_metadata"

	mostInfo     = 64 << 10
	mostMetadata = 16 << 20
	mostFiles    = 20000 // of a partition
)

// Place is where the files for a table lie in a store.
type Place struct {
	Root    string // may be empty, and have slashes
	Cluster string
	Table   string
}

// Check says whether the place has a name that files can have.
func (p Place) Check() error {
	for _, e := range []struct{ what, name string }{{"cluster", p.Cluster}, {"table", p.Table}} {
		if strings.ContainsAny(e.name, "/\\") {
			return fmt.Errorf("the %s is %q, which can't be the name of a directory", e.what, e.name)
		}
		if err := blob.CheckName(e.name); err != nil {
			return fmt.Errorf("the name of the %s: %w", e.what, err)
		}
	}
	return blob.CheckName(p.Dir())
}

// Dir is the directory of all files.
func (p Place) Dir() string { return blob.Join(p.Root, p.Cluster, p.Table) }

// InfoFile is the name of the file with the Info.
func (p Place) InfoFile() string { return blob.Join(p.Dir(), infoFile) }

// Partition is the directory of a partition.
func (p Place) Partition(index int32) string {
	return blob.Join(p.Dir(), strconv.Itoa(int(index)))
}

// MetadataFile is the name of the file with the Metadata of a partition.
func (p Place) MetadataFile(index int32) string { return blob.Join(p.Partition(index), metadataFile) }

// Info is the file bulk_load_info.
type Info struct {
	AppID      int32  `json:"app_id"`
	AppName    string `json:"app_name"`
	Partitions int32  `json:"partition_count"`
}

// ParseInfo reads bulk_load_info. pegasus-spark has a field more in it.
func ParseInfo(b []byte) (Info, error) {
	var i struct {
		AppID      *int32 `json:"app_id"`
		AppName    string `json:"app_name"`
		Partitions *int32 `json:"partition_count"`
	}
	if err := parse(b, &i); err != nil {
		return Info{}, err
	}
	if i.AppID == nil || i.Partitions == nil {
		return Info{}, fmt.Errorf("app_id or partition_count isn't there")
	}
	if *i.AppID <= 0 {
		return Info{}, fmt.Errorf("app_id is %d", *i.AppID)
	}
	if err := base.Partitions.Check("partition_count", int64(*i.Partitions)); err != nil {
		return Info{}, err
	}
	return Info{*i.AppID, i.AppName, *i.Partitions}, nil
}

// parse reads a JSON document. A C++ server may end it with a zero byte.
func parse(b []byte, v any) error {
	if err := json.Unmarshal(bytes.TrimRight(b, "\x00\n "), v); err != nil {
		return fmt.Errorf("it is no JSON of its form: %w", err)
	}
	return nil
}

func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

// ReadInfo reads bulk_load_info: ErrMissing without it.
func ReadInfo(ctx context.Context, s *blob.Store, p Place) (Info, error) {
	if err := p.Check(); err != nil {
		return Info{}, err
	}
	return read(ctx, s, p.InfoFile(), mostInfo, ParseInfo)
}

// CheckTable says whether the files are for a table: ErrOther if not. Upstream compares the id and the number of partitions, not the name.
func (i Info) CheckTable(s *blob.Store, p Place, appID, partitions int32) error {
	switch {
	case i.AppID != appID:
		return bad(s, p.InfoFile(), ErrOther, "the files are for a table with id %d, table %s has %d", i.AppID, p.Table, appID)
	case i.Partitions != partitions:
		return bad(s, p.InfoFile(), ErrOther, "the files are for %d partitions, table %s has %d", i.Partitions, p.Table, partitions)
	}
	return nil
}

// Metadata is the file bulk_load_metadata.
type Metadata struct {
	Files []remote.File `json:"files"`
	Bytes int64         `json:"file_total_size"` // of all files
}

// ParseMetadata reads bulk_load_metadata. Bytes is the sum of the files' sizes, whatever the document says.
func ParseMetadata(b []byte) (Metadata, error) {
	var m Metadata
	if err := parse(b, &m); err != nil {
		return Metadata{}, err
	}
	switch {
	case m.Bytes <= 0:
		return Metadata{}, fmt.Errorf("file_total_size is %d: each partition must have a file", m.Bytes)
	case len(m.Files) == 0:
		return Metadata{}, fmt.Errorf("it names no files")
	case len(m.Files) > mostFiles:
		return Metadata{}, fmt.Errorf("it names %d files, the most is %d", len(m.Files), mostFiles)
	}
	m.Bytes = 0
	seen := map[string]bool{}
	for i := range m.Files {
		f := &m.Files[i]
		if strings.ContainsAny(f.Name, "/\\") {
			return Metadata{}, fmt.Errorf("file %d: %q is no plain name", i, f.Name)
		}
		if err := blob.CheckName(f.Name); err != nil {
			return Metadata{}, fmt.Errorf("file %d: %w", i, err)
		}
		if seen[f.Name] {
			return Metadata{}, fmt.Errorf("file %s is there twice", f.Name)
		}
		seen[f.Name] = true
		if f.Size < 0 || f.Size > math.MaxInt64-m.Bytes {
			return Metadata{}, fmt.Errorf("file %s has %d bytes", f.Name, f.Size)
		}
		m.Bytes += f.Size
		f.MD5 = strings.ToLower(f.MD5)
		if sum, err := hex.DecodeString(f.MD5); err != nil || len(sum) != 16 {
			return Metadata{}, fmt.Errorf("file %s has MD5 %q", f.Name, f.MD5)
		}
	}
	return m, nil
}

// ReadMetadata reads bulk_load_metadata of a partition: ErrMissing without it.
func ReadMetadata(ctx context.Context, s *blob.Store, p Place, index int32) (Metadata, error) {
	return read(ctx, s, p.MetadataFile(index), mostMetadata, ParseMetadata)
}

func read[T any](ctx context.Context, s *blob.Store, name string, most int64, parse func([]byte) (T, error)) (T, error) {
	var none T
	b, err := s.Get(ctx, name, most)
	if err != nil {
		return none, blame(s, name, err)
	}
	v, err := parse(b)
	if err != nil {
		return none, &Error{s.Name(), name, ErrDamaged, err}
	}
	return v, nil
}

func write(ctx context.Context, s *blob.Store, name string, v any) error {
	b, err := encode(v)
	if err == nil {
		_, err = s.PutBytes(ctx, name, b)
	}
	return err
}
