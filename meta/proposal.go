package meta

import (
	"time"

	"pegasus/base"
	"pegasus/gen/layer2"
	"pegasus/gen/metaadmin"
	"pegasus/meta/state"
	"pegasus/rpc"
)

const (
	codeProposal    = "RPC_CONFIG_PROPOSAL"
	proposalTimeout = 2 * time.Second
)

// proposal is a one-way message to a replica server.
type proposal struct {
	to  base.RPCAddress
	msg *metaadmin.ConfigurationUpdateRequest
}

// proposal makes one about a partition as it is configured now.
func (l *leader) proposal(t *state.Table, g base.Gpid, cfg *state.Config, typ metaadmin.ConfigType, to, node base.RPCAddress) proposal {
	return proposal{to, &metaadmin.ConfigurationUpdateRequest{Info: appInfo(t), Config: partition(t, g, cfg), Type: typ, Node: node}}
}

// send sends proposals, and doesn't care whether they arrive: what has no effect is sent
// again.
func (s *Server) send(list []proposal) {
	for _, p := range list {
		s.log.Debugf("proposes %v of %v to %v, ballot %d", p.msg.Type, p.msg.Config.Pid, p.to, p.msg.Config.Ballot)
		s.pool.Go(p.to.String(), proposalTimeout, rpc.Outgoing{
			Code: codeProposal, Gpid: p.msg.Config.Pid, Arg: p.msg, OneWay: true, From: s.self,
		}, nil)
	}
}

// appInfo is a table in its wire form, with all optional fields, as upstream writes it.
func appInfo(t *state.Table) layer2.AppInfo {
	return layer2.AppInfo{
		Status:             layer2.AppStatus(t.Status),
		AppType:            t.Type,
		AppName:            t.Name,
		AppId:              t.ID,
		PartitionCount:     int32(len(t.Parts)),
		Envs:               t.Envs,
		IsStateful:         t.Stateful,
		MaxReplicaCount:    t.MaxReplicas,
		ExpireSecond:       t.ExpireSecond,
		CreateSecond:       t.CreateSecond,
		DropSecond:         t.DropSecond,
		Duplicating:        base.Some(t.Duplicating),
		InitPartitionCount: t.InitPartitions,
		IsBulkLoading:      base.Some(t.BulkLoading),
		AtomicIdempotent:   base.Some(t.AtomicIdempotent),
	}
}

// noApp is the table in an answer that has none.
func noApp() layer2.AppInfo {
	a := layer2.NewAppInfo()
	a.Duplicating, a.IsBulkLoading, a.AtomicIdempotent = base.Some(false), base.Some(false), base.Some(false)
	return a
}

// flagDropped is the one bit of partition_flags in use.
const flagDropped = 1

// partition is a configuration in its wire form, without host_port fields.
func partition(t *state.Table, g base.Gpid, c *state.Config) layer2.PartitionConfiguration {
	p := layer2.PartitionConfiguration{
		Pid:                 g,
		Ballot:              c.Ballot,
		MaxReplicaCount:     t.MaxReplicas,
		Primary:             c.Primary,
		Secondaries:         c.Secondaries,
		LastDrops:           c.LastDrops,
		LastCommittedDecree: c.LastCommitted,
	}
	if t.Status == state.Dropped {
		p.PartitionFlags = flagDropped
	}
	return p
}

// names turns addresses into host_port values.
type names struct {
	hosts map[base.RPCAddress]base.HostPort
}

// names returns how nodes are called, or nil if a request of that framing is answered
// without host_port fields.
func (s *Server) names(f rpc.Framing) *names {
	on := s.cfg.RPC.HostPortOverRDSN
	if f.Thrift() {
		on = s.cfg.RPC.HostPortOverThrift
	}
	if !on {
		return nil
	}
	if l := s.leader.Load(); l != nil {
		return &names{l.view.Load().hosts}
	}
	return &names{}
}

// of returns the name of one node: what it calls itself, or its literal address.
func (n *names) of(a base.RPCAddress) base.HostPort {
	if h, ok := n.hosts[a]; ok {
		return h
	}
	ap := a.AddrPort()
	if !ap.IsValid() {
		return base.HostPort{}
	}
	return base.MakeHostPort(ap.Addr().String(), ap.Port())
}

func (n *names) all(list []base.RPCAddress) []base.HostPort {
	hs := make([]base.HostPort, len(list))
	for i, a := range list {
		hs[i] = n.of(a)
	}
	return hs
}

// opt is of as an optional field; nobody has no name.
func (n *names) opt(a base.RPCAddress) base.Opt[base.HostPort] {
	if n == nil || a.IsZero() {
		return base.Opt[base.HostPort]{}
	}
	return base.Some(n.of(a))
}

// fill sets the host_port fields of p.
func (n *names) fill(p *layer2.PartitionConfiguration) {
	if n == nil {
		return
	}
	p.HpPrimary = n.opt(p.Primary)
	p.HpSecondaries = base.Some(n.all(p.Secondaries))
	p.HpLastDrops = base.Some(n.all(p.LastDrops))
}
