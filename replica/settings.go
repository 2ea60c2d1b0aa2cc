package replica

import (
	"fmt"

	"pegasus/base/appenv"
	"pegasus/gen/layer2"
	"pegasus/replica/admission"
	"pegasus/replica/disk"
)

// update takes the table's properties from the meta.
func (r *driver) update(a *layer2.AppInfo) {
	if a.AppId != r.gpid.AppID {
		return
	}
	envs := make(map[string]string, len(a.Envs))
	for _, p := range a.Envs {
		envs[p.Key] = p.Val
	}
	same := r.info.AppName == a.AppName && r.info.Partitions == a.PartitionCount && r.info.MaxReplica == a.MaxReplicaCount && len(envs) == len(r.info.Envs) &&
		r.info.Atomic == a.AtomicIdempotent.Or(false) && r.info.Created == a.CreateSecond
	for k, v := range envs {
		if w, ok := r.info.Envs[k]; !ok || v != w {
			same = false
		}
	}
	if same {
		return
	}
	if envs[appenv.CompactPeriodicTime] != r.info.Envs[appenv.CompactPeriodicTime] {
		r.info.TimesSet = r.srv.meta.Clock.Now().UnixMilli()
	}
	r.info.AppName, r.info.Partitions, r.info.MaxReplica, r.info.Envs = a.AppName, a.PartitionCount, a.MaxReplicaCount, envs
	r.info.Atomic, r.info.Created = a.AtomicIdempotent.Or(false), a.CreateSecond
	r.infoGen++
	r.core.SetMinMembers(r.minMembers())
	if err := disk.WriteJSON(r.infoName(), &r.info); err != nil {
		r.fail(fmt.Errorf("store table properties: %w", err))
		return
	}
	r.store.Load().SetPartitionCount(r.info.Partitions)
	r.store.Load().SetEnvs(envs)
	r.setRules()
}

// setRules takes the table's settings as they are in info.
func (r *driver) setRules() {
	u, bad := admission.NewRules(r.info.Envs, r.info.Partition, r.info.Partitions)
	if len(bad) > 0 {
		r.log.Warnf("invalid settings of the table are ignored: %v", bad)
	}
	r.admission.Rules.Store(u)
	r.setCompactions()
}
