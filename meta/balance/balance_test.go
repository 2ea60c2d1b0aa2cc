package balance

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"pegasus/base"
)

func addr(i int) Addr {
	a, err := base.ParseAddr(fmt.Sprintf("10.0.%d.%d:34801", i/250, i%250))
	if err != nil {
		panic(err)
	}
	return a
}

func short(a Addr) string {
	if a == 0 {
		return "-"
	}
	q := a.AddrPort().Addr().As4()
	return "n" + strconv.Itoa(int(q[2])*250+int(q[3]))
}

func TestCases(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		var v View
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "nodes":
				v = View{}
				for _, line := range strings.Split(d.Input, "\n") {
					v.Nodes = append(v.Nodes, readNode(t, line))
				}
				return ""
			case "table":
				v.Tables = append(v.Tables, readTable(t, d))
				return ""
			case "plan":
				return showPlan(t, &v, d)
			}
			t.Fatalf("%s: unknown command", d.Pos)
			return ""
		})
	})
}

func readNode(t *testing.T, line string) (n Node) {
	for _, w := range strings.Fields(line) {
		switch k, val, _ := strings.Cut(w, "="); k {
		case "rack":
			n.Rack = val
		case "closed":
			n.Closed = true
		case "leaving":
			n.Role = Leaving
		case "no-primaries":
			n.Role = NoPrimaries
		default:
			n.Addr = named(t, w)
		}
	}
	return n
}

func named(t *testing.T, w string) Addr {
	i, err := strconv.Atoi(strings.TrimPrefix(w, "n"))
	if err != nil {
		t.Fatalf("node %q", w)
	}
	return addr(i)
}

func readTable(t *testing.T, d *datadriven.TestData) Table {
	tb := Table{Replicas: 3, Fixed: d.HasArg("fixed")}
	d.ScanArgs(t, "id", &tb.ID)
	d.MaybeScanArgs(t, "replicas", &tb.Replicas)
	tb.Name = fmt.Sprintf("t%d", tb.ID)
	for _, line := range strings.Split(d.Input, "\n") {
		p := Part{Bytes: 10}
		times := 1
		for _, w := range strings.Fields(line) {
			switch k, val, _ := strings.Cut(w, "="); k {
			case "orphan":
				p.Orphan = true
			case "fixed":
				p.Fixed = true
			case "bytes":
				fmt.Sscan(val, &p.Bytes)
			case "reads":
				fmt.Sscan(val, &p.Reads)
			case "writes":
				fmt.Sscan(val, &p.Writes)
			case "disks":
				p.Disks = strings.Split(val, ",")
			case "times":
				fmt.Sscan(val, &times)
			default:
				p.Members = append(p.Members, named(t, w))
			}
		}
		for range times {
			tb.Parts = append(tb.Parts, p)
		}
	}
	return tb
}

