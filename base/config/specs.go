package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"pegasus/base"
)

// SplitDataDir takes an entry of replica.data_dirs apart, which is at that index of the list. What
// stands before a colon is a tag if it has no slash; an entry without a tag gets one from its index.
func SplitDataDir(entry string, index int) (tag, path string) {
	if t, p, ok := strings.Cut(entry, ":"); ok && t != "" && !strings.ContainsAny(t, `/\`) {
		return t, p
	}
	return "d" + strconv.Itoa(index+1), entry
}

// checkDirs says what is wrong with the list of data directories.
func (r *Replica) checkDirs() (problem, fix string) {
	tags, paths := map[string]bool{}, map[string]bool{}
	for i, d := range r.DataDirs {
		tag, path := SplitDataDir(d, i)
		clean := filepath.Clean(path)
		switch {
		case path == "":
			return fmt.Sprintf("%q has no path", d), `write "tag:path", for example "ssd1:/data1/pegasus"`
		case tags[tag]:
			return fmt.Sprintf("two directories have the tag %q", tag), "give each directory a tag of its own: metrics and `pegasus disk` know it by that"
		case paths[clean]:
			return fmt.Sprintf("%q is listed twice", path), "list each directory once"
		}
		tags[tag], paths[clean] = true, true
	}
	return "", ""
}

// Table is an entry of meta.default_tables.
type Table struct {
	Name                 string
	Partitions, Replicas int32
}

// Tables reads meta.default_tables.
func (m *Meta) Tables() ([]Table, error) {
	list, problem, _ := m.tables()
	if problem != "" {
		return nil, errors.New("meta.default_tables: " + problem)
	}
	return list, nil
}

func (m *Meta) tables() (list []Table, problem, fix string) {
	seen := map[string]bool{}
	for _, s := range m.DefaultTables {
		rest, replicas, _ := cutLast(s)
		name, partitions, ok := cutLast(rest)
		p, perr := strconv.ParseInt(partitions, 10, 32)
		r, rerr := strconv.ParseInt(replicas, 10, 32)
		switch {
		case !ok || perr != nil || rerr != nil || name == "" || len(name) > base.MaxTableName:
			return nil, fmt.Sprintf("%q is not a table", s), "write NAME:PARTITIONS:REPLICAS, for example temp:8:3"
		case p < 1 || p > int64(m.MaxPartitionCount):
			return nil, fmt.Sprintf("%q has %d partitions", s, p), fmt.Sprintf("write 1 to %d (meta.max_partition_count)", m.MaxPartitionCount)
		case r < int64(m.MinReplicaCount) || r > int64(m.MaxReplicaCount):
			return nil, fmt.Sprintf("%q has %d replicas", s, r), fmt.Sprintf("write %d to %d (meta.min_replica_count and meta.max_replica_count)", m.MinReplicaCount, m.MaxReplicaCount)
		case seen[name]:
			return nil, fmt.Sprintf("table %q is listed twice", name), "list each table once"
		}
		seen[name] = true
		list = append(list, Table{name, int32(p), int32(r)})
	}
	return list, "", ""
}

// cutLast cuts s at its last colon: a name may have colons, too.
func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return "", s, false
	}
	return s[:i], s[i+1:], true
}

// Warnings are about what is allowed and hardly meant, a line each.
func (c *Config) Warnings() (list []string) {
	if n := len(c.Cluster.MetaServers); n%2 == 0 {
		w := fmt.Sprintf("cluster.meta_servers: %d meta servers tolerate the loss of %d, as %d do: use %d or %d", n, n/2-1, n-1, n-1, n+1)
		if n == 2 {
			w = "cluster.meta_servers: two meta servers have no majority while one of them is down: use one, or three"
		}
		list = append(list, w)
	}
	if t, d := c.FD.ClockTolerance.D(), c.Storage.SweepDelay.D(); t >= d {
		list = append(list, fmt.Sprintf("failure_detector.clock_tolerance: %v is not below storage.sweep_delay, %v: rows may be deleted before they expire on another server's clock", t, d))
	}
	for i, d := range c.Replica.DataDirs {
		for j, other := range c.Replica.DataDirs {
			_, path := SplitDataDir(d, i)
			if _, dir := SplitDataDir(other, j); i != j && within(path, dir) {
				list = append(list, fmt.Sprintf("replica.data_dirs: %q is within %q: both are on one disk, and fail together: use directories that have nothing in common", path, dir))
			}
		}
	}
	return list
}

// within tells whether a path is below a directory.
func within(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != "." && filepath.IsLocal(rel)
}
