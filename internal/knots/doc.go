// Package knots looks at the calls between the files of a package. Files that read well lie in
// layers: a file calls what lies below it and never back up. Where two or more files call
// each other, directly or by way of others, they are a knot: none of them can be read, tested
// or moved alone.
//
// # What it owns
//
// Loading packages with their types, the graph of calls between files, its knots, and the
// size of struct types.
//
// A call is every mention of a function or a method of the same package, also as a value. A
// call of an interface's method is none: who declares the interface doesn't know who
// implements it. Mentions of types, variables and fields are no calls. Tests don't count.
//
// It must not know which packages are checked: the Makefile says so.
package knots
