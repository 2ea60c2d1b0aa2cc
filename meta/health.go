package meta

import (
	"strconv"

	"pegasus/base/judge"
	"pegasus/httpapi"
)

// health counts a table's partitions by what they can do, in the words of upstream's pages.
type health struct{ full, unhealthy, writeIll, readIll int }

func healthOf(t *judge.Table) health {
	return health{t.Whole, t.Partitions - t.Whole, t.Partitions - t.Writable, t.Partitions - t.Readable}
}

func (h *health) fields(o *httpapi.Object, names ...string) {
	for i, n := range []int{h.full, h.unhealthy, h.writeIll, h.readIll} {
		o.Add(names[i], strconv.Itoa(n))
	}
}
