package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"pegasus/cli"
)

// referenceCmd prints the reference page, which `make gen` keeps in docs/cli.md.
func referenceCmd() *cobra.Command {
	return &cobra.Command{Use: "reference", Short: "Print the reference of all commands", Hidden: true, Args: wantArgs(0, 0),
		RunE: func(c *cobra.Command, _ []string) error { return writeReference(c.OutOrStdout(), c.Root()) }}
}

// writeReference writes what is known of all commands that help shows.
func writeReference(w io.Writer, root *cobra.Command) error {
	var b strings.Builder
	b.WriteString("# Commands\n\n" +
		"This page is made of the commands themselves by `make gen`. `pegasus COMMAND --help` shows the same.\n\n" +
		"Commands that ask a cluster find it by `--meta`, or by the environment variable `PEGASUS_META`; several addresses are separated by commas.\n" +
		"A cluster that doesn't answer at all is given up after 3 s, unless `--timeout` is given. Bytes that aren't printable are shown with C's\n" +
		"escapes, which `-e` reads. With `-o json` a command prints one JSON document, with `-o jsonl` one for each item of a list, with `-q` nothing\n" +
		"but errors. What can't be taken back asks first; `--yes` answers.\n\n## Exit statuses\n\n| status | meaning |\n|---|---|\n")
	for _, s := range cli.ExitStatuses {
		fmt.Fprintf(&b, "| %d | %s |\n", s.Status, s.Means)
	}
	for _, g := range root.Groups() {
		fmt.Fprintf(&b, "\n## %s\n", strings.TrimSuffix(g.Title, ":"))
		for _, c := range root.Commands() {
			if c.GroupID == g.ID {
				reference(&b, c)
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func reference(b *strings.Builder, c *cobra.Command) {
	if c.Hidden {
		return
	}
	fmt.Fprintf(b, "\n### %s\n\n%s\n", c.CommandPath(), referenceText(c))
	for _, s := range c.Commands() {
		reference(b, s)
	}
}

// referenceText is what the page says of one command.
func referenceText(c *cobra.Command) string {
	var b strings.Builder
	text := c.Long
	if text == "" {
		text = c.Short
	}
	if !strings.HasSuffix(text, ".") && !strings.HasSuffix(text, "\n") {
		text += "."
	}
	b.WriteString(strings.TrimRight(text, "\n") + "\n")
	if c.Runnable() && (c.Args != nil || !c.HasSubCommands()) {
		fmt.Fprintf(&b, "\n    %s\n", c.UseLine())
	}
	if len(c.Aliases) > 0 {
		fmt.Fprintf(&b, "\nAlso: %s.\n", strings.Join(c.Aliases, ", "))
	}
	var rows []string
	c.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		name := "`--" + f.Name + "`"
		if f.Shorthand != "" {
			name = "`-" + f.Shorthand + "`, " + name
		}
		kind, usage := pflag.UnquoteUsage(f)
		if strings.Contains(f.Usage, "`") {
			usage, kind = f.Usage, f.Value.Type()
		}
		def := ""
		if d := f.DefValue; d != "" && d != "false" && d != "[]" && d != "0" && d != "0s" {
			def = " (default " + d + ")"
		}
		if kind != "" && f.Value.Type() != "bool" {
			name += " " + kind
		}
		rows = append(rows, fmt.Sprintf("| %s | %s%s |", name, strings.ReplaceAll(usage, "|", `\|`), def))
	})
	if len(rows) > 0 {
		b.WriteString("\n| flag | |\n|---|---|\n" + strings.Join(rows, "\n") + "\n")
	}
	return b.String()
}
