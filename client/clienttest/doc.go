// Package clienttest is a cluster for tests of what talks to one: a meta server and
// replica servers in this process, on real sockets, keeping rows in memory.
//
// It owns just enough of a server's behaviour to answer every request our client sends,
// and hooks to misbehave: to answer something else, to fall silent, to move a primary. It
// replicates nothing and keeps nothing.
package clienttest
