// Command storage measures what the storage application costs at a size that doesn't fit
// its caches: how expired rows' space comes back (case ttl), and how much is written and
// stored for each byte of rows (case amp). It starts a cluster of one replica server from
// bin/pegasus in a directory of its own, removes it at the end, and prints the figures and
// whether they keep their bounds.
//
// It owns the cases; the load is package bench's.
package main
