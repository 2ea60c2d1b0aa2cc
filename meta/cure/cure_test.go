package cure

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"pegasus/base"
	"pegasus/gen/metaadmin"
	"pegasus/meta/state"
)

func addr(i int) Addr {
	a, err := base.ParseAddr(fmt.Sprintf("10.0.%d.%d:34801", i/250, i%250))
	if err != nil {
		panic(err)
	}
	return a
}

func name(a Addr) string {
	if a == 0 {
		return "-"
	}
	q := a.AddrPort().Addr().As4()
	return "n" + strconv.Itoa(int(q[2])*250+int(q[3]))
}

func named(s string) Addr {
	i, err := strconv.Atoi(strings.TrimPrefix(s, "n"))
	if err != nil {
		panic("node " + s)
	}
	return addr(i)
}

type claimed struct {
	r  Replica
	at time.Duration
}

// world is a cluster that a Planner looks after in a test.
type world struct {
	t      testing.TB
	now    time.Duration
	st     *state.State
	p      *Planner
	nodes  []Node
	stored map[Addr]map[base.Gpid]Replica
	unfit  map[Addr]bool
	// ask: nodes can be asked what they have; claims is what they answered, and when.
	ask    bool
	claims map[Addr]claimed
	known  int64
	gaveUp map[base.Gpid]Addr
	seed   func(base.Gpid) Seed
	look   []base.Gpid
	last   []Action
}

func newWorld(t testing.TB) *world {
	return &world{t: t, st: state.New(), p: New(Defaults()), stored: map[Addr]map[base.Gpid]Replica{}}
}

func (w *world) apply(c state.Command) state.Result {
	w.t.Helper()
	res, err := w.st.Apply(state.Encode(c))
	if err != nil {
		w.t.Fatal(err)
	}
	return res
}

func (w *world) node(a Addr) *Node {
	i, ok := slices.BinarySearchFunc(w.nodes, a, func(n Node, a Addr) int { return int(int64(n.Addr) - int64(a)) })
	if !ok {
		w.nodes = slices.Insert(w.nodes, i, Node{Addr: a})
	}
	return &w.nodes[i]
}

func (w *world) create(partitions, replicas int) int32 {
	w.t.Helper()
	res := w.apply(&state.CreateTable{Name: fmt.Sprintf("t%d", len(w.look)), Partitions: int32(partitions), MaxReplicas: int32(replicas)})
	if res.Err != base.ErrOK {
		w.t.Fatal(res.Err)
	}
	for i := range partitions {
		w.look = append(w.look, base.Gpid{AppID: res.TableID, PartitionIndex: int32(i)})
	}
	return res.TableID
}

func (w *world) view() *View {
	v := &View{Now: w.now, State: w.st, Nodes: w.nodes, Copy: func(a Addr, g base.Gpid) (Replica, bool) {
		r, ok := w.stored[a][g]
		return r, ok
	}, Unfit: func(a Addr, _ base.Gpid) bool { return w.unfit[a] },
		Known: func(base.Gpid) int64 { return w.known },
		GaveUp: func(g base.Gpid) (Addr, int64) {
			_, cfg, _ := w.st.Config(g)
			return w.gaveUp[g], cfg.Ballot
		}}
	v.Seed = w.seed
	if w.ask {
		v.Claim = func(a Addr, _ base.Gpid) (Replica, time.Duration, bool) {
			c, ok := w.claims[a]
			return c.r, c.at, ok
		}
	}
	return v
}

// round runs one round over all partitions, carries out the changes, and checks each
// action against what must never happen.
func (w *world) round() (out []string, fine []base.Gpid) {
	w.t.Helper()
	w.last, fine = w.p.Round(w.view(), w.look)
	for _, a := range w.last {
		_, cfg, ok := w.st.Config(a.Gpid)
		if !ok {
			w.t.Fatalf("action for %v, which is no partition", a.Gpid)
		}
		if a.First != nil {
			if res := w.apply(&state.ChangeConfigs{Changes: []state.Change{*a.First}}); res.Changes[0].Err != base.ErrOK {
				w.t.Fatalf("%v: first change refused: %v", a.Gpid, res.Changes[0].Err)
			}
		}
		if a.Change == nil {
			if !w.node(a.Target).Alive || a.Type != metaadmin.CT_ASSIGN_PRIMARY && a.Target != cfg.Primary && (a.Type != metaadmin.CT_REMOVE || a.Target != a.Node || cfg.Has(a.Node)) {
				w.t.Fatalf("proposal %v to %s, primary is %s", a.Type, name(a.Target), name(cfg.Primary))
			}
			out = append(out, fmt.Sprintf("%v %s -> %s: %s", a.Gpid, strings.TrimPrefix(a.Type.String(), "CT_"), name(a.Target), name(a.Node)))
			continue
		}
		n := &a.Change.Config
		for _, d := range cfg.AppendMembers(nil) {
			if !n.Has(d) && (w.node(d).Alive || !slices.Contains(a.Dead, d)) && w.gaveUp[a.Gpid] != d {
				w.t.Fatalf("%v: living or unlisted member %s is dropped", a.Gpid, name(d))
			}
		}
		if !w.node(n.Primary).Alive {
			w.t.Fatalf("%v: dead %s becomes primary", a.Gpid, name(n.Primary))
		}
		res := w.apply(&state.ChangeConfigs{Changes: []state.Change{*a.Change}})
		if res.Changes[0].Err != base.ErrOK {
			w.t.Fatalf("%v: change refused: %v", a.Gpid, res.Changes[0].Err)
		}
		w.p.Done(a.Gpid)
		s := fmt.Sprintf("%v becomes %s", a.Gpid, show(n))
		if len(a.Dead) > 0 {
			s += " because dead are" + list(a.Dead)
		}
		if a.Loss {
			s += ", loss accepted"
		}
		out = append(out, s)
	}
	if asks := w.p.Asks(); len(asks) > 0 {
		out = append(out, "asks"+list(asks))
	}
	return out, fine
}

