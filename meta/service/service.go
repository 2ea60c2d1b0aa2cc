package service

import (
	"context"

	"github.com/sirupsen/logrus"

	"pegasus/base"
	"pegasus/base/tbin"
	"pegasus/gen/metaadmin"
	"pegasus/meta/state"
	"pegasus/metrics"
	"pegasus/rpc"
)

// Service is a feature in a meta server that leads. Each time that a server begins to lead a new
// one is made, so that nothing is left of an earlier leadership.
type Service interface {
	// Register adds what the feature serves. It is called on a value that never leads, and must
	// not use the Leader.
	Register(*Routes)
	// Lead runs while the meta leads: until ctx ends. It may return before.
	Lead(ctx context.Context)
	// Report takes what a replica server said in its configuration sync. The leader's lock and
	// the State are held: it must not wait, nor call the Leader, but for Kick.
	Report(*Report)
}

// Collector is a Service with metrics.
type Collector interface {
	Collect(*metrics.Snapshot)
}

// Quiet is embedded by a Service that only answers requests.
type Quiet struct{}

// Lead does nothing.
func (Quiet) Lead(context.Context) {}

// Report does nothing.
func (Quiet) Report(*Report) {}

// Report is a configuration sync of a replica server.
type Report struct {
	Node    base.RPCAddress
	State   *state.State
	Request *metaadmin.ConfigurationQueryByNodeRequest
	// Answer may be added to.
	Answer *metaadmin.ConfigurationQueryByNodeResponse
}

// Node is a replica server as the leader knows it.
type Node struct {
	Addr  base.RPCAddress
	Host  base.HostPort // what it calls itself; zero: it didn't say
	Alive bool
	Rack  string
}

// Leader is what a Service may do with the meta that leads.
type Leader interface {
	// Apply commits a command. The Result has the code of an error.
	Apply(state.Command) state.Result
	// Read calls f with the State locked for reading. What f keeps may be slices, not tables.
	Read(f func(*state.State))
	// Nodes returns the replica servers that are known.
	Nodes() []Node
	// Call asks a replica server.
	Call(ctx context.Context, node base.RPCAddress, code string, arg tbin.Encoder, answer tbin.Decoder) error
	// Send tells a replica server something, which may get lost.
	Send(node base.RPCAddress, out rpc.Outgoing)
	// Kick has the planner look soon.
	Kick()
	Log() *logrus.Entry
}
