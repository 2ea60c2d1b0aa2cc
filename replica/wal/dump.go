package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pegasus/base"
)

// FoundKind says what Found is.
type FoundKind string

// The kinds. All but the last two are as doc.go has them.
const (
	FoundHeader   FoundKind = "header"
	FoundMark     FoundKind = "mark"
	FoundTable    FoundKind = "table"
	FoundMutation FoundKind = "mutation"
	FoundTruncate FoundKind = "truncate"
	FoundReset    FoundKind = "reset"
	FoundDrop     FoundKind = "drop"
	// FoundDamage is a place without a valid record, with one behind it.
	FoundDamage FoundKind = "damage"
	// FoundRest is what is left of a segment behind its last valid record.
	FoundRest FoundKind = "rest"
)

// Found is a record of a segment, or a place without a valid one. Payload is good until the next one.
type Found struct {
	Kind         FoundKind
	File         string
	Offset, Size int64
	// Entry is that of a mutation; Gpid and Decree are also those of a Truncate, Reset or Drop.
	Entry
	Serial   uint64 // of the record among those of its replica; 0: it has none
	Previous int64  // last decree of the replica before this record
	States   []FoundState
	// Text is what a header or a mark says, or what is wrong with a place.
	Text string
}

// FoundState is what a Table says of a replica.
type FoundState struct {
	Gpid   base.Gpid
	Serial uint64
	State
	Needed bool
	Damage *Damage // nil: none
}

// Dump calls fn with what is in a segment, in order. It takes no lock and writes nothing, so it may read a log that is in use, which grows meanwhile. What isn't
// valid is told, and reading goes on behind it. end is where the segment's valid data ends as its successor says; 0: that isn't known. An error
// is about reading the file, about a format that isn't known, or fn's.
func Dump(fsys vfs.FS, path string, end int64, fn func(*Found) error) error {
	v, err := fsys.Open(path)
	if err != nil {
		return err
	}
	defer v.Close()
	info, err := v.Stat()
	if err != nil {
		return fmt.Errorf("size of %s: %w", path, err)
	}
	name := filepath.Base(path)
	d := &dump{fn: fn, file: file{segment: &segment{name: name}, window: window{f: v, size: info.Size()}}}
	if seq, ok := parseSegmentName(name); ok {
		d.seq = seq
	}
	d.limit = d.window.size
	if end > 0 && end < d.limit {
		d.limit = end
	}
	return d.run()
}

// DumpDir is Dump of all segments of a directory.
func DumpDir(fsys vfs.FS, dir string, fn func(*Found) error) error {
	names, err := fsys.List(dir)
	if err != nil {
		return err
	}
	var seqs []uint64
	for _, n := range names {
		if seq, ok := parseSegmentName(n); ok {
			seqs = append(seqs, seq)
		}
	}
	slices.Sort(seqs)
	for i, seq := range seqs {
		if i > 0 && seqs[i-1]+1 != seq {
			gone := fmt.Sprintf("segments %s to %s are missing", segmentName(seqs[i-1]+1), segmentName(seq-1))
			if err := fn(&Found{Kind: FoundDamage, File: segmentName(seqs[i-1] + 1), Text: gone}); err != nil {
				return err
			}
		}
		end := int64(0)
		if i+1 < len(seqs) && seqs[i+1] == seq+1 {
			end = endOf(fsys, fsys.PathJoin(dir, segmentName(seq+1)), seq+1)
		}
		if err := Dump(fsys, fsys.PathJoin(dir, segmentName(seq)), end, fn); err != nil {
			return err
		}
	}
	return nil
}

// endOf returns where the segment before the one at path ends, 0 if that isn't known.
func endOf(fsys vfs.FS, path string, seq uint64) int64 {
	f, err := fsys.Open(path)
	if err != nil {
		return 0
	}
	defer f.Close()
	b := make([]byte, headerSize)
	n, _ := f.ReadAt(b, 0)
	h, err := parseHeader(b[:n])
	if err != nil || h.seq != seq {
		return 0
	}
	return h.prevEnd
}

// dump reads one segment.
type dump struct {
	file
	limit int64
	fn    func(*Found) error
}

func (d *dump) tell(x *Found) error {
	x.File = d.name
	return d.fn(x)
}

func (d *dump) run() error {
	off, err := d.begin()
	if err != nil || off < 0 {
		return err
	}
	for off < d.limit {
		rec, ok, err := d.record(off, d.limit)
		if err != nil {
			return err
		}
		if !ok {
			next, err := d.resume(off)
			if err != nil {
				return err
			}
			if next < 0 {
				break
			}
			if err := d.tell(&Found{Kind: FoundDamage, Offset: off, Size: next - off, Text: "no valid record"}); err != nil {
				return err
			}
			off = next
			continue
		}
		if err := d.tell(decodeFound(rec, off)); err != nil {
			return err
		}
		off += rec.size
	}
	if off < d.window.size {
		text := "no valid record from here on: the end of the log, or records that were cut off or damaged"
		if off >= d.limit {
			text = "the next segment says that this one ends here"
		}
		return d.tell(&Found{Kind: FoundRest, Offset: off, Size: d.window.size - off, Text: text})
	}
	return nil
}

