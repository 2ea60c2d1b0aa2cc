package replica

import (
	"context"
	"errors"
	"net/url"
	"testing"
	"time"

	"pegasus/base"
)

// A partition isn't cut before each member can make the child: nobody would serve the rows that move.
func TestNoCutBeforeAllCanFollow(t *testing.T) {
	g := newGroup(t, 3)
	g.mustPut(0, "a", "1")
	set := func(i int, percent string) {
		t.Helper()
		if code, text := g.page(i, "/updateConfig?"+url.Values{"disk_min_available_space_ratio": {percent}}.Encode()); code != 200 || text != `{"update_status":"ERR_OK"}`+"\n" {
			t.Fatalf("%d %s", code, text)
		}
	}
	primary, last := g.nodes[0].srv, g.nodes[2].srv
	sp := newSplitter(primary).(*splitter)
	count := 2 * primary.replica(g.gpid).view.Load().info.Partitions
	refused := func(what string, want base.ErrorCode) {
		t.Helper()
		var err error
		until(t, what+" is seen", func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			err = sp.carryOut(ctx, g.gpid, count)
			return !errors.Is(err, errNotNow)
		})
		if cut := primary.replica(g.gpid).store.Load().Cut(); base.CodeOf(err) != want || cut.Count != 0 {
			t.Fatalf("%s: %v, %+v", what, err, cut)
		}
	}
	for i := range g.nodes {
		set(i, "0") // whatever the disk that the test runs on
	}
	set(2, "100")
	until(t, "the disk is short of room", func() bool { return last.replica(g.gpid).dir.Usable() != nil })
	refused("a disk that is short of room", base.ErrDiskInsufficient)
}
