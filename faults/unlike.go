package faults

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"pegasus/client"
	"pegasus/rrdb"
)

// explain tells which rows of a partition the two clusters have with different values, expiries or timetags.
func explain(ctx context.Context, ws []*world, partition int) {
	var of [2]map[string]stored
	for i, w := range ws {
		if err := poll(ctx, func() (err error) { of[i], err = w.storedIn(ctx, partition); return err }); err != nil {
			w.wrong("the timetags of partition %d can't be read: %v", partition, err)
			return
		}
	}
	list := unlike(of[0], of[1])
	for i, text := range list {
		if i == maxTrouble {
			break
		}
		ws[0].tell("partition %d: %s", partition, text)
	}
	ws[0].wrong("partition %d: %d of %d and %d rows are unlike", partition, len(list), len(of[0]), len(of[1]))
}

// stored is what a cluster has of a row.
type stored struct {
	value   string
	expiry  uint32
	timetag uint64
}

func (r stored) String() string {
	us, cluster, gone := rrdb.SplitTimetag(r.timetag)
	return fmt.Sprintf("%.40q (%d bytes), expiry %d, written at %s by cluster %d, remove %v", r.value, len(r.value), r.expiry, time.UnixMicro(us).UTC().Format("15:04:05.000000"), cluster, gone)
}

// storedIn returns the rows of a partition with their timetags. A scan has either these or the values, so it takes two.
func (w *world) storedIn(ctx context.Context, partition int) (map[string]stored, error) {
	t, err := w.cl.Table(ctx, table)
	if err != nil {
		return nil, err
	}
	rows := map[string]stored{}
	for _, tags := range []bool{false, true} {
		s := t.ScanAll(client.ScanOptions{Batch: 1000, ExpireTS: true, Timetag: tags}, partition)
		for s.Next(ctx) {
			r := s.Row()
			key := string(r.HashKey) + "/" + string(r.SortKey)
			is := rows[key]
			if tags {
				is.timetag, is.expiry = r.Timetag, r.ExpireTS
			} else {
				is.value = string(r.Value)
			}
			rows[key] = is
		}
		s.Close()
		if err := s.Err(); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// unlike says which rows two tables don't have alike.
func unlike(west, east map[string]stored) (out []string) {
	all := maps.Clone(west)
	maps.Copy(all, east)
	for _, row := range slices.Sorted(maps.Keys(all)) {
		a, here := west[row]
		b, there := east[row]
		var what []string
		switch {
		case here != there:
			what = []string{"presence"}
		case a == b:
			continue
		default:
			for name, is := range map[string]bool{"value": a.value != b.value, "expiry": a.expiry != b.expiry, "timetag": a.timetag != b.timetag} {
				if is {
					what = append(what, name)
				}
			}
			slices.Sort(what)
		}
		text := func(r stored, there bool) string {
			if !there {
				return "nothing"
			}
			return r.String()
		}
		out = append(out, fmt.Sprintf("row %q differs in %s: west has %s; east has %s", row, strings.Join(what, " and "), text(a, here), text(b, there)))
	}
	return out
}