// obey does with one proposal what a replica server would do, at once.
func (w *world) obey(a Action) {
	w.t.Helper()
	if a.Change != nil || a.Target == a.Node && a.Type == metaadmin.CT_REMOVE || !w.node(a.Target).Alive || !w.node(a.Node).Alive {
		return
	}
	_, cfg, _ := w.st.Config(a.Gpid)
	c := state.Change{Gpid: a.Gpid, Config: cfg}
	c.Config.Ballot++
	switch a.Type {
	case metaadmin.CT_ASSIGN_PRIMARY:
		c.Config.Primary = a.Node
	case metaadmin.CT_ADD_SECONDARY, metaadmin.CT_ADD_SECONDARY_FOR_LB:
		if cfg.Primary != a.Target || cfg.Has(a.Node) {
			return
		}
		c.Adds = a.Node
		c.Config.Secondaries = append(slices.Clone(cfg.Secondaries), a.Node)
	case metaadmin.CT_REMOVE, metaadmin.CT_DOWNGRADE_TO_INACTIVE:
		if cfg.Primary != a.Target {
			return
		}
		c.Config = c.Config.Without(func(x Addr) bool { return x == a.Node })
	default:
		w.t.Fatalf("proposal %v", a.Type)
	}
	w.apply(&state.ChangeConfigs{Changes: []state.Change{c}})
	w.hold(c.Config.AppendMembers(nil), a.Gpid, c.Config.Ballot)
}

func (w *world) hold(members []Addr, g base.Gpid, ballot int64) {
	for _, m := range members {
		if w.stored[m] == nil {
			w.stored[m] = map[base.Gpid]Replica{}
		}
		w.stored[m][g] = Replica{Ballot: ballot}
	}
}

func list(l []Addr) (s string) {
	for _, a := range l {
		s += " " + name(a)
	}
	return s
}

func show(c *state.Config) string {
	return fmt.Sprintf("b%d %s%s", c.Ballot, name(c.Primary), list(c.Secondaries))
}

func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		w := newWorld(t)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			w.t = t
			return w.command(d)
		})
	})
}

