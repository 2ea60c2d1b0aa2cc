// Package logging makes the log of a server: which lines are written, in which form, and where.
//
// # What it owns
//
// The levels, one for all packages and others for some of them, which can be changed while the
// server runs (Levels); the text and JSON forms, and the field "at", which says where in the
// program a line comes from; the log's file, its rotation and its reopening (File).
//
// # Invariants
//
// Who logs never waits for the file: lines go to a bounded queue, which a goroutine empties. A
// disk that is full or hangs costs lines, which are counted and told, and nothing else.
// A line that isn't wanted is formatted by nobody.
//
// It must not know what is logged, nor which packages there are.
package logging
