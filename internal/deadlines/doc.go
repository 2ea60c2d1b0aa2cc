// Package deadlines has a test only: it finds each place of the program from which something goes
// out to another process, and compares them with the table of docs/deadlines.md, which says what
// bounds each. A new one without a line there, and calls that nothing can bound, fail it.
package deadlines
