package meta

import (
	"slices"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/gen/command"
	"pegasus/gen/metaadmin"
	"pegasus/gen/value"
	"pegasus/meta/state"
	"pegasus/rpc"
)

// A guest is known by what it sets, and in what order; it has left when nothing was heard of it, and nothing moves that it asked for.
func TestGuest(t *testing.T) {
	no, both, one := [2]bool{}, [2]bool{true, true}, [2]bool{true, false}
	p := base.Gpid{AppID: 1}
	moving := false
	still := func(base.Gpid) bool { return moving }
	look := func(g *guest, now time.Duration, settings [2]bool, came, left bool) {
		t.Helper()
		if c, l := g.look(now, settings, still); c != came || l != left {
			t.Fatalf("after %v it came: %v, and left: %v; %+v", now, c, l, g)
		}
	}
	g := &guest{}
	look(g, 0, both, false, false) // settings alone
	g.levelSet(time.Second, state.LevelLively, state.LevelSteady, no)
	look(g, 2*time.Second, one, false, false)
	look(g, 3*time.Second, both, true, false)
	now := 4 * time.Second
	for range 3 { // it moves one after the other
		g.moveAsked(now, p)
		moving = true
		now += 3 * guestLeaves
		look(g, now, both, false, false)
		moving = false
		now += guestLeaves / 2
		look(g, now, both, false, false)
		g.levelSet(now, state.LevelSteady, state.LevelLively, both)
		now += guestLeaves / 2
		g.levelSet(now, state.LevelLively, state.LevelSteady, both)
	}
	look(g, now+guestLeaves, both, false, false)
	look(g, now+guestLeaves+1, both, false, true)
	if g.level != state.LevelLively || g.settings != no {
		t.Errorf("before it %+v was", g)
	}
	look(g, now+guestLeaves+2, both, false, false)

	for name, f := range map[string]func(g *guest){
		"a person sets the level":         func(g *guest) { look(g, guestSets+2*time.Second, no, false, false) },
		"and the settings, long after":    func(g *guest) { look(g, guestSets+2*time.Second, one, false, false) },
		"a person freezes the cluster":    func(g *guest) { g.levelSet(2*time.Second, state.LevelSteady, state.LevelFreezed, no) },
		"a person sets the level to what": func(g *guest) { g.levelSet(2*time.Second, state.LevelSteady, state.LevelLively, no) },
		"a guest comes, and a person tidies up": func(g *guest) {
			look(g, 2*time.Second, both, true, false)
			look(g, 3*time.Second, one, false, false)
		},
		"a guest comes, and a person freezes the cluster": func(g *guest) {
			look(g, 2*time.Second, both, true, false)
			g.levelSet(3*time.Second, state.LevelSteady, state.LevelBlind, both)
		},
	} {
		g := &guest{}
		g.levelSet(time.Second, state.LevelLively, state.LevelSteady, no)
		f(g)
		if c, l := g.look(time.Hour, both, still); c || l {
			t.Errorf("%s: it came: %v, and left: %v", name, c, l)
		}
	}
	g = &guest{}
	g.levelSet(time.Second, state.LevelLively, state.LevelSteady, both)
	look(g, 2*time.Second, both, false, false) // they were set before
}

// What admin-cli's nodes-balancer sets is as before when it has left, on all metas.
func TestLevelOfAGuest(t *testing.T) {
	c := newCluster(t, 3, 2, fast)
	c.mustCreate("temp", 2, 2)
	c.whole("temp", 2)
	c.level(metaadmin.FlLively)
	c.level(metaadmin.FlSteady)
	on := func(m *metaProc) (out [2]bool) {
		for i, cmd := range []string{"meta.lb.only_move_primary", "meta.lb.only_primary_balancer"} {
			var s value.Text
			if err := c.call(m.name, base.RPCCLICall, rpc.THFT0, &command.Command{Cmd: cmd}, &s); err != nil {
				t.Fatal(err)
			}
			out[i] = slices.Contains([]string{"{\n  \"error\": \"ok\",\n  \"" + cmd + "\": \"true\"\n}"}, string(s))
		}
		return out
	}
	for _, m := range c.metas {
		for _, cmd := range []string{"meta.lb.only_move_primary", "meta.lb.only_primary_balancer"} {
			var s value.Text
			if err := c.call(m.name, base.RPCCLICall, rpc.THFT0, &command.Command{Cmd: cmd, Arguments: []string{"true"}}, &s); err != nil {
				t.Fatal(err)
			}
		}
		if on(m) != [2]bool{true, true} {
			t.Fatal("not set")
		}
	}
	l := c.leader().srv.leader.Load()
	until(t, "it is known", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.bal.guest.here
	})
	c.level(metaadmin.FlLively)
	c.level(metaadmin.FlSteady)
	l.mu.Lock()
	l.bal.guest.heard -= guestLeaves + time.Second
	l.mu.Unlock()
	until(t, "the level is as before", func() bool { return l.level() == state.LevelLively })
	for _, m := range c.metas {
		until(t, "the settings are, too", func() bool { return on(m) == [2]bool{} })
	}
}
