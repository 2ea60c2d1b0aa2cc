package replica

import (
	"pegasus/base"
	"pegasus/base/pause"
	"pegasus/gen/layer2"
	"pegasus/gen/metaadmin"
	"pegasus/pacifica"
	"pegasus/replica/metalink"
)

// change carries out what a core wants of the meta: it repeats the request until the meta
// gives an answer that settles it, or until the core no longer wants it.
func (r *driver) change(ch pacifica.Change) {
	if ch.Kind == pacifica.ChangeRefresh {
		r.srv.meta.SyncSoon()
		return
	}
	req := metaadmin.ConfigurationUpdateRequest{Info: r.appInfo(), Config: r.wireConfig(ch), Node: ch.Node, HpNode: base.Some(hostPortOf(ch.Node))}
	switch ch.Kind {
	case pacifica.ChangeAdd:
		req.Type = metaadmin.CT_UPGRADE_TO_SECONDARY
	case pacifica.ChangeRemove:
		req.Type = metaadmin.CT_DOWNGRADE_TO_INACTIVE
	case pacifica.ChangeForceBallot:
		req.Type = metaadmin.CT_PRIMARY_FORCE_UPDATE_BALLOT
	}
	r.log.Infof("asks the meta to %v %v, ballot %d", ch.Kind, ch.Node, ch.Config.Ballot)
	r.srv.spawn(func() {
		for wanted := true; wanted && r.srv.ctx.Err() == nil; {
			epoch := r.srv.meta.Lease.Epoch()
			cfg, settled, err := r.srv.meta.Update(r.srv.ctx, &req)
			done := make(chan struct{})
			r.post(func(r *driver) {
				defer close(done)
				if r.srv.meta.Lease.Epoch() != epoch {
					settled = false // said before the lease was interrupted: ask again
				}
				p := r.core.Pending()
				if p == nil || p.Config.Ballot != ch.Config.Ballot || p.Kind != ch.Kind {
					wanted = false
					return
				}
				if !settled {
					return
				}
				wanted = false
				if cfg != nil {
					r.core.Configure(coreConfig(cfg))
				}
				if p := r.core.Pending(); p != nil && p.Config.Ballot == ch.Config.Ballot {
					r.log.Warnf("the meta refuses to %v %v: %v", ch.Kind, ch.Node, err)
					r.core.Refused()
				}
			})
			select {
			case <-done:
			case <-r.done:
				return
			}
			if wanted {
				r.log.Debugf("ask the meta again to %v %v: %v", ch.Kind, ch.Node, err)
				pause.For(r.srv.ctx, metalink.RetryAfter)
			}
		}
	})
}

func (r *driver) wireConfig(ch pacifica.Change) layer2.PartitionConfiguration {
	return layer2.PartitionConfiguration{Pid: r.gpid, Ballot: ch.Config.Ballot, MaxReplicaCount: r.info.MaxReplica, Primary: ch.Config.Primary,
		Secondaries: ch.Config.Secondaries, LastCommittedDecree: ch.Committed, HpPrimary: base.Some(hostPortOf(ch.Config.Primary)),
		HpSecondaries: base.Some(hostPortsOf(ch.Config.Secondaries))}
}

func (r *driver) appInfo() layer2.AppInfo {
	a := layer2.NewAppInfo()
	a.Status, a.AppType, a.IsStateful = layer2.AS_AVAILABLE, "pegasus", true
	a.AppName, a.AppId, a.PartitionCount, a.MaxReplicaCount = r.info.AppName, r.gpid.AppID, r.info.Partitions, r.info.MaxReplica
	return a
}

func coreConfig(c *layer2.PartitionConfiguration) pacifica.Config {
	return pacifica.Config{Ballot: c.Ballot, Primary: c.Primary, Secondaries: c.Secondaries}
}

func hostPortOf(n base.RPCAddress) base.HostPort {
	ap := n.AddrPort()
	if !ap.IsValid() {
		return base.HostPort{}
	}
	return base.MakeHostPort(ap.Addr().String(), ap.Port())
}

func hostPortsOf(ns []base.RPCAddress) []base.HostPort {
	hs := make([]base.HostPort, len(ns))
	for i, n := range ns {
		hs[i] = hostPortOf(n)
	}
	return hs
}
