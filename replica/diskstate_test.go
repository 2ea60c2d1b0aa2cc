package replica

import (
	"encoding/json"
	"net/url"
	"testing"

	"pegasus/base"
	"pegasus/gen/metaadmin"
	idl "pegasus/gen/rrdb"
	"pegasus/remotecmd/answer"
)

// TestSecondaryShortOfSpace: a primary whose secondary's disk has too little room refuses writes
// with the same code, until there is room again or the secondary is gone.
func TestSecondaryShortOfSpace(t *testing.T) {
	g := newGroup(t, 3)
	g.mustPut(0, "a", "1")
	set := func(i int, percent string) {
		t.Helper()
		if code, text := g.page(i, "/updateConfig?"+url.Values{"disk_min_available_space_ratio": {percent}}.Encode()); code != 200 || text != `{"update_status":"ERR_OK"}`+"\n" {
			t.Fatalf("%d %s", code, text)
		}
	}
	put := func() base.ErrorCode {
		return codeOf(g.send(0, base.RPCPut, &idl.UpdateRequest{Key: rowKey("b"), Value: []byte("2")}, new(idl.UpdateResponse), answerTime, false))
	}
	for i := range g.nodes {
		set(i, "0") // whatever the disk that the test runs on
	}
	until(t, "writes are taken", func() bool { return put() == base.ErrOK })
	set(2, "100")
	until(t, "writes are refused", func() bool { return put() == base.ErrDiskInsufficient })
	if l := g.nodes[2].srv.disks.Report(); l[0].State != "SPACE_INSUFFICIENT" || l[0].Next != answer.NextShort {
		t.Errorf("the full server says of its directory: %+v", l)
	}
	until(t, "the meta is told", func() bool {
		g.meta.mu.Lock()
		defer g.meta.mu.Unlock()
		d := g.meta.reports[g.nodes[2].srv.Addr()].Disks.V
		return len(d) == 1 && d[0].State == metaadmin.DISK_SHORT && d[0].Refuses.V
	})
	g.wantGet(0, "a", "1")
	if !g.nodes[0].srv.replica(g.gpid).admission.Peers.Short() {
		t.Error("the primary doesn't say why")
	}
	set(2, "0")
	until(t, "writes are taken again", func() bool { return put() == base.ErrOK })
	if v := g.view(0); v.members != 3 {
		t.Errorf("%d members", v.members)
	}
}

// TestShortOfSpace: with too little room writes are refused with upstream's code, reads go on,
// and all is well again by itself.
func TestShortOfSpace(t *testing.T) {
	g := alone(t)
	g.mustPut(0, "a", "1")
	set := func(percent string) {
		t.Helper()
		if code, text := g.page(0, "/updateConfig?"+url.Values{"disk_min_available_space_ratio": {percent}}.Encode()); code != 200 || text != `{"update_status":"ERR_OK"}`+"\n" {
			t.Fatalf("%d %s", code, text)
		}
	}
	put := func() base.ErrorCode {
		return codeOf(g.send(0, base.RPCPut, &idl.UpdateRequest{Key: rowKey("b"), Value: []byte("2")}, new(idl.UpdateResponse), answerTime, false))
	}
	set("100")
	until(t, "writes are refused", func() bool { return put() == base.ErrDiskInsufficient })
	g.wantGet(0, "a", "1")
	var disks []answer.Disk
	if err := json.Unmarshal([]byte(g.run(0, "replica.disks")), &disks); err != nil || len(disks) != 1 || disks[0].State != "SPACE_INSUFFICIENT" || disks[0].Replicas != 1 {
		t.Errorf("%v %+v", err, disks)
	}
	if _, err := g.nodes[0].srv.openReplica(base.Gpid{AppID: 9}, g.nodes[0].srv.disks.All()[0], &replicaInfo{AppID: 9}); base.CodeOf(err) != base.ErrDiskInsufficient {
		t.Errorf("a new replica there: %v", err)
	}
	set("0")
	until(t, "writes are taken again", func() bool { return put() == base.ErrOK })
}
