package sim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"pegasus/pacifica"
)

// Script runs the model by hand: nothing happens by chance, every message takes one unit,
// and the meta does only what it must. Its language is in testdata/README.md.
type Script struct {
	w     *world
	names map[uint64]string
	ids   map[string]uint64
	trace *Tail
}

// NewScript returns a script without a cluster.
func NewScript() *Script { return &Script{} }

// patience is how long wait and settle go on.
const patience = 6000

// Do carries out one line and returns what it has to say.
func (s *Script) Do(line string) string {
	f := strings.Fields(line)
	if len(f) == 0 || strings.HasPrefix(f[0], "#") {
		return ""
	}
	args := make(map[string]string)
	var plain []string
	for _, a := range f[1:] {
		if k, v, ok := strings.Cut(a, "="); ok {
			args[k] = v
		} else {
			plain = append(plain, a)
		}
	}
	if f[0] == "cluster" {
		return s.cluster(args, plain)
	}
	if s.w == nil {
		return "no cluster\n"
	}
	var out string
	if v := s.w.guard(func() { out = s.do(f[0], args, plain) }); v != nil {
		return out + "VIOLATION " + v.Error() + "\n"
	}
	return out
}

func num(t string, or int) int {
	n, err := strconv.Atoi(t)
	if err != nil {
		return or
	}
	return n
}

func (s *Script) cluster(args map[string]string, plain []string) string {
	s.names, s.ids, s.trace = map[uint64]string{}, map[string]uint64{}, NewTail(-1)
	prof := func(w *world) profile {
		w.manual = true
		n := num(args["servers"], 3)
		return profile{servers: n, replicas: num(args["replicas"], n), minMembers: num(args["least"], 1), groupFaults: groupFaults{cureTime: 50}, inFlight: int64(num(args["window"], 64)),
			sendBytes: int64(num(args["message"], 100000))}
	}
	s.w = newWorld(Options{Trace: s.trace}, prof)
	for _, t := range s.w.servers[1:] {
		t.start()
	}
	s.w.meta.start()
	if len(plain) > 0 && plain[0] == "empty" {
		return ""
	}
	return s.until("group", s.w.well)
}

// until runs until ok, and complains if that takes too long.
func (s *Script) until(what string, ok func() bool) string {
	end := s.w.now + patience
	for !ok() {
		if s.w.now >= end || len(s.w.queue) == 0 {
			return fmt.Sprintf("no %s after %d\n", what, patience)
		}
		s.w.step()
	}
	return ""
}

func (s *Script) server(t string) *server {
	w := s.w
	n := num(t, 0)
	if t == "primary" {
		n = int(w.meta.cfg.Primary)
	}
	if n < 1 || n >= len(w.servers) {
		panic(&Violation{"script", "no server " + t})
	}
	return w.servers[n]
}

func (s *Script) do(cmd string, args map[string]string, plain []string) string {
	w := s.w
	on := func() *server {
		if t := args["on"]; t != "" {
			return s.server(t)
		}
		return s.server("primary")
	}
	each := func(f func(*server)) {
		for _, p := range plain {
			f(s.server(p))
		}
	}
	switch cmd {
	case "propose":
		out := ""
		for _, name := range plain {
			id := on().write(num(args["key"], 0))
			if id == 0 {
				out += name + " refused\n"
				continue
			}
			s.names[id], s.ids[name] = name, id
		}
		return out
	case "read":
		return s.read(on(), num(args["key"], 0))
	case "run":
		w.runTo(w.now + int64(num(plain[0], 0)))
	case "settle":
		return s.until("peace", w.well)
	case "wait":
		return s.wait(plain)
	case "state":
		return s.state()
	case "log":
		return s.log(s.server(plain[0]))
	case "trace":
		return s.traced(plain)
	case "drop", "hold", "double":
		s.rule(cmd, plain)
	case "allow":
		w.net.rules = nil
	case "deliver":
		held := w.net.held
		w.net.held = nil
		for _, f := range held {
			w.at(1, f)
		}
		return fmt.Sprintf("%d delivered\n", len(held))
	case "lose":
		n := len(w.net.held)
		w.net.held = nil
		return fmt.Sprintf("%d lost\n", n)
	case "cut", "mend":
		s.cut(cmd == "cut", plain)
	case "crash":
		each(func(t *server) { w.crashByHand(t, args["log"]) })
	case "restart":
		each((*server).restart)
	case "wipe":
		each((*server).wipe)
	case "pause":
		s.server(plain[0]).pause(int64(num(plain[1], 0)))
	case "slow":
		each(func(t *server) { t.disk.stuck = true })
	case "fast":
		each(func(t *server) { t.disk.stuck = false; t.syncLog() })
	case "break":
		each((*server).breakDisk)
	case "flush":
		each((*server).flush)
	case "cutlog":
		each(func(t *server) { t.flush(); t.cutLog() })
	case "copy":
		w.prof.fetchTime = int64(num(plain[0], 0))
	default:
		return s.doMeta(cmd, plain)
	}
	return ""
}

