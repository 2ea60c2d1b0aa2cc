package main

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"pegasus/cli"
	"pegasus/client/clienttest"
)

// harmless are the commands, or groups of them, by which nothing that is there is lost, taken away or moved, and why: all others
// are dangers.
var harmless = map[string]string{
	"bench": "writes rows of its own", "blob": "looks; check writes a file of its own", "compare": "looks", "config": "looks at files, and writes one that isn't there", "count": "looks",
	"check-and-mutate": "the row that it is given", "check-and-set": "the row that it is given", "del": "the row that it is given", "incr": "the row that it is given",
	"multi-del": "the rows that it is given", "multi-set": "the rows that it is given", "set": "the row that it is given",
	"debug": "looks", "exists": "looks", "export": "a file that isn't there", "get": "looks", "hash": "looks", "health": "looks", "multi-get": "looks", "scan": "looks", "ttl": "looks",
	"status": "looks", "top": "looks", "shell": "as its commands do", "version": "looks", "onebox": "a server",
	"meta": "a server", "meta add": "removed again by meta remove", "meta backup": "a file that isn't there", "meta level": "set back by itself", "meta restore": "an empty directory", "meta status": "looks",
	"server meta": "a server", "server replica": "a server", "server ls": "looks", "server info": "looks", "server stats": "looks", "server config get": "looks", "server config ls": "looks",
	"server log-level": "set back by itself", "server traces": "looks",
	"server command": "what servers let be done by remote commands of upstream's",
	"backup create":  "adds one", "backup ls": "looks", "backup show": "looks", "backup count": "looks", "backup export": "looks", "backup get": "looks", "backup verify": "looks",
	"backup policy add": "adds one", "backup policy set": "set back by itself", "backup policy enable": "undone by disable", "backup policy disable": "undone by enable",
	"backup policy ls": "looks", "backup policy show": "looks",
	"bulkload build": "files that aren't there", "bulkload start": "the rows that it is given; bulkload verify looks at them before", "bulkload status": "looks", "bulkload pause": "undone by resume",
	"bulkload resume": "undone by pause", "bulkload cancel": "the files stay, and start loads them again", "bulkload clear": "forgets how the last one ended", "bulkload verify": "looks",
	"disk add": "adds one", "disk ls": "looks", "disk retry": "a directory that failed",
	"dup add": "adds one", "dup ls": "looks", "dup show": "looks", "dup pause": "undone by resume", "dup resume": "undone by pause", "dup fail-mode": "set back by itself",
	"node ls": "looks", "node back": "undone by drain",
	"restore": "a table that isn't there", "restore ls": "looks",
	"table create": "adds one", "table ls": "looks", "table show": "looks", "table hotkeys": "looks", "table stats": "looks", "table availability": "looks", "table usage": "looks", "table recall": "brings one back",
	"table env ls": "looks", "table env help": "looks", "table compact": "rewrites what is there", "table atomic-idempotent": "set back by itself",
}

// Each command is a danger, or is said not to be one. A danger has --dry-run, says so in its help, and asks as its risk demands.
func TestDangers(t *testing.T) {
	seen := map[string]bool{}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		path := strings.TrimPrefix(strings.TrimPrefix(c.CommandPath(), "pegasus"), " ")
		_, dangerous := dangers[path]
		why, isHarmless := harmless[path]
		for p := path; !dangerous && !isHarmless && strings.Contains(p, " "); { // a group may be harmless as a whole
			p = p[:strings.LastIndexByte(p, ' ')]
			if g, ok := harmless[p]; ok && p != "meta" && p != "restore" {
				why, isHarmless, seen[p] = g, true, true
			}
		}
		seen[path] = true
		group := c.HasSubCommands() && c.Args == nil
		switch {
		case !c.HasParent() || c.Hidden || c.Name() == "help" || group && !dangerous && !isHarmless:
		case dangerous && isHarmless:
			t.Errorf("%s is a danger, and is said to be harmless (%s)", path, why)
		case isHarmless:
			if c.Flags().Lookup("yes") != nil {
				t.Errorf("%s asks, and is said to be harmless (%s)", path, why)
			}
		case !dangerous:
			t.Errorf("%s: may somebody regret it? Add it to dangers, or to harmless with the reason", path)
		}
		for _, s := range c.Commands() {
			walk(s)
		}
	}
	root := newRoot()
	walk(root)
	for path := range harmless {
		if !seen[path] {
			t.Errorf("there is no command %s", path)
		}
	}
	for path, d := range dangers {
		c, _, err := root.Find(strings.Fields(path))
		if err != nil {
			t.Fatal(err)
		}
		if f := c.Flag(dryRun); f == nil || f.Value.Type() != "bool" {
			t.Errorf("%s has no flag --dry-run", path)
		}
		if yes := c.Flag("yes"); (yes != nil) != (d.risk != moves) || yes != nil && yes.Shorthand != "y" {
			t.Errorf("%s, whose risk is %d: its flag --yes is %v", path, d.risk, yes)
		}
		if (d.ask != nil) != (d.risk != moves) || !strings.Contains(c.Long, said[d.risk]) || said[d.risk] == "" {
			t.Errorf("%s doesn't say that it asks, or doesn't ask", path)
		}
	}
}

