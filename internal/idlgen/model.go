package idlgen

import (
	"fmt"
	"path/filepath"
	"sort"
	"strings"

	"github.com/cloudwego/thriftgo/parser"
)

// kind is what decides how a type is written and read.
type kind int

const (
	kBool kind = iota
	kByte
	kI16
	kI32
	kI64
	kDouble
	kString
	kBlob   // dsn.blob: []byte aliasing the frame
	kBase   // another of dsn.thrift's base types
	kEnum   // named int32
	kStruct // generated struct, held by value
	kList   // list or set
	kMap    // ordered pairs
)

// typ is a resolved IDL type.
type typ struct {
	kind     kind
	wire     string // name of the tbin type constant
	goName   string // Go name without package, for kBase, kEnum and kStruct
	pkg      *file  // defining file of a kEnum or kStruct
	key, val *typ   // kMap; kList has val only
	def      *structDef
}

type field struct {
	id       int32
	name     string // Go name
	idlName  string
	typ      *typ
	optional bool
	deflt    string // Go expression of a declared default, "" if none
	zero     bool   // the declared default is the zero value
	bit      int    // position in the absence mask, -1 if optional
}

type structDef struct {
	idlName, name string
	fields        []field
	masked        int // how many fields are not optional
	size, align   int // in memory; 0 until computed
}

type enumDef struct {
	idlName, name string
	values        []enumValue
}

type enumValue struct {
	idlName, name string
	value         int64
}

// file is one IDL file and the package made of it.
type file struct {
	base    string // file name without .thrift: the prefix other files use
	pkg     string // Go package
	about   string // text of the leading comment
	ast     *parser.Thrift
	structs []*structDef
	enums   []*enumDef
	uses    map[string]*file // by prefix
}

// baseTypes are dsn.thrift's types: Go name and how many bytes they take, at least on
// the wire, and in memory.
var baseTypes = map[string]struct {
	goName            string
	wire, size, align int
}{
	"gpid":        {"Gpid", 8, 8, 4},
	"rpc_address": {"RPCAddress", 8, 8, 8},
	"host_port":   {"HostPort", 7, 24, 8},
	"error_code":  {"ErrorCode", 4, 16, 8},
	"task_code":   {"TaskCode", 4, 16, 8},
}

const baseFile = "dsn"

// load parses every IDL file of a directory and resolves all types.
func load(dir string) ([]*file, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.thrift"))
	if err != nil {
		return nil, fmt.Errorf("list IDL files of %s: %w", dir, err)
	}
	sort.Strings(paths)
	byBase := map[string]*file{}
	var files []*file
	for _, p := range paths {
		f, err := parse(p)
		if err != nil {
			return nil, err
		}
		byBase[f.base] = f
		if f.base != baseFile {
			files = append(files, f)
		}
	}
	for _, f := range files {
		for _, inc := range f.ast.Includes {
			b := strings.TrimSuffix(filepath.Base(inc.Path), ".thrift")
			if byBase[b] == nil {
				return nil, fmt.Errorf("%s.thrift includes %s: no such file", f.base, inc.Path)
			}
			f.uses[b] = byBase[b]
		}
		f.declare()
	}
	for _, f := range files {
		if err := f.resolve(); err != nil {
			return nil, fmt.Errorf("%s.thrift: %w", f.base, err)
		}
	}
	return files, nil
}

func parse(path string) (*file, error) {
	ast, err := parser.ParseFile(path, nil, false)
	if err != nil {
		return nil, fmt.Errorf("parse %s: %w", path, err)
	}
	f := &file{
		base: strings.TrimSuffix(filepath.Base(path), ".thrift"),
		ast:  ast,
		uses: map[string]*file{},
	}
	for _, ns := range ast.Namespaces {
		if ns.Language == "go" {
			f.pkg = ns.Name
		}
	}
	if f.pkg == "" {
		return nil, fmt.Errorf("%s: no `namespace go`", path)
	}
	if len(ast.Typedefs)+len(ast.Constants)+len(ast.Unions)+len(ast.Exceptions) > 0 {
		return nil, fmt.Errorf("%s: typedefs, constants, unions and exceptions have no mapping", path)
	}
	if f.about, err = leadingComment(path); err != nil {
		return nil, err
	}
	return f, nil
}

// declare makes the names known, so that files may refer to each other in any order.
func (f *file) declare() {
	for _, e := range f.ast.Enums {
		d := &enumDef{idlName: e.Name, name: camel(e.Name)}
		for _, v := range e.Values {
			d.values = append(d.values, enumValue{v.Name, constName(v.Name), v.Value})
		}
		f.enums = append(f.enums, d)
	}
	for _, s := range f.ast.Structs {
		f.structs = append(f.structs, &structDef{idlName: s.Name, name: camel(s.Name)})
	}
}

