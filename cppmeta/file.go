package cppmeta

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
)

// A record of the file is a header (magic, size of the body; little endian) and a body: the operation, and its arguments as Thrift's binary
// protocol writes a field each, with the number 0, and a stop.
const (
	headerSize = 12
	magic      = 0xdeadbeef

	opCreate = 0
	opDelete = 1
	opSet    = 2

	typeBool   = 2
	typeString = 11
	typeStruct = 12 // a blob: a length, and no fields
)

var magicBytes = binary.LittleEndian.AppendUint32(nil, magic)

// Tree is what the state service holds: nodes with values, by their paths.
type Tree struct {
	nodes map[string]*node
}

type node struct {
	value    []byte
	children map[string]bool
}

// NewTree returns a tree that has a root only.
func NewTree() *Tree { return &Tree{nodes: map[string]*node{"/": {}}} }

// Value returns the value of a node.
func (t *Tree) Value(path string) ([]byte, bool) {
	n := t.nodes[normal(path)]
	if n == nil {
		return nil, false
	}
	return n.value, true
}

// Children returns the names below a node, in no order.
func (t *Tree) Children(path string) []string {
	var out []string
	if n := t.nodes[normal(path)]; n != nil {
		for c := range n.children {
			out = append(out, c)
		}
	}
	return out
}

// Create makes a node, if its parent is there and it isn't.
func (t *Tree) Create(path string, value []byte) bool {
	path = normal(path)
	parent, name := up(path)
	p := t.nodes[parent]
	if path == "" || t.nodes[path] != nil || p == nil {
		return false
	}
	if p.children == nil {
		p.children = map[string]bool{}
	}
	p.children[name] = true
	t.nodes[path] = &node{value: value}
	return true
}

// set changes the value of a node that is there.
func (t *Tree) set(path string, value []byte) {
	if n := t.nodes[normal(path)]; n != nil {
		n.value = value
	}
}

// remove removes a node, with those below it if recursive.
func (t *Tree) remove(path string, recursive bool) {
	path = normal(path)
	n := t.nodes[path]
	if path == "/" || n == nil || !recursive && len(n.children) > 0 {
		return
	}
	gone := []string{path}
	for len(gone) > 0 {
		p := gone[len(gone)-1]
		gone = gone[:len(gone)-1]
		for c := range t.nodes[p].children {
			gone = append(gone, p+"/"+c)
		}
		delete(t.nodes, p)
	}
	parent, name := up(path)
	delete(t.nodes[parent].children, name)
}

// normal is a path as the C++ server compares it; "" if it is none.
func normal(p string) string {
	if p == "" || p[0] != '/' {
		return ""
	}
	if len(p) > 1 {
		return strings.TrimSuffix(p, "/")
	}
	return p
}

func up(path string) (parent, name string) {
	i := strings.LastIndexByte(path, '/')
	if i <= 0 {
		return "/", path[i+1:]
	}
	return path[:i], path[i+1:]
}

// ReadFile reads meta_state_service.log. Torn says what is left out at its end, "" if nothing is.
func ReadFile(data []byte) (t *Tree, torn string, err error) {
	t = NewTree()
	if len(data) == 0 {
		return nil, "", fmt.Errorf("the file is empty: give meta_state_service.log of a meta server's data directory")
	}
	for at := 0; at < len(data); {
		rest := data[at:]
		if len(rest) < headerSize || !bytes.HasPrefix(rest, magicBytes) || binary.LittleEndian.Uint64(rest[4:]) > uint64(len(rest)-headerSize) {
			if at == 0 {
				return nil, "", fmt.Errorf("the file doesn't begin with a record: give meta_state_service.log of a meta server's data directory (an encrypted one can't be read)")
			}
			if next := bytes.Index(rest[1:], magicBytes); next >= 0 {
				return nil, "", fmt.Errorf("the record at byte %d is damaged, and others follow at byte %d: what the meta knew can't be told from this file", at, at+1+next)
			}
			return t, fmt.Sprintf("the last %d bytes, from byte %d on, are no whole record and are left out, as the C++ server does", len(rest), at), nil
		}
		size := int(binary.LittleEndian.Uint64(rest[4:]))
		if err := t.apply(rest[headerSize : headerSize+size]); err != nil {
			return nil, "", fmt.Errorf("the record at byte %d is damaged: %w", at, err)
		}
		at += headerSize + size
	}
	return t, "", nil
}

func (t *Tree) apply(body []byte) error {
	if len(body) < 4 {
		return fmt.Errorf("it has %d bytes", len(body))
	}
	op, args := binary.LittleEndian.Uint32(body), fields{body[4:]}
	if op > opSet {
		return fmt.Errorf("there is no operation %d", op)
	}
	path, err := args.next(typeString)
	if err != nil {
		return fmt.Errorf("read the path: %w", err)
	}
	kind := byte(typeStruct)
	if op == opDelete {
		kind = typeBool
	}
	value, err := args.next(kind)
	if err != nil {
		return fmt.Errorf("read the value of %q: %w", path, err)
	}
	if len(args.rest) > 0 {
		return fmt.Errorf("%d bytes follow what belongs to %q", len(args.rest), path)
	}
	switch op {
	case opCreate:
		t.Create(string(path), value)
	case opDelete:
		t.remove(string(path), value[0] != 0)
	case opSet:
		t.set(string(path), value)
	}
	return nil
}

type fields struct{ rest []byte }

// next reads a field of that type, with its stop. A short read is an error.
func (f *fields) next(kind byte) ([]byte, error) {
	if len(f.rest) < 4 || f.rest[0] != kind {
		return nil, fmt.Errorf("a field of type %d is expected", kind)
	}
	size, from := 1, 3
	if kind != typeBool {
		if len(f.rest) < 7 {
			return nil, fmt.Errorf("it is too short")
		}
		n := binary.BigEndian.Uint32(f.rest[3:])
		if uint64(n) > uint64(len(f.rest)) {
			return nil, fmt.Errorf("it claims %d bytes", n)
		}
		size, from = int(n), 7
	}
	if len(f.rest) < from+size+1 || f.rest[from+size] != 0 {
		return nil, fmt.Errorf("it isn't ended where it should be")
	}
	out := f.rest[from : from+size]
	f.rest = f.rest[from+size+1:]
	return out, nil
}
