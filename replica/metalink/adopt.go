package metalink

import (
	"context"
	"errors"
	"fmt"

	"pegasus/base"
	"pegasus/base/version"
	"pegasus/gen/layer2"
	"pegasus/gen/metaadmin"
	"pegasus/rpc"
)

// obeys takes what the meta leader at addr says of the cluster. It reports whether the server has the
// same identity now. If not it obeys nobody.
func (l *Link) obeys(ctx context.Context, addr string, v version.Version, id string) bool {
	err := l.adopt(ctx, addr, v, id)
	why := ""
	if err != nil {
		why = err.Error()
	}
	was := l.Identity.refuse(why)
	if err == nil {
		return true
	}
	l.Identity.obeyed.Store(false)
	l.SyncSoon() // which tells them what is here, and takes nothing from them
	if why != was {
		l.log.Errorf("the meta servers %v aren't obeyed: %v. Nothing here is served or removed", l.metas.all(), err)
	}
	return false
}

// adopt compares the identity with what the metas say, and takes theirs if there is none here.
func (l *Link) adopt(ctx context.Context, addr string, v version.Version, id string) error {
	i := l.Identity
	mine, may := i.keeper.Cluster()
	said, saidBy, lacks := i.keeper.Said()
	if err := version.Understood(v); err != nil {
		return fmt.Errorf("the cluster: %w", err)
	}
	switch {
	case mine != "" && id == "":
		return fmt.Errorf("the data here belongs to the cluster with the id %s, and the meta servers have none: correct cluster.meta_servers; if the meta servers lost their state, `pegasus recover`", mine)
	case mine != "" && mine != id:
		return fmt.Errorf("the data here belongs to the cluster with the id %s, the meta servers to %s: correct cluster.meta_servers; if the meta servers lost their state, `pegasus recover`", mine, id)
	case said != "" && said != id:
		return fmt.Errorf("data directory %s belongs to the cluster with the id %s, the meta servers to %q: correct cluster.meta_servers or replica.data_dirs", saidBy, said, id)
	case mine == id && v <= may:
		return nil
	case mine == id: // the version was raised
	default:
		holds, err := l.compareTables(ctx, addr)
		if err != nil {
			return fmt.Errorf("this server has no cluster's id yet (data directory %s), and doesn't take that of the meta servers, %s: %w", lacks, id, err)
		}
		if holds {
			i.AdmitUnmarked(l.o.Grace)
		}
		defer l.log.Warnf("this server is of the cluster with the id %s from now on", id)
	}
	// First on the disk: what is written from now on may need it.
	if err := i.keeper.Keep(id, max(may, v)); err != nil {
		return err
	}
	i.tag.Store(tagOf(id))
	return nil
}

// Table is the table that a replica is of, as it was told.
type Table struct {
	ID         int32
	Name       string // "": it was never told more, or that can't be read
	Partitions int32
	Created    int64 // Unix time in seconds, 0: unknown
}

// compareTables says why a replica that is here can't be of the meta's cluster: nil if every one
// is of a table that the meta at addr knows, which is the one whose identity would be taken. holds:
// there are some.
func (l *Link) compareTables(ctx context.Context, addr string) (holds bool, err error) {
	here, err := l.host.Tables() // of each replica: directories of two clusters can have the same ids
	if err != nil {
		return true, err
	}
	if holds = len(here) > 0; !holds {
		return false, nil
	}
	c, cancel := context.WithTimeout(ctx, CallTime)
	defer cancel()
	var res metaadmin.ConfigurationListAppsResponse
	if err := l.o.Pool.Call(c, addr, rpc.Outgoing{Code: base.RPCListApps, Arg: &metaadmin.ConfigurationListAppsRequest{Status: layer2.AS_INVALID}, From: l.o.Self}, &res); err != nil {
		return holds, fmt.Errorf("ask which tables there are: %w", err)
	}
	if res.Err != base.ErrOK {
		return holds, fmt.Errorf("ask which tables there are: %w", res.Err)
	}
	known := map[int32]*layer2.AppInfo{}
	for n := range res.Infos {
		known[res.Infos[n].AppId] = &res.Infos[n]
	}
	for _, t := range here {
		if err := t.same(known[t.ID]); err != nil {
			return holds, fmt.Errorf("table %d: %w; move its replicas (%d.*.pegasus in reps/) away if they aren't wanted", t.ID, err, t.ID)
		}
	}
	return holds, nil
}

// same says why a replica isn't of a table that the meta knows.
func (t Table) same(as *layer2.AppInfo) error {
	switch {
	case as == nil:
		return errors.New("replicas of it are here, and the meta servers know no table of that id")
	case t.Name == "":
		return nil
	case t.Partitions != as.PartitionCount:
		return fmt.Errorf("%q has %d partitions here, and %q of the meta servers %d", t.Name, t.Partitions, as.AppName, as.PartitionCount)
	case t.Created != 0 && as.CreateSecond != 0 && t.Created != as.CreateSecond:
		return fmt.Errorf("%q here was made at second %d, and %q of the meta servers at %d", t.Name, t.Created, as.AppName, as.CreateSecond)
	case (t.Created == 0 || as.CreateSecond == 0) && t.Name != as.AppName:
		return fmt.Errorf("it is called %q here, and %q by the meta servers", t.Name, as.AppName)
	}
	return nil
}
