package meta

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"pegasus/base"
	"pegasus/meta/cure"
	"pegasus/remotecmd"
)

// overrides are what remote commands change until the server ends, as upstream's do. Each
// server has its own; only a leader's have an effect.
type overrides struct {
	// What the planner goes by.
	assignDelayMS atomic.Int64 // how long a lost member is waited for
	flowControl   atomic.Bool  // maxAdds holds
	maxAdds       atomic.Int64 // additions of replicas to one node at a time
	// What a balancer goes by.
	balancerInTurn, onlyPrimary, onlyMovePrimary atomic.Bool
	livePercentage                               atomic.Int64 // see belowLiveThreshold

	mu      mutex
	banned  []base.RPCAddress // get no new secondaries
	names   []string          // the same as they were given
	ignored []int32           // tables that a balancer leaves alone
}

func newOverrides(o *cure.Options) *overrides {
	k := &overrides{mu: mutex{rank: rankLeaf}}
	k.assignDelayMS.Store(o.ReplaceWait.Milliseconds())
	k.flowControl.Store(true)
	k.maxAdds.Store(int64(o.MaxAdds))
	return k
}

// tune gives the planner the present values.
func (k *overrides) tune(p *cure.Planner) {
	adds := int64(1 << 30)
	if k.flowControl.Load() {
		adds = k.maxAdds.Load()
	}
	k.mu.Lock()
	banned := k.banned // replaced, never changed
	k.mu.Unlock()
	p.Tune(time.Duration(k.assignDelayMS.Load())*time.Millisecond, int(adds), banned)
}

// onlyPrimaries are both settings that keep the balancer from copying.
func (k *overrides) onlyPrimaries() [2]bool {
	return [2]bool{k.onlyMovePrimary.Load(), k.onlyPrimary.Load()}
}

// leftAlone are the nodes that get nothing, and the tables that a balancer leaves alone. The
// slices are replaced, never changed.
func (k *overrides) leftAlone() (banned []base.RPCAddress, ignored []int32) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.banned, k.ignored
}

func (k *overrides) banCommand(args []string) string {
	switch {
	case len(args) == 0:
		k.mu.Lock()
		defer k.mu.Unlock()
		return remotecmd.Show("assign_secondary_black_list", strings.Join(k.names, ","))
	case len(args) > 1:
		return remotecmd.Fail("invalid argument, 0 or 1 argument is acceptable")
	}
	var addrs []base.RPCAddress
	var names []string
	if args[0] != "clear" {
		for _, n := range strings.Split(args[0], ",") {
			if n == "" {
				continue
			}
			a, err := base.ParseAddr(n)
			if err != nil {
				return remotecmd.Fail("invalid argument, bad host:port '%s'", n)
			}
			addrs, names = append(addrs, a), append(names, n)
		}
		if len(addrs) == 0 {
			return remotecmd.Fail("invalid argument, the argument should be in form of '<host:port,host:port,host:port>'")
		}
		slices.Sort(names)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.banned, k.names = addrs, names
	return remotecmd.OK()
}

func (k *overrides) ignoreCommand(args []string) string {
	what := ""
	if len(args) > 0 {
		what = args[0]
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	switch what {
	case "get":
		var s []string
		for _, id := range k.ignored {
			s = append(s, itoa(id))
		}
		return indented(map[string]string{"ignored_app_id_list": strings.Join(s, ",")})
	case "clear":
		k.ignored = nil
		return remotecmd.OK()
	case "set":
		if len(args) != 2 {
			return remotecmd.Fail("invalid argument")
		}
		var ids []int32
		for _, v := range strings.Split(args[1], ",") {
			id, err := strconv.ParseInt(v, 10, 32)
			if err != nil {
				return remotecmd.Fail("invalid argument")
			}
			ids = append(ids, int32(id))
		}
		slices.Sort(ids)
		k.ignored = slices.Compact(ids)
		return remotecmd.OK()
	}
	return remotecmd.Fail("invalid arguments")
}

func indented(v any) string {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return "ERR: " + err.Error()
	}
	return string(b)
}
