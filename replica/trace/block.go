package trace

import (
	"encoding/binary"
	"time"
)

// A block stands at the end of a message, behind what every server knows, and is found from there: its
// length is in the last two bytes. Its first byte is the number of items; each is an id of 8 bytes and two
// varints: of a prepare the decree and 0, of an acknowledgement the spans in microseconds.

// MaxItems is how many traces a message tells of.
const MaxItems = 16

// Spans are how long after it had the prepare a secondary had it in its log, and acknowledged it.
type Spans struct{ Logged, Answered time.Duration }

// Item is a trace in a message.
type Item struct {
	ID uint64
	// Decree is of a prepare, Spans of an acknowledgement.
	Decree int64
	Spans
}

// AppendBlock appends the block of a message; items beyond MaxItems are left out.
func AppendBlock(b []byte, items []Item, prepare bool) []byte {
	items = items[:min(len(items), MaxItems)]
	at := len(b)
	b = append(b, byte(len(items)))
	for i := range items {
		x := &items[i]
		b = binary.BigEndian.AppendUint64(b, x.ID)
		v, w := x.Logged.Microseconds(), x.Answered.Microseconds()
		if prepare {
			v, w = x.Decree, 0
		}
		b = binary.AppendVarint(binary.AppendVarint(b, v), w)
	}
	return binary.BigEndian.AppendUint16(b, uint16(len(b)-at))
}

// maxSpan is the longest span that is believed.
const maxSpan = time.Hour

// ReadBlock returns the items at the end of a message, nil if there are none that make sense.
func ReadBlock(b []byte, prepare bool) (items []Item) {
	if len(b) < 3 {
		return nil
	}
	n := int(binary.BigEndian.Uint16(b[len(b)-2:]))
	b = b[:len(b)-2]
	if n < 1 || n > len(b) {
		return nil
	}
	b = b[len(b)-n:]
	count := int(b[0])
	b = b[1:]
	if count > MaxItems {
		return nil
	}
	for range count {
		if len(b) < 8 {
			return nil
		}
		x := Item{ID: binary.BigEndian.Uint64(b)}
		b = b[8:]
		v, k := binary.Varint(b)
		if k <= 0 {
			return nil
		}
		w, l := binary.Varint(b[k:])
		if l <= 0 {
			return nil
		}
		b = b[k+l:]
		if prepare {
			x.Decree = v
		} else {
			if min(v, w) < 0 || max(v, w) > maxSpan.Microseconds() {
				return nil
			}
			x.Spans = Spans{time.Duration(v) * time.Microsecond, time.Duration(w) * time.Microsecond}
		}
		if x.ID == 0 {
			return nil
		}
		items = append(items, x)
	}
	if len(b) > 0 {
		return nil
	}
	return items
}
