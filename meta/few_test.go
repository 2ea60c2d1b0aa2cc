package meta

import (
	"strings"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/gen/placement"
)

// When most servers die at once, partitions get new primaries and what they need to be
// written, and no more; until an administrator says that they are gone for good.
func TestFewLive(t *testing.T) {
	c := newCluster(t, 1, 7, func(c *config.Config) {
		fast(c)
		c.Meta.ReplaceWait = config.Duration(3 * time.Second)
	})
	c.mustCreate("temp", 14, 3)
	c.whole("temp", 3)
	for _, f := range c.reps[3:] {
		f.kill()
	}
	alive := map[base.RPCAddress]bool{}
	for _, f := range c.reps[:3] {
		alive[f.addr] = true
	}
	// living counts the living members of each partition that has any.
	living := func() (least, most int) {
		least = 99
		for _, p := range c.query("temp").Partitions {
			n := 0
			for _, a := range members(&p) {
				if alive[a] {
					n++
				}
			}
			if n > 0 {
				least, most = min(least, n), max(most, n)
			}
		}
		return least, most
	}
	hint := ""
	until(t, "the dead are known", func() bool {
		r := &placement.NodeRoleResponse{}
		c.ask("RPC_CM_NODE_ROLE", &placement.NodeRoleRequest{}, r)
		hint = r.HintMessage
		return strings.HasPrefix(hint, "only 3 of 7")
	})
	until(t, "what has a living member can be written", func() bool {
		least, _ := living()
		return least >= 2
	})
	// What was begun before they were known to be so few ends; then nobody gets a third one.
	explain := func() (text string) {
		e := &placement.ExplainResponse{}
		c.ask("RPC_CM_EXPLAIN", &placement.ExplainRequest{AppName: "temp", Partition: -1}, e)
		for _, p := range e.Partitions {
			text += strings.Join(p.Why, "\n")
		}
		return text
	}
	until(t, "nothing is being copied", func() bool {
		text := explain()
		return strings.Contains(text, "only 3 of 7") && !strings.Contains(text, "is being given a replica")
	})
	count := func() (n int) {
		for _, p := range c.query("temp").Partitions {
			n += len(members(&p))
		}
		return n
	}
	before := count()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(c.cfg.Meta.ReplaceWait.D() * 3 / 2); time.Now().Before(end); <-tick.C {
		if now := count(); now > before {
			t.Fatalf("there are %d replicas, there were %d", now, before)
		}
	}
	if r := c.rebalance(placement.REBALANCE_STATUS, "", false); !strings.HasPrefix(r.HintMessage, "only 3 of 7") {
		t.Errorf("balancing: %+v", r)
	}
	c.remote("meta.live_percentage", "0")
	until(t, "they are made whole", func() bool {
		least, most := living()
		return least == 3 && most == 3
	})
}
