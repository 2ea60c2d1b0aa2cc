package config

import (
	"fmt"
	"math"
	"syscall"
)

// Descriptors is how the descriptors of a process are divided. What is left of Limit is for the
// log, copies that are under way, and connections to other servers.
type Descriptors struct {
	Limit       int
	Connections int // of clients; those of other servers have places besides
	Files       int // table files that are kept open
	Replicas    int // that a replica server can hold
}

// Of a hundred parts of what isn't fixed.
const (
	connectionsPart = 20
	filesPart       = 15
)

const (
	fixedDescriptors = 128 // the process, copies, connections to other servers
	logDescriptors   = 40  // of a data directory: segments, lock, directory
	// serverPlaces is how many connections of servers are taken besides those of clients, and one
	// for each of so many clients'. It is what package rpc keeps.
	serverPlaces        = 64
	clientsAServerPlace = 16
	minFiles            = 64
	minConnections      = 16
)

// DescriptorsOf divides limit descriptors, of which each replica takes so many while it is open.
func (c *Config) DescriptorsOf(limit, each int) Descriptors {
	d := Descriptors{Limit: limit, Connections: c.RPC.MaxConnections, Files: c.Storage.OpenFiles}
	fixed := min(fixedDescriptors+logDescriptors*len(c.Replica.DataDirs), limit/3)
	rest := limit - fixed
	d.Connections = min(d.Connections, max(rest/100*connectionsPart, minConnections))
	d.Files = min(d.Files, max(rest/100*filesPart, minFiles))
	d.Replicas = max(0, rest-d.Connections-d.Connections/clientsAServerPlace-serverPlaces-d.Files) / each
	return d
}

// MetaConnections returns how many connections of clients a meta server may have of limit
// descriptors.
func (c *Config) MetaConnections(limit int) int {
	rest := limit - min(fixedDescriptors+serverPlaces, limit/3)
	return min(c.RPC.MaxConnections, max(rest/10*9, minConnections))
}

// String tells the division.
func (d Descriptors) String() string {
	return fmt.Sprintf("%d descriptors: %d connections of clients, %d table files, %d replicas at most", d.Limit, d.Connections, d.Files, d.Replicas)
}

// DescriptorLimit returns how many descriptors this process can have. Go has raised the limit to
// the hard one when the process began.
func DescriptorLimit() int {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil || r.Cur > math.MaxInt32 {
		return math.MaxInt32
	}
	return int(r.Cur)
}
