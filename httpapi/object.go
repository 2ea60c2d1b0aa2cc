package httpapi

import (
	"bytes"
	"encoding/json"
)

// Object is a JSON object whose fields keep their order. Values are strings or Objects.
type Object []Field

// Field is one field of an Object.
type Field struct {
	Name  string
	Value any
}

// Add appends a field.
func (o *Object) Add(name string, value any) { *o = append(*o, Field{name, value}) }

// MarshalJSON writes the fields in order.
func (o Object) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, f := range o {
		if i > 0 {
			b = append(b, ',')
		}
		for j, v := range []any{f.Name, f.Value} {
			if j > 0 {
				b = append(b, ':')
			}
			s, err := marshal(v)
			if err != nil {
				return nil, err
			}
			b = append(b, s...)
		}
	}
	return append(b, '}'), nil
}

// marshal is json.Marshal that leaves <, > and & as they are, as upstream does.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte{'\n'}), err
}
