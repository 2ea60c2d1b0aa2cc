package faults

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

func TestLedgerCompare(t *testing.T) {
	l := newLedger(1, 100)
	var es []*entry
	for range 6 {
		e, _ := l.begin()
		es = append(es, e)
	}
	const began, ended = 1000, 2000
	*es[0] = entry{key: es[0].key, num: es[0].num, setAck: 500}                              // must be there
	*es[1] = entry{key: es[1].key, num: es[1].num}                                           // nobody knows
	*es[2] = entry{key: es[2].key, num: es[2].num, setRefuse: true}                          // can't be there
	*es[3] = entry{key: es[3].key, num: es[3].num, setAck: 500, delCall: 600, delAck: 700}   // can't be there
	*es[4] = entry{key: es[4].key, num: es[4].num, setAck: 500, delCall: 1500, delAck: 1600} // removed meanwhile
	*es[5] = entry{key: es[5].key, num: es[5].num, setAck: 1500}                             // written meanwhile
	good := func(nums ...int) map[string][]byte {
		m := map[string][]byte{}
		for _, n := range nums {
			m[string(es[n].key)] = l.value(es[n].num)
		}
		return m
	}
	compare := func(found map[string][]byte) (r scanResult) {
		l.compare(&r, 0, found, began, ended)
		return r
	}
	for _, found := range []map[string][]byte{good(0), good(0, 1, 4, 5)} {
		if r := compare(found); len(r.lost)+len(r.odd) != 0 || r.rows != len(found) {
			t.Errorf("%+v", r)
		}
	}
	if r := compare(good(1, 4, 5)); len(r.lost) != 1 || !strings.Contains(r.lost[0], `"L1"`) {
		t.Errorf("a lost row: %+v", r)
	}
	if r := compare(good(0, 2, 3)); len(r.odd) != 2 || len(r.lost) != 0 {
		t.Errorf("rows that can't be there: %+v", r)
	}
	alien := good(0)
	alien["\x00\x02Lx"] = []byte("?")
	alien[string(es[0].key)] = append(l.value(es[0].num), '!')
	if r := compare(alien); len(r.odd) != 2 {
		t.Errorf("an alien row and another's value: %+v", r)
	}
}

func TestLedgerOutcomes(t *testing.T) {
	l := newLedger(4, 10)
	a, _ := l.begin()
	b, _ := l.begin()
	l.wrote(a, done)
	l.wrote(b, unknown)
	if l.acknowledged() != 1 || l.oldest(1) != nil {
		t.Errorf("%d acknowledged, live %v", l.acknowledged(), l.live)
	}
	if got := l.oldest(0); got != a || a.delCall == 0 {
		t.Fatalf("the oldest is %+v", got)
	}
	l.removed(a, refused)
	if a.delCall != 0 || !slices.Contains(l.live, a) {
		t.Error("a refused removal took the row away")
	}
	l.removed(l.oldest(0), unknown)
	if a.delAck != 0 || len(l.live) != 0 {
		t.Errorf("after an unknown removal: %+v", a)
	}
	if !bytes.Equal(l.value(7), l.value(7)) || bytes.Equal(l.value(7), l.value(8)) {
		t.Error("values don't follow from the number")
	}
}
