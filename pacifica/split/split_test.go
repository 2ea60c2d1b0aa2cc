package split

import (
	"reflect"
	"testing"

	"pegasus/pacifica"
)

func TestHalves(t *testing.T) {
	for hash := range uint64(64) {
		owners := 0
		for p := range int32(8) {
			if Owns(hash, p, 8) {
				owners++
				if parent, ok := ParentOf(p, 8); ok != (p >= 4) || ok && (!Owns(hash, parent, 4) || Child(parent, 8) != p) {
					t.Errorf("row %d of child %d: its parent is %d, %v", hash, p, parent, ok)
				}
			}
		}
		if owners != 1 || !Owns(hash, 3, 0) {
			t.Errorf("row %d has %d owners", hash, owners)
		}
	}
	if _, ok := ParentOf(8, 8); ok {
		t.Error("partition 8 of 8 is a child")
	}
}

func TestCheck(t *testing.T) {
	for now, counts := range map[int32]map[int32]bool{4: {8: true, 4: false, 16: false, 0: false, -8: false}, 0: {0: false}, -1: {-2: false},
		MaxCount / 2: {MaxCount: true}, MaxCount: {2 * MaxCount: false}, 3: {6: true}} {
		for count, ok := range counts {
			if err := Check(now, count); (err == nil) != ok {
				t.Errorf("%d to %d: %v", now, count, err)
			}
		}
	}
}

// A switch, and the same with another primary after each step.
func TestNext(t *testing.T) {
	cfg := pacifica.Config{Ballot: 3, Primary: 1, Secondaries: []pacifica.NodeID{2, 3}}
	mark := Mark{Count: 8, Decree: 20, Timestamp: 7}
	var p Parent
	next := func(v View, want Action) {
		t.Helper()
		if got := p.Next(8, v); !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v, want %+v", got, want)
		}
	}
	if p.Count(Mark{}) != 0 {
		t.Error("refuses rows before the cut")
	}
	next(View{Config: cfg}, Action{})
	next(View{Config: cfg, Serving: true}, Action{Kind: Propose})
	p.Proposed(8)
	if p.Count(Mark{}) != 8 {
		t.Error("takes all rows after it proposed the cut")
	}
	next(View{Config: cfg, Serving: true}, Action{})
	// The same primary under another ballot has the cut in its window still.
	cfg.Ballot = 4
	next(View{Config: cfg, Serving: true}, Action{})
	v := View{Config: cfg, Serving: true, Mark: mark}
	next(v, Action{Kind: Ask, Nodes: []pacifica.NodeID{1, 2, 3}, Mark: mark})
	p.Take(Answer{From: 2, Held: mark})
	p.Take(Answer{From: 1, Held: mark})
	p.Take(Answer{From: 3, Held: Mark{Count: 8, Decree: 20, Timestamp: 8}}) // of a group that was begun anew
	p.Take(Answer{From: 3})
	next(v, Action{Kind: Ask, Nodes: []pacifica.NodeID{3}, Mark: mark})
	if p.Count(mark) != 8 {
		t.Error("takes all rows after the cut")
	}
	p.Take(Answer{From: 3, Held: mark})
	next(v, Action{Kind: Register, Mark: mark, Child: pacifica.Config{Ballot: 5, Primary: 1, Secondaries: []pacifica.NodeID{2, 3}}})
	// What was said under a ballot counts for that one.
	v.Config.Ballot = 6
	next(v, Action{Kind: Ask, Nodes: []pacifica.NodeID{1, 2, 3}, Mark: mark})
	p.Deposed()
	next(View{Config: cfg, Serving: true}, Action{Kind: Propose})
}
