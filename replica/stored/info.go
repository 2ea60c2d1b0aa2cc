package stored

import (
	"path/filepath"
	"strconv"

	"pegasus/base"
	"pegasus/replica/disk"
	"pegasus/replica/wal"
)

// Info is what a replica knows of itself besides its data.
type Info struct {
	AppName    string `json:"app_name"`
	AppID      int32  `json:"app_id"`
	Partition  int32  `json:"partition"`
	Partitions int32  `json:"partition_count"`
	MaxReplica int32  `json:"max_replica_count"`
	// Ballot is the highest that the replica has taken part in.
	Ballot int64 `json:"ballot"`
	// Member is the highest at which it was a member; 0: none, or an earlier version didn't
	// say. A replica that was only ever a learner may lack anything.
	Member int64 `json:"member,omitempty"`
	// Store is the number of the directory that holds the data; 0: none yet (a learner
	// that has not begun).
	Store int64             `json:"store"`
	Envs  map[string]string `json:"envs,omitempty"`
	// Atomic and Created are the table's; the replica only remembers them for a meta that
	// lost its state. Created is in Unix seconds.
	Atomic  bool  `json:"atomic_idempotent,omitempty"`
	Created int64 `json:"create_second,omitempty"`
	// Compacted is when the last manual compaction ended, Unix time in milliseconds.
	Compacted int64 `json:"compacted_ms,omitempty"`
	// TimesSet is when the times of day for compactions were last set, in the same unit; 0: before
	// the replica was made here.
	TimesSet int64 `json:"times_set_ms,omitempty"`
	// Made is when the replica was made here, in the same unit: what a table's settings
	// demanded before then was for others.
	Made int64 `json:"made_ms,omitempty"`
	// Seed is the decree that the store of a replica held when it was made here of a backup, to become
	// the first of its partition; 0: it was made empty.
	Seed int64 `json:"seed,omitempty"`
}

// Name is the file that holds the Info of the replica in a directory.
func Name(dir string) string { return filepath.Join(dir, "info.json") }

// StorePath is where a replica's store of a number is.
func StorePath(dir string, n int64) string {
	return filepath.Join(dir, "store."+strconv.FormatInt(n, 10))
}

// Place makes a folder of a data directory's scratch files, with a complete store number 1 of a decree, the directory of replica g. Its log
// begins behind what the store holds.
func Place(d *disk.Dir, g base.Gpid, dir string, info *Info, decree int64) error {
	if err := disk.WriteJSON(Name(dir), info); err != nil {
		return err
	}
	// The log may remember an earlier life of this replica here.
	if err := wal.Wait(func(done func(error)) { d.Log().Reset(g, decree, done) }); err != nil {
		return err
	}
	return d.Attach(g, dir)
}
