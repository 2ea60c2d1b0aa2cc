// Package hotkey finds the hash keys of one partition that take more requests than the
// others: a Sketch, which is always on and looks at a sample of the requests, and a Collector,
// which an administrator starts, looks at all of them, and answers as upstream's does.
//
// It owns how keys are counted and when one of them is hot. Invariants: its memory is bounded
// whatever the keys are; a request never waits for another, it rather isn't counted; a Sketch
// in steady state allocates nothing.
//
// It must not know requests, replicas or the wire.
package hotkey
