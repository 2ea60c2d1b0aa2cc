package admission

import "pegasus/replica/wal"

// Sizes bound what is written, each by what has to carry it. Everything that is proposed fits
// into one message to another server, with room for what stands around it, and into one record
// of the log; so whoever lacks it can be given it.
//
//	Write <= Entry <= wal.MaxPayload
//	Entry, Send + what stands around entries <= rpc.max_frame_bytes
type Sizes struct {
	// Entry is the largest mutation.
	Entry int64
	// Write is the most that one request's write may become, less than half of Entry: a
	// pass of the table's rules writes a row anew and notes another's key with it.
	Write int64
	// Send is how much of entries a message carries, unless it is a single one.
	Send int64
	// Flight is how much of one partition may be under way before the next mutation waits.
	Flight int64
}

// SizesOf derives them from the longest frame that servers take.
func SizesOf(frame int64) Sizes {
	if frame <= 0 {
		frame = 64 << 20 // as package rpc has it
	}
	var z Sizes
	z.Entry = min(frame-frame/8, wal.MaxPayload)
	z.Write = z.Entry / 7 * 3
	z.Send = min(1<<20, z.Entry)
	z.Flight = z.Write
	return z
}

// Room returns how much a payload of n bytes may still take, and of that a write whose request
// has body bytes. While memory is short a write that becomes many times as large as its request
// has to wait for another time.
func (z *Sizes) Room(n, body int, crowded bool) int {
	room := int(z.Entry) - n
	if crowded {
		room = min(room, 4*body+64<<10)
	}
	return max(room, 1)
}
