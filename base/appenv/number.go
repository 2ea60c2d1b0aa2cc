package appenv

import (
	"math"
	"strconv"
	"strings"
)

// parseInt reads a signed integer as C's strtoll does with base 0 when it has to consume
// everything: leading white space, a sign, 0x for hexadecimal, 0 for octal.
func parseInt(s string, bits int) (int64, bool) {
	neg, mag, ok := parseMagnitude(s)
	if !ok {
		return 0, false
	}
	limit := uint64(1) << (bits - 1)
	switch {
	case neg && mag == limit:
		return math.MinInt64 >> (64 - bits), true
	case mag >= limit:
		return 0, false
	case neg:
		return -int64(mag), true
	}
	return int64(mag), true
}

// parseUint is parseInt for unsigned numbers. A minus sign is accepted before 0 only.
func parseUint(s string) (uint64, bool) {
	neg, mag, ok := parseMagnitude(s)
	return mag, ok && (!neg || mag == 0)
}

func parseMagnitude(s string) (neg bool, mag uint64, ok bool) {
	s = strings.TrimLeft(s, " \t\n\v\f\r")
	if s != "" && (s[0] == '+' || s[0] == '-') {
		neg = s[0] == '-'
		s = s[1:]
	}
	base := 10
	switch {
	case len(s) > 2 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X'):
		base, s = 16, s[2:]
	case len(s) > 1 && s[0] == '0':
		base, s = 8, s[1:]
	}
	// ParseUint takes no sign and, with an explicit base, no prefix and no underscore.
	mag, err := strconv.ParseUint(s, base, 64)
	return neg, mag, err == nil
}