func (f *file) resolve() error {
	for i, s := range f.ast.Structs {
		d := f.structs[i]
		for _, af := range s.Fields {
			t, err := f.typeOf(af.Type)
			if err != nil {
				return fmt.Errorf("%s.%s: %w", s.Name, af.Name, err)
			}
			fd := field{id: af.ID, name: camel(af.Name), idlName: af.Name, typ: t, bit: -1}
			switch af.Requiredness {
			case parser.FieldType_Optional:
				fd.optional = true
			case parser.FieldType_Required:
				return fmt.Errorf("%s.%s: required fields have no mapping", s.Name, af.Name)
			default:
				fd.bit = d.masked
				d.masked++
			}
			if af.Default != nil {
				if err := f.setDefault(&fd, af.Default); err != nil {
					return fmt.Errorf("%s.%s: %w", s.Name, af.Name, err)
				}
			}
			d.fields = append(d.fields, fd)
		}
		if d.masked > 32 {
			return fmt.Errorf("%s: more than 32 fields that are not optional", s.Name)
		}
	}
	return nil
}

func (f *file) typeOf(t *parser.Type) (*typ, error) {
	switch t.Name {
	case "bool":
		return &typ{kind: kBool, wire: "Bool"}, nil
	case "byte", "i8":
		return &typ{kind: kByte, wire: "Byte"}, nil
	case "i16":
		return &typ{kind: kI16, wire: "I16"}, nil
	case "i32":
		return &typ{kind: kI32, wire: "I32"}, nil
	case "i64":
		return &typ{kind: kI64, wire: "I64"}, nil
	case "double":
		return &typ{kind: kDouble, wire: "Double"}, nil
	case "string":
		return &typ{kind: kString, wire: "String"}, nil
	case "list", "set":
		v, err := f.typeOf(t.ValueType)
		if err != nil {
			return nil, err
		}
		return &typ{kind: kList, wire: strings.ToUpper(t.Name[:1]) + t.Name[1:], val: v}, nil
	case "map":
		k, err := f.typeOf(t.KeyType)
		if err != nil {
			return nil, err
		}
		v, err := f.typeOf(t.ValueType)
		if err != nil {
			return nil, err
		}
		return &typ{kind: kMap, wire: "Map", key: k, val: v}, nil
	}
	return f.named(t.Name)
}

// lookup splits "prefix.name" into the file it means and the name; a prefix may itself
// hold dots.
func (f *file) lookup(ref string) (*file, string, error) {
	i := strings.LastIndexByte(ref, '.')
	if i < 0 {
		return f, ref, nil
	}
	g := f.uses[ref[:i]]
	if g == nil {
		return nil, "", fmt.Errorf("%s: file %q is not included", ref, ref[:i])
	}
	return g, ref[i+1:], nil
}

func (f *file) named(ref string) (*typ, error) {
	g, name, err := f.lookup(ref)
	if err != nil {
		return nil, err
	}
	if g.base == baseFile {
		if name == "blob" {
			return &typ{kind: kBlob, wire: "Struct"}, nil
		}
		if b, ok := baseTypes[name]; ok {
			return &typ{kind: kBase, wire: "Struct", goName: b.goName}, nil
		}
	}
	for _, e := range g.enums {
		if e.idlName == name {
			return &typ{kind: kEnum, wire: "I32", goName: e.name, pkg: g}, nil
		}
	}
	for _, s := range g.structs {
		if s.idlName == name {
			return &typ{kind: kStruct, wire: "Struct", goName: s.name, pkg: g, def: s}, nil
		}
	}
	return nil, fmt.Errorf("type %s is not defined", ref)
}

// setDefault turns a declared default into a Go expression.
func (f *file) setDefault(fd *field, v *parser.ConstValue) error {
	switch {
	case v.Type == parser.ConstType_ConstInt && fd.typ.kind >= kByte && fd.typ.kind <= kI64:
		fd.deflt = fmt.Sprint(v.TypedValue.GetInt())
		fd.zero = v.TypedValue.GetInt() == 0
	case v.Type == parser.ConstType_ConstIdentifier && fd.typ.kind == kBool:
		fd.deflt = v.TypedValue.GetIdentifier()
		fd.zero = fd.deflt == "false"
	case v.Type == parser.ConstType_ConstIdentifier && fd.typ.kind == kEnum:
		ref := v.TypedValue.GetIdentifier()
		name := ref[strings.LastIndexByte(ref, '.')+1:]
		for _, e := range fd.typ.pkg.enums {
			for _, ev := range e.values {
				if e.name == fd.typ.goName && ev.idlName == name {
					fd.deflt, fd.zero = f.qualify(fd.typ.pkg, ev.name), ev.value == 0
					return nil
				}
			}
		}
		return fmt.Errorf("default %s is no value of its enum", ref)
	default:
		return fmt.Errorf("a default of this form has no mapping")
	}
	return nil
}

// qualify prefixes a name with its package, unless that is the file's own.
func (f *file) qualify(g *file, name string) string {
	if g == f {
		return name
	}
	return g.pkg + "." + name
}
