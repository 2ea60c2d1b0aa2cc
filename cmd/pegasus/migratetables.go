package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"pegasus/cli"
	"pegasus/client"
	"pegasus/cppmeta"
	"pegasus/cppmeta/zookeeper"
	"pegasus/rpc"
)

// maxStateFile bounds what is read into memory: the file has all changes since the first start.
const maxStateFile = 8 << 30

func migrateTablesCmd() *cobra.Command {
	var file, zk, root, output string
	var from, to []string
	var timeout time.Duration
	var dry bool
	c := &cobra.Command{Use: "tables --to METAS", Short: "Make the tables of a C++ cluster here, empty, with their settings", Args: wantArgs(0, 0),
		Long: "Make the tables of a C++ cluster in the cluster at --to: with the same names, partition and replica counts, and those settings that have a\n" +
			"meaning here. Nothing else is changed, and no rows are moved. What the C++ metas know is read of one of\n\n" +
			"  --from-state FILE        meta_state_service.log, of a meta with meta_state_service_simple\n" +
			"  --from-zookeeper ADDRESS HOST:PORT,HOST:PORT/ROOT, where ROOT is cluster_root of [meta_server]; only read\n" +
			"  --from METAS             the meta servers themselves, while they run\n\n" +
			"Ids are given anew, and shown beside the old ones. A table that is there already is left as it is: with as many partitions it counts as\n" +
			"made, else it is a conflict. So are tables that share a name. Duplications and backup policies are told as the commands that add them.\n" +
			"The exit status is 1 if something wasn't taken over; the rest is.",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			o := client.Options{Timeout: timeout, Framing: rpc.RDSN, Who: who()}
			x := cli.MoveTables{DryRun: dry}
			switch {
			case file != "":
				x.From = func(context.Context) (*cppmeta.State, error) { return stateOfFile(c, file, root) }
			case zk != "":
				servers, at, err := zookeeper.ParseAddress(zk)
				if err != nil {
					return fmt.Errorf("--from-zookeeper: %w", err)
				}
				x.From = func(ctx context.Context) (*cppmeta.State, error) {
					ctx, stop := context.WithTimeoutCause(ctx, 5*time.Minute, errors.New("it took longer than 5 minutes"))
					defer stop()
					tree, err := zookeeper.Fetch(ctx, servers, at)
					if err != nil {
						return nil, err
					}
					return cppmeta.Read(tree, at)
				}
			case len(from) > 0:
				if err := checkMetas("from", from); err != nil {
					return err
				}
				source := client.New(from, o)
				defer source.Close()
				x.From = cli.FromCluster(source)
			default:
				return errors.New("give one of --from-state FILE, --from-zookeeper HOSTS/ROOT and --from METAS: where the C++ metas have their state")
			}
			if err := checkMetas("to", to); err != nil {
				return err
			}
			target := client.New(to, o)
			defer target.Close()
			x.Env = &cli.Env{Client: target, Out: c.OutOrStdout(), JSON: output == "json"}
			return x.Run(c.Context())
		}}
	fl := c.Flags()
	fl.StringVar(&file, "from-state", "", "file of a C++ meta's simple state service")
	fl.StringVar(&root, "root", "", "with --from-state: cluster_root, if the file has several")
	fl.StringVar(&zk, "from-zookeeper", "", "ZooKeeper of the C++ metas, HOST:PORT,HOST:PORT/ROOT")
	fl.StringSliceVar(&from, "from", nil, "addresses of the C++ cluster's meta servers")
	fl.StringSliceVar(&to, "to", nil, "addresses of the meta servers of the cluster that gets the tables")
	fl.StringVarP(&output, "output", "o", "table", "output format: table or json")
	fl.BoolVar(&dry, "dry-run", false, "show what would be done")
	durationVar(fl, &timeout, "timeout", 30*time.Second, time.Millisecond, "time limit of a request, including retries")
	c.MarkFlagsMutuallyExclusive("from-state", "from-zookeeper", "from")
	return c
}

func stateOfFile(c *cobra.Command, file, root string) (*cppmeta.State, error) {
	data, err := readRegular(file, func(size int64) error {
		if size > maxStateFile {
			return fmt.Errorf("it has %d bytes: start the C++ meta once with ZooKeeper, or ask it while it runs (--from)", size)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	tree, torn, err := cppmeta.ReadFile(data)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	if torn != "" {
		fmt.Fprintf(c.ErrOrStderr(), "warning: %s: %s\n", file, torn)
	}
	s, err := cppmeta.Read(tree, root)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	return s, nil
}
