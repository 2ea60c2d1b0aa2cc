package meta

import (
	"fmt"

	"pegasus/base"
	"pegasus/base/appenv"
	"pegasus/gen/metaadmin"
	"pegasus/meta/service"
	"pegasus/meta/state"
)

// A table that follows one of another cluster is made by that one's meta: it asks for the table twice, until it
// hears that all is well. First with the status creating, then with created. The first replicas of the partitions
// copy what the other cluster has (package replica/duplication/bootstrap); NeedsSeed sees to it.

// follower is what the settings of a table say of the one that it follows.
type follower struct {
	cluster, status string
	told            bool // there is a status
}

func followerOf(envs []state.Env) (f follower) {
	for _, e := range envs {
		switch e.Key {
		case appenv.DupMasterCluster:
			f.cluster = e.Val
		case appenv.DupFollowerStatus:
			f.status, f.told = e.Val, true
		}
	}
	return f
}

// followed compares what another cluster asks for with the table that there is. set: the table's status becomes
// created. Source: src/meta/server_state.cpp, process_create_follower_app_status.
func followed(asks, is follower) (code base.ErrorCode, set bool, hint string) {
	known := func(f follower) bool {
		return f.status == appenv.FollowerCreating || f.status == appenv.FollowerCreated
	}
	switch {
	case is.cluster == "":
		return base.ErrAppExist, false, fmt.Sprintf("there is a table of that name, and it doesn't follow one of cluster %q: drop it, or choose another name", asks.cluster)
	case is.cluster != asks.cluster:
		return base.ErrAppExist, false, fmt.Sprintf("there is a table of that name, and it follows one of cluster %q", is.cluster)
	case !asks.told: // upstream before 2.6
		return base.ErrAppExist, false, "there is a table of that name, and the request doesn't tell " + appenv.DupFollowerStatus
	case !is.told:
		return base.ErrInvalidState, false, "there is a table of that name, and it lacks the setting " + appenv.DupFollowerStatus
	case !known(is):
		return base.ErrInvalidParameters, false, fmt.Sprintf("the table's setting %s is %q", appenv.DupFollowerStatus, is.status)
	case !known(asks):
		return base.ErrInvalidParameters, false, fmt.Sprintf("%s is %q", appenv.DupFollowerStatus, asks.status)
	case is.status == appenv.FollowerCreated && asks.status == appenv.FollowerCreating:
		return base.ErrAppExist, false, "the table is made already: drop it, and the duplication, to begin anew"
	}
	return base.ErrOK, is.status != asks.status, ""
}

// follow answers another cluster that wants a table to follow its own, and finds it there.
func (ts *tables) follow(c *service.Call, name string, id int32, asks follower, r *metaadmin.ConfigurationCreateAppResponse) {
	_, envs := ts.envsOf(name)
	code, set, hint := followed(asks, followerOf(envs))
	if set {
		cmd := &state.SetEnvs{ID: id, Set: []state.Env{{Key: appenv.DupFollowerStatus, Val: asks.status}}}
		if code = ts.apply(cmd).Err; code == base.ErrOK {
			ts.envsChanged(c, name, cmd, envs)
		}
	}
	if r.Err = code; code == base.ErrOK {
		r.Appid = id
		return
	}
	ts.log.Warnf("table %q doesn't become a follower of one of cluster %q: %v: %s", name, asks.cluster, code, hint)
	r.HintMessage = base.NonZero(hint)
}
