package meta

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"pegasus/gen/command"
	"pegasus/gen/metaadmin"
	"pegasus/gen/value"
	"pegasus/rpc"
)

// page gets a page of a meta without following it elsewhere.
func page(t *testing.T, meta, path string) (status int, body, location string) {
	t.Helper()
	cl := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := cl.Get("http://" + meta + path)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if ct := res.Header.Get("Content-Type"); ct != "text/plain" {
		t.Errorf("%s has the type %s", path, ct)
	}
	return res.StatusCode, string(b), res.Header.Get("Location")
}

func TestPages(t *testing.T) {
	c := newCluster(t, 1, 3, nil)
	c.mustCreate("mig", 2, 3)
	c.whole("mig", 3)
	m := c.leader().name
	// A name stands for what differs from run to run.
	a := c.query("mig").Partitions[0]
	names := strings.NewReplacer(m, "META", a.Primary.String(), "P", a.Secondaries[0].String(), "S1", a.Secondaries[1].String(), "S2")
	for _, x := range []struct {
		path   string
		status int
		want   []string // parts of the body
	}{
		{"/meta/cluster", 200, []string{`{"meta_servers":"META","primary_meta_server":"META","zookeeper_hosts":"","zookeeper_root":"","meta_function_level":"`,
			`"balance_operation_count":"{\n  \"copy_pri\": 0,\n  \"copy_sec\": 0,\n  \"move_pri\": 0,\n  \"total\": 0\n}","primary_replica_count_stddev":"`}},
		{"/meta/apps", 200, []string{`{"general_info":{"1":{"app_id":"1","status":"AVAILABLE","app_name":"mig","app_type":"pegasus","partition_count":"2","replica_count":"3","is_stateful":"true","create_time":"20`,
			`.000","drop_time":"-","drop_expire":"-","envs_count":"0"}},"summary":{"total_app_count":"1"}}`}},
		{"/meta/apps?detail", 200, []string{`"healthy_info":{"1":{"app_id":"1","app_name":"mig","partition_count":"2","fully_healthy":"2","unhealthy":"0","write_unhealthy":"0","read_unhealthy":"0"}},` +
			`"summary":{"total_app_count":"1","fully_healthy_app_count":"1","unhealthy_app_count":"0","write_unhealthy_app_count":"0","read_unhealthy_app_count":"0"}}`}},
		{"/meta/apps?x=1", 400, nil},
		{"/meta/app?name=mig", 200, []string{`{"general":{"app_name":"mig","app_id":"1","partition_count":"2","max_replica_count":"3"}}` + "\n"}},
		{"/meta/app?name=mig&detail", 200, []string{`"replicas":{"0":{"pidx":"0","ballot":"`, `"replica_count":"3/3","primary":"P","secondaries":"[S1,S2]"}`,
			`"total":{"node":"total","primary":"2","secondary":"4","total":"6"}},"healthy":{"fully_healthy_partition_count":"2","unhealthy_partition_count":"0","write_unhealthy_partition_count":"0","read_unhealthy_partition_count":"0"}}`}},
		{"/meta/app?name=nosuch", 404, []string{`table not found: "nosuch"`}},
		{"/meta/app", 400, []string{"app name shouldn't be empty"}},
		{"/meta/nodes", 200, []string{`{"details":{"`, `"P":{"address":"P","status":"ALIVE"}`, `"summary":{"total_node_count":"3","alive_node_count":"3","unalive_node_count":"0"}}`}},
		{"/meta/nodes?detail", 200, []string{`"P":{"address":"P","status":"ALIVE","replica_count":"2","primary_count":"`}},
		{"/meta/app_envs?name=mig", 200, []string{"{}\n"}},
		{"/meta/app_envs?name=nosuch", 200, []string{"{}\n"}},
		{"/envs/list", 200, []string{`"default_ttl":{"type":"unsigned int32","limitation":">= 0","sample":"86400"}`}},
		{"/meta/app/query_bulk_load?name=nosuch", 200, []string{`{"error":"ERR_APP_NOT_EXIST","app_status":""}`}},
		{"/meta/app/duplication?name=nosuch", 404, []string{"ERR_APP_NOT_EXIST"}},
		{"/meta/backup_policy", 200, []string{"{}\n"}},
		{"/meta/backup_policy?x=1", 400, []string{"Invalid parameter"}},
		{"/meta/nosuch", 404, []string{`service not found for "meta/nosuch"`}},
		{"/readyz", 200, []string{"ok"}},
		{"/metrics?types=server&metrics=alive_replica_servers", 200, []string{`"role": "meta"`, `"name": "alive_replica_servers",`, `"value": 3`}},
		{"/metrics?types=table", 200, []string{`"id": "table@1"`, `"name": "healthy_partitions",`, `"value": 2`}},
	} {
		status, body, _ := page(t, m, x.path)
		if body = names.Replace(body); status != x.status {
			t.Errorf("%s: status %d, want %d; %s", x.path, status, x.status, body)
		}
		for _, w := range x.want {
			if !strings.Contains(body, w) {
				t.Errorf("%s:\n%s\nlacks\n%s", x.path, body, w)
			}
		}
	}
	for _, x := range []struct{ path, post, want string }{
		{"/meta/app/usage_scenario", `{"app_name":"mig","scenario":"bulk_load"}`, `{"error":"ERR_OK","hint_message":""}`},
		{"/meta/app/usage_scenario", `{"app_name":"nosuch","scenario":"normal"}`, `{"error":"ERR_APP_NOT_EXIST","hint_message":"app cannot be found"}`},
		{"/meta/app/usage_scenario", `{"app_name":"mig","scenario":"x"}`, `{"error":"ERR_INVALID_PARAMETERS",`},
		{"/meta/app/usage_scenario", `x`, `invalid request structure: `},
		{"/meta/app/start_compaction", `{"app_name":"mig","type":"once"}`, `{"error":"ERR_OK",`},
		{"/meta/app/start_compaction", `{"app_name":"mig","type":"x"}`, `{"error":"ERR_INVALID_PARAMETERS",`},
	} {
		res, err := http.Post("http://"+m+x.path, "application/json", strings.NewReader(x.post))
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if !strings.HasPrefix(string(b), x.want) {
			t.Errorf("POST %s %s: %s, want %s", x.path, x.post, b, x.want)
		}
	}
	var envs map[string]string
	_, body, _ := page(t, m, "/meta/app_envs?name=mig")
	if err := json.Unmarshal([]byte(body), &envs); err != nil || envs["rocksdb.usage_scenario"] != "bulk_load" || envs["manual_compact.once.target_level"] != "-1" {
		t.Errorf("afterwards the settings are %v (%v)", envs, err)
	}
}

