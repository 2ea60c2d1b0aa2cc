package blob

import (
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxName    = 900 // bytes: S3 takes 1,024 with a prefix
	maxElement = 200 // bytes: file systems take 255, and temporary names are longer
)

// CheckName checks the name of a file or directory: elements separated by slashes, without a
// slash at the ends. No element begins with a dot: those names belong to the stores.
func CheckName(name string) error {
	switch {
	case name == "":
		return Failf(ErrInvalid, "the name is empty")
	case len(name) > maxName:
		return Failf(ErrInvalid, "the name has %d bytes, more than %d", len(name), maxName)
	case !utf8.ValidString(name):
		return Failf(ErrInvalid, "the name %q is not UTF-8", name)
	}
	for e := range strings.SplitSeq(name, "/") {
		switch {
		case e == "":
			return Failf(ErrInvalid, "the name %q has an empty element", name)
		case e[0] == '.':
			return Failf(ErrInvalid, "the name %q has an element that begins with a dot", name)
		case len(e) > maxElement:
			return Failf(ErrInvalid, "the name %q has an element of %d bytes, more than %d", name, len(e), maxElement)
		case strings.IndexFunc(e, unicode.IsControl) >= 0:
			return Failf(ErrInvalid, "the name %q has a control character", name)
		}
	}
	return nil
}

// checkDir is CheckName for a directory; "" is the root.
func checkDir(dir string) error {
	if dir == "" {
		return nil
	}
	return CheckName(dir)
}

// Join puts a name together; empty elements don't count.
func Join(elements ...string) string {
	return strings.TrimPrefix(path.Join(elements...), "/")
}

// Hidden tells whether an element of a name belongs to the store itself: side files, and files that
// are being written.
func Hidden(element string) bool { return strings.HasPrefix(element, ".") }