// doMeta carries out what concerns the meta.
func (s *Script) doMeta(cmd string, plain []string) string {
	w := s.w
	switch cmd {
	case "move":
		if !w.meta.moveTo(num(plain[0], 0)) {
			return "not possible\n"
		}
	case "add", "remove":
		to := int(w.meta.cfg.Primary)
		if len(plain) > 1 {
			to = num(plain[1], 0)
		}
		w.meta.propose(cmd, to, num(plain[0], 0))
	case "promote":
		// The meta takes the primary for dead, rightly or not.
		w.meta.promote("by hand", func(n int) bool { return w.meta.dead(n) })
	case "meta":
		switch plain[0] {
		case "idle":
			w.meta.idle = true
		case "active":
			w.meta.idle = false
		case "move":
			w.meta.move()
		case "refuse":
			w.meta.nodes[num(plain[1], 0)].cut = true
		case "accept":
			w.meta.nodes[num(plain[1], 0)].cut = false
		case "replicas":
			w.prof.replicas = num(plain[1], 0)
		}
	default:
		return "unknown command " + cmd + "\n"
	}
	return ""
}

// crashByHand ends the process. Of the log's unsynced records the first keep survive; "" is
// none, "all" a crash of the process only.
func (w *world) crashByHand(t *server, keep string) {
	if !t.up {
		return
	}
	if n := num(keep, 0); keep != "all" && n > 0 {
		t.disk.synced(min(n, len(t.disk.pending)))
	}
	t.crash(keep != "all")
	w.checkMembers()
}

func (s *Script) read(t *server, key int) string {
	before := s.w.stats.Reads
	version := s.w.hist.version(key, t.applied)
	t.read(key)
	s.w.runTo(s.w.now + 1)
	switch {
	case s.w.stats.Reads == before:
		return "refused\n"
	case version == 0:
		return "nothing\n"
	}
	return s.name(s.w.hist.canon[version-1].id) + "\n"
}

func (s *Script) name(id uint64) string {
	if n, ok := s.names[id]; ok {
		return n
	}
	return fmt.Sprintf("#%d", id)
}

// wait runs until something is so: "acked x", "primary 2", "learner 3", "members 1,2",
// "fetch 3", "status 3 inactive", "asks add", "applied 3 2".
func (s *Script) wait(plain []string) string {
	w := s.w
	what := strings.Join(plain, " ")
	switch plain[0] {
	case "acked":
		return s.until(what, func() bool {
			for _, n := range plain[1:] {
				if !s.acked(s.ids[n]) {
					return false
				}
			}
			return true
		})
	case "primary":
		return s.until(what, func() bool {
			t := s.server(plain[1])
			return int(w.meta.cfg.Primary) == t.id && t.status() == pacifica.Primary && t.serving() && t.leased()
		})
	case "status":
		return s.until(what, func() bool { return s.server(plain[1]).status().String() == plain[2] })
	case "members":
		return s.until(what, func() bool { return s.members() == plain[1] })
	case "fetch":
		return s.until(what, func() bool { return s.server(plain[1]).fetch != nil })
	case "applied":
		return s.until(what, func() bool { return s.server(plain[1]).applied >= int64(num(plain[2], 0)) })
	case "asks":
		return s.until(what, func() bool {
			return slices.ContainsFunc(w.servers[1:], func(t *server) bool {
				return t.core != nil && t.core.Pending() != nil && t.core.Pending().Kind.String() == plain[1]
			})
		})
	case "held":
		return s.until(what, func() bool { return len(w.net.held) >= num(plain[1], 1) })
	}
	return "unknown condition\n"
}

