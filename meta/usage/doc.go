// Package usage tells how much each table is used: capacity units and storage by hour, and which partitions carry far more than the others of their table.
//
// It owns what it heard since its meta server leads, by table for Hours hours; nothing of it is replicated, a new leader begins anew.
// Invariant: what it keeps is bounded by the tables and partitions that there are. It must not know who asks, nor change anything.
package usage
