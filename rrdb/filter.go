package rrdb

import (
	"bytes"

	idl "pegasus/gen/rrdb"
)

// filter is a condition on a hash key or sort key; an empty pattern matches all.
type filter struct {
	kind    idl.FilterType
	pattern []byte
}

func (f filter) supported() bool {
	return f.kind >= idl.FT_NO_FILTER && f.kind <= idl.FT_MATCH_POSTFIX
}

// prefix returns the prefix that every match has, nil if there is none.
func (f filter) prefix() []byte {
	if f.kind == idl.FT_MATCH_PREFIX && len(f.pattern) > 0 {
		return f.pattern
	}
	return nil
}

func (f filter) match(v []byte) bool {
	if len(f.pattern) == 0 {
		return true
	}
	switch f.kind {
	case idl.FT_MATCH_ANYWHERE:
		return bytes.Contains(v, f.pattern)
	case idl.FT_MATCH_PREFIX:
		return bytes.HasPrefix(v, f.pattern)
	case idl.FT_MATCH_POSTFIX:
		return bytes.HasSuffix(v, f.pattern)
	}
	return true
}

func (f filter) clone() filter {
	return filter{f.kind, bytes.Clone(f.pattern)}
}