// begin reads the header, and returns where records begin; -1 if none can be found.
func (d *dump) begin() (int64, error) {
	b, err := d.get(0, headerSize)
	if err != nil {
		return 0, d.readError(0, err)
	}
	h, err := parseHeader(b)
	if errors.Is(err, errVersion) {
		return 0, fmt.Errorf("log segment %s: %w: %w", d.name, err, base.ErrInvalidVersion)
	}
	if err == nil && (d.seq == 0 || d.seq == h.seq) {
		d.hdr, d.seq, d.seed = h, h.seq, seedOf(h.id, h.seq)
		text := fmt.Sprintf("log %016x, segment %d", h.id, h.seq)
		if h.prevEnd > 0 {
			text += fmt.Sprintf(", the segment before ends at %d", h.prevEnd)
		}
		return headerSize, d.tell(&Found{Kind: FoundHeader, Size: headerSize, Text: text})
	}
	text := "the header is damaged"
	if err == nil {
		text = fmt.Sprintf("the header is that of segment %d", h.seq)
	}
	m, ok, err := d.identity()
	if err != nil {
		return 0, err
	}
	if !ok {
		return -1, d.tell(&Found{Kind: FoundRest, Size: d.window.size, Text: text + ", and no mark tells which log it is of"})
	}
	d.hdr, d.seq, d.seed = header{id: m.id, seq: m.own.seq}, m.own.seq, seedOf(m.id, m.own.seq)
	return m.own.off, d.tell(&Found{Kind: FoundDamage, Size: m.own.off, Text: text})
}

// identity finds the first mark of a segment without a header.
func (d *dump) identity() (mark, bool, error) {
	if d.seq > 0 {
		return d.nextMark(0, 0, d.limit)
	}
	// Not even the name says which segment it is: what looks like a mark does, and its checksum says whether it is one.
	for at := int64(recordHeaderSize); at+markBodySize <= d.limit; {
		b, err := d.rest(at, markBodySize)
		if err != nil {
			return mark{}, false, d.readError(at, err)
		}
		i := bytes.Index(b, []byte(markMagic))
		if i < 0 {
			at += max(int64(len(b))-int64(len(markMagic))+1, 1)
			continue
		}
		at += int64(i)
		if b, err = d.get(at, markBodySize); err != nil {
			return mark{}, false, d.readError(at, err)
		}
		if m, bad := parseMark(b); bad == nil && m.id != 0 && m.own.off == at-recordHeaderSize {
			d.seq = m.own.seq
			m, ok, err := d.markAt(m.id, at-recordHeaderSize, d.limit)
			if err != nil || ok {
				return m, ok, err
			}
			d.seq = 0
		}
		at++
	}
	return mark{}, false, nil
}

// resume returns where the next valid record behind off is, -1 if there is none: where the length of the one at off leads, or the next mark.
func (d *dump) resume(off int64) (int64, error) {
	b, err := d.get(off, recordHeaderSize)
	if err != nil {
		return 0, d.readError(off, err)
	}
	if size := recordSize(b); size > 0 && off+size < d.limit && binary.LittleEndian.Uint32(b[8:]) == uint32(d.seq) {
		_, ok, err := d.record(off+size, d.limit)
		if err != nil {
			return 0, err
		}
		if ok {
			return off + size, nil
		}
	}
	m, ok, err := d.nextMark(d.hdr.id, off+1, d.limit)
	if err != nil || !ok {
		return -1, err
	}
	return m.own.off, nil
}

// decodeFound says what a valid record at off has.
func decodeFound(rec record, off int64) *Found {
	x := &Found{Offset: off, Size: rec.size}
	var err error
	switch rec.kind {
	case kindMark:
		var m mark
		x.Kind = FoundMark
		if m, err = parseMark(rec.body); err == nil {
			x.Text = fmt.Sprintf("all before %s was on the disk", m.synced)
			if m.low > 1 {
				x.Text += fmt.Sprintf(", segments below %d were given up", m.low)
			}
			if m.seal {
				x.Text += ", the segment ends here"
			}
		}
	case kindTable:
		var ts []tableEntry
		x.Kind = FoundTable
		ts, err = parseTable(rec.body)
		for _, t := range ts {
			x.States = append(x.States, FoundState{Gpid: t.gpid, Serial: t.serial, State: t.state, Needed: t.needed, Damage: t.damage})
		}
	case kindMutation, kindTruncate, kindReset, kindDrop:
		var c change
		x.Kind = map[kind]FoundKind{kindMutation: FoundMutation, kindTruncate: FoundTruncate, kindReset: FoundReset, kindDrop: FoundDrop}[rec.kind]
		if c, err = parseChange(rec); err == nil {
			x.Entry, x.Serial, x.Previous = c.Entry, c.serial, c.last
		}
	default:
		err = fmt.Errorf("%w: kind %d", errBadRecord, rec.kind)
	}
	if err != nil {
		return &Found{Kind: FoundDamage, Offset: off, Size: rec.size, Text: err.Error()}
	}
	return x
}
