package wal

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"slices"
	"testing"

	"pegasus/base"
)

func TestSegmentNames(t *testing.T) {
	for _, seq := range []uint64{1, 42, 1 << 40, 1e19} {
		if got, ok := parseSegmentName(segmentName(seq)); got != seq || !ok {
			t.Errorf("%d: got %d, %v", seq, got, ok)
		}
	}
	for _, name := range []string{"", "LOCK", "spare", "00000000000000000000.log", "0000000000000000001.log",
		"0000000000000000000x.log", "99999999999999999999.log", "00000000000000000001.log.unreadable", "00000000000000000001.tmp"} {
		if seq, ok := parseSegmentName(name); ok {
			t.Errorf("%q was taken for segment %d", name, seq)
		}
	}
}

func TestHeader(t *testing.T) {
	h := header{id: 0x1234567890abcdef, seq: 7, prevEnd: 1 << 31}
	b := appendHeader(nil, h)
	if got, err := parseHeader(b); err != nil || got != h || len(b) != headerSize {
		t.Fatalf("got %+v, %v of %d bytes", got, err, len(b))
	}
	for i := range b {
		c := slices.Clone(b)
		c[i] ^= 4
		if _, err := parseHeader(c); !errors.Is(err, errBadHeader) {
			t.Errorf("byte %d changed: %v", i, err)
		}
		if _, err := parseHeader(b[:i]); !errors.Is(err, errBadHeader) {
			t.Errorf("first %d bytes: %v", i, err)
		}
	}
}

func TestRecords(t *testing.T) {
	var e encoder
	e.segment(99, 5, 1000)
	in := []Entry{
		{Gpid: base.Gpid{AppID: 3, PartitionIndex: 9}, Ballot: 4, Decree: 100, Committed: 98, Timestamp: -5, Payload: []byte("hello")},
		{Gpid: base.Gpid{AppID: -1, PartitionIndex: math.MinInt32}, Ballot: math.MinInt64, Decree: maxDecree - 1, Committed: math.MaxInt64, Timestamp: math.MaxInt64, Payload: []byte{}},
	}
	for i := range in {
		e.mutation(&in[i], uint64(i)+1, 99)
	}
	for _, k := range []kind{kindTruncate, kindReset, kindDrop} {
		e.meta(k, in[0].Gpid, math.MaxUint64, 77, 88)
	}
	ts := []tableEntry{
		{gpid: in[0].Gpid, serial: 12, state: State{Base: 1, Last: 2, Ballot: 3, MaxBallot: 4, Committed: -5, Retention: 6}, needed: true},
		{gpid: in[1].Gpid, damage: &Damage{Gpid: in[1].Gpid, From: unknownFrom, Reason: "why"}},
	}
	e.table(ts)
	e.mark(position{4, 17}, 3, true)

	s := seedOf(99, 5)
	off, n := int64(0), 0
	for int(off) < len(e.buf) {
		r, err := parseRecord(e.buf[off:], s, 5, 1000+off)
		if err != nil {
			t.Fatalf("record %d: %v", n, err)
		}
		for _, wrong := range []func() (record, error){
			func() (record, error) { return parseRecord(e.buf[off:], s, 5, 1001+off) },
			func() (record, error) { return parseRecord(e.buf[off:], seedOf(99, 6), 6, 1000+off) },
			func() (record, error) { return parseRecord(e.buf[off:], seedOf(98, 5), 5, 1000+off) },
			func() (record, error) { return parseRecord(e.buf[off:off+r.size-1], s, 5, 1000+off) },
		} {
			if _, err := wrong(); err == nil {
				t.Fatalf("record %d is valid in a wrong place", n)
			}
		}
		switch r.kind {
		case kindMutation, kindTruncate, kindReset, kindDrop:
			c, err := parseChange(r)
			if err != nil {
				t.Fatalf("record %d: %v", n, err)
			}
			want := change{Entry: Entry{Gpid: in[0].Gpid, Decree: 88}, serial: math.MaxUint64, last: 77}
			if n < len(in) {
				want = change{Entry: in[n], serial: uint64(n) + 1, last: 99}
			}
			if !reflect.DeepEqual(c, want) && !(len(want.Payload) == 0 && sameEntry(c.Entry, want.Entry)) {
				t.Errorf("record %d: got %+v, want %+v", n, c, want)
			}
			for i := range len(r.body) - len(c.Payload) {
				if _, err := parseChange(record{kind: r.kind, body: r.body[:i]}); err == nil {
					t.Errorf("record %d: the first %d bytes are one", n, i)
				}
			}
		case kindTable:
			got, err := parseTable(r.body)
			if err != nil || !reflect.DeepEqual(got, ts) {
				t.Errorf("table: got %+v, %v", got, err)
			}
			for i := range r.body {
				if _, err := parseTable(r.body[:i]); err == nil {
					t.Errorf("the first %d bytes of a table are one", i)
				}
			}
			if _, err := parseTable(append(slices.Clone(r.body), 0)); err == nil {
				t.Error("a table with a byte behind it is one")
			}
		case kindMark:
			m, err := parseMark(r.body)
			if want := (mark{id: 99, own: position{5, 1000 + off}, synced: position{4, 17}, low: 3, seal: true}); err != nil || m != want {
				t.Errorf("mark: got %+v, %v, want %+v", m, err, want)
			}
			if r.size != markSize || !bytes.Equal(r.body[:8], []byte(markMagic)) {
				t.Errorf("mark of %d bytes", r.size)
			}
		}
		off += r.size
		n++
	}
	if n != 7 {
		t.Errorf("%d records", n)
	}
}
