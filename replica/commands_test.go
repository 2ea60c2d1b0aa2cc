package replica

import (
	"context"
	"encoding/json"
	"testing"

	"pegasus/gen/command"
	"pegasus/rpc"
)

// command runs a remote command of node i and decodes its answer.
func (g *group) command(i int, into any, name string, args ...string) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	defer cancel()
	var text rpc.Str
	if err := g.pool.Call(ctx, g.nodes[i].srv.Addr().String(), rpc.Outgoing{Code: "RPC_CLI_CLI_CALL", Arg: &command.Command{Cmd: name, Arguments: args}}, &text); err != nil {
		g.t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(text), into); err != nil {
		g.t.Fatalf("%s answers %q: %v", name, text, err)
	}
}

func TestDigestCommand(t *testing.T) {
	g := newGroup(t, 2)
	for _, k := range []string{"a", "b", "c"} {
		g.mustPut(0, k, "value of "+k)
	}
	digest := func(i int) (d Digest) {
		g.command(i, &d, "replica.digest", g.gpid.String(), "1000")
		return d
	}
	first := digest(0)
	if first.Error != "" || first.Rows != 3 || first.Status != "primary" || len(first.Hash) != 16 {
		t.Fatalf("digest of the primary: %+v", first)
	}
	until(t, "the secondary applied all", func() bool { return digest(1).Decree == first.Decree })
	if d := digest(1); d.Hash != first.Hash || d.Rows != 3 || d.Status != "secondary" {
		t.Errorf("digest of the secondary %+v, of the primary %+v", d, first)
	}
	var bare Digest
	if g.command(0, &bare, "replica.digest", g.gpid.String(), "1000", "rows"); bare.Error != "" || bare.Rows != 3 || len(bare.Hash) != 16 || bare.Hash == first.Hash {
		t.Errorf("digest without timetags: %+v", bare)
	}
	g.mustPut(0, "a", "another")
	if d := digest(0); d.Hash == first.Hash || d.Rows != 3 {
		t.Errorf("digest after a change: %+v", d)
	}
	for _, args := range [][]string{{}, {"1"}, {"9.9"}, {g.gpid.String(), "soon"}, {"1.0", "1", "2"}} {
		var d Digest
		g.command(0, &d, "replica.digest", args...)
		if d.Error == "" || d.Hash != "" {
			t.Errorf("digest %q: %+v", args, d)
		}
	}
}

func TestWALStatsCommand(t *testing.T) {
	g := newGroup(t, 2)
	g.mustPut(0, "a", "1")
	var all []WALStats
	g.command(0, &all, "replica.wal-stats")
	if len(all) != 1 || all[0].Dir == "" || all[0].Entries == 0 || all[0].Syncs == 0 {
		t.Errorf("stats after a write: %+v", all)
	}
}
