package diskplan

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"pegasus/base"
)

const gib = 1 << 30

// TestCases plans for servers that are described in files, in GiB.
func TestCases(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		var s Server
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "disks":
				s = Server{}
				for _, line := range strings.Split(d.Input, "\n") {
					k := Disk{Gives: true, Takes: true}
					for _, w := range strings.Fields(line) {
						var n int64
						switch name, val, _ := strings.Cut(w, "="); name {
						case "size":
							fmt.Sscan(val, &n)
							k.Capacity = n * gib
						case "free":
							fmt.Sscan(val, &n)
							k.Available = n * gib
						case "short":
							k.Takes = false
						case "broken":
							k.Gives, k.Takes = false, false
						default:
							k.Tag = w
						}
					}
					s.Disks = append(s.Disks, k)
				}
				return ""
			case "replicas":
				for _, line := range strings.Split(d.Input, "\n") {
					r, times := Replica{}, 1
					for _, w := range strings.Fields(line) {
						switch name, val, _ := strings.Cut(w, "="); name {
						case "fixed":
							r.Fixed = true
						case "gib":
							fmt.Sscan(val, &r.Bytes)
							r.Bytes *= gib
						case "times":
							fmt.Sscan(val, &times)
						default:
							r.Disk = w
						}
					}
					for range times {
						r.Gpid = base.Gpid{AppID: 1, PartitionIndex: int32(len(s.Replicas))}
						s.Replicas = append(s.Replicas, r)
					}
				}
				return ""
			}
			p := Make(&s, Defaults)
			var b strings.Builder
			for _, m := range p.Moves {
				fmt.Fprintf(&b, "%v %s -> %s (%d GiB): %s\n", m.Gpid, m.From, m.To, m.Bytes/gib, m.Why)
			}
			for _, f := range p.Disks {
				fmt.Fprintf(&b, "%s: %d replicas with %d GiB, then %d with %d; its share is %.1f with %d\n", f.Tag, f.Replicas, f.Bytes/gib, f.ReplicasAfter, f.BytesAfter/gib, f.ReplicaShare, f.Share/gib)
			}
			carryOut(t, &s, p)
			if again := Make(&s, Defaults); len(again.Moves) > 0 {
				fmt.Fprintf(&b, "and again: %+v\n", again.Moves)
			}
			return b.String()
		})
	})
}

// carryOut makes the moves of a plan, and fails if one is impossible.
func carryOut(t *testing.T, s *Server, p *Plan) {
	t.Helper()
	at := func(tag string) *Disk {
		return &s.Disks[slices.IndexFunc(s.Disks, func(d Disk) bool { return d.Tag == tag })]
	}
	seen := map[base.Gpid]bool{}
	var bytes int64
	for _, m := range p.Moves {
		k := slices.IndexFunc(s.Replicas, func(r Replica) bool { return r.Gpid == m.Gpid && r.Disk == m.From })
		if k < 0 || s.Replicas[k].Fixed || seen[m.Gpid] || m.Why == "" || m.From == m.To || m.Bytes != s.Replicas[k].Bytes {
			t.Fatalf("%+v can't be made", m)
		}
		seen[m.Gpid] = true
		a, b := at(m.From), at(m.To)
		if b.Available -= m.Bytes; !a.Gives || !b.Takes || float64(b.Available) < Defaults.Free*float64(b.Capacity) {
			t.Fatalf("%+v goes from %+v to %+v", m, a, b)
		}
		a.Available += m.Bytes
		s.Replicas[k].Disk = m.To
		bytes += m.Bytes
	}
	if bytes != p.Bytes {
		t.Errorf("%d bytes are moved, the plan says %d", bytes, p.Bytes)
	}
	for _, f := range p.Disks {
		n, sum := 0, int64(0)
		for _, r := range s.Replicas {
			if r.Disk == f.Tag {
				n, sum = n+1, sum+r.Bytes
			}
		}
		if n != f.ReplicasAfter || sum != f.BytesAfter || at(f.Tag).Available != f.FreeThen {
			t.Fatalf("%s holds %d replicas with %d bytes and %d free, the plan says %+v", f.Tag, n, sum, at(f.Tag).Available, f)
		}
	}
}