func TestFollowerPages(t *testing.T) {
	c := newCluster(t, 3, 0, steady)
	f, l := c.follower().name, c.leader().name
	until(t, "the follower knows its leader", func() bool { s, _, _ := page(t, f, "/readyz"); return s == 200 })
	status, _, to := page(t, f, "/meta/app?name=x&detail")
	if want := "http://" + l + "/meta/app?name=x&detail"; status != http.StatusTemporaryRedirect || to != want {
		t.Errorf("status %d, location %q, want %q", status, to, want)
	}
	if status, _, _ := page(t, f, "/envs/list"); status != 200 {
		t.Errorf("/envs/list of a follower: %d", status)
	}
	if _, body, _ := page(t, f, "/metrics?types=table"); !strings.Contains(body, `"entities": []`) {
		t.Errorf("a follower's tables: %s", body)
	}
}

// TestKnobs compares with what the C++ server was recorded to answer.
func TestKnobs(t *testing.T) {
	c := newCluster(t, 1, 4, nil)
	m := c.leader().name
	run := func(line string) string {
		t.Helper()
		f := strings.Fields(line)
		var s value.Text
		if err := c.call(m, "RPC_CLI_CLI_CALL", rpc.THFT0, &command.Command{Cmd: f[0], Arguments: f[1:]}, &s); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		return string(s)
	}
	banned := c.reps[3].addr
	for _, x := range []struct{ line, want string }{
		{"meta.lb.assign_secondary_black_list", "{\n  \"assign_secondary_black_list\": \"\",\n  \"error\": \"ok\"\n}"},
		{"meta.lb.assign_secondary_black_list nonsense", "{\n  \"error\": \"invalid argument, bad host:port 'nonsense'\"\n}"},
		{"meta.lb.assign_secondary_black_list a b", "{\n  \"error\": \"invalid argument, 0 or 1 argument is acceptable\"\n}"},
		{"meta.lb.assign_secondary_black_list " + banned.String(), "{\n  \"error\": \"ok\"\n}"},
		{"meta.lb.assign_secondary_black_list", "{\n  \"assign_secondary_black_list\": \"" + banned.String() + "\",\n  \"error\": \"ok\"\n}"},
		{"meta.lb.ignored_app_list get", "{\n  \"ignored_app_id_list\": \"\"\n}"},
		{"meta.lb.ignored_app_list set 3,2,2", "{\n  \"error\": \"ok\"\n}"},
		{"meta.lb.ignored_app_list get", "{\n  \"ignored_app_id_list\": \"2,3\"\n}"},
		{"meta.lb.ignored_app_list set 2,x", "{\n  \"error\": \"invalid argument\"\n}"},
		{"meta.lb.ignored_app_list clear", "{\n  \"error\": \"ok\"\n}"},
		{"meta.lb.ignored_app_list", "{\n  \"error\": \"invalid arguments\"\n}"},
		{"meta.lb.get_balance_operation_count", "{\n  \"total\": 0\n}"},
		{"meta.lb.get_balance_operation_count detail", "{\n  \"copy_pri\": 0,\n  \"copy_sec\": 0,\n  \"move_pri\": 0,\n  \"total\": 0\n}"},
		{"meta.lb.get_balance_operation_count x", "{\n  \"error\": \"invalid arguments\"\n}"},
		{"meta.lb.only_move_primary true", "{\n  \"error\": \"ok\"\n}"},
		{"meta.lb.assign_delay_ms 100", "{\n  \"error\": \"ok\"\n}"},
		{"meta.lb.assign_delay_ms DEFAULT", "{\n  \"error\": \"ok\",\n  \"meta.lb.assign_delay_ms\": 1000\n}"},
		{"fd.allow_list", "{\n  \"allow_list\": \"\",\n  \"enabled\": false\n}"},
		{"meta.dump", "ERR_INVALID_PARAMETERS"},
		{"meta.dump -", "[]"},
		{"meta.dump a-file", "ERR: a server doesn't write files by remote command; `meta.dump -` shows what it would"},
	} {
		if got := run(x.line); got != x.want {
			t.Errorf("%s: %q, want %q", x.line, got, x.want)
		}
	}
	if got := c.create("t", 8, 3); got.Err != "ERR_OK" {
		t.Fatalf("create: %v", got.Err)
	}
	for _, p := range c.whole("t", 3).Partitions {
		for _, s := range p.Secondaries {
			if s == banned {
				t.Errorf("%v got the banned node as secondary", p.Pid)
			}
		}
	}
	if got := run("meta.dump -"); !strings.Contains(got, `"app_name": "t"`) {
		t.Errorf("meta.dump -: %s", got)
	}
	var r metaadmin.ConfigurationClusterInfoResponse
	c.ask("RPC_CM_CLUSTER_INFO", &metaadmin.ConfigurationClusterInfoRequest{}, &r)
	if len(r.Keys) != 9 {
		t.Errorf("cluster_info has the keys %v", r.Keys)
	}
}
