package meta

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"pegasus/base"
	"pegasus/gen/layer2"
	"pegasus/gen/metaadmin"
	"pegasus/meta/cure"
	"pegasus/meta/state"
	"pegasus/remotecmd"
)

// knobs are what remote commands change until the server ends, as upstream's do. Each
// server has its own; only a leader's have an effect.
type knobs struct {
	// What the planner goes by.
	assignDelayMS atomic.Int64 // how long a lost member is waited for
	flowControl   atomic.Bool  // maxAdds holds
	maxAdds       atomic.Int64 // additions of replicas to one node at a time
	// What a balancer goes by.
	balancerInTurn, onlyPrimary, onlyMovePrimary atomic.Bool
	livePercentage                               atomic.Int64 // see few

	mu      sync.Mutex
	banned  []base.RPCAddress // get no new secondaries
	names   []string          // the same as they were given
	ignored []int32           // tables that a balancer leaves alone
}

func newKnobs(o *cure.Options) *knobs {
	k := new(knobs)
	k.assignDelayMS.Store(o.ReplaceWait.Milliseconds())
	k.flowControl.Store(true)
	k.maxAdds.Store(int64(o.MaxAdds))
	return k
}

// tune gives the planner the present values.
func (k *knobs) tune(p *cure.Planner) {
	adds := int64(1 << 30)
	if k.flowControl.Load() {
		adds = k.maxAdds.Load()
	}
	k.mu.Lock()
	banned := k.banned // replaced, never changed
	k.mu.Unlock()
	p.Tune(time.Duration(k.assignDelayMS.Load())*time.Millisecond, int(adds), banned)
}

// commands are the remote commands of a meta server beside the common ones.
func (s *Server) commands() []remotecmd.Command {
	k := s.knobs
	percent := func(n int64) bool { return n >= 0 && n <= 100 }
	return []remotecmd.Command{
		remotecmd.Int("meta.live_percentage", "node live percentage threshold for update", &k.livePercentage, percent),
		remotecmd.Int("meta.lb.assign_delay_ms", "control the replica_assign_delay_ms_for_dropouts config", &k.assignDelayMS, remotecmd.NotNegative),
		remotecmd.Int("meta.lb.add_secondary_max_count_for_one_node", "control the max count to add secondary for one node", &k.maxAdds, remotecmd.NotNegative),
		remotecmd.Bool("meta.lb.add_secondary_enable_flow_control", "control whether enable add secondary flow control", &k.flowControl),
		remotecmd.Bool("meta.lb.balancer_in_turn", "control whether do app balancer in turn", &k.balancerInTurn),
		remotecmd.Bool("meta.lb.only_primary_balancer", "control whether do only primary balancer", &k.onlyPrimary),
		remotecmd.Bool("meta.lb.only_move_primary", "control whether only move primary in balancer", &k.onlyMovePrimary),
		{Name: "meta.lb.assign_secondary_black_list", Args: "[<host:port,host:port,host:port>|clear]", Help: "Control the assign secondary black list", Run: k.banCommand},
		{Name: "meta.lb.ignored_app_list", Args: "<get|set|clear> [set_app_id1,set_app_id2,...]", Help: "Get, set or clear balancer ignored_app_list", Run: k.ignoreCommand},
		{Name: "meta.lb.get_balance_operation_count", Args: "[total | move_pri | copy_pri | copy_sec | detail]", Help: "Get balance operation count", Run: s.operationsCommand},
		{Name: "meta.dump", Help: "Show the tables and their partitions as JSON", Run: s.dumpCommand},
		{Name: "fd.allow_list", Help: "Show the allow list of failure detector", Run: func([]string) string {
			return indented(map[string]any{"enabled": len(s.cfg.Meta.WhiteList) > 0, "allow_list": strings.Join(s.cfg.Meta.WhiteList, ",")})
		}},
		{Name: "server-stat", Help: "Query selected metrics", Run: func([]string) string {
			st := s.rpc.Stats()
			return fmt.Sprintf("leading=%t, connections=%d, requests=%d, in_flight_bytes=%d", s.Leading(), st.Connections, st.Requests, st.InFlightBytes)
		}},
	}
}

func indented(v any) string {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return "ERR: " + err.Error()
	}
	return string(b)
}

func (k *knobs) banCommand(args []string) string {
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

func (k *knobs) ignoreCommand(args []string) string {
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

// operationsCommand tells how many moves a balancer has in mind.
func (s *Server) operationsCommand(args []string) string {
	kind := "total"
	switch {
	case len(args) > 1:
		return remotecmd.Fail("invalid arguments")
	case len(args) == 1:
		kind = args[0]
	}
	counts := map[string]int{"copy_pri": 0, "copy_sec": 0, "move_pri": 0, "total": 0}
	if l := s.leader.Load(); l != nil {
		counts = l.operations()
	}
	if kind == "detail" {
		return indented(counts)
	}
	n, ok := counts[kind]
	if !ok {
		return remotecmd.Fail("invalid arguments")
	}
	return indented(map[string]int{kind: n})
}

// dumpCommand shows what upstream writes into a file on the server, which a remote command
// shouldn't do.
func (s *Server) dumpCommand(args []string) string {
	l := s.leader.Load()
	switch {
	case len(args) != 1:
		return string(base.ErrInvalidParameters)
	case args[0] != "-":
		return "ERR: a server doesn't write files by remote command; `meta.dump -` shows what it would"
	case l == nil:
		return string(base.ErrForwardToOthers)
	}
	return s.dump(&call{leader: l, names: &names{l.view.Load().hosts}})
}

func (s *Server) dump(c *call) string {
	type part struct {
		Index       int32    `json:"index"`
		Ballot      int64    `json:"ballot"`
		Primary     string   `json:"primary"`
		Secondaries []string `json:"secondaries"`
	}
	type table struct {
		ID     int32  `json:"app_id"`
		Name   string `json:"app_name"`
		Status string `json:"status"`
		Parts  []part `json:"partitions"`
	}
	var list metaadmin.ConfigurationListAppsResponse
	c.listApps(&metaadmin.ConfigurationListAppsRequest{}, &list)
	slices.SortFunc(list.Infos, func(a, b layer2.AppInfo) int { return cmp.Compare(a.AppId, b.AppId) })
	out := []table{}
	for i := range list.Infos {
		a := &list.Infos[i]
		t := table{ID: a.AppId, Name: a.AppName, Status: a.Status.String(), Parts: []part{}}
		for _, p := range c.partsOf(a.AppId) {
			x := part{Index: p.Pid.PartitionIndex, Ballot: p.Ballot, Secondaries: []string{}}
			if p.Primary != 0 {
				x.Primary = c.names.of(p.Primary).String()
			}
			for _, n := range p.Secondaries {
				x.Secondaries = append(x.Secondaries, c.names.of(n).String())
			}
			t.Parts = append(t.Parts, x)
		}
		out = append(out, t)
	}
	return indented(out)
}

// partsOf returns the configurations of a table, dropped or not.
func (l *leader) partsOf(id int32) (parts []layer2.PartitionConfiguration) {
	l.s.fsm.read(func(st *state.State) {
		if t := st.Table(id); t != nil {
			for i := range t.Parts {
				parts = append(parts, partition(t, base.Gpid{AppID: id, PartitionIndex: int32(i)}, &t.Parts[i]))
			}
		}
	})
	return parts
}
