package replica

import (
	"encoding/json"
	"net/url"
	"testing"

	"pegasus/base"
	idl "pegasus/gen/rrdb"
	"pegasus/rrdb"
	"time"
)

func TestTooShort(t *testing.T) {
	for _, c := range []struct {
		avail, percent int64
		was, want      bool
	}{
		{100, 10, false, false}, {99, 10, false, true}, {105, 10, true, true}, {110, 10, true, false}, {0, 0, false, false}, {0, 0, true, false},
	} {
		if got := tooShort(1000, c.avail, c.percent, c.was); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

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
		return codeOf(g.send(0, rrdb.CodePut, &idl.UpdateRequest{Key: rowKey("b"), Value: []byte("2")}, new(idl.UpdateResponse), 5*time.Second, false))
	}
	for i := range g.nodes {
		set(i, "0") // whatever the disk that the test runs on
	}
	until(t, "writes are taken", func() bool { return put() == base.ErrOK })
	set(2, "100")
	until(t, "writes are refused", func() bool { return put() == base.ErrDiskInsufficient })
	g.wantGet(0, "a", "1")
	if !g.nodes[0].srv.replica(g.gpid).shortPeer() {
		t.Error("the primary doesn't say why")
	}
	set(2, "0")
	until(t, "writes are taken again", func() bool { return put() == base.ErrOK })
	if v := g.view(0); v.members != 3 {
		t.Errorf("%d members", v.members)
	}
}

func TestPeerRoom(t *testing.T) {
	var p peerRoom
	at := time.Now()
	if p.lacks(at, peerSays) || p.heard(1, false, at) || !p.heard(1, true, at) || p.heard(1, true, at) || !p.lacks(at, peerSays) {
		t.Error("one that is short")
	}
	if !p.heard(2, true, at) || !p.heard(1, false, at) || !p.lacks(at, peerSays) {
		t.Error("another")
	}
	at = at.Add(peerSays + 1)
	if p.lacks(at, peerSays) || p.some.Load() {
		t.Error("one that is silent is still waited for")
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
		return codeOf(g.send(0, rrdb.CodePut, &idl.UpdateRequest{Key: rowKey("b"), Value: []byte("2")}, new(idl.UpdateResponse), 5*time.Second, false))
	}
	set("100")
	until(t, "writes are refused", func() bool { return put() == base.ErrDiskInsufficient })
	g.wantGet(0, "a", "1")
	var disks []Disk
	if err := json.Unmarshal([]byte(g.run(0, "replica.disks")), &disks); err != nil || len(disks) != 1 || disks[0].State != "SPACE_INSUFFICIENT" || disks[0].Replicas != 1 {
		t.Errorf("%v %+v", err, disks)
	}
	if _, err := g.nodes[0].srv.openReplica(base.Gpid{AppID: 9}, g.nodes[0].srv.dirs[0], &replicaInfo{AppID: 9}); base.CodeOf(err) != base.ErrDiskInsufficient {
		t.Errorf("a new replica there: %v", err)
	}
	set("0")
	until(t, "writes are taken again", func() bool { return put() == base.ErrOK })
}
