// Package dashboard is the web pages of a cluster: how it is, what is wrong and why, what is being done, and forms
// for what an operator changes most.
//
// # What it owns
//
// The pages, made on the server from templates that are part of the program: no build chain, one small script that
// brings pages up to date, no other host's content. Pages list at most pageRows rows, so that they stay small for 1,000
// servers and 10,000 tables. What they show is asked for when a page is; answers are shared for a second.
//
// # Invariants
//
//   - Whatever comes from the cluster (names, reasons, settings) is text, never markup.
//   - Nothing changes by GET. What changes something comes from a page of this dashboard, in a browser on this host (see mayChange).
//   - A part that can't be asked for leaves a sentence in its place, and the rest of the page is shown.
//
// It must not know how the answers are made: it is a client as any other (Source).
package dashboard
