package compat

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"pegasus/compat_test/cluster"
)

// TestUpgradeByKills: servers of the first release die, and come back with the present program, and
// die again, and come back with the old one, in any order, as long as a majority of the metas and of
// the replicas is there. Tables, settings and rows stay.
func TestUpgradeByKills(t *testing.T) {
	old, now := cluster.Release(t, firstRelease), cluster.Binary(t)
	c := cluster.Start(t, cluster.Options{Program: old, Metas: 3, Tables: "temp:4",
		Config: "[failure_detector]\nbeacon_interval = \"500ms\"\nlease = \"4s\"\ngrace = \"5s\"\n"})
	load := startLightLoad(t, c)
	cli := func(args ...string) string {
		t.Helper()
		var out string
		if err := cluster.Poll(2*time.Minute, func() (err error) {
			out, err = c.CLI(runContext(t, time.Minute), append(args, "--meta", strings.Join(c.Metas(), ","), "--timeout", "20s")...)
			return err
		}); err != nil {
			t.Fatalf("%v: %s%v", args, out, err)
		}
		return out
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	cli("table", "env", "set", "temp", "default_ttl=86400", "replica.slow_query_threshold=50")
	cli("table", "create", "other", "-p", "2")
	settings := cli("table", "env", "ls", "temp", "-o", "json")
	for i, program := range []string{now, old, now} {
		names := c.Servers()
		rnd.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		for _, name := range names {
			if err := c.Kill(name); err != nil {
				t.Fatal(err)
			}
			if err := c.SetProgram(name, program); err != nil {
				t.Fatal(err)
			}
			if err := c.Restart(name); err != nil {
				t.Fatalf("%s: %v\n%s", name, err, c.Log(name))
			}
			if err := c.WaitHealthy("temp", 2*time.Minute); err != nil {
				t.Fatalf("round %d, after %s was restarted: %v", i, name, err)
			}
			load.grown(t)
		}
		if got := cli("table", "env", "ls", "temp", "-o", "json"); got != settings {
			t.Errorf("settings %s, before %s", got, settings)
		}
		cli("table", "create", fmt.Sprintf("made%d", i), "-p", "2")
		for _, name := range []string{"other", "temp", "made0"} {
			if err := c.WaitHealthy(name, 2*time.Minute); err != nil {
				t.Error(err)
			}
		}
	}
	load.stop()
	<-load.done
	load.check(t)
}
