package meta

import (
	"fmt"
	"strconv"
	"strings"

	"pegasus/base"
	"pegasus/gen/layer2"
	"pegasus/meta/events"
	"pegasus/meta/state"
	"pegasus/meta/wire"
	"pegasus/remotecmd"
)

// commands are the remote commands of a meta server beside the common ones.
func (s *Server) commands() []remotecmd.Command {
	k := s.overrides
	percent := func(n int64) bool { return n >= 0 && n <= 100 }
	return []remotecmd.Command{
		remotecmd.Int("meta.live_percentage", "node live percentage threshold for update", &k.livePercentage, percent),
		remotecmd.Int("meta.lb.assign_delay_ms", "control the replica_assign_delay_ms_for_dropouts config", &k.assignDelayMS, remotecmd.NotNegative),
		remotecmd.Int("meta.lb.add_secondary_max_count_for_one_node", "control the max count to add secondary for one node", &k.maxAdds, remotecmd.NotNegative),
		remotecmd.Bool("meta.lb.add_secondary_enable_flow_control", "control whether enable add secondary flow control", &k.flowControl),
		remotecmd.Bool("meta.lb.balancer_in_turn", "control whether do app balancer in turn", &k.balancerInTurn),
		remotecmd.Bool("meta.lb.only_primary_balancer", "control whether do only primary balancer", &k.onlyPrimary),
		remotecmd.Bool("meta.lb.only_move_primary", "control whether only move primary in balancer", &k.onlyMovePrimary),
		{Name: "meta.lb.assign_secondary_black_list", Args: "[<host:port,host:port,host:port>|clear]", Help: "Control the assign secondary black list", Run: k.banCommand, Shows: remotecmd.WithoutArgs},
		{Name: "meta.lb.ignored_app_list", Args: "<get|set|clear> [set_app_id1,set_app_id2,...]", Help: "Get, set or clear balancer ignored_app_list", Run: k.ignoreCommand},
		{Name: "meta.lb.get_balance_operation_count", Args: "[total | move_pri | copy_pri | copy_sec | detail]", Help: "Get balance operation count", Run: s.operationsCommand, Shows: remotecmd.Always},
		{Name: "meta.dump", Help: "Show the tables and their partitions as JSON", Run: s.dumpCommand, Shows: remotecmd.Always},
		{Name: "meta.events", Args: "[count] [all | worse]", Help: "Show what happened lately as this server's log tells it, the newest first", Run: s.eventsCommand, Shows: remotecmd.Always},
		{Name: "fd.allow_list", Help: "Show the allow list of failure detector", Shows: remotecmd.Always, Run: func([]string) string {
			return indented(map[string]any{"enabled": len(s.cfg.Meta.WhiteList) > 0, "allow_list": strings.Join(s.cfg.Meta.WhiteList, ",")})
		}},
		{Name: "server-stat", Help: "Query selected metrics", Shows: remotecmd.Always, Run: func([]string) string {
			st := s.rpc.Stats()
			return fmt.Sprintf("leading=%t, connections=%d, requests=%d, in_flight_bytes=%d", s.Leading(), st.Connections, st.Requests, st.InFlightBytes)
		}},
	}
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
		counts = l.bal.operations()
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

// maxEvents is how many events one answer has.
const maxEvents = 1000

// eventsCommand tells what happened lately.
func (s *Server) eventsCommand(args []string) string {
	n, worse := maxEvents, false
	var err error
	if len(args) > 0 {
		n, err = strconv.Atoi(args[0])
	}
	if len(args) > 1 {
		worse = args[1] == "worse"
	}
	if err != nil || n < 1 || n > maxEvents || len(args) > 2 || len(args) == 2 && !worse && args[1] != "all" {
		return remotecmd.Fail("invalid arguments")
	}
	list := []events.Event{}
	if l := s.events.Load(); l != nil {
		list = l.Last(n, worse)
	}
	return remotecmd.JSON(list)
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
	return s.dump(s.allNames())
}

func (s *Server) dump(names *wire.Names) string {
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
	out := []table{}
	s.fsm.read(func(st *state.State) {
		st.Tables(func(of *state.Table) {
			t := table{ID: of.ID, Name: of.Name, Status: layer2.AppStatus(of.Status).String(), Parts: []part{}}
			for i := range of.Parts {
				p := &of.Parts[i]
				x := part{Index: int32(i), Ballot: p.Ballot, Secondaries: []string{}}
				if p.Primary != 0 {
					x.Primary = names.Of(p.Primary).String()
				}
				for _, n := range p.Secondaries {
					x.Secondaries = append(x.Secondaries, names.Of(n).String())
				}
				t.Parts = append(t.Parts, x)
			}
			out = append(out, t)
		})
	})
	return indented(out)
}
