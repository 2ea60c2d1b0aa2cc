// Command pegasus is the whole of Pegasus in Go: the servers, the client, the load
// generator and a cluster on one machine. It only parses flags and calls packages.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"pegasus/cli"
	"pegasus/remotecmd"
)

// version is set by the Makefile.
var version = "unreleased"

func main() {
	if len(os.Args) > 1 && os.Args[1] == "replica" || len(os.Args) > 2 && os.Args[1] == "server" && os.Args[2] == "replica" {
		keepMonitorAwake()
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run executes a command line and returns the exit status.
func run(ctx context.Context, args []string, out, errw io.Writer) int {
	return runIn(ctx, args, os.Stdin, out, errw)
}

// runIn is run with another standard input.
func runIn(ctx context.Context, args []string, in io.Reader, out, errw io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errw)
	if err := root.ExecuteContext(ctx); err != nil {
		if strings.HasPrefix(err.Error(), "unknown command ") { // as cobra says it of the root
			err = cli.NewUsageError(err)
		}
		fmt.Fprintln(errw, "pegasus: "+cli.Explain(err))
		return cli.ExitStatus(err)
	}
	return 0
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "pegasus",
		Short:         "Pegasus in Go: a distributed key-value store that speaks Apache Pegasus' protocol",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddGroup(&cobra.Group{ID: "servers", Title: "Servers:"}, &cobra.Group{ID: "data", Title: "Data:"}, &cobra.Group{ID: "admin", Title: "Administration:"})
	add := func(group string, cmds ...*cobra.Command) {
		for _, c := range cmds {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("servers", oneboxCmd(), serverCmd(), metaCmd(), replicaCmd(), configCmd())
	add("admin", statusCmd(), topCmd(), shellCmd(), healthCmd(), dddCmd(), tableCmd(), nodesCmd(), nodeCmd(), diskCmd(), rebalanceCmd(), recoverCmd(), blobCmd(), dupCmd(), compareCmd(), migrateCmd(), backupCmd(), restoreTableCmd(), bulkloadCmd(), debugCmd())
	add("data", getCmd(), setCmd(), delCmd(), ttlCmd(), incrCmd(), multiGetCmd(), multiSetCmd(), multiDelCmd(), delRangeCmd(), existsCmd(), hashCmd(), checkAndSetCmd(), checkAndMutateCmd(), scanCmd(), countCmd(), importCmd(), exportCmd(), copyCmd(), clearCmd(), benchCmd())
	root.AddCommand(versionCmd(), referenceCmd())
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return cli.NewUsageError(err) })
	addDangers(root)
	addCompletion(root)
	return root
}

func versionCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of this binary",
		Args:  wantArgs(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(c.OutOrStdout(), "pegasus", buildInfo())
			return err
		},
	}
}

// buildInfo says which program this is: version, revision, and what it was built with.
func buildInfo() string {
	return fmt.Sprintf("%s (%s, %s %s/%s)", version, remotecmd.Revision(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// wantArgs checks the number of arguments (most < 0: no limit), and says in one line how
// the command is used.
func wantArgs(least, most int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) >= least && (most < 0 || len(args) <= most) {
			return nil
		}
		use, _, _ := strings.Cut(c.UseLine(), " [flags]")
		return cli.NewUsageError(fmt.Errorf("wrong number of arguments (%d); usage: %s", len(args), use))
	}
}

// wantSubcommand is what a command does that only has subcommands.
func wantSubcommand(c *cobra.Command, args []string) error {
	var names []string
	for _, s := range c.Commands() {
		if !s.Hidden && s.Name() != "help" {
			names = append(names, s.Name())
		}
	}
	use := strings.Join(names, ", ")
	if len(args) > 0 {
		return cli.NewUsageError(fmt.Errorf("unknown command %q; use %s with one of: %s", args[0], c.CommandPath(), use))
	}
	return cli.NewUsageError(fmt.Errorf("missing subcommand; use %s with one of: %s", c.CommandPath(), use))
}
