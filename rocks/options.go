package rocks

import (
	"fmt"
	"strings"

	"pegasus/rocks/table"
)

// optionsFile is the file OPTIONS, without which a C++ server doesn't open a database. It has what says how the database lies there; all else
// is RocksDB's default, or the server's own.
func optionsFile(families []string, c table.Compression) []byte {
	compression := map[table.Compression]string{
		table.NoCompression: "kNoCompression", table.Snappy: "kSnappyCompression", table.Zstd: "kZSTD",
	}[c]
	var b strings.Builder
	section := func(name string, lines ...string) {
		fmt.Fprintf(&b, "[%s]\n", name)
		for _, l := range lines {
			fmt.Fprintf(&b, "  %s\n", l)
		}
		b.WriteString("\n")
	}
	// The oldest RocksDB that should read it, that of Pegasus 2.5: it knows all keys below.
	section("Version", "rocksdb_version=6.6.4", "options_file_version=1.1")
	section("DBOptions", "create_if_missing=true")
	for _, name := range families {
		section(fmt.Sprintf("CFOptions %q", name),
			"comparator=leveldb.BytewiseComparator",
			"merge_operator=nullptr",
			"compaction_filter=nullptr",
			"compaction_filter_factory=nullptr",
			"prefix_extractor=nullptr",
			"memtable_factory=SkipListFactory",
			"table_factory=BlockBasedTable",
			"compaction_style=kCompactionStyleLevel",
			fmt.Sprintf("num_levels=%d", Levels),
			"compression="+compression,
			"write_buffer_size=67108864",
			"target_file_size_base=67108864",
			"max_bytes_for_level_base=671088640",
			"level0_file_num_compaction_trigger=4",
		)
		section(fmt.Sprintf("TableOptions/BlockBasedTable %q", name),
			"format_version=2",
			"checksum=kCRC32c",
			"index_type=kBinarySearch",
			"block_size=4096",
			"filter_policy=nullptr",
		)
	}
	return []byte(b.String())
}
