package metabackup

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"pegasus/base/tbin"
)

// magic begins a file; its last byte is the version.
const magic = "PGSMETABAK\x01"

// What Decode's errors wrap.
var (
	ErrNotBackup = errors.New("no backup of a meta server")
	ErrVersion   = errors.New("a backup of another version")
	ErrDamaged   = errors.New("the backup is damaged")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Backup is what the metas of a cluster knew at one moment.
type Backup struct {
	Cluster string
	Quorum  string // identity of the quorum that it was taken from
	Second  int64  // when, Unix seconds
	Index   uint64 // last entry of the quorum's log that is in it
	Term    uint64 // of the leader that gave it
	State   []byte // a snapshot, see meta/state
}

// Append appends the file: magic, a Thrift struct, CRC-32C of everything before,
// little-endian.
func (a *Backup) Append(b []byte) []byte {
	begin := len(b)
	b = append(b, magic...)
	b = tbin.AppendString(tbin.AppendField(b, tbin.String, 1), a.Cluster)
	b = tbin.AppendString(tbin.AppendField(b, tbin.String, 2), a.Quorum)
	b = tbin.AppendI64(tbin.AppendField(b, tbin.I64, 3), a.Second)
	b = tbin.AppendI64(tbin.AppendField(b, tbin.I64, 4), int64(a.Index))
	b = tbin.AppendI64(tbin.AppendField(b, tbin.I64, 5), int64(a.Term))
	b = tbin.AppendBytes(tbin.AppendField(b, tbin.String, 6), a.State)
	b = tbin.AppendStop(b)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[begin:], castagnoli))
}

// Decode reads a file. State aliases b. The error wraps ErrNotBackup, ErrVersion or
// ErrDamaged.
func Decode(b []byte) (*Backup, error) {
	kind := len(magic) - 1
	switch {
	case len(b) < len(magic) || string(b[:kind]) != magic[:kind]:
		return nil, fmt.Errorf("%d bytes: %w", len(b), ErrNotBackup)
	case b[kind] != magic[kind]:
		return nil, fmt.Errorf("version %d, this program reads %d: %w", b[kind], magic[kind], ErrVersion)
	case len(b) < len(magic)+4:
		return nil, fmt.Errorf("%d bytes: cut short: %w", len(b), ErrDamaged)
	}
	body, sum := b[:len(b)-4], binary.LittleEndian.Uint32(b[len(b)-4:])
	if got := crc32.Checksum(body, castagnoli); got != sum {
		return nil, fmt.Errorf("%d bytes: checksum %08x, should be %08x: %w", len(b), got, sum, ErrDamaged)
	}
	a := &Backup{}
	r := tbin.NewReader(body[len(magic):])
	r.Begin()
	for t, id := r.Field(); t != tbin.Stop; t, id = r.Field() {
		switch {
		case id == 1 && t == tbin.String:
			a.Cluster = r.String()
		case id == 2 && t == tbin.String:
			a.Quorum = r.String()
		case id == 3 && t == tbin.I64:
			a.Second = r.I64()
		case id == 4 && t == tbin.I64:
			a.Index = uint64(r.I64())
		case id == 5 && t == tbin.I64:
			a.Term = uint64(r.I64())
		case id == 6 && t == tbin.String:
			a.State = r.Bytes()
		default:
			r.Skip(t)
		}
	}
	r.End()
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("at byte %d: %w: %w", r.Offset(), ErrDamaged, err)
	}
	if r.Len() != 0 {
		return nil, fmt.Errorf("%d bytes left over: %w", r.Len(), ErrDamaged)
	}
	return a, nil
}
