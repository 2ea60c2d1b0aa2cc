package stat

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"pegasus/meta/probe"
)

// row is a row of the table.
type row struct{ hashKey, sortKey, value string }

// Times are written in the server's own time zone, as upstream's collector writes them.
const (
	dayForm    = "2006-01-02"
	hourForm   = "2006-01-02 15"
	minuteForm = "2006-01-02 15:04"
	secondForm = "2006-01-02 15:04:05"
)

// million is an availability of 100 %.
const million = 1_000_000

// available is the row of a minute, an hour or a day: how many probes there were, how many succeeded, and that in millionths.
func available(p probe.Period) row {
	name, form := "minute", minuteForm
	switch p.Kind {
	case probe.Hour:
		name, form = "hour", hourForm
	case probe.Day:
		name, form = "day", dayForm
	}
	value := "0,0,0"
	if good := p.Probes - p.Failed; p.Probes > 0 {
		value = fmt.Sprintf("%d,%d,%d", p.Probes, good, int64(float64(good)/float64(p.Probes)*million))
	}
	return row{"detect_available_" + name, p.Began.Format(form), value}
}

// units is the row of what primaries on a server counted since the row before: capacity units of reads and of writes by the id of
// the table, tables that had none left out.
func units(at time.Time, node string, used map[int32][2]int64) (row, error) {
	byID := map[string][2]int64{}
	for id, n := range used {
		if n != [2]int64{} {
			byID[strconv.Itoa(int(id))] = n
		}
	}
	b, err := json.Marshal(byID)
	return row{at.Format(secondForm), "cu@" + node, string(b)}, err
}

// Size is what is known of the size of a table.
type Size struct {
	Partitions, Told int64 // how many partitions there are, and how many have said their size
	Bytes            int64 // of one copy
}

// sizes is the row of the sizes of all tables, by their ids: partitions, those that are counted, and MB.
func sizes(at time.Time, tables map[int32]Size) (row, error) {
	byID := map[string][3]int64{}
	for id, s := range tables {
		if s.Told > 0 {
			byID[strconv.Itoa(int(id))] = [3]int64{s.Partitions, s.Told, s.Bytes >> 20}
		}
	}
	b, err := json.Marshal(byID)
	return row{at.Format(secondForm), "ss", string(b)}, err
}
