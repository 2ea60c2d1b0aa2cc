package main

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"pegasus/base"
	"pegasus/client/clienttest"
	"pegasus/rpc"
)

// Every flag that takes a number has limits: none is cut to what its message can hold, and none
// counts as another number than was given.
func TestFlagsAreBounded(t *testing.T) {
	seen := 0
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		check := func(f *pflag.Flag) {
			switch kind := f.Value.Type(); kind {
			case "string", "bool", "stringSlice", "stringArray":
			case "number", "duration":
				switch f.Value.(type) {
				case numberFlag[int], numberFlag[int32], numberFlag[int64], fractionFlag, durationFlag:
				default:
					t.Errorf("%s --%s is a flag without limits", c.CommandPath(), f.Name)
					return
				}
				seen++
				unit := ""
				if kind == "duration" {
					unit = "h"
				}
				was := f.Value.String()
				for _, v := range []string{"9223372036854775808", "-9223372036854775808", "NaN", "1e400", ""} {
					if v += unit; v != "" && f.Value.Set(v) == nil && f.Value.String() != v {
						t.Errorf("%s --%s %s became %s", c.CommandPath(), f.Name, v, f.Value)
					}
				}
				if err := f.Value.Set("-9" + unit); err == nil {
					t.Errorf("%s --%s takes -9", c.CommandPath(), f.Name)
				} else if !strings.Contains(err.Error(), "give a") {
					t.Errorf("%s --%s: %v", c.CommandPath(), f.Name, err)
				}
				if err := f.Value.Set("9223372036854775808" + unit); kind == "duration" && (err == nil || !strings.Contains(err.Error(), "give a duration from")) {
					t.Errorf("%s --%s, too long: %v", c.CommandPath(), f.Name, err)
				}
				if f.Value.String() != was {
					t.Errorf("%s --%s is changed by what it refuses: %s, was %s", c.CommandPath(), f.Name, f.Value, was)
				}
			default:
				t.Errorf("%s --%s is of type %s: use numberVar, durationVar or fractionVar", c.CommandPath(), f.Name, kind)
			}
		}
		c.LocalFlags().VisitAll(check)
		c.InheritedFlags().VisitAll(check)
		for _, s := range c.Commands() {
			walk(s)
		}
	}
	walk(newRoot())
	if seen < 30 {
		t.Errorf("%d numeric flags were found", seen)
	}
}

// No address at all is refused as one that is wrong.
func TestEmptyAddresses(t *testing.T) {
	k := clienttest.Start(t, 1)
	for _, tc := range []struct{ args, want string }{
		{"meta status --meta=", "--meta is empty"},
		{"get t h s --meta=", "--meta is empty"},
		{"table ls --meta ,", "--meta"},
		{"node forget NONE --meta " + k.Meta, "the address is empty"},
		{"node drain NONE --meta " + k.Meta, "the address is empty"},
		{"disk retry NONE data --meta " + k.Meta, "the address is empty"},
		{"meta remove NONE --meta " + k.Meta, "give the address (host:port) of a meta server"},
		{"meta add NONE --meta " + k.Meta, "give the address (host:port) of a meta server"},
	} {
		args := strings.Fields(tc.args)
		for i := range args {
			if args[i] == "NONE" {
				args[i] = ""
			}
		}
		var out, errw bytes.Buffer
		if status := run(t.Context(), args, &out, &errw); status == 0 || !strings.Contains(errw.String(), tc.want) {
			t.Errorf("%q: status %d, %s%s", args, status, out.String(), errw.String())
		}
	}
}

// A command ends when --timeout is over, also where a server says nothing.
func TestTimeoutHolds(t *testing.T) {
	k := clienttest.Start(t, 3)
	k.CreateTable("temp", 1, 3)
	silent := []string{base.RPCGet, base.RPCPut, base.RPCGetScanner, base.RPCMultiGet}
	k.SetHook(func(_ int, r *rpc.Request) bool {
		if !slices.Contains(silent, r.Code) {
			return false
		}
		r.Drop()
		return true
	})
	for _, args := range [][]string{
		{"scan", "temp"}, {"scan", "temp", "h"}, {"count", "temp"}, {"count", "temp", "h"}, {"multi-get", "temp", "h"}, {"get", "temp", "h", "s"}, {"set", "temp", "h", "s", "v"},
	} {
		var out, errw bytes.Buffer
		began := time.Now()
		status := run(context.Background(), append(args, "--timeout", "400ms", "--meta", k.Meta), &out, &errw)
		if took := time.Since(began); status == 0 || took > 5*time.Second || !strings.Contains(errw.String(), "ERR_TIMEOUT") {
			t.Errorf("%q: status %d after %v: %s", args, status, took, errw.String())
		}
	}
}
