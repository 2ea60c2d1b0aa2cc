package knots

import (
	"fmt"
	"go/types"
)

// Large is a type that is hard to keep in one's head.
type Large struct {
	Name            string
	Fields, Methods int
	Where           string // file:line
}

// Large returns the types that have more than so many fields of their own, or more than so
// many methods.
func (p *Package) Large(fields, methods int) (list []Large) {
	for _, name := range p.Types.Scope().Names() {
		obj, ok := p.Types.Scope().Lookup(name).(*types.TypeName)
		if !ok || obj.IsAlias() {
			continue
		}
		named, ok := obj.Type().(*types.Named)
		if !ok {
			continue
		}
		l := Large{Name: name, Methods: named.NumMethods()}
		if s, ok := named.Underlying().(*types.Struct); ok {
			l.Fields = s.NumFields()
		}
		if l.Fields > fields || l.Methods > methods {
			at := p.Fset.Position(obj.Pos())
			l.Where = fmt.Sprintf("%s:%d", p.file(obj.Pos()), at.Line)
			list = append(list, l)
		}
	}
	return list
}
