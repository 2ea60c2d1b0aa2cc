package judge

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Table is what is said of a table: its partitions by what clients can do with them.
type Table struct {
	Health Health // of the worst partition
	// Partitions in all; Whole are healthy, Readable and Writable can be read and written. Those in
	// doubt are neither.
	Partitions, Whole, Readable, Writable int
	// Fewest is the number of copies of the partition that has fewest.
	Fewest int
	// Why holds each reason once, and says of which partitions it is.
	Why []Reason
}

// Summary gathers the verdicts on a table's partitions. The zero value has none.
type Summary struct {
	t    Table
	list []grouped
}

type grouped struct {
	Reason
	parts []int
}

// maxGroups bounds how many different reasons a table shows.
const maxGroups = 20

// Add takes the verdict on a partition.
func (s *Summary) Add(partition int, v *Verdict) {
	t := &s.t
	if t.Partitions == 0 || v.Copies < t.Fewest {
		t.Fewest = v.Copies
	}
	t.Partitions++
	t.Health = max(t.Health, v.Health)
	t.Whole += b2i(v.Health == Healthy)
	t.Readable += b2i(v.Read == Yes)
	t.Writable += b2i(v.Write == Yes)
	for _, r := range v.Why {
		i := slices.IndexFunc(s.list, func(g grouped) bool { return g.Reason == r })
		if i < 0 {
			if len(s.list) == maxGroups {
				continue
			}
			i = len(s.list)
			s.list = append(s.list, grouped{Reason: r})
		}
		s.list[i].parts = append(s.list[i].parts, partition)
	}
}

// Table returns the verdict on the table.
func (s *Summary) Table() Table {
	t := s.t
	for _, g := range s.list {
		which := "partition "
		if len(g.parts) > 1 {
			which = "partitions "
		}
		if len(g.parts) == t.Partitions && t.Partitions > 1 {
			which = fmt.Sprintf("all %d partitions", t.Partitions)
		} else {
			which += ranges(g.parts)
		}
		t.Why = append(t.Why, Reason{which + ": " + g.What, g.Do})
	}
	return t
}

// maxRanges bounds how many ranges of partitions are written out.
const maxRanges = 8

// ranges writes ascending numbers as "0-3, 7".
func ranges(l []int) string {
	var out []string
	for i := 0; i < len(l); {
		k := i
		for k+1 < len(l) && l[k+1] == l[k]+1 {
			k++
		}
		if len(out) == maxRanges {
			out = append(out, fmt.Sprintf("and %d more", len(l)-i))
			break
		}
		s := strconv.Itoa(l[i])
		if k > i {
			s += "-" + strconv.Itoa(l[k])
		}
		out = append(out, s)
		i = k + 1
	}
	return strings.Join(out, ", ")
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