func (s *Script) acked(id uint64) bool {
	for d, m := range s.w.hist.canon {
		if m.id == id {
			return int64(d) < s.w.hist.acked
		}
	}
	return false
}

func (s *Script) members() string {
	cfg := s.w.meta.cfg
	var ns []string
	for i := 1; i < len(s.w.servers); i++ {
		if cfg.Has(pacifica.NodeID(i)) {
			ns = append(ns, strconv.Itoa(i))
		}
	}
	return strings.Join(ns, ",")
}

// state tells what everyone is.
func (s *Script) state() string {
	w := s.w
	t := fmt.Sprintf("meta: %s\n", configText(w.meta.cfg))
	for _, n := range w.servers[1:] {
		t += fmt.Sprintf("%d: ", n.id)
		switch {
		case !n.up:
			t += "down\n"
			continue
		case n.disk.broken:
			t += "out of service\n"
			continue
		case n.core == nil:
			t += "no replica\n"
			continue
		}
		st := n.core.State()
		t += fmt.Sprintf("%v b%d committed %d", st.Status, st.Ballot, st.Committed)
		if st.Last != st.Committed {
			t += fmt.Sprintf(" prepared %d", st.Last)
		}
		if st.Status == pacifica.Primary && (!n.serving() || !n.leased()) {
			t += " not serving"
		}
		for _, l := range st.Learners {
			t += fmt.Sprintf(" learner %d", l.Node)
		}
		if p := n.core.Pending(); p != nil {
			t += fmt.Sprintf(" asks to %v", p.Kind)
			if p.Node != n.node() {
				t += fmt.Sprintf(" %d", p.Node)
			}
		}
		t += "\n"
	}
	t += "committed:"
	for d, m := range w.hist.canon {
		if int64(d) == w.hist.acked {
			t += " |"
		}
		t += " " + s.name(m.id)
	}
	return t + "\n"
}

// log tells what a log holds, and what of it is durable.
func (s *Script) log(t *server) string {
	out := fmt.Sprintf("flushed %d;", t.disk.flushed)
	x := &t.disk.now
	for d := x.first; d <= x.last(); d++ {
		e := x.at(d)
		out += fmt.Sprintf(" %d:%s@%d", d, s.name(idOf(e.Payload)), e.Ballot)
		if got := t.disk.durable.at(d); got == nil || idOf(got.Payload) != idOf(e.Payload) || got.Ballot != e.Ballot {
			out += "?"
		}
	}
	return out + "\n"
}

// traced returns and forgets the trace; only lines with one of the words, if there are any.
func (s *Script) traced(words []string) string {
	out := ""
	for _, l := range strings.SplitAfter(s.trace.String(), "\n") {
		if len(words) == 0 || slices.ContainsFunc(words, func(x string) bool { return strings.Contains(l, x) }) {
			out += strings.TrimLeft(l, " 0123456789")
		}
	}
	*s.trace = Tail{max: -1}
	return out
}

// link parses "1->2", "*->2", "1" as both ends.
func link(t string) (from, to int) {
	a, b, ok := strings.Cut(t, "->")
	if !ok {
		return num(t, -1), -1
	}
	return num(a, -1), num(b, -1)
}

// rule adds "drop prepare 1->2 3": the next 3 of those, all without a number.
func (s *Script) rule(action string, plain []string) {
	r := &rule{action: action, kind: plain[0], from: -1, to: -1, count: -1}
	if len(plain) > 1 {
		r.from, r.to = link(plain[1])
	}
	if len(plain) > 2 {
		r.count = num(plain[2], 1)
	}
	s.w.net.rules = append(s.w.net.rules, r)
}

// cut cuts or mends links: "1->2", "1-2" both ways, "1" all of server 1, nothing all links.
func (s *Script) cut(cut bool, plain []string) {
	net := s.w.net.cut
	for i := range net {
		for j := range net {
			for _, p := range plain {
				from, to := link(p)
				a, b, both := strings.Cut(p, "-")
				switch {
				case strings.Contains(p, "->"):
					if from == i && to == j {
						net[i][j] = cut
					}
				case both:
					if num(a, -1) == i && num(b, -1) == j || num(a, -1) == j && num(b, -1) == i {
						net[i][j] = cut
					}
				case from == i && j != i || from == j && j != i:
					net[i][j] = cut
				}
			}
			if len(plain) == 0 {
				net[i][j] = cut
			}
		}
	}
}
