package rrdb

import "math"

// ParseInt reads a signed 64-bit number as C's strtoll with base 0 does, and fails unless it is all of b:
// leading white space and a sign are allowed, 0x means hexadecimal, a leading 0 octal. Upstream accepts
// that for incr and the integer checks. strconv with base 0 accepts other forms (0b, 0o, underscores)
// and no white space.
func ParseInt(b []byte) (int64, bool) {
	for len(b) > 0 && isSpace(b[0]) {
		b = b[1:]
	}
	neg := false
	if len(b) > 0 && (b[0] == '-' || b[0] == '+') {
		neg = b[0] == '-'
		b = b[1:]
	}
	radix := uint64(10)
	switch {
	case len(b) > 2 && b[0] == '0' && (b[1] == 'x' || b[1] == 'X'):
		radix = 16
		b = b[2:]
	case len(b) > 1 && b[0] == '0':
		radix = 8
		b = b[1:]
	}
	if len(b) == 0 {
		return 0, false
	}
	limit := uint64(math.MaxInt64)
	if neg {
		limit++
	}
	var v uint64
	for _, c := range b {
		d := digit(c)
		if d >= radix || v > (limit-d)/radix {
			return 0, false
		}
		v = v*radix + d
	}
	if neg {
		return -int64(v), true
	}
	return int64(v), true
}

func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

func digit(c byte) uint64 {
	switch {
	case c >= '0' && c <= '9':
		return uint64(c - '0')
	case c >= 'a' && c <= 'f':
		return uint64(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return uint64(c-'A') + 10
	}
	return math.MaxUint8
}
