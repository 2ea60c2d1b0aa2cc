package idlgen

import (
	"bytes"
	"fmt"
	"strings"
)

// scalars maps a kind to the suffix of tbin's Append function and Reader method.
var scalars = map[kind]string{
	kBool: "Bool", kByte: "Byte", kI16: "I16", kI32: "I32", kI64: "I64",
	kDouble: "Double", kString: "String", kBlob: "Bytes", kEnum: "I32",
}

// fileLines is after how many lines the methods go on in a further file.
const fileLines = 600

func (f *file) emitCodec() []*writer {
	var files []*writer
	for _, s := range f.structs {
		if n := len(files); n == 0 || bytes.Count(files[n-1].buf.Bytes(), []byte("\n")) > fileLines {
			files = append(files, f.newWriter())
		}
		w := files[len(files)-1]
		w.use("pegasus/base/tbin")
		f.emitAppend(w, s)
		f.emitRead(w, s)
	}
	return files
}

func (f *file) emitAppend(w *writer, s *structDef) {
	w.p("// AppendThrift appends the struct's body.")
	w.p("func (s *%s) AppendThrift(b []byte) []byte {", s.name)
	for _, fd := range s.fields {
		lv := "s." + fd.name
		if fd.optional {
			w.p("if %s.Set {", lv)
			lv += ".V"
		} else {
			w.p("if s.absent&(1<<%d) == 0%s {", fd.bit, w.orChanged(&fd))
		}
		w.p("b = tbin.AppendField(b, tbin.%s, %d)", fd.typ.wire, fd.id)
		f.emitAppendValue(w, fd.typ, lv, 0)
		w.p("}")
	}
	w.p("return tbin.AppendStop(b)")
	w.p("}")
	w.p("")
}

// orChanged is the condition under which a field that was absent when decoded has been
// given a value since. A nested struct has none: it stays absent.
func (w *writer) orChanged(fd *field) string {
	lv := " || s." + fd.name
	switch {
	case fd.deflt != "" && !fd.zero: // numbers and enums of this file or an imported one
		w.useType(fd.typ)
		return lv + " != " + fd.deflt
	case fd.typ.kind == kBool:
		return lv
	case fd.typ.kind == kString || fd.typ.goName == "ErrorCode" || fd.typ.goName == "TaskCode":
		return lv + ` != ""`
	case fd.typ.goName == "Gpid" || fd.typ.goName == "HostPort":
		w.use("pegasus/base")
		return lv + " != (base." + fd.typ.goName + "{})"
	case fd.typ.kind == kBlob || fd.typ.kind == kList || fd.typ.kind == kMap:
		return " || len(s." + fd.name + ") != 0"
	case fd.typ.kind == kStruct:
		return ""
	}
	return lv + " != 0"
}

func (f *file) emitAppendValue(w *writer, t *typ, lv string, depth int) {
	switch t.kind {
	case kEnum:
		w.p("b = tbin.AppendI32(b, int32(%s))", lv)
	case kBase, kStruct:
		w.p("b = %s.AppendThrift(b)", lv)
	case kList, kMap:
		i := name("i", depth)
		if t.kind == kMap {
			w.p("b = tbin.AppendMap(b, tbin.%s, tbin.%s, len(%s))", t.key.wire, t.val.wire, lv)
		} else {
			w.p("b = tbin.AppendList(b, tbin.%s, len(%s))", t.val.wire, lv)
		}
		w.p("for %s := range %s {", i, lv)
		el := lv + "[" + i + "]"
		if t.kind == kMap {
			f.emitAppendValue(w, t.key, el+".Key", depth+1)
			el += ".Val"
		}
		f.emitAppendValue(w, t.val, el, depth+1)
		w.p("}")
	default:
		w.p("b = tbin.Append%s(b, %s)", scalars[t.kind], lv)
	}
}

func (f *file) emitRead(w *writer, s *structDef) {
	var init []string
	if d := f.defaults(s); d != "" {
		init = append(init, d)
	}
	if s.masked > 0 {
		init = append(init, fmt.Sprintf("absent: 1<<%d - 1", s.masked))
	}
	w.p("// ReadThrift replaces s by the body that r is at.")
	w.p("func (s *%s) ReadThrift(r *tbin.Reader) {", s.name)
	w.p("*s = %s{%s}", s.name, strings.Join(init, ", "))
	w.p("r.Begin()")
	w.p("for t, id := r.Field(); t != tbin.Stop; t, id = r.Field() {")
	if len(s.fields) == 0 {
		w.p("_ = id")
		w.p("r.Skip(t)")
	} else {
		w.p("switch {")
		for _, fd := range s.fields {
			lv := "s." + fd.name
			w.p("case id == %d && t == tbin.%s:", fd.id, fd.typ.wire)
			if fd.optional {
				w.p("%s.Set = true", lv)
				lv += ".V"
			} else {
				w.p("s.absent &^= 1 << %d", fd.bit)
			}
			f.emitReadValue(w, fd.typ, lv, 0)
		}
		w.p("default:")
		w.p("r.Skip(t)")
		w.p("}")
	}
	w.p("}")
	w.p("r.End()")
	w.p("}")
	w.p("")
}

func (f *file) emitReadValue(w *writer, t *typ, lv string, depth int) {
	switch t.kind {
	case kEnum:
		w.useType(t)
		w.p("%s = %s(r.I32())", lv, f.goType(t))
	case kBase, kStruct:
		w.p("%s.ReadThrift(r)", lv)
	case kList, kMap:
		w.use("pegasus/gen/internal/seq")
		w.useType(t)
		n, i := name("n", depth), name("i", depth)
		if t.kind == kMap {
			w.p("%s := seq.Map(r, tbin.%s, tbin.%s, %d)", n, t.key.wire, t.val.wire, least(t))
		} else {
			w.p("%s := seq.List(r, tbin.%s, %d)", n, t.val.wire, least(t))
		}
		w.p("%s = seq.Make[%s](%s)", lv, f.elemType(t), n)
		w.p("for %s := 0; %s < %s.N && r.Err() == nil; %s++ {", i, i, n, i)
		el := lv + "[" + i + "]"
		if t.kind == kMap {
			f.emitReadValue(w, t.key, el+".Key", depth+1)
			el += ".Val"
		}
		f.emitReadValue(w, t.val, el, depth+1)
		w.p("}")
		w.p("%s.End(r)", n)
	default:
		w.p("%s = r.%s()", lv, scalars[t.kind])
	}
}

// name numbers the variables of nested containers, and the files of a package.
func name(s string, depth int) string {
	if depth == 0 {
		return s
	}
	return fmt.Sprint(s, depth)
}
