package manifest

import (
	"encoding/binary"
	"fmt"

	"pegasus/rocks/table"
)

// Tags of the fields of an edit.
const (
	tagComparator     = 1
	tagLogNumber      = 2
	tagNextFile       = 3
	tagLastSequence   = 4
	tagCompactCursor  = 5
	tagDeletedFile    = 6
	tagNewFile        = 7
	tagPrevLogNumber  = 9
	tagMinLogToKeep   = 10
	tagNewFile2       = 100
	tagNewFile3       = 102
	tagNewFile4       = 103
	tagColumnFamily   = 200
	tagFamilyAdd      = 201
	tagFamilyDrop     = 202
	tagMaxFamily      = 203
	tagAtomicGroup    = 300
	tagBlobFile       = 400
	tagBlobGarbage    = 401
	tagSafeIgnoreMask = 1 << 13               // a tag with this bit is followed by a length, and may be skipped
	tagOldBlobFile    = tagSafeIgnoreMask + 2 // these four have no length, against the rule
	tagOldBlobGarbage = tagSafeIgnoreMask + 3
	tagOldLogAdded    = tagSafeIgnoreMask + 4
	tagOldLogDeleted  = tagSafeIgnoreMask + 5
	tagFullHistoryLow = tagSafeIgnoreMask + 6

	fileEnd          = 1
	fileOldestBlob   = 4
	fileMinTimestamp = 10
	fileMaxTimestamp = 11
	filePath         = 65
	fileMustKnowMask = 1 << 6
	maxLevel         = 64
)

// File is a table as the manifest has it.
type File struct {
	Number            uint64
	Size              uint64 // bytes
	Level             int
	Smallest, Largest table.Key
	// Sequence numbers of the entries. For a table that was ingested both are the one that all its entries have.
	SmallestSequence, LargestSequence uint64
}

// Edit is one record: what changed in one column family, or in the database.
type Edit struct {
	Family       uint32
	AddFamily    *string
	DropFamily   bool
	Comparator   *string
	LogNumber    *uint64
	PrevLog      *uint64
	MinLogToKeep *uint64
	NextFile     *uint64
	LastSequence *uint64
	MaxFamily    *uint32
	Deleted      []DeletedFile
	Added        []File
	// InGroup says that the edit counts only with the ones after it, of which there are GroupLeft.
	InGroup   bool
	GroupLeft uint32
}

// DeletedFile is a table that is no longer part of a level.
type DeletedFile struct {
	Level  int
	Number uint64
}

// unsupported is the error about a field that isn't known and can't be left out.
type unsupported string

func (u unsupported) Error() string { return string(u) + " can't be read" }

type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail(format string, args ...any) { d.stop(fmt.Errorf(format, args...)) }

func (d *decoder) refuse(what string) { d.stop(unsupported(what)) }

func (d *decoder) stop(err error) {
	if d.err == nil {
		d.err = err
	}
	d.b = nil
}

func (d *decoder) uvarint(what string) uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail("%s is cut off", what)
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) uint32(what string) uint32 {
	v := d.uvarint(what)
	if v > 1<<32-1 {
		d.fail("%s is %d", what, v)
	}
	return uint32(v)
}

func (d *decoder) bytes(what string) []byte {
	n := d.uvarint(what)
	if n > uint64(len(d.b)) {
		d.fail("%s is cut off", what)
		return nil
	}
	b := d.b[:n:n]
	d.b = d.b[n:]
	return b
}

func (d *decoder) level() int {
	l := d.uint32("level")
	if l >= maxLevel {
		d.fail("level %d", l)
		return 0
	}
	return int(l)
}

func (d *decoder) key(what string) table.Key {
	b := d.bytes(what)
	if d.err != nil {
		return table.Key{}
	}
	k, ok := table.SplitKey(append([]byte{}, b...))
	if !ok {
		d.fail("%s has %d bytes", what, len(b))
	}
	return k
}

func ptr[T any](v T) *T { return &v }

// DecodeEdit reads one record. With an error, it returns what comes before the place that can't be read.
func DecodeEdit(b []byte) (*Edit, error) { return decodeEdit(b) }

