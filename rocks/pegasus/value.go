package pegasus

import (
	"encoding/binary"
	"fmt"
)

// MaxDataVersion is the newest version of values that a replica's metadata may name, and the one that is written.
const MaxDataVersion = 1

// Value is a stored value.
type Value struct {
	// ExpireTS is when the row expires, in seconds since base.EpochBegin; 0 is never.
	ExpireTS uint32
	// Timetag is microseconds of the write << 8 | cluster << 1 | deleted; 0 in version 0.
	Timetag uint64
	Data    []byte
}

// ParseValue reads a stored value of a replica of a data version. Data is a slice of b. Source of the layout: integers are big-endian;
// version 0: u32 expiry; 1: u32 expiry, u64 timetag; 2: u8 0x80|2, then as 1. A value whose first byte is 0x80 or more
// says its version itself.
func ParseValue(version int, b []byte) (Value, error) {
	if len(b) > 0 && b[0]&0x80 != 0 {
		if v := int(b[0] &^ 0x80); v != 2 {
			return Value{}, fmt.Errorf("the value says that its data version is %d, known are 0 to 2", v)
		}
		version, b = 2, b[1:]
	} else if version == 2 {
		return Value{}, fmt.Errorf("a value of data version 2 doesn't begin with it")
	}
	header := 12
	switch version {
	case 0:
		header = 4
	case 1, 2:
	default:
		return Value{}, fmt.Errorf("data version %d, known are 0 to 2", version)
	}
	if len(b) < header {
		return Value{}, fmt.Errorf("the value has %d bytes, data version %d needs %d", len(b), version, header)
	}
	v := Value{ExpireTS: binary.BigEndian.Uint32(b), Data: b[header:]}
	if header == 12 {
		v.Timetag = binary.BigEndian.Uint64(b[4:])
	}
	return v, nil
}

// AppendValue appends v as data version 1.
func AppendValue(b []byte, v Value) []byte {
	b = binary.BigEndian.AppendUint32(b, v.ExpireTS)
	b = binary.BigEndian.AppendUint64(b, v.Timetag)
	return append(b, v.Data...)
}

// Expired tells whether the value is gone at now, in seconds since base.EpochBegin.
func (v Value) Expired(now uint32) bool { return v.ExpireTS > 0 && v.ExpireTS <= now }
