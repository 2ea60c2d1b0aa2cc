// Package blobtest is what every kind of blob store has to do, as tests: Run is called by the tests
// of each kind, with a real place behind it. It also has a network that fails on command.
package blobtest
