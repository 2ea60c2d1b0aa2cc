package appenv

import "strings"

// The progress of a follower table, as its source tells (DupFollowerStatus).
const (
	FollowerCreating = "creating"
	FollowerCreated  = "created"
)

// Master says of which table of another cluster a table is a copy that is kept up to date.
type Master struct {
	Cluster, App string
	Metas        []string // host:port
}

// MasterOf reads the settings of a table of that name. ok is false for one that follows none.
// Sources: src/common/duplication_common.cpp, src/replica/duplication/replica_follower.cpp.
func MasterOf(name string, envs map[string]string) (m Master, ok bool) {
	m = Master{Cluster: envs[DupMasterCluster], App: envs[DupMasterApp]}
	for _, a := range strings.Split(envs[DupMasterMetas], ",") {
		if a = strings.TrimSpace(a); a != "" {
			m.Metas = append(m.Metas, a)
		}
	}
	if m.App == "" {
		m.App = name // sources before 2.6 don't tell
	}
	return m, m.Cluster != "" && len(m.Metas) > 0
}
