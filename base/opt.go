package base

// Opt is an optional field: a value and whether it is there.
type Opt[T any] struct {
	V   T
	Set bool
}

// Some returns an Opt that is there.
func Some[T any](v T) Opt[T] { return Opt[T]{v, true} }

// NonZero returns an Opt that is there unless v is the zero value.
func NonZero[T comparable](v T) Opt[T] {
	var zero T
	if v == zero {
		return Opt[T]{}
	}
	return Some(v)
}

// Or returns the value, or d if it is not there.
func (o Opt[T]) Or(d T) T {
	if o.Set {
		return o.V
	}
	return d
}

// Pair is one entry of a Thrift map. Maps keep the order they travelled in, so that a
// frame re-encodes to the bytes it came from.
type Pair[K, V any] struct {
	Key K
	Val V
}
