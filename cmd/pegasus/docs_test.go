package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// Each command in docs/migrating.md is one of this program, with its flags.
func TestCommandsOfMigrating(t *testing.T) {
	b, err := os.ReadFile("../../docs/migrating.md")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for i, line := range strings.Split(string(b), "\n") {
		var commands []string
		if rest, ok := strings.CutPrefix(strings.TrimLeft(line, " "), "pegasus "); ok && strings.HasPrefix(line, "    ") {
			commands = append(commands, "pegasus "+rest)
		}
		for _, m := range regexp.MustCompile("`(pegasus [^`]*)`").FindAllStringSubmatch(line, -1) {
			commands = append(commands, m[1])
		}
		for _, text := range commands {
			text, _, _ = strings.Cut(text, " #")
			if what := badCommand(strings.Fields(text)[1:]); what != "" {
				t.Errorf("line %d: %s: %s", i+1, text, what)
			}
			n++
		}
	}
	if n < 5 {
		t.Errorf("only %d commands were found", n)
	}
	for _, bad := range []string{"nothing", "config nothing", "config import --nothing"} {
		if badCommand(strings.Fields(bad)) == "" {
			t.Errorf("%q passes", bad)
		}
	}
}

// badCommand says what is wrong with a command line.
func badCommand(args []string) string {
	c, rest, err := newRoot().Find(args)
	if err != nil {
		return err.Error()
	}
	if c.HasSubCommands() && c.Args == nil && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
		return "there is no " + rest[0]
	}
	for _, a := range rest {
		name, _, _ := strings.Cut(a, "=")
		switch {
		case strings.HasPrefix(name, "--") && !known(c, strings.TrimPrefix(name, "--")):
			return "there is no flag " + name
		case strings.HasPrefix(name, "-") && !strings.HasPrefix(name, "--") && len(name) == 2 && c.Flags().ShorthandLookup(name[1:]) == nil && c.InheritedFlags().ShorthandLookup(name[1:]) == nil:
			return "there is no flag " + name
		}
	}
	return ""
}

func known(c *cobra.Command, flag string) bool {
	return flag == "help" || c.Flags().Lookup(flag) != nil || c.InheritedFlags().Lookup(flag) != nil
}
