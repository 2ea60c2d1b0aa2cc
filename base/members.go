package base

// MinMembers returns how many members the partitions of a table with so many replicas need to
// accept writes: what is configured (mutation_2pc_min_replica_count) if that isn't 0, else 1 of up to
// two replicas, and a majority of more. The metas and the replica servers go by the same rule.
func MinMembers(replicas int32, configured int) int {
	switch {
	case configured > 0:
		return configured
	case replicas <= 2:
		return 1
	}
	return int(replicas)/2 + 1
}
