package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"pegasus/cli"
)

// risk says what somebody may regret to have done by a command. It decides, for all commands alike, whether they ask first.
// Commands that write the rows which they are given are none of these: they do what they are told.
type risk int

const (
	// loses: rows, tables, backups or what the metas know are gone for good. It asks; without a terminal it needs --yes.
	loses risk = iota + 1
	// takes: something that is used is taken away, or a step can't be taken back, and nothing is lost. It asks at a terminal.
	takes
	// moves: much is moved or changed, and nothing is missing meanwhile. It doesn't ask.
	moves
)

// danger is a command with a risk. Each has a flag --dry-run, by which it only says what it would do.
type danger struct {
	risk risk
	// ask is the question, and the word that answers it; "": with these arguments there is nothing to regret.
	ask func(c *cobra.Command, args []string) (question, word string)
}

// quoted is an argument as a question shows it.
func quoted(args []string, i int) string {
	return cli.Escape([]byte(append(slices.Clone(args), make([]string, i+1)...)[i]))
}

// about asks about the first argument, which is written to go on, or yes.
func about(format string, word bool) func(*cobra.Command, []string) (string, string) {
	return func(_ *cobra.Command, args []string) (string, string) {
		w := "yes"
		if word {
			w = args[0]
		}
		return fmt.Sprintf(format, quoted(args, 0)), w
	}
}

// has tells whether a flag is given.
func has(c *cobra.Command, flag string) bool {
	return c.Flags().Changed(flag) && c.Flag(flag).Value.String() != "false"
}

// dangers are all commands with a risk, and which. TestDangers finds one that is missing.
var dangers = map[string]danger{
	"clear": {loses, func(c *cobra.Command, args []string) (string, string) {
		what := "the rows that match"
		switch {
		case has(c, "all"):
			what = "all rows"
		case !has(c, "hash-filter") && !has(c, "sort-filter"):
			return "", "" // it will say that something is missing
		}
		return fmt.Sprintf("Remove %s of table %s?", what, quoted(args, 0)), args[0]
	}},
	"del-range": {loses, func(_ *cobra.Command, args []string) (string, string) {
		return fmt.Sprintf("Remove the rows of the range of hash key %s in table %s?", cli.Quote([]byte(args[1])), quoted(args, 0)), "yes"
	}},
	"ddd": {loses, func(c *cobra.Command, args []string) (string, string) {
		if !has(c, "fix") || len(args) == 0 {
			return "", ""
		}
		return acceptLoss(args[0])
	}},
	"recover": {loses, func(c *cobra.Command, _ []string) (string, string) {
		if !has(c, "accept-loss") {
			return "", ""
		}
		return acceptLoss(c.Flag("accept-loss").Value.String())
	}},
	"backup delete": {loses, about("Delete backup %s with its files?", true)},
	"meta recover-quorum": {loses, func(*cobra.Command, []string) (string, string) {
		return "Discard the changes that only the lost meta servers had? Is the majority lost forever, and are all meta servers stopped?", "yes"
	}},

	"table drop":   {takes, about("Drop table %s?", true)},
	"table rename": {takes, about("Rename table %s? Clients need the new name.", false)},
	"table replicas": {takes, func(_ *cobra.Command, args []string) (string, string) {
		if len(args) < 2 {
			return "", ""
		}
		return fmt.Sprintf("Set the replicas of table %s to %s?", quoted(args, 0), quoted(args, 1)), "yes"
	}},
	"table split": {takes, func(c *cobra.Command, args []string) (string, string) {
		if has(c, "status") || has(c, "pause") || has(c, "resume") || has(c, "cancel") {
			return "", ""
		}
		return fmt.Sprintf("Double the partitions of table %s? They can't be merged again.", quoted(args, 0)), "yes"
	}},
	"table propose": {takes, func(_ *cobra.Command, args []string) (string, string) {
		if args[1] != "remove" {
			return "", ""
		}
		return fmt.Sprintf("Remove the replica of partition %s from %s?", quoted(args, 0), quoted(args, 2)), "yes"
	}},
	"node drain":  {takes, about("Move all replicas away from %s?", false)},
	"node forget": {takes, about("Forget %s? If it comes back it is a new server.", false)},
	"node restart": {takes, func(_ *cobra.Command, args []string) (string, string) {
		if len(args) == 0 {
			return "Restart all live replica servers, one after the other?", "yes"
		}
		return fmt.Sprintf("Restart %s?", cli.Escape([]byte(strings.Join(args, " ")))), "yes"
	}},
	"disk abandon": {takes, func(_ *cobra.Command, args []string) (string, string) {
		return fmt.Sprintf("Abandon the data directory %s of %s?", quoted(args, 1), quoted(args, 0)), "yes"
	}},
	"meta remove":          {takes, about("Take %s out of the quorum of meta servers?", false)},
	"backup cancel":        {takes, about("Cancel backup %s, and remove its files?", false)},
	"backup policy remove": {takes, about("Remove policy %s? Its backups stay, and nothing removes them any more.", false)},
	"dup remove":           {takes, about("End the duplication of table %s? To begin it again all rows are copied.", false)},
	"meta upgrade-version": {takes, func(*cobra.Command, []string) (string, string) {
		return "Raise the cluster version? Servers can't go back to a program that doesn't understand it.", "yes"
	}},

	"rebalance":         {risk: moves},
	"table balance":     {risk: moves},
	"disk balance":      {risk: moves},
	"disk move":         {risk: moves},
	"meta transfer":     {risk: moves},
	"server config set": {risk: moves},
	"table env set":     {risk: moves},
	"table env del":     {risk: moves},
	"import":            {risk: moves},
	"copy":              {risk: moves},
	"migrate table":     {risk: moves},
	"migrate tables":    {risk: moves},
	"migrate dirs":      {risk: moves},
}

func acceptLoss(what string) (question, word string) {
	return fmt.Sprintf("Go on with what is left of %s, and lose what only dead servers have?", cli.Escape([]byte(what))), what
}

// said is what the help of a command says of its risk.
var said = map[risk]string{
	loses: "What is lost is lost for good: it asks first, and without a terminal it needs --yes. --dry-run only says what it would do.",
	takes: "At a terminal it asks first, unless --yes is given. --dry-run only says what it would do.",
	moves: "--dry-run only says what it would do.",
}

// dryRun is the name of the flag that all dangers have.
const dryRun = "dry-run"

// addDangers has all commands with a risk ask, and gives them the flags --yes and --dry-run.
func addDangers(root *cobra.Command) {
	for path, d := range dangers {
		c, rest, err := root.Find(strings.Fields(path))
		if err != nil || len(rest) > 0 {
			panic(fmt.Sprintf("there is no command %q", path))
		}
		if c.Flag(dryRun) == nil {
			c.Flags().Bool(dryRun, false, "only say what would be done")
		}
		if c.Long == "" {
			c.Long = c.Short + "."
		}
		c.Long = strings.TrimRight(c.Long, "\n") + "\n\n" + said[d.risk]
		if d.risk == moves {
			continue
		}
		yes := false
		c.Flags().BoolVarP(&yes, "yes", "y", false, "don't ask")
		do := c.RunE
		c.RunE = func(c *cobra.Command, args []string) error {
			if question, word := d.ask(c, args); question != "" && !has(c, dryRun) {
				a := cli.Asker{In: c.InOrStdin(), Errs: c.ErrOrStderr(), Yes: yes}
				ask := a.AskIfThere
				if d.risk == loses {
					ask = a.Ask
				}
				if err := ask(c.Context(), question, word); err != nil {
					return err
				}
			}
			return do(c, args)
		}
	}
}
