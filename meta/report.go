package meta

import (
	"slices"

	"pegasus/base"
	"pegasus/gen/metaadmin"
)

// rackTag is the name of the tag by which a replica server tells its rack.
const rackTag = "rack"

// space is what a node said of its data directories.
type space struct{ disks, short, broken, capacityMB, availableMB int64 }

func spaceOf(list []metaadmin.DiskReport) (s space) {
	for i := range list {
		d := &list[i]
		s.disks++
		s.capacityMB += d.CapacityMb
		s.availableMB += d.AvailableMb
		switch d.State {
		case metaadmin.DISK_SHORT:
			s.short++
		case metaadmin.DISK_BROKEN:
			s.broken++
		}
	}
	return s
}

// full tells that no disk takes a new replica; one that told nothing isn't full.
func (s space) full() bool { return s.disks > 0 && s.short+s.broken == s.disks }

// takeReport remembers what the balancer goes by: a node's rack, and how large its replicas
// are and on which disks. The caller holds mu.
func (l *leader) takeReport(node base.RPCAddress, q *metaadmin.ConfigurationQueryByNodeRequest) {
	if q.Info.Set {
		rack := ""
		for _, t := range q.Info.V.GeoTags {
			if t.Key == rackTag {
				rack = t.Val
			}
		}
		if l.racks[node] != rack {
			l.racks[node] = rack
			l.replan()
		}
	}
	if now, was := spaceOf(q.Disks.V), l.space[node]; now != was {
		l.space[node] = now
		if now.full() != was.full() {
			l.log.Warnf("node %v: %d of its %d data directories have too little room, %d are broken: it gets new replicas: %v", node, now.short, now.disks, now.broken, !now.full())
			l.replan()
			l.kick()
		}
	}
	disks := map[base.Gpid]string{}
	several := false
	for i := range q.StoredReplicas.V {
		rep := &q.StoredReplicas.V[i]
		if rep.Bytes.Set {
			l.bytes[rep.Pid] = rep.Bytes.V
		}
		disks[rep.Pid] = rep.DiskTag
		several = several || rep.DiskTag != q.StoredReplicas.V[0].DiskTag
	}
	if several {
		l.disks[node] = disks
	} else {
		delete(l.disks, node)
	}
}

// allowed tells whether a replica server may join: by the white list, if there is one.
func (s *Server) allowed(a base.RPCAddress, host base.HostPort) bool {
	list := s.cfg.Meta.WhiteList
	return len(list) == 0 || slices.Contains(list, a.String()) || !host.IsZero() && slices.Contains(list, host.String())
}
