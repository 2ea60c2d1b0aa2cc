package pegasus

import (
	"context"
	"fmt"
	"strconv"

	"pegasus/rocks"
	"pegasus/rocks/damage"
)

// Column families of a replica.
const (
	DataFamily = "default"
	MetaFamily = "pegasus_meta_cf"
)

// Keys of the column family MetaFamily. Values are decimal, but for the scenario.
const (
	keyDataVersion   = "pegasus_data_version"
	keyFlushedDecree = "pegasus_last_flushed_decree"
	keyCompactFinish = "pegasus_last_manual_compact_finish_time"
	keyScenario      = "rocksdb.usage_scenario"
)

// Meta is what a replica knows of its data.
type Meta struct {
	DataVersion   int    // of values
	FlushedDecree int64  // last decree whose writes are in the tables
	CompactFinish int64  // end of the last manual compaction, Unix milliseconds; 0 never
	UsageScenario string // normal, prefer_write or bulk_load; empty means normal
}

// ReadMeta reads the column family MetaFamily. A key that isn't known is left out.
func ReadMeta(ctx context.Context, db *rocks.DB) (Meta, error) {
	m := Meta{DataVersion: -1, FlushedDecree: -1}
	it, err := db.NewIter(ctx, MetaFamily, rocks.Bounds{})
	if err != nil {
		return m, fmt.Errorf("read what the replica knows of its data: %w", err)
	}
	defer it.Close()
	for it.Next() {
		number := func() (n int64) {
			n, err = strconv.ParseInt(string(it.Value()), 10, 64)
			if err == nil && n < 0 {
				err = fmt.Errorf("it is negative")
			}
			if err != nil {
				err = damage.Newf(it.Table(), -1, damage.Row, "%s is %.40q: %w", it.Key(), it.Value(), err)
			}
			return n
		}
		switch string(it.Key()) {
		case keyDataVersion:
			m.DataVersion = int(number())
		case keyFlushedDecree:
			m.FlushedDecree = number()
		case keyCompactFinish:
			m.CompactFinish = number()
		case keyScenario:
			m.UsageScenario = string(it.Value())
		}
		if err != nil {
			return m, err
		}
	}
	if err := it.Close(); err != nil {
		return m, fmt.Errorf("read what the replica knows of its data: %w", err)
	}
	switch {
	case m.DataVersion < 0 || m.FlushedDecree < 0:
		return m, damage.Newf(db.Manifest(), -1, damage.Row, "column family %s lacks %s or %s", MetaFamily, keyDataVersion, keyFlushedDecree)
	case m.DataVersion > MaxDataVersion:
		return m, &damage.Unsupported{File: db.Manifest(), What: fmt.Sprintf("rows of data version %d", m.DataVersion)}
	}
	return m, nil
}

// Rows returns m as rows of MetaFamily, by key.
func (m Meta) Rows() [][2]string {
	n := func(v int64) string { return strconv.FormatInt(v, 10) }
	rows := [][2]string{
		{keyDataVersion, n(int64(m.DataVersion))},
		{keyFlushedDecree, n(m.FlushedDecree)},
		{keyCompactFinish, n(m.CompactFinish)},
	}
	if m.UsageScenario != "" {
		rows = append(rows, [2]string{keyScenario, m.UsageScenario})
	}
	return rows
}
