// Command pegasus is the whole of Pegasus in Go: the servers, the client, the load
// generator and a cluster on one machine. It only parses flags and calls packages.
package main

import (
	"context"
	"errors"
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
	if len(os.Args) > 1 && os.Args[1] == "replica" {
		keepMonitorAwake()
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run executes a command line and returns the exit status.
func run(ctx context.Context, args []string, out, errw io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errw)
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(errw, "pegasus: "+cli.Explain(err))
		if s := (interface{ ExitStatus() int })(nil); errors.As(err, &s) {
			return s.ExitStatus()
		}
		return 1
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
	add("servers", oneboxCmd(), metaCmd(), replicaCmd(), configCmd())
	add("admin", healthCmd(), tableCmd(), nodesCmd(), nodeCmd(), diskCmd(), rebalanceCmd(), recoverCmd(), blobCmd(), dupCmd(), compareCmd(), migrateCmd(), backupCmd(), restoreTableCmd(), bulkloadCmd(), debugCmd())
	add("data", getCmd(), setCmd(), delCmd(), ttlCmd(), incrCmd(), multiGetCmd(), scanCmd(), countCmd(), importCmd(), exportCmd(), copyCmd(), clearCmd(), benchCmd())
	root.AddCommand(versionCmd())
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
		return fmt.Errorf("wrong number of arguments (%d); usage: %s", len(args), use)
	}
}

// wantSubcommand is what a command does that only has subcommands.
func wantSubcommand(c *cobra.Command, args []string) error {
	var names []string
	for _, s := range c.Commands() {
		names = append(names, c.CommandPath()+" "+s.Use)
	}
	use := strings.Join(names, ", ")
	if len(args) > 0 {
		return fmt.Errorf("unknown command %q; use one of: %s", args[0], use)
	}
	return fmt.Errorf("missing subcommand; use one of: %s", use)
}
