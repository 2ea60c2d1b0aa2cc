package meta

import (
	"time"

	"pegasus/base"
	"pegasus/gen/command"
	"pegasus/meta/state"
	"pegasus/rpc"
)

const (
	// guestSets is within what time a guest sets all that it sets.
	guestSets = 30 * time.Second
	// guestLeaves is after what time a guest is gone of whom nothing was heard. admin-cli waits for 100 s at most.
	guestLeaves = 5 * time.Minute
)

// guest is a tool that leaves the level, and what the balancer may do, as it set them: admin-cli's nodes-balancer. It sets the
// level steady, then both settings by which only primaries are moved, and then asks for moves. What was before is kept until it has left.
type guest struct {
	set, here bool // it has set the level; and the rest
	level     state.Level
	settings  [2]bool
	heard     time.Duration
	asked     map[base.Gpid]struct{} // to be moved
}

// levelSet takes that somebody set the level. The settings are those of now.
func (g *guest) levelSet(now time.Duration, was, is state.Level, settings [2]bool) {
	switch {
	case g.here && is >= state.LevelSteady:
		g.heard = now
	case is == state.LevelSteady && settings != [2]bool{true, true}:
		*g = guest{set: true, level: was, settings: settings, heard: now, asked: map[base.Gpid]struct{}{}}
	default:
		*g = guest{} // who freezes the cluster has something else in mind
	}
}

// moveAsked takes that somebody asked for steps of a partition.
func (g *guest) moveAsked(now time.Duration, p base.Gpid) {
	if g.here {
		g.heard, g.asked[p] = now, struct{}{}
	}
}

// look takes the settings of now, and whether a partition is being moved. It tells that a guest has come, or has left: then what it
// was before is in g.
func (g *guest) look(now time.Duration, settings [2]bool, moving func(base.Gpid) bool) (came, left bool) {
	if !g.set {
		return false, false
	}
	both := settings == [2]bool{true, true}
	for p := range g.asked {
		if moving(p) {
			g.heard = now
		} else {
			delete(g.asked, p)
		}
	}
	switch {
	case !g.here && both:
		g.here = true
		return true, false
	case !g.here && now-g.heard > guestSets, g.here && !both: // a person has only set the level; or tidied up
		*g = guest{}
	case g.here && now-g.heard > guestLeaves:
		g.here, g.set = false, false
		return false, true
	}
	return false, false
}

// hosts sees whether a guest comes or leaves, and undoes what one has set. The caller holds mu.
func (b *balancer) hosts() {
	k := b.s.overrides
	came, left := b.guest.look(b.now(), k.onlyPrimaries(), func(g base.Gpid) bool { return b.parts.plan.Steps(g) > 0 })
	if came {
		b.log.Infof("a tool moves replicas, as admin-cli's nodes-balancer does: %v after it was last heard of, the level will be %d again, and meta.lb.only_move_primary and meta.lb.only_primary_balancer %v and %v",
			guestLeaves, b.guest.level, b.guest.settings[0], b.guest.settings[1])
	}
	if !left {
		return
	}
	was := b.guest
	b.log.Infof("the tool that moved replicas has left: the level is set to %d, and meta.lb.only_move_primary and meta.lb.only_primary_balancer to %v and %v, as before it", was.level, was.settings[0], was.settings[1])
	k.onlyMovePrimary.Store(was.settings[0])
	k.onlyPrimary.Store(was.settings[1])
	b.wg.Go(func() {
		b.apply(&state.SetLevel{Level: was.level})
		for _, name := range b.s.members.memberNames() { // it has set them there, too
			if name == b.s.name {
				continue
			}
			for i, cmd := range []string{"meta.lb.only_move_primary", "meta.lb.only_primary_balancer"} {
				value := "false"
				if was.settings[i] {
					value = "true"
				}
				b.s.pool.Go(name, proposalTimeout, rpc.Outgoing{Code: base.RPCCLICall, Arg: &command.Command{Cmd: cmd, Arguments: []string{value}}, From: b.s.self()}, func(_ []byte, err error) {
					if err != nil {
						b.log.Warnf("meta server %s isn't told that %s is %s again: %v", name, cmd, value, err)
					}
				})
			}
		}
		b.kick()
	})
}
