// Package value wraps the bare values that some RPCs take or return instead of a struct,
// so that they can be passed wherever a generated struct can.
package value
