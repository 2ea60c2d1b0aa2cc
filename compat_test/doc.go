// Package compat runs upstream's own published clients, and recorded sessions of the
// C++ server, against real clusters of real processes.
//
//   - cluster/ starts, kills, restarts and stops such clusters (Go package, used by the tests
//     here and by whoever else needs processes);
//   - goclient/ is a Go module of its own, because the published Go client needs libraries that
//     are too old for ours; its walk-through and the client's own tests are compiled there and
//     driven from here;
//   - python/ holds the walk-through of PyPI's pypegasus3;
//   - replay_*_test.go plays the recorded sessions, frame by frame;
//   - badinput_test.go sends what no client would;
//   - durability_test.go kills everything at once and counts.
//
// A client test whose runtime isn't on the machine skips and names what is missing; with CI=true
// it fails instead. Nothing here knows the inside of a server: the wire, the command line and the
// files that package onebox writes are all it uses.
package compat