// What loses something isn't done without an answer, and does nothing then; what only takes something away is done where nobody
// can be asked.
func TestDangersAsk(t *testing.T) {
	k := clienttest.Start(t, 3)
	t.Setenv("PEGASUS_META", k.Meta)
	k.CreateTable("temp", 1, 3)
	exec := func(in, line string) (int, string) {
		t.Helper()
		args, err := splitLine(line)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		status := runIn(context.Background(), args, strings.NewReader(in), &out, &out)
		return status, out.String()
	}
	if status, said := exec("", "set temp h s v"); status != 0 {
		t.Fatal(said)
	}
	for _, line := range []string{"clear temp --all", "del-range temp h", "ddd temp --fix", "recover --accept-loss temp", "backup delete 1", "meta recover-quorum --data-dir /nowhere"} {
		args, _ := splitLine(line)
		c, _, err := newRoot().Find(args)
		if path := strings.TrimPrefix(c.CommandPath(), "pegasus "); err != nil || dangers[path].risk != loses {
			t.Errorf("%s isn't one that loses something", path)
		}
		for _, answer := range []string{"", "no\n", "y\n"} {
			if status, said := exec(answer, line); status != cli.ExitFailed || !strings.Contains(said, "to go on: ") || !strings.Contains(said, "nothing is removed or changed") {
				t.Errorf("%s, answered %q: status %d: %s", line, answer, status, said)
			}
		}
	}
	if status, said := exec("", "get temp h s"); status != 0 || said != "v\n" {
		t.Errorf("the row: status %d, %s", status, said)
	}
	for _, tc := range []struct{ in, line, want string }{
		{"", "clear temp --all --dry-run", "would be done, and isn't: 1 rows of table temp are removed"},
		{"", "del-range temp h --dry-run", "1 rows would be removed"},
		{"yes\n", "del-range temp h", "1 rows are removed"},
		{"", "clear temp --all -y", "0 rows of table temp are removed"},
		{"temp\n", "clear temp --all", "0 rows of table temp are removed"},
		{"", "table drop temp --dry-run", "would be done, and isn't: table temp (id "},
		{"", "table drop temp", "table temp is dropped"},
	} {
		if status, said := exec(tc.in, tc.line); status != 0 || !strings.Contains(said, tc.want) {
			t.Errorf("%s: status %d: %s", tc.line, status, said)
		}
	}
}

// The commands of a script aren't asked for answers, and take none of its lines.
func TestScriptIsNotAsked(t *testing.T) {
	k := clienttest.Start(t, 1)
	k.CreateTable("temp", 1, 1)
	t.Setenv("PEGASUS_META", k.Meta)
	var out bytes.Buffer
	in := strings.NewReader("set temp h s v\ndel-range temp h\nyes\n")
	if status := runIn(t.Context(), []string{"shell"}, in, &out, &out); status != cli.ExitFailed || !strings.Contains(out.String(), "line 2 failed") {
		t.Errorf("status %d: %s", status, out.String())
	}
	out.Reset()
	if run(t.Context(), []string{"get", "temp", "h", "s"}, &out, &out); out.String() != "v\n" {
		t.Errorf("the row: %s", out.String())
	}
}
