package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/client"
	"pegasus/client/clienttest"
	"pegasus/gen/metaadmin"
	"pegasus/rpc"
)

// A setting that a table was given by RPC, which accepts any as upstream does, is shown as invalid
// where the servers ignore it.
func TestInvalidSettingsAreShown(t *testing.T) {
	k := clienttest.Start(t, 1)
	c := client.New([]string{k.Meta}, client.Options{Timeout: 10 * time.Second})
	defer c.Close()
	req := &metaadmin.ConfigurationCreateAppRequest{AppName: "shop", Options: metaadmin.CreateAppOptions{PartitionCount: 1, ReplicaCount: 1,
		Envs: []base.Pair[string, string]{{Key: "default_ttl", Val: "soon"}, {Key: "nosuch", Val: "1"}, {Key: "business.info", Val: "a shop"}}}}
	var res metaadmin.ConfigurationCreateAppResponse
	if err := c.Pool().Call(t.Context(), k.Meta, rpc.Outgoing{Code: base.RPCCreateApp, Arg: req}, &res); err != nil || res.Err != base.ErrOK {
		t.Fatal(res.Err, err)
	}
	for _, tc := range []struct {
		args string
		want []string
	}{
		{"table env ls shop", []string{
			"business.info  a shop  stored only",
			"default_ttl    soon    invalid, ignored: invalid value 'soon'",
			"nosuch         1       invalid, ignored: unknown setting"}},
		{"table show shop", []string{
			"the setting default_ttl is invalid, and ignored: invalid value 'soon', should be an 32 bits integer; `pegasus table env del shop default_ttl` deletes it",
			"the setting nosuch is invalid, and ignored: unknown setting"}},
		{"table ls -o json", []string{`"invalid_envs":{"default_ttl":"invalid value 'soon'`}},
	} {
		var out, errw bytes.Buffer
		if status := run(t.Context(), append(strings.Fields(tc.args), "--meta", k.Meta), &out, &errw); status != 0 {
			t.Errorf("%s: %s", tc.args, errw.String())
		}
		for _, w := range tc.want {
			if !strings.Contains(out.String(), w) {
				t.Errorf("%s: %q is missing in\n%s", tc.args, w, out.String())
			}
		}
	}
}
