package zookeeper

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"pegasus/cppmeta"
	"pegasus/cppmeta/zookeeper/zookeepertest"
)

func TestParseAddress(t *testing.T) {
	servers, root, err := ParseAddress("h1:2182, h2,[::1]:5/pegasus/c1/")
	if err != nil || root != "/pegasus/c1" || !slices.Equal(servers, []string{"h1:2182", "h2:2181", "[::1]:5"}) {
		t.Errorf("%q %s %v", servers, root, err)
	}
	for _, bad := range []string{"", "h1:1", "h1:1/", "h1//a//b", "/a", "h1,,h2/a", "h:1/a/../b"} {
		if _, _, err := ParseAddress(bad); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

// The nodes are those of a real ZooKeeper.
func TestFetch(t *testing.T) {
	addr := zookeepertest.Start(t)
	conn, events, err := zk.Connect([]string{addr}, 10*time.Second, zk.WithLogger(quiet{}))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	if err := ready(ctx, events); err != nil {
		t.Fatal(err)
	}
	create := func(path, value string) {
		t.Helper()
		if _, err := conn.Create(path, []byte(value), 0, zk.WorldACL(zk.PermAll)); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
	}
	for _, p := range []string{"/pegasus", "/pegasus/c1", "/pegasus/c1/backup", "/pegasus/c1/lock"} {
		create(p, "")
	}
	create("/pegasus/c1/apps", "unlock")
	for id := 1; id <= 30; id++ {
		create(fmt.Sprintf("/pegasus/c1/apps/%d", id), fmt.Sprintf(`{"status":"app_status::AS_AVAILABLE","app_type":"pegasus","app_name":"t%d","app_id":%d,"partition_count":2,"envs":{"default_ttl":"9"},"is_stateful":1,"max_replica_count":3}`, id, id))
		for p := range 2 {
			create(fmt.Sprintf("/pegasus/c1/apps/%d/%d", id, p), `{"ballot":3,"primary":"10.0.0.1:34801","secondaries":[]}`)
		}
	}
	create("/pegasus/c1/apps/1/duplication", "")
	create("/pegasus/c1/apps/1/duplication/5", `{"remote":"c2","status":"DS_LOG","fail_mode":"FAIL_SLOW","remote_app_name":"x"}`)
	create("/pegasus/c1/backup/p", `{"policy_name":"p","app_ids":[1],"app_names":{"1":"t1"},"backup_interval_seconds":86400,"start_time":{"hour":1,"minute":0}}`)

	tree, err := Fetch(ctx, []string{addr}, "/pegasus/c1")
	if err != nil {
		t.Fatal(err)
	}
	s, err := cppmeta.Read(tree, "/pegasus/c1")
	if err != nil || len(s.Problems) != 0 {
		t.Fatalf("%+v, %v", s, err)
	}
	if len(s.Tables) != 30 || s.Tables[29].Name != "t30" || len(s.Tables[29].Configs) != 2 || s.Tables[0].Envs["default_ttl"] != "9" || len(s.Duplications) != 1 || s.Duplications[0].RemoteTable != "x" || len(s.Policies) != 1 {
		t.Errorf("%+v", s)
	}
	tree, err = Fetch(ctx, []string{addr}, "/pegasus/none")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cppmeta.Read(tree, "/pegasus/none"); err == nil || !strings.Contains(err.Error(), "there is no node /pegasus/none/apps") {
		t.Errorf("%v", err)
	}
	acl := zk.DigestACL(zk.PermAll, "someone", "else")
	if _, err := conn.Create("/pegasus/c1/apps/99", []byte("x"), 0, acl); err != nil {
		t.Fatal(err)
	}
	if _, err := Fetch(ctx, []string{addr}, "/pegasus/c1"); err == nil || !strings.Contains(err.Error(), "/pegasus/c1/apps/99: access denied") {
		t.Errorf("%v", err)
	}
}

// A server that says nothing is waited for as long as the context lasts.
func TestSilent(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	why := errors.New("patience is over")
	ctx, stop := context.WithTimeoutCause(t.Context(), 200*time.Millisecond, why)
	defer stop()
	if _, err := Fetch(ctx, []string{l.Addr().String()}, "/a"); !errors.Is(err, why) {
		t.Errorf("%v", err)
	}
}
