package version

import (
	"errors"
	"fmt"
)

// Version counts what a cluster's members write. 0 is a member that doesn't tell, which is
// one of First.
type Version int32

// The versions.
const (
	// First is what every release up to 086adc4 writes and understands.
	First Version = 1
	// Newest is what this program understands.
	Newest Version = 7
)

// Feature is something that members of an older version don't understand: a format on a
// disk, a message, a kind of entry in the metas' log.
type Feature int

// The features.
const (
	// ClusterID: the cluster has an identity, and members that don't tell it are refused.
	ClusterID Feature = iota
	// Duplications: tables are sent to other clusters.
	Duplications
	// Origins: mutations name the cluster that their rows and removes come from, see package rrdb.
	Origins
	// Tombstones: removes of rows of duplicated tables are remembered, see package rrdb.
	Tombstones
	// RemoteTables: the metas remember which table of another cluster one is sent to, and whether they made it.
	RemoteTables
	// Splits: partitions become two.
	Splits
	// Loads: files are loaded into tables, a mutation says that a set of rows is taken.
	Loads
	// DuplicatedSplits: tables are split that are sent to other clusters.
	DuplicatedSplits
	// RecoveredSplits: metas that lost their state go on with a split.
	RecoveredSplits
	// Listings: clients are told a table that was split under an id that says by how many partitions they go, see base.Listing. Before
	// servers understand it none is split.
	Listings
	// NamedServers: the metas remember replica servers by their host names, which may move to other addresses.
	NamedServers
)

// since is the version from which on each feature is written.
var since = map[Feature]Version{
	ClusterID:        2,
	Duplications:     2,
	Origins:          3,
	Tombstones:       4,
	RemoteTables:     4,
	Splits:           5,
	Loads:            6,
	DuplicatedSplits: 6,
	RecoveredSplits:  6,
	Listings:         6,
	NamedServers:     7,
}

// Allows tells whether members of a cluster of that version write a feature.
func (v Version) Allows(f Feature) bool {
	from, ok := since[f]
	return ok && v >= from
}

// Since is the version from which on a feature is written.
func (f Feature) Since() Version { return since[f] }

// OrFirst is v, or First of a member that doesn't tell.
func (v Version) OrFirst() Version { return max(v, First) }

// ErrUnknown is what is wrapped when something was written by a newer version than Newest.
var ErrUnknown = errors.New("it needs a newer program")

// ErrTooLow is what is wrapped when a cluster's version doesn't allow yet what is to be written.
var ErrTooLow = errors.New("the cluster's version is too low")

// Understood says why something of version v can't be read: nil if it can.
func Understood(v Version) error {
	if v >= First && v <= Newest {
		return nil
	}
	return fmt.Errorf("it is of cluster version %d, and this program understands versions %d to %d: install the program that the cluster's other members run: %w", v, First, Newest, ErrUnknown)
}

// Permit says why what needs version need can't be written in a cluster of version v: nil if
// it can.
func Permit(v, need Version) error {
	if v >= need {
		return nil
	}
	return fmt.Errorf("it needs cluster version %d, and the cluster has %d: run `pegasus meta upgrade-version` once every server runs a program that understands it: %w", need, v, ErrTooLow)
}