func showPlan(t *testing.T, v *View, d *datadriven.TestData) string {
	var o Options
	o.MustOnly = d.HasArg("must-only")
	o.RolesOnly, o.PrimariesOnly = d.HasArg("roles-only"), d.HasArg("primaries-only")
	tenths := 0
	d.MaybeScanArgs(t, "tolerance", &tenths)
	o.Tolerance = float64(tenths) / 10
	percent := 0
	d.MaybeScanArgs(t, "load", &percent)
	d.MaybeScanArgs(t, "moves", &o.LoadMoves)
	o.LoadTolerance = float64(percent) / 100
	p := MakePlan(v, o)
	var b strings.Builder
	long := d.HasArg("long")
	for _, m := range p.Moves {
		with := ""
		if m.Primary {
			with = " as primary"
		}
		fmt.Fprintf(&b, "%v %v %s -> %s%s", m.Gpid, m.Kind, short(m.From), short(m.To), with)
		if long {
			fmt.Fprintf(&b, " (%d bytes): %s", m.Bytes, m.Why)
		}
		b.WriteByte('\n')
	}
	for _, s := range p.Stuck {
		fmt.Fprintln(&b, "stuck:", s)
	}
	for _, n := range v.Nodes {
		text := n.Addr.String()
		out := strings.ReplaceAll(b.String(), text, short(n.Addr))
		b.Reset()
		b.WriteString(out)
	}
	f := p.After
	fmt.Fprintf(&b, "primaries %d-%d, replicas %d-%d, bytes %d-%d; %d primaries and %d copies, at least %d and %d\n", f.Primaries.Min, f.Primaries.Max,
		f.Replicas.Min, f.Replicas.Max, f.Bytes.Min, f.Bytes.Max, p.Primaries, p.Copies, p.MinPrimaries, p.MinCopies)
	if percent > 0 {
		fmt.Fprintf(&b, "load %d-%d, then %d-%d\n", p.Before.Load.Min, p.Before.Load.Max, f.Load.Min, f.Load.Max)
	}
	check(t, v, p)
	again := MakePlan(v, o)
	if len(again.Moves) > 0 {
		b.WriteString("and again: ")
		for _, m := range again.Moves {
			fmt.Fprintf(&b, "%v %v %s -> %s;", m.Gpid, m.Kind, short(m.From), short(m.To))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// check carries a plan out on its view, and fails if a move is impossible.
func check(t testing.TB, v *View, p *Plan) {
	t.Helper()
	tables := map[int32]*Table{}
	for i := range v.Tables {
		tables[v.Tables[i].ID] = &v.Tables[i]
	}
	nodes := map[Addr]*Node{}
	for i := range v.Nodes {
		nodes[v.Nodes[i].Addr] = &v.Nodes[i]
	}
	for _, m := range p.Moves {
		q := &tables[m.Gpid.AppID].Parts[m.Gpid.PartitionIndex]
		before := len(q.Members)
		if q.Fixed || tables[m.Gpid.AppID].Fixed && nodes[m.From].Role != Leaving {
			t.Fatalf("%+v moves what is fixed", m)
		}
		to := nodes[m.To]
		if to == nil || to.Role == Leaving || m.Kind != Promote && to.Closed || (m.Primary || m.Kind == Promote) && to.Role == NoPrimaries && !q.Orphan {
			t.Fatalf("%+v goes to %+v", m, to)
		}
		q.Members = slices.Clone(q.Members)
		q.Disks = nil
		switch m.Kind {
		case Promote:
			k := slices.Index(q.Members, m.To)
			if k < 0 || !q.Orphan && q.Members[0] != m.From || q.Orphan && m.From != 0 {
				t.Fatalf("%+v: members are %v", m, q.Members)
			}
			q.Members[0], q.Members[k] = q.Members[k], q.Members[0]
			q.Orphan = false
		case Copy, Add:
			if slices.Contains(q.Members, m.To) {
				t.Fatalf("%+v: members are %v", m, q.Members)
			}
			q.Members = append(q.Members, m.To)
			if m.Primary {
				k := len(q.Members) - 1
				q.Members[0], q.Members[k] = q.Members[k], q.Members[0]
				q.Orphan = false
			}
			if m.Kind == Copy {
				k := slices.Index(q.Members, m.From)
				if k < 0 || k == 0 && !q.Orphan {
					t.Fatalf("%+v: members are %v", m, q.Members)
				}
				q.Members = slices.Delete(q.Members, k, k+1)
			}
		}
		if len(q.Members) < before || m.Why == "" {
			t.Fatalf("%+v: %d members, then %d", m, before, len(q.Members))
		}
	}
	after := newModel(v, Options{})
	after.bounds()
	f := after.figures()
	if d := f.Load.Max - p.After.Load.Max; d >= -1 && d <= 1 {
		f.Load = p.After.Load // it is a sum of fractions, in another order
	}
	if f != p.After {
		t.Fatalf("the plan says %+v, and leads to %+v", p.After, f)
	}
}

// TestRandom plans for random clusters: every plan must be possible, come to an end, and,
// where nothing hinders, be even.
func TestRandom(t *testing.T) {
	for seed := range uint64(400) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		n := 3 + rnd.IntN(12)
		v := &View{}
		free := rnd.IntN(2) == 0 // of anything that hinders
		for i := range n {
			nd := Node{Addr: addr(i + 1)}
			if !free {
				switch rnd.IntN(12) {
				case 0:
					nd.Role = Leaving
				case 1:
					nd.Role = NoPrimaries
				case 2:
					nd.Closed = true
				}
				if seed%3 == 0 {
					nd.Rack = string(rune('a' + rnd.IntN(4)))
				}
			}
			v.Nodes = append(v.Nodes, nd)
		}
		for id := range 1 + rnd.IntN(5) {
			tb := Table{ID: int32(id + 1), Name: fmt.Sprint("t", id+1), Replicas: 1 + rnd.IntN(3)}
			some := rnd.Perm(n)[:tb.Replicas+rnd.IntN(n-tb.Replicas+1)] // all lies on these
			for range 1 << rnd.IntN(7) {
				p := Part{Bytes: int64(rnd.IntN(1000))}
				for _, k := range rnd.Perm(len(some))[:tb.Replicas] {
					p.Members = append(p.Members, addr(some[k]+1))
				}
				switch rnd.IntN(10) {
				case 0:
					p.Orphan = true
				case 1:
					p.Members = p.Members[:len(p.Members)-1]
				case 2:
					p.Fixed = !free
				}
				tb.Parts = append(tb.Parts, p)
			}
			v.Tables = append(v.Tables, tb)
		}
		o := Options{}
		if seed%2 == 0 {
			o.Tolerance = 0.2
		}
		o.MustOnly = !free && seed%5 == 0
		p := MakePlan(v, o)
		check(t, v, p)
		if free {
			f := p.After
			if f.Replicas.Max-f.Replicas.Min > 1 || f.Primaries.Max-f.Primaries.Min > 1 || f.TableReplicas > 1 || f.TablePrimaries > 1 {
				t.Errorf("seed %d: %d nodes: not even: %+v", seed, n, f)
			}
		}
		rounds := 1
		for ; rounds < 20; rounds++ {
			if p = MakePlan(v, o); len(p.Moves) == 0 {
				break
			}
			check(t, v, p)
		}
		if rounds == 20 {
			t.Fatalf("seed %d: no end: %+v", seed, p.Moves[0])
		}
		if free && rounds > 2 {
			t.Errorf("seed %d: %d rounds", seed, rounds)
		}
	}
}

// large is 1,000 nodes with 100,000 partitions of 3 replicas in 100 tables, placed evenly;
// then a node is lost and ten are added.
func large() *View {
	const nodes, tables, parts = 1000, 100, 1000
	rnd := rand.New(rand.NewPCG(1, 2))
	v := &View{}
	for i := range nodes {
		v.Nodes = append(v.Nodes, Node{Addr: addr(i + 1)})
	}
	for id := range tables {
		tb := Table{ID: int32(id + 1), Name: fmt.Sprint("t", id+1), Replicas: 3, Parts: make([]Part, parts)}
		// Three rounds over all nodes: each node has three replicas, one of them a primary.
		for k := range 3 {
			order := rnd.Perm(nodes)
			for i := range tb.Parts {
				for j := i; slices.Contains(tb.Parts[i].Members, addr(order[i]+1)); {
					j = (j + 1) % nodes
					order[i], order[j] = order[j], order[i]
					if k2 := j; k2 < i && slices.Contains(tb.Parts[k2].Members[:k], addr(order[k2]+1)) {
						order[i], order[j] = order[j], order[i]
						continue
					}
					if j < i {
						tb.Parts[j].Members[k] = addr(order[j] + 1)
					}
				}
				tb.Parts[i].Members = append(tb.Parts[i].Members, addr(order[i]+1))
				tb.Parts[i].Bytes = 1 << 30
			}
		}
		v.Tables = append(v.Tables, tb)
	}
	lost := v.Nodes[500].Addr
	v.Nodes = slices.Delete(v.Nodes, 500, 501)
	for i := range 10 {
		v.Nodes = append(v.Nodes, Node{Addr: addr(nodes + 1 + i)})
	}
	for t := range v.Tables {
		for i := range v.Tables[t].Parts {
			p := &v.Tables[t].Parts[i]
			if k := slices.Index(p.Members, lost); k >= 0 {
				p.Orphan = k == 0
				p.Members = slices.Delete(p.Members, k, k+1)
			}
		}
	}
	return v
}

// processorTime returns the processor time that this process has used, which other processes
// make hardly longer.
func processorTime(t *testing.T) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestPlanLarge asserts what the planner must hold at that size.
func TestPlanLarge(t *testing.T) {
	v := large()
	began := processorTime(t)
	p := MakePlan(v, Options{Tolerance: 0.2})
	took := processorTime(t) - began
	t.Logf("%v for %d changes of primaries (at least %d) and %d copies (at least %d); before %+v, after %+v", took,
		p.Primaries, p.MinPrimaries, p.Copies, p.MinCopies, p.Before, p.After)
	check(t, v, p)
	f := p.After
	if f.Replicas.Max-f.Replicas.Min > 1 || f.Primaries.Max-f.Primaries.Min > 1 || f.TableReplicas > 1 || f.TablePrimaries > 1 {
		t.Errorf("not even: %+v", f)
	}
	if p.Copies*10 > p.MinCopies*11 || p.Primaries*10 > p.MinPrimaries*11 {
		t.Errorf("%d copies, at least %d; %d primaries, at least %d", p.Copies, p.MinCopies, p.Primaries, p.MinPrimaries)
	}
	if took > 2*time.Minute { // seconds, and ten times as many with -race
		t.Errorf("it took %v", took)
	}
	if again := MakePlan(v, Options{Tolerance: 0.2}); len(again.Moves) > 0 {
		t.Errorf("then there are %d moves again", len(again.Moves))
	}
}

// BenchmarkPlan is the planner with 1,000 nodes and 100,000 partitions of 3 replicas, of
// which a node was lost and to which ten were added.
func BenchmarkPlan(b *testing.B) {
	v := large()
	var p *Plan
	for b.Loop() {
		p = MakePlan(v, Options{Tolerance: 0.2})
	}
	b.ReportMetric(float64(p.Copies), "copies")
	b.ReportMetric(float64(p.MinCopies), "least-copies")
	b.ReportMetric(float64(p.Primaries), "primaries")
	b.ReportMetric(float64(p.MinPrimaries), "least-primaries")
}

// BenchmarkPlanEven is the same cluster with nothing to do.
func BenchmarkPlanEven(b *testing.B) {
	v := large()
	check(b, v, MakePlan(v, Options{}))
	for b.Loop() {
		if p := MakePlan(v, Options{}); len(p.Moves) > 0 {
			b.Fatal(p.Moves[0])
		}
	}
}

// TestDrainStaysEven takes nodes out one after the other as the meta does: roles first, then
// copies, and nothing else is moved. They end as even as the members of those
// partitions let them.
func TestDrainStaysEven(t *testing.T) {
	for seed := range uint64(30) {
		rnd := rand.New(rand.NewPCG(seed, 9))
		v := &View{}
		for i := range 5 {
			v.Nodes = append(v.Nodes, Node{Addr: addr(i + 1)})
		}
		tb := Table{ID: 1, Name: "t", Replicas: 3}
		for range 64 {
			var p Part
			for _, k := range rnd.Perm(5)[:3] {
				p.Members = append(p.Members, addr(k+1))
			}
			tb.Parts = append(tb.Parts, p)
		}
		v.Tables = []Table{tb}
		for i := range 3 {
			v.Nodes = append(v.Nodes, Node{Addr: addr(6 + i)})
		}
		check(t, v, MakePlan(v, Options{}))
		for _, out := range rnd.Perm(8)[:2] {
			v.Nodes[out].Role = Leaving
			check(t, v, MakePlan(v, Options{MustOnly: true, RolesOnly: true}))
			p := MakePlan(v, Options{MustOnly: true})
			check(t, v, p)
			if f := p.After; f.Replicas.Max-f.Replicas.Min > 2 || f.Primaries.Max-f.Primaries.Min > 4 {
				t.Errorf("seed %d: %+v", seed, f)
			}
		}
	}
}
