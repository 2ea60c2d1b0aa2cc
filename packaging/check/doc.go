// Package check has the tests of what is in packaging. It is a module of its own, so that what they parse with is no
// dependency of the servers.
package check
