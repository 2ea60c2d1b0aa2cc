//go:build race

package wal

// raceEnabled: exhaustive single-threaded tests take samples, as nothing in them races.
const raceEnabled = true
