// Package live is a migrate.Cluster that is talked to over the network: one of ours, or of C++.
//
// It owns what is asked of whom, and how the answers of both kinds are told apart. Invariants: only requests that
// C++ clusters know are needed; what only ours know is asked in addition. It must not know the steps of a migration.
package live
