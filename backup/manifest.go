package backup

import (
	"fmt"
	"slices"
)

// ManifestFormat is the format of Manifest and TableManifest that is written, and the newest that is read.
const ManifestFormat = 1

// Manifest is our file pegasus_manifest.json of a partition: what its rows are. Upstream's servers leave it alone.
type Manifest struct {
	Format    int    `json:"format"`
	Table     string `json:"table"`
	AppID     int32  `json:"app_id"`
	Partition int32  `json:"partition"`
	Decree    int64  `json:"decree"`
	Taken     int64  `json:"taken_ms"`   // when the rows were these, Unix milliseconds
	Written   int64  `json:"written_ms"` // when it was written, likewise
	Rows      int64  `json:"rows"`
	RowBytes  int64  `json:"row_bytes"` // of stored keys and values
	// Clock and Digest: that of the rows that are live at Clock (see Digest), all rows that are there. A restored partition's is the same
	// as long as none of them has been removed because it expired.
	Clock  uint32 `json:"clock"`
	Digest string `json:"digest"` // 16 hexadecimal digits
	Files  []File `json:"files"`  // those of backup_metadata
}

// Sum returns what Digest has.
func (m *Manifest) Sum() Sum {
	h, _ := parseHash(m.Digest) // it was checked when it was read
	return Sum{Rows: m.Rows, Hash: h}
}

func checkFormat(format int) error {
	if format < 1 || format > ManifestFormat {
		return fmt.Errorf("%w: it is of format %d, known are 1 to %d", ErrFormat, format, ManifestFormat)
	}
	return nil
}

// ParseManifest reads the manifest of a partition.
func ParseManifest(b []byte) (Manifest, error) {
	var m Manifest
	if err := parse(b, &m); err != nil {
		return Manifest{}, err
	}
	if err := checkFormat(m.Format); err != nil {
		return Manifest{}, err
	}
	if err := checkTable(m.AppID, m.Table); err != nil {
		return Manifest{}, err
	}
	if m.Partition < 0 || m.Decree < 0 || m.Rows < 0 || m.RowBytes < 0 {
		return Manifest{}, fmt.Errorf("partition %d, decree %d, %d rows of %d bytes", m.Partition, m.Decree, m.Rows, m.RowBytes)
	}
	if _, err := parseHash(m.Digest); err != nil {
		return Manifest{}, err
	}
	if _, err := checkFiles(m.Files); err != nil {
		return Manifest{}, err
	}
	return m, nil
}

// TableManifest is our file pegasus_manifest.json of a table: what partitions it has.
type TableManifest struct {
	Format     int              `json:"format"`
	Table      string           `json:"table"`
	AppID      int32            `json:"app_id"`
	Written    int64            `json:"written_ms"` // Unix milliseconds
	Rows       int64            `json:"rows"`
	RowBytes   int64            `json:"row_bytes"`
	Bytes      int64            `json:"bytes"` // of all files
	Partitions []PartitionState `json:"partitions"`
}

// PartitionState is a partition of a TableManifest.
type PartitionState struct {
	Checkpoint string `json:"checkpoint"` // its directory
	Decree     int64  `json:"decree"`
	Rows       int64  `json:"rows"`
	Clock      uint32 `json:"clock"`
	Digest     string `json:"digest"`
}

// ParseTableManifest reads the manifest of a table.
func ParseTableManifest(b []byte) (TableManifest, error) {
	var m TableManifest
	if err := parse(b, &m); err != nil {
		return TableManifest{}, err
	}
	if err := checkFormat(m.Format); err != nil {
		return TableManifest{}, err
	}
	if err := checkTable(m.AppID, m.Table); err != nil {
		return TableManifest{}, err
	}
	rows := int64(0)
	for i, p := range m.Partitions {
		if err := checkPlain(p.Checkpoint); err != nil {
			return TableManifest{}, fmt.Errorf("partition %d: %w", i, err)
		}
		if p.Rows < 0 || p.Decree < 0 {
			return TableManifest{}, fmt.Errorf("partition %d has %d rows at decree %d", i, p.Rows, p.Decree)
		}
		if _, err := parseHash(p.Digest); err != nil {
			return TableManifest{}, fmt.Errorf("partition %d: %w", i, err)
		}
		rows += p.Rows
	}
	if rows != m.Rows {
		return TableManifest{}, fmt.Errorf("it has %d rows, its partitions %d", m.Rows, rows)
	}
	return m, nil
}

// sameFiles tells whether two lists have the same files, in any order.
func sameFiles(a, b []File) bool {
	byName := func(files []File) []File {
		return slices.SortedFunc(slices.Values(files), func(x, y File) int {
			switch {
			case x.Name < y.Name:
				return -1
			case x.Name > y.Name:
				return 1
			}
			return 0
		})
	}
	return slices.Equal(byName(a), byName(b))
}
