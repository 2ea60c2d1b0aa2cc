package idlgen

import (
	"fmt"
	"os"
	"strings"
)

// camel turns a_b_c into ABC's Go form: every part between underscores capitalized.
func camel(s string) string {
	var b strings.Builder
	for _, p := range strings.Split(s, "_") {
		if p != "" {
			b.WriteString(strings.ToUpper(p[:1]) + p[1:])
		}
	}
	return b.String()
}

// constName keeps an enum value's IDL name where Go exports it, else its camel form.
func constName(s string) string {
	if c := s[0]; c >= 'A' && c <= 'Z' {
		return s
	}
	return camel(s)
}

// leadingComment returns the text of the // lines a file begins with.
func leadingComment(path string) (string, error) {
	src, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read IDL: %w", err)
	}
	var lines []string
	for _, l := range strings.Split(string(src), "\n") {
		t, ok := strings.CutPrefix(l, "//")
		if !ok {
			break
		}
		lines = append(lines, strings.TrimSpace(t))
	}
	return strings.Join(lines, "\n"), nil
}

// goType is t's Go spelling inside f's package.
func (f *file) goType(t *typ) string {
	switch t.kind {
	case kBool:
		return "bool"
	case kByte:
		return "int8"
	case kI16:
		return "int16"
	case kI32:
		return "int32"
	case kI64:
		return "int64"
	case kDouble:
		return "float64"
	case kString:
		return "string"
	case kBlob:
		return "[]byte"
	case kBase:
		return "base." + t.goName
	case kList:
		return "[]" + f.goType(t.val)
	case kMap:
		return "[]" + f.pairType(t)
	default:
		return f.qualify(t.pkg, t.goName)
	}
}

func (f *file) pairType(t *typ) string {
	return "base.Pair[" + f.goType(t.key) + ", " + f.goType(t.val) + "]"
}

// elemType is the Go type of one element of a container.
func (f *file) elemType(t *typ) string {
	if t.kind == kMap {
		return f.pairType(t)
	}
	return f.goType(t.val)
}

// minWire is the least number of bytes a value of t takes on the wire.
func minWire(t *typ) int {
	switch t.kind {
	case kBool, kByte, kStruct:
		return 1
	case kI16:
		return 2
	case kI32, kEnum, kString, kBlob:
		return 4
	case kI64, kDouble:
		return 8
	case kList:
		return 5
	case kMap:
		return 6
	}
	for _, b := range baseTypes {
		if b.goName == t.goName {
			return b.wire
		}
	}
	return 1
}

// sizeOf is how much memory a value of t takes, and its alignment, on 64 bits.
func sizeOf(t *typ) (size, align int) {
	switch t.kind {
	case kBool, kByte:
		return 1, 1
	case kI16:
		return 2, 2
	case kI32, kEnum:
		return 4, 4
	case kI64, kDouble:
		return 8, 8
	case kString:
		return 16, 8
	case kBlob, kList, kMap:
		return 24, 8
	case kStruct:
		return t.def.layout()
	}
	for _, b := range baseTypes {
		if b.goName == t.goName {
			return b.size, b.align
		}
	}
	return 8, 8
}

func (d *structDef) layout() (size, align int) {
	if d.align != 0 {
		return d.size, d.align
	}
	d.align = 1
	for _, fd := range d.fields {
		s, a := sizeOf(fd.typ)
		if fd.optional {
			s = roundUp(s+1, a)
		}
		d.size = roundUp(d.size, a) + s
		d.align = max(d.align, a)
	}
	if d.masked > 0 {
		s := maskBytes(d.masked)
		d.size = roundUp(d.size, s) + s
		d.align = max(d.align, s)
	}
	d.size = roundUp(d.size, d.align)
	return d.size, d.align
}

func roundUp(n, to int) int { return (n + to - 1) / to * to }

func maskBytes(fields int) int {
	switch {
	case fields <= 8:
		return 1
	case fields <= 16:
		return 2
	}
	return 4
}

// amplification bounds memory per byte of frame that a container's elements may take.
const amplification = 16

// least is the number of bytes that one element of container t must take on average.
func least(t *typ) int {
	wire := minWire(t.val)
	size, align := sizeOf(t.val)
	if t.kind == kMap {
		wire += minWire(t.key)
		ks, ka := sizeOf(t.key)
		align = max(align, ka)
		size = roundUp(roundUp(ks, align)+size, align)
	}
	return max(wire, roundUp(size, amplification)/amplification)
}
