package cli

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Escape turns bytes into printable text: valid UTF-8 that is printable stays, a backslash
// is doubled, everything else becomes \n, \r, \t or \xNN. Unescape is its inverse.
func Escape(b []byte) string { return string(appendEscape(make([]byte, 0, len(b)), b, 0)) }

// Quote is Escape in double quotes, with quotes inside escaped.
func Quote(b []byte) string { return string(appendQuote(make([]byte, 0, len(b)+2), b)) }

func appendQuote(to, b []byte) []byte {
	return append(appendEscape(append(to, '"'), b, '"'), '"')
}

func appendEscape(to, b []byte, quote byte) []byte {
	const digits = "0123456789abcdef"
	for len(b) > 0 {
		c, n := b[0], 1
		if c >= utf8.RuneSelf {
			var r rune
			if r, n = utf8.DecodeRune(b); !(r == utf8.RuneError && n == 1) && printable(r) {
				to, b = append(to, b[:n]...), b[n:]
				continue
			}
		}
		switch {
		case c == '\\' || c == quote && quote != 0:
			to = append(to, '\\', c)
		case c == '\n':
			to = append(to, `\n`...)
		case c == '\r':
			to = append(to, `\r`...)
		case c == '\t':
			to = append(to, `\t`...)
		case c >= ' ' && c < utf8.RuneSelf-1:
			to = append(to, c)
		default:
			for _, c := range b[:n] {
				to = append(to, '\\', 'x', digits[c>>4], digits[c&15])
			}
		}
		b = b[n:]
	}
	return to
}

// Unescape reads text with C's escapes: \\ \" \' \a \b \f \n \r \t \v, \xN or \xNN
// (hexadecimal), and \N to \NNN (octal).
func Unescape(s string) ([]byte, error) {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c != '\\' {
			b = append(b, c)
			continue
		}
		if i++; i == len(s) {
			return nil, fmt.Errorf("%q ends with a single backslash: write it as \\\\", s)
		}
		switch c = s[i]; c {
		case 'x':
			v, n := digits(s[i+1:], 16, 2)
			if n == 0 {
				return nil, fmt.Errorf("%q: \\x at byte %d must be followed by hexadecimal digits", s, i-1)
			}
			b = append(b, byte(v))
			i += n
		case '0', '1', '2', '3', '4', '5', '6', '7':
			v, n := digits(s[i:], 8, 3)
			if v > 0xff {
				return nil, fmt.Errorf("%q: \\%s at byte %d exceeds one byte (at most \\377)", s, s[i:i+n], i-1)
			}
			b = append(b, byte(v))
			i += n - 1
		default:
			const from, to = `\"'abfnrtv`, "\\\"'\a\b\f\n\r\t\v"
			k := strings.IndexByte(from, c)
			if k < 0 {
				return nil, fmt.Errorf("%q: unknown escape at byte %d; known: \\\\ \\\" \\' \\a \\b \\f \\n \\r \\t \\v \\xNN \\NNN", s, i-1)
			}
			b = append(b, to[k])
		}
	}
	return b, nil
}

func digits(s string, radix, most int) (v, n int) {
	for n < most && n < len(s) {
		d := strings.IndexByte("0123456789abcdef", s[n]|0x20)
		if s[n] >= '0' && s[n] <= '9' {
			d = int(s[n] - '0')
		}
		if d < 0 || d >= radix {
			break
		}
		v = v*radix + d
		n++
	}
	return v, n
}