// decodeEdit reads one record.
func decodeEdit(b []byte) (*Edit, error) {
	d := decoder{b: b}
	e := &Edit{}
	for len(d.b) > 0 && d.err == nil {
		switch tag := d.uint32("tag"); tag {
		case tagComparator:
			e.Comparator = ptr(string(d.bytes("comparator")))
		case tagLogNumber:
			e.LogNumber = ptr(d.uvarint("log number"))
		case tagPrevLogNumber:
			e.PrevLog = ptr(d.uvarint("previous log number"))
		case tagMinLogToKeep:
			e.MinLogToKeep = ptr(d.uvarint("log number to keep"))
		case tagNextFile:
			e.NextFile = ptr(d.uvarint("next file number"))
		case tagLastSequence:
			e.LastSequence = ptr(d.uvarint("last sequence number"))
		case tagMaxFamily:
			e.MaxFamily = ptr(d.uint32("largest column family"))
		case tagCompactCursor:
			d.level()
			d.key("compaction cursor")
		case tagDeletedFile:
			e.Deleted = append(e.Deleted, DeletedFile{Level: d.level(), Number: d.uvarint("file number")})
		case tagNewFile, tagNewFile2, tagNewFile3, tagNewFile4:
			e.Added = append(e.Added, d.file(tag))
		case tagColumnFamily:
			e.Family = d.uint32("column family")
		case tagFamilyAdd:
			e.AddFamily = ptr(string(d.bytes("name of a column family")))
		case tagFamilyDrop:
			e.DropFamily = true
		case tagAtomicGroup:
			e.InGroup, e.GroupLeft = true, d.uint32("edits left in the group")
		case tagBlobFile, tagBlobGarbage, tagOldBlobFile, tagOldBlobGarbage:
			d.refuse("blob files")
		case tagOldLogAdded, tagOldLogDeleted:
			d.refuse("a list of write-ahead logs in a form that was given up")
		case tagFullHistoryLow:
			d.refuse("keys with timestamps")
		default:
			if d.err == nil && tag&tagSafeIgnoreMask == 0 {
				d.refuse(fmt.Sprintf("a field with the tag %d", tag))
			}
			d.bytes("a field that is skipped")
		}
	}
	return e, d.err
}

// file reads a new table; older tags have less of it.
func (d *decoder) file(tag uint32) File {
	f := File{Level: d.level(), Number: d.uvarint("file number")}
	if tag == tagNewFile3 && d.uint32("path") != 0 {
		d.refuse("a table in another directory")
	}
	f.Size = d.uvarint("file size")
	f.Smallest, f.Largest = d.key("smallest key"), d.key("largest key")
	if tag == tagNewFile {
		f.LargestSequence = table.MaxSequence
		return f
	}
	f.SmallestSequence, f.LargestSequence = d.uvarint("smallest sequence number"), d.uvarint("largest sequence number")
	if tag != tagNewFile4 {
		return f
	}
	for d.err == nil {
		t := d.uint32("tag of a table's field")
		if t == fileEnd {
			break
		}
		v := d.bytes("a table's field")
		switch {
		case t == fileOldestBlob:
			d.refuse("blob files")
		case t == fileMinTimestamp || t == fileMaxTimestamp:
			d.refuse("keys with timestamps")
		case t == filePath:
			if len(v) != 1 || v[0] != 0 {
				d.refuse("a table in another directory")
			}
		case t&fileMustKnowMask != 0:
			d.refuse(fmt.Sprintf("a field of a table with the tag %d", t))
		}
	}
	return f
}

// append encodes the edit, with the fields in RocksDB's order.
func (e *Edit) append(b []byte) []byte {
	text := func(tag uint64, s string) {
		b = binary.AppendUvarint(b, tag)
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	number := func(tag uint64, v *uint64) {
		if v != nil {
			b = binary.AppendUvarint(b, tag)
			b = binary.AppendUvarint(b, *v)
		}
	}
	if e.Comparator != nil {
		text(tagComparator, *e.Comparator)
	}
	number(tagLogNumber, e.LogNumber)
	number(tagPrevLogNumber, e.PrevLog)
	number(tagNextFile, e.NextFile)
	if e.MaxFamily != nil {
		number(tagMaxFamily, ptr(uint64(*e.MaxFamily)))
	}
	number(tagMinLogToKeep, e.MinLogToKeep)
	number(tagLastSequence, e.LastSequence)
	for _, f := range e.Deleted {
		number(tagDeletedFile, ptr(uint64(f.Level)))
		b = binary.AppendUvarint(b, f.Number)
	}
	for _, f := range e.Added {
		number(tagNewFile4, ptr(uint64(f.Level)))
		b = binary.AppendUvarint(b, f.Number)
		b = binary.AppendUvarint(b, f.Size)
		for _, k := range []table.Key{f.Smallest, f.Largest} {
			b = binary.AppendUvarint(b, uint64(len(k.User)+8))
			b = table.AppendKey(b, k)
		}
		b = binary.AppendUvarint(b, f.SmallestSequence)
		b = binary.AppendUvarint(b, f.LargestSequence)
		b = append(b, fileEnd)
	}
	if e.Family != 0 {
		number(tagColumnFamily, ptr(uint64(e.Family)))
	}
	if e.AddFamily != nil {
		text(tagFamilyAdd, *e.AddFamily)
	}
	if e.DropFamily {
		b = binary.AppendUvarint(b, tagFamilyDrop)
	}
	if e.InGroup {
		number(tagAtomicGroup, ptr(uint64(e.GroupLeft)))
	}
	return b
}
