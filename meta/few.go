package meta

import (
	"fmt"

	"pegasus/meta/state"
)

// few says that few of the known replica servers live; "" if enough do. Then nothing is
// copied that needn't be: the dead ones are more likely cut off than gone, and what they had
// would fill up the others. Roles are given to others all the same. Servers that were taken
// out don't count. The caller holds mu, and the State.
func (l *leader) few(st *state.State) string {
	alive, all := 0, 0
	for _, n := range l.det.Nodes() {
		switch {
		case n.Alive:
			alive++
			all++
		case st.Role(n.Addr) != state.RoleLeaving:
			all++
		}
	}
	least := int(l.s.knobs.livePercentage.Load())
	if alive*100 >= all*least {
		return ""
	}
	return fmt.Sprintf("only %d of %d replica servers live, less than %d %%: nothing is copied but what partitions lack to be writable; start the others, or take them out (`pegasus node drain`), or lower meta.live_percentage (remote command) if they are gone for good",
		alive, all, least)
}
