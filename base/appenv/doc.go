// Package appenv is the one schema of the settings ("app envs") that a table can have: their
// names, what values they take, what they do, and the exact words in which upstream's meta
// server refuses others, because its tools show them to the user. The meta validates by it,
// the replicas read by it (Parse), and the CLI explains by it.
//
// Invariants: Parse reads every value that Validate accepts as Validate understood it, and
// takes a value that Validate refuses for one that isn't set.
//
// It must not know tables, requests or stores.
package appenv
