package base

import (
	"fmt"
	"strconv"
	"strings"

	"pegasus/base/tbin"
)

// Gpid names one partition of one table.
type Gpid struct {
	AppID          int32
	PartitionIndex int32
}

// String returns "app.partition".
func (g Gpid) String() string {
	return strconv.Itoa(int(g.AppID)) + "." + strconv.Itoa(int(g.PartitionIndex))
}

// ParseGpid parses "app.partition".
func ParseGpid(s string) (Gpid, error) {
	a, p, ok := strings.Cut(s, ".")
	ai, err1 := strconv.ParseInt(a, 10, 32)
	pi, err2 := strconv.ParseInt(p, 10, 32)
	if !ok || err1 != nil || err2 != nil {
		return Gpid{}, fmt.Errorf("partition id %q is not of the form <app id>.<partition index>", s)
	}
	return Gpid{int32(ai), int32(pi)}, nil
}

// Word returns the id as it travels: partition index in the high half.
func (g Gpid) Word() int64 {
	return int64(uint64(uint32(g.PartitionIndex))<<32 | uint64(uint32(g.AppID)))
}

// GpidFromWord is the inverse of Word.
func GpidFromWord(w int64) Gpid {
	return Gpid{AppID: int32(uint32(uint64(w))), PartitionIndex: int32(uint32(uint64(w) >> 32))}
}

// ThreadHash is the value upstream's clients put beside the id.
func (g Gpid) ThreadHash() int32 { return g.AppID*7919 + g.PartitionIndex }

// Compare orders by table, then partition.
func (g Gpid) Compare(o Gpid) int {
	switch {
	case g.AppID < o.AppID:
		return -1
	case g.AppID > o.AppID:
		return 1
	case g.PartitionIndex < o.PartitionIndex:
		return -1
	case g.PartitionIndex > o.PartitionIndex:
		return 1
	}
	return 0
}

// AppendThrift appends the raw body.
func (g Gpid) AppendThrift(b []byte) []byte { return tbin.AppendI64(b, g.Word()) }

// ReadThrift reads the raw body.
func (g *Gpid) ReadThrift(r *tbin.Reader) { *g = GpidFromWord(r.I64()) }
