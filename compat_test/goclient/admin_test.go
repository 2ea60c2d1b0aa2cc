package goclient

import (
	"regexp"
	"strings"
	"testing"

	"github.com/apache/incubator-pegasus/go-client/admin"
	idl "github.com/apache/incubator-pegasus/go-client/idl/admin"
	"github.com/apache/incubator-pegasus/go-client/idl/base"
	"github.com/apache/incubator-pegasus/go-client/pegasus"
	"github.com/apache/incubator-pegasus/go-client/session"
)

var errno = regexp.MustCompile(`Errno:(ERR_\w+)`)

// answer is the server's code in its answer to create, drop and so on; the client makes an
// error of it.
func answer(err error) string {
	if err == nil {
		return "ERR_OK"
	}
	if m := errno.FindStringSubmatch(err.Error()); m != nil {
		return m[1]
	}
	return err.Error()
}

func (w *walk) admin(t *testing.T) {
	c := admin.NewClient(admin.Config{MetaServers: w.metas})
	name := "made_" + w.phase
	listed := func() bool {
		ts, err := c.ListTables(ctx(t))
		noError(t, "list tables", err)
		for _, tb := range ts {
			if tb.Name == name {
				return true
			}
		}
		return false
	}
	noError(t, "drop of what isn't there", c.DropTable(ctx(t), name))
	equal(t, "listed before", listed(), false)
	create := func(name string, partitions, replicas int32, ifNotExist bool) string {
		_, err := w.meta.CreateApp(ctx(t), &idl.CreateAppRequest{AppName: name, Options: &idl.CreateAppOptions{
			PartitionCount: partitions, ReplicaCount: replicas, AppType: "pegasus", Envs: map[string]string{}, IsStateful: true, SuccessIfExist: ifNotExist}})
		return answer(err)
	}
	if w.phase == "killed" {
		// The client's own create wants three replicas, which two servers can't have.
		equal(t, "create with three replicas", create(name, 4, 3, false), "ERR_INVALID_PARAMETERS")
		equal(t, "create with two replicas", create(name, 4, 2, false), "ERR_OK")
	} else {
		noError(t, "create", c.CreateTable(ctx(t), name, 4))
	}
	equal(t, "listed", listed(), true)

	// The table can be used the moment create returns. This client dials a server again only
	// a minute after it failed to, so one that has lost none is used.
	fresh := pegasus.NewClient(pegasus.Config{MetaServers: w.metas})
	defer fresh.Close()
	tb, err := fresh.OpenTable(ctx(t), name)
	noError(t, "open", err)
	for i := range 16 {
		k := w.key("made.%d", i)
		noError(t, "set", tb.Set(ctx(t), k, []byte("s"), k))
		v, err := tb.Get(ctx(t), k, []byte("s"))
		noError(t, "get", err)
		equal(t, "value", string(v), string(k))
	}
	noError(t, "drop", c.DropTable(ctx(t), name))
	equal(t, "listed after", listed(), false)

	if w.phase != "killed" {
		equal(t, "create of a table that is there", create(table, partitions, 3, false), "ERR_APP_EXIST")
		equal(t, "the same, if it isn't", create(table, partitions, 3, true), "ERR_OK")
		equal(t, "the same with other partitions", create(table, 2*partitions, 3, true), "ERR_INVALID_PARAMETERS")
	}
	equal(t, "0 partitions", create("bad", 0, 3, false), "ERR_INVALID_PARAMETERS")
	equal(t, "1000000 partitions", create("bad", 1000000, 3, false), "ERR_INVALID_PARAMETERS")

	_, err = w.meta.DropApp(ctx(t), &idl.DropAppRequest{AppName: "no_such_table", Options: &idl.DropAppOptions{}})
	equal(t, "drop of what isn't there", answer(err), "ERR_APP_NOT_EXIST")

	nodes, err := w.meta.ListNodes(ctx(t), &idl.ListNodesRequest{Status: idl.NodeStatus_NS_INVALID})
	noError(t, "list nodes", err)
	equal(t, "list nodes", nodes.Err.Errno, base.ERR_OK.String())
	equal(t, "nodes", len(nodes.Infos), len(w.replicas))
	alive := 0
	for _, n := range nodes.Infos {
		if n.Status == idl.NodeStatus_NS_ALIVE {
			alive++
		}
	}
	want := len(w.replicas)
	if w.phase == "killed" {
		want--
	}
	equal(t, "nodes alive", alive, want)

	info, err := w.meta.QueryClusterInfo(ctx(t), &idl.ClusterInfoRequest{})
	noError(t, "cluster info", err)
	equal(t, "cluster info", info.Err.Errno, base.ERR_OK.String())
	equal(t, "keys and values", len(info.Keys), len(info.Values))
	if got := strings.Join(info.Keys, " "); !strings.Contains(got, "meta_servers") || !strings.Contains(got, "cluster_name") {
		t.Errorf("cluster info has only %s", got)
	}
}

func (w *walk) remoteCommand(t *testing.T) {
	// The last server is asked by address; which one is dead now, the answer to list nodes told.
	nodes, err := w.meta.ListNodes(ctx(t), &idl.ListNodesRequest{Status: idl.NodeStatus_NS_ALIVE})
	noError(t, "list nodes", err)
	for _, n := range nodes.Infos {
		c := admin.NewRemoteCmdClient(n.Address.GetAddress(), session.NodeTypeReplica)
		text, err := c.Call(ctx(t), "help", []string{})
		noError(t, "help", err)
		if text == "" {
			t.Error("help says nothing")
		}
		text, err = c.Call(ctx(t), "no-such-command", []string{})
		noError(t, "unknown command", err)
		if !strings.Contains(text, "unknown command") {
			t.Errorf("unknown command: %q", text)
		}
	}
	c := admin.NewRemoteCmdClient(w.metas[0], session.NodeTypeMeta)
	text, err := c.Call(ctx(t), "server-info", []string{})
	noError(t, "server-info", err)
	if !strings.Contains(text, "version") {
		t.Errorf("server-info of the meta: %q", text)
	}
}