// TestRandom plans for random servers: plans are possible and come to an end, and one replica after the other leads to the same
// as all at once, nearly.
func TestRandom(t *testing.T) {
	for seed := range uint64(500) {
		rnd := rand.New(rand.NewPCG(seed, 8))
		s := &Server{}
		free := seed%2 == 0 // of anything that hinders
		var largest int64
		for i := range 2 + rnd.IntN(6) {
			d := Disk{Tag: fmt.Sprint("d", i+1), Capacity: 1000 * gib, Gives: true, Takes: true}
			d.Available = d.Capacity
			if !free {
				d.Capacity *= 1 + rnd.Int64N(4)
				d.Available = rnd.Int64N(d.Capacity)
				d.Gives, d.Takes = rnd.IntN(8) > 0, rnd.IntN(8) > 0
			}
			s.Disks = append(s.Disks, d)
		}
		some := 1 + rnd.IntN(len(s.Disks)) // all is on these
		for i := range rnd.IntN(100) {
			r := Replica{Gpid: base.Gpid{AppID: 1, PartitionIndex: int32(i)}, Disk: s.Disks[rnd.IntN(some)].Tag, Bytes: rnd.Int64N(5 * gib)}
			if r.Fixed = !free && rnd.IntN(10) == 0; rnd.IntN(3) == 0 {
				r.Bytes = 0
			}
			largest = max(largest, r.Bytes)
			s.Replicas = append(s.Replicas, r)
		}
		for i := range s.Disks {
			for _, r := range s.Replicas {
				if free && r.Disk == s.Disks[i].Tag {
					s.Disks[i].Available -= r.Bytes
				}
			}
		}
		one := &Server{Disks: slices.Clone(s.Disks), Replicas: slices.Clone(s.Replicas)}
		rounds := 0
		for ; ; rounds++ {
			p := Make(s, Defaults)
			if len(p.Moves) == 0 {
				break
			}
			if rounds == 20 {
				t.Fatalf("seed %d: no end: %+v", seed, p.Moves)
			}
			carryOut(t, s, p)
		}
		p := Make(s, Defaults)
		for _, f := range p.Disks {
			if free && (float64(f.Bytes-f.Share) > max(float64(f.Share)*Defaults.Tolerance, float64(largest)) || rounds > 3) {
				t.Errorf("seed %d: after %d rounds %s has %d bytes, and its share is %d", seed, rounds, f.Tag, f.Bytes, f.Share)
			}
		}
		// As the command does: a new plan after each replica, of which none is moved twice.
		for moves := 0; ; moves++ {
			p := Make(one, Defaults)
			if len(p.Moves) == 0 {
				break
			}
			if moves > len(one.Replicas) {
				t.Fatalf("seed %d: %d moves of %d replicas", seed, moves, len(one.Replicas))
			}
			m := p.Moves[0]
			k := slices.IndexFunc(one.Replicas, func(r Replica) bool { return r.Gpid == m.Gpid })
			one.Replicas[k].Disk, one.Replicas[k].Fixed = m.To, true
			for i := range one.Disks {
				switch one.Disks[i].Tag {
				case m.From:
					one.Disks[i].Available += m.Bytes
				case m.To:
					one.Disks[i].Available -= m.Bytes
				}
			}
		}
	}
}

// TestStrange plans for what a server should never say.
func TestStrange(t *testing.T) {
	g := base.Gpid{AppID: 1}
	for _, s := range []Server{
		{},
		{Replicas: []Replica{{Gpid: g, Disk: "none", Bytes: 5}}},
		{Disks: []Disk{{Tag: "a", Gives: true, Takes: true}}, Replicas: []Replica{{Gpid: g, Disk: "a", Bytes: -5}, {Gpid: g, Disk: "b"}}},
		{Disks: []Disk{{Tag: "a", Gives: true, Takes: true, Available: -1}, {Tag: "a", Gives: true, Takes: true}, {Tag: "b", Capacity: -7, Gives: true, Takes: true}},
			Replicas: []Replica{{Gpid: g, Disk: "a", Bytes: 1 << 62}, {Gpid: g, Disk: "a", Bytes: 1 << 61}}},
	} {
		if p := Make(&s, Defaults); len(p.Moves) > 0 {
			t.Errorf("%+v: %+v", s, p.Moves)
		}
	}
}
