// Package hostile makes input that no honest client sends: requests, queries of pages and
// arguments of remote commands, for tests of what a server does with them.
//
// It must not know any server.
package hostile
