// Package tbin is the Thrift binary protocol, reduced to what a server on the hot path
// needs: append functions for writing and a bounds-checked Reader over one frame.
//
// A Reader never copies: byte strings are slices of the frame, so whoever keeps one
// beyond the frame's life copies it. The first error sticks and every later read returns
// a zero value, so generated code checks once at the end. Sizes are checked against the
// bytes that are left before anything is allocated, and nesting is bounded.
package tbin
