// Package seq is what generated decoders share for lists, sets and maps: it reads a
// container's header, checks it, and bounds what a hostile count can make a decoder
// allocate.
//
// The bound: a container's elements must take at least `least` bytes each on average,
// where the generator derives least from the element's smallest encoding and its size in
// memory. So memory stays within a small multiple of the frame, however it lies.
package seq
