// Package cli is what the client commands of the pegasus binary do and print: tables for
// people, JSON for programs.
//
// It owns the output's form and the words of errors. Invariants: bytes that aren't
// printable text are always escaped (see Escape), so that output never disturbs a terminal
// and can be given back with --escape; JSON is one document, for scans one a line; errors
// say what happened, where, and what to do next.
//
// Exit statuses are in one table (ExitStatuses): what a script may rely on.
//
// Flags are the business of cmd/pegasus, talking to servers that of package client.
package cli
