package wire

import (
	"pegasus/base"
	"pegasus/gen/layer2"
	"pegasus/meta/state"
)

// AppInfo is a table in its wire form, with all optional fields, as upstream writes it.
func AppInfo(t *state.Table) layer2.AppInfo {
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

// InfoFor is AppInfo for the members of a partition, see state.Table.Count.
func InfoFor(t *state.Table, g base.Gpid) layer2.AppInfo {
	a := AppInfo(t)
	a.PartitionCount = t.Count(g.PartitionIndex)
	return a
}

// NoApp is the table in an answer that has none.
func NoApp() layer2.AppInfo {
	a := layer2.NewAppInfo()
	a.Duplicating, a.IsBulkLoading, a.AtomicIdempotent = base.Some(false), base.Some(false), base.Some(false)
	return a
}

// flagDropped is the one bit of partition_flags in use.
const flagDropped = 1

// Partition is a configuration in its wire form, without host_port fields.
func Partition(t *state.Table, g base.Gpid, c *state.Config) layer2.PartitionConfiguration {
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
