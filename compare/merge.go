package compare

import (
	"context"

	"pegasus/client"
	"pegasus/rows"
)

// pageRows keeps pages small: as many are held as partitions are read at a time.
const pageRows = 500

// merged walks over several partitions as if they were one.
type merged struct {
	rows  []rows.Rows
	heads []client.Row
	begun bool
	last  int // whose head was given out
	out   client.Row
}

// open begins the walk over the partitions whose numbers are g modulo groups.
func open(s Side, g, groups int, values bool) *merged {
	m := &merged{last: -1}
	o := client.ScanOptions{Batch: pageRows, NoValue: !values, ExpireTS: true}
	for p := g; p < s.Partitions(); p += groups {
		m.rows = append(m.rows, s.Scan(p, o))
	}
	m.heads = make([]client.Row, len(m.rows))
	return m
}

func (m *merged) close() {
	for _, r := range m.rows {
		r.Close()
	}
}

// pull takes the next row of walk i; without one the walk leaves.
func (m *merged) pull(ctx context.Context, i int) (bool, error) {
	if m.rows[i].Next(ctx) {
		m.heads[i] = m.rows[i].Row()
		return true, nil
	}
	if err := m.rows[i].Err(); err != nil {
		return false, err
	}
	m.rows[i].Close()
	n := len(m.rows) - 1
	m.rows[i], m.heads[i] = m.rows[n], m.heads[n]
	m.rows, m.heads = m.rows[:n], m.heads[:n]
	return false, nil
}

// next returns the row with the lowest key, nil at the end. It is valid until the next call.
func (m *merged) next(ctx context.Context) (*client.Row, error) {
	if !m.begun {
		m.begun = true
		for i := 0; i < len(m.rows); {
			ok, err := m.pull(ctx, i)
			if err != nil {
				return nil, err
			}
			if ok {
				i++
			}
		}
	} else if m.last >= 0 {
		if _, err := m.pull(ctx, m.last); err != nil {
			return nil, err
		}
	}
	m.last = -1
	for i := range m.heads {
		h := &m.heads[i]
		if m.last < 0 || order(h.HashKey, h.SortKey, m.heads[m.last].HashKey, m.heads[m.last].SortKey) < 0 {
			m.last = i
		}
	}
	if m.last < 0 {
		return nil, nil
	}
	m.out = m.heads[m.last]
	return &m.out, nil
}
