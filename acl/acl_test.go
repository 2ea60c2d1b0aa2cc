package acl

import (
	"errors"
	"slices"
	"testing"

	"pegasus/base"
)

// Each request has a need, and nothing else has.
func TestEveryRPC(t *testing.T) {
	names := base.RPCNames()
	slices.Sort(names)
	if got := RPCs(); !slices.Equal(got, names) {
		for _, n := range names {
			if !slices.Contains(got, n) {
				t.Errorf("%s has no need: list it in needs.go", n)
			}
		}
		for _, n := range got {
			if !slices.Contains(names, n) {
				t.Errorf("needs.go lists %s, which isn't the name of a request", n)
			}
		}
	}
	for _, n := range base.ServerRPCs() {
		if a := OfRPC(n); a != Internal {
			t.Errorf("%s, which servers send each other, needs %v", n, a)
		}
	}
}

func TestUnlisted(t *testing.T) {
	if a := OfRPC("RPC_SOMETHING_NEW"); a != Control {
		t.Errorf("a request that isn't listed needs %v", a)
	}
	for path, want := range map[string]Action{"nothing": Control, "meta": Control, "meta/new": Control, "pprof/heap": Control, "metrics": Metadata, "": Anyone,
		"replica/checkpoint/file": Internal, "replica/checkpointer": Control, "dashboard/tables": Metadata, "dashboard/do/drain": Control} {
		if a, _ := OfPage(path); a != want {
			t.Errorf("page %q needs %v, not %v", path, a, want)
		}
	}
}

// The table of who may do what.
func TestDecide(t *testing.T) {
	for _, policy := range []Policy{{}, {Peers: true}} {
		for _, who := range []Principal{{}, {Kind: Server, Via: "secret"}} {
			for a := Anyone; a <= Internal; a++ {
				want := a != Internal || !policy.Peers || who.Kind == Server
				err := policy.Decide(who, a)
				if (err == nil) != want || err != nil && !errors.Is(err, base.ErrACLDeny) {
					t.Errorf("%+v, %v, %v: %v", policy, who, a, err)
				}
			}
		}
	}
}