func (w *world) command(d *datadriven.TestData) string {
	var out []string
	gpid := func(i int) base.Gpid {
		g, err := base.ParseGpid(d.CmdArgs[i].Key)
		if err != nil {
			w.t.Fatalf("%s: %v", d.Pos, err)
		}
		return g
	}
	number := func(key string) (n int) {
		d.MaybeScanArgs(w.t, key, &n)
		return n
	}
	switch d.Cmd {
	case "explain":
		for _, line := range w.p.Explainer(w.view())(gpid(0)) {
			for _, n := range w.nodes {
				line = strings.ReplaceAll(line, n.Addr.String(), name(n.Addr))
			}
			out = append(out, line)
		}
	case "leaving", "no-primaries", "back":
		for _, a := range d.CmdArgs {
			n := w.node(named(a.Key))
			n.Leaving, n.NoPrimaries = d.Cmd == "leaving", d.Cmd == "no-primaries"
		}
	case "rack":
		for _, a := range d.CmdArgs[1:] {
			w.node(named(a.Key)).Rack = d.CmdArgs[0].Key
		}
	case "alive", "dead", "unreported":
		for _, a := range d.CmdArgs {
			n := w.node(named(a.Key))
			n.Alive, n.Reported = d.Cmd != "dead", d.Cmd == "alive"
		}
	case "stopping":
		for _, a := range d.CmdArgs {
			w.node(named(a.Key)).Stopping = true
		}
	case "yields":
		yields := w.p.Yields(w.view())
		t, cfg, _ := w.st.Config(gpid(0))
		return fmt.Sprintln(yields(gpid(0), t, &cfg, named(d.CmdArgs[1].Key)))
	case "table":
		w.create(number("partitions"), number("replicas"))
	case "replicas":
		w.apply(&state.SetReplicas{ID: int32(number("id")), Count: int32(number("count"))})
	case "drop":
		w.apply(&state.DropTable{ID: int32(number("id"))})
	case "after":
		dur, err := time.ParseDuration(d.CmdArgs[0].Key)
		if err != nil {
			w.t.Fatal(err)
		}
		w.now += dur
	case "round":
		var fine []base.Gpid
		out, fine = w.round()
		if len(fine) > 0 {
			out = append(out, fmt.Sprint("fine: ", fine))
		}
	case "obey":
		for _, a := range w.last {
			w.obey(a)
		}
		return w.show()
	case "settle":
		for i := 0; ; i++ {
			if i > 1000 {
				return "never settles\n" + w.show()
			}
			w.now += 500 * time.Millisecond
			_, fine := w.round()
			if len(fine) == len(w.look) {
				return w.show()
			}
			for _, a := range w.last {
				w.obey(a)
			}
		}
	case "stored":
		a := named(d.CmdArgs[0].Key)
		w.hold([]Addr{a}, gpid(1), int64(number("ballot")))
		w.stored[a][gpid(1)] = w.replica(d)
	case "claim":
		w.claims[named(d.CmdArgs[0].Key)] = claimed{w.replica(d), w.now}
	case "asking":
		w.ask, w.claims = true, map[Addr]claimed{}
	case "known":
		w.known = int64(number("committed"))
	case "gave-up":
		_, cfg, _ := w.st.Config(gpid(0))
		w.gaveUp = map[base.Gpid]Addr{gpid(0): cfg.Primary}
	case "accept":
		w.p.Accept(gpid(0), named(d.CmdArgs[1].Key))
	case "unfit":
		w.unfit = map[Addr]bool{}
		for _, a := range d.CmdArgs {
			w.unfit[named(a.Key)] = true
		}
	case "gone":
		a := named(d.CmdArgs[0].Key)
		w.nodes = slices.DeleteFunc(w.nodes, func(n Node) bool { return n.Addr == a })
		w.p.Gone(a)
	case "forget":
		w.stored[named(d.CmdArgs[0].Key)] = nil
	case "learning":
		w.p.Learning(w.now, gpid(0), named(d.CmdArgs[1].Key))
	case "restarted":
		_, cfg, _ := w.st.Config(gpid(0))
		w.p.Restarted(w.now, gpid(0), cfg.Ballot)
	case "steps":
		var steps []Step
		for _, a := range d.CmdArgs[1:] {
			typ, node, _ := strings.Cut(a.Key, ":")
			steps = append(steps, Step{Type: configType(w.t, typ), Node: named(node)})
		}
		return fmt.Sprintln(w.p.Propose(gpid(0), steps))
	case "why-given-up":
		return strings.NewReplacer(addr(1).String(), "n1", addr(2).String(), "n2", addr(3).String(), "n3", addr(4).String(), "n4", addr(5).String(), "n5").Replace(w.p.TakeReason(gpid(0))) + "\n"
	case "show":
		return w.show()
	default:
		w.t.Fatalf("%s: unknown command %s", d.Pos, d.Cmd)
	}
	if len(out) == 0 {
		return "nothing\n"
	}
	return strings.Join(out, "\n") + "\n"
}

// replica is what a command says of one: "damaged" and "learns" are for such.
func (w *world) replica(d *datadriven.TestData) (r Replica) {
	var b, m, p, c, l int
	d.MaybeScanArgs(w.t, "ballot", &b)
	d.MaybeScanArgs(w.t, "member", &m)
	d.MaybeScanArgs(w.t, "prepared", &p)
	d.MaybeScanArgs(w.t, "committed", &c)
	d.MaybeScanArgs(w.t, "logged", &l)
	return Replica{Logged: int64(l), Ballot: int64(b), Member: int64(m), Prepared: int64(p), Committed: int64(c), Damaged: d.HasArg("damaged"), Learner: d.HasArg("learns")}
}

func configType(t testing.TB, s string) metaadmin.ConfigType {
	for c := metaadmin.CT_INVALID; c <= metaadmin.CT_REGISTER_CHILD; c++ {
		if c.String() == "CT_"+s {
			return c
		}
	}
	t.Fatalf("config type %q", s)
	return 0
}

func (w *world) show() string {
	var b strings.Builder
	for _, g := range w.look {
		if _, cfg, ok := w.st.Config(g); ok {
			fmt.Fprintf(&b, "%v %s\n", g, show(&cfg))
		}
	}
	return b.String()
}
