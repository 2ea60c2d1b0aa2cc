package hostile

import (
	"math"
	"math/rand/v2"
	"net/url"
	"reflect"
	"strings"

	"pegasus/gen/registry"
)

var (
	numbers = []int64{0, 0, 1, 1, 2, 3, 7, -1, -2, 100, math.MaxInt16, math.MinInt16, math.MaxInt32, math.MinInt32, math.MaxInt64, math.MinInt64, math.MaxInt64 / 1000}
	texts   = []string{"", "", "temp", "x", "0", "1", "-1", "true", "1.0", "1.1", "a=b", "=", "*", "\x00", "\xff\xfe", "127.0.0.1:1", "host:99999", "../../etc/passwd",
		"get", "set", "clear", "DEFAULT", "-", "9223372036854775807", "-9223372036854775808", "18446744073709551616", "NaN", "1e309", "{}", "[", "null", ",,,", "%s%d%n", strings.Repeat("x", 70_000)}
)

// Text returns a string that somebody could give in place of any other.
func Text(rnd *rand.Rand) string { return texts[rnd.IntN(len(texts))] }

// Args returns up to four arguments of a remote command.
func Args(rnd *rand.Rand) []string {
	list := make([]string, rnd.IntN(5))
	for i := range list {
		list[i] = Text(rnd)
	}
	return list
}

// Query returns arguments of a page, of which some have these names.
func Query(rnd *rand.Rand, names ...string) string {
	q := make([]string, rnd.IntN(4))
	for i := range q {
		name := Text(rnd)
		if len(names) > 0 && rnd.IntN(5) > 0 {
			name = names[rnd.IntN(len(names))]
		}
		q[i] = url.QueryEscape(name) + "=" + url.QueryEscape(Text(rnd))
		if rnd.IntN(10) == 0 {
			q[i] += "%zz"
		}
	}
	return strings.Join(q, "&")
}

// Body returns a body of a request of that code, in an RDSN frame: with odd values, or not even well formed.
func Body(rnd *rand.Rand, code string) []byte {
	e, ok := registry.Lookup(code)
	if !ok || rnd.IntN(20) == 0 {
		b := make([]byte, rnd.IntN(300))
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		return b
	}
	v := e.Arg()
	fill(rnd, reflect.ValueOf(v).Elem(), 0)
	b := registry.AppendBody(nil, 0, v)
	switch rnd.IntN(10) {
	case 0:
		b = b[:rnd.IntN(len(b)+1)]
	case 1:
		for range 1 + rnd.IntN(4) {
			b[rnd.IntN(len(b))] = byte(rnd.Uint32())
		}
	case 2:
		b = append(b, "more"...)
	}
	return b
}

// fill sets v, and what is in it, to odd values.
func fill(rnd *rand.Rand, v reflect.Value, depth int) {
	if !v.CanSet() {
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(rnd.IntN(2) == 0)
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Int:
		v.SetInt(numbers[rnd.IntN(len(numbers))])
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uint:
		v.SetUint(uint64(numbers[rnd.IntN(len(numbers))]))
	case reflect.Float32, reflect.Float64:
		v.SetFloat([]float64{0, -1, math.NaN(), math.Inf(1), math.MaxFloat64}[rnd.IntN(5)])
	case reflect.String:
		v.SetString(Text(rnd))
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte(Text(rnd)))
			return
		}
		n := rnd.IntN(4)
		if depth > 6 {
			n = 0
		}
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(rnd, v.Index(i), depth+1)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if rnd.IntN(8) > 0 {
				fill(rnd, v.Field(i), depth+1)
			}
		}
	case reflect.Pointer:
		if depth <= 6 && rnd.IntN(4) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(rnd, v.Elem(), depth+1)
		}
	case reflect.Map:
		if depth > 6 {
			return
		}
		m := reflect.MakeMap(v.Type())
		for range rnd.IntN(3) {
			k, x := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			fill(rnd, k, depth+1)
			fill(rnd, x, depth+1)
			m.SetMapIndex(k, x)
		}
		v.Set(m)
	}
}
