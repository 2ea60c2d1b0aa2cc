// Package stored knows what the directory of a replica holds, and how one is made that a server hasn't made by itself.
//
// # What it owns
//
// The file info.json (Info), where the store is, with which settings stores are opened, and the step by which a folder with a
// complete store becomes a replica's directory (Place). And the mark of data directories that are being filled while no server runs on
// them (Mark): a server doesn't start on one that isn't complete.
//
// # Invariants
//
//   - A replica's directory appears with all that belongs to it, and when its log begins behind what its store holds.
//   - A directory is filled by one job, and once it is complete it is never filled again.
//
// It must not know package replica, nor what rows are made of.
package stored
