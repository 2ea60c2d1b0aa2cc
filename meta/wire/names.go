package wire

import (
	"pegasus/base"
	"pegasus/gen/layer2"
)

// Names turns addresses into host_port values. A nil one leaves optional fields out.
type Names struct {
	hosts map[base.RPCAddress]base.HostPort
}

// NewNames returns the names that nodes call themselves by. Any other has its address as its name.
func NewNames(hosts map[base.RPCAddress]base.HostPort) *Names { return &Names{hosts} }

// Of returns the name of one node: what it calls itself, or its literal address.
func (n *Names) Of(a base.RPCAddress) base.HostPort {
	if h, ok := n.hosts[a]; ok {
		return h
	}
	ap := a.AddrPort()
	if !ap.IsValid() {
		return base.HostPort{}
	}
	return base.MakeHostPort(ap.Addr().String(), ap.Port())
}

func (n *Names) all(list []base.RPCAddress) []base.HostPort {
	hs := make([]base.HostPort, len(list))
	for i, a := range list {
		hs[i] = n.Of(a)
	}
	return hs
}

// Opt is Of as an optional field; nobody has no name.
func (n *Names) Opt(a base.RPCAddress) base.Opt[base.HostPort] {
	if n == nil || a.IsZero() {
		return base.Opt[base.HostPort]{}
	}
	return base.Some(n.Of(a))
}

// Fill sets the host_port fields of p.
func (n *Names) Fill(p *layer2.PartitionConfiguration) {
	if n == nil {
		return
	}
	p.HpPrimary = n.Opt(p.Primary)
	p.HpSecondaries = base.Some(n.all(p.Secondaries))
	p.HpLastDrops = base.Some(n.all(p.LastDrops))
}

// IsServer tells whether a can be the address of a replica server.
func IsServer(a base.RPCAddress) bool {
	ap := a.AddrPort()
	return ap.IsValid() && ap.Port() != 0 && !ap.Addr().IsUnspecified()
}

// Resolve returns the address of a node in a request: the packed one, or the named one.
func Resolve(a base.RPCAddress, hp base.Opt[base.HostPort]) base.RPCAddress {
	if a != 0 || !hp.Set || hp.V.IsZero() {
		return a
	}
	b, err := base.ParseAddr(hp.V.String())
	if err != nil {
		return 0
	}
	return b
}
