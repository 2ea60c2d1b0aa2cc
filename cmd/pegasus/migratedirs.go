package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/base/logging"
	"pegasus/cli"
	"pegasus/migrate/inplace"
	"pegasus/replica/disk"
)

func migrateDirsCmd() *cobra.Command {
	f := &transferFlags{}
	d := cli.Dirs{}
	var to, rename, servers []string
	var inPlace bool
	c := &cobra.Command{Use: "dirs DIR... (--to METAS --state DIR | --in-place --config FILE --server ADDRESS=DIR...)", Short: "Make tables of the data directories of C++ servers that were stopped", Args: wantArgs(1, -1),
		Long: "Make tables of the data directories of C++ servers that were stopped, in a running cluster or, with --in-place, in data directories of servers\n" +
			"of ours that don't run yet. The directories are those that data_dirs names, of\n" +
			"all servers or of so many that each partition is among them. They are read and never changed. Of several replicas of a partition the one with\n" +
			"all that was acknowledged is taken, and differences are told. TTLs are kept; a row's time of writing is that of the migration.\n\n" +
			"If rows are missing, or files are damaged, nothing is written, unless --accept-loss is given. --state is a directory that says how far it is: the\n" +
			"same command goes on there. --dry-run says what is there and needs no cluster.\n\n" +
			"With --in-place each --server is the address of a replica server, and its data directories as in replica.data_dirs: empty ones. They get all\n" +
			"tables with their ids, settings and times, each partition in as many servers as the table has replicas. No server starts on them before all are\n" +
			"complete. The same command goes on where one was ended. Start the servers and new meta servers then, and run `pegasus recover`.",
		RunE: func(c *cobra.Command, args []string) error {
			f.anyNumber(c)
			if err := checkAddrs("to", to); err != nil {
				return err
			}
			if inPlace {
				for _, name := range []string{"to", "state", "rate", "parallel", "patience", "rejects", "max-bad"} {
					if c.Flags().Changed(name) {
						return fmt.Errorf("--%s is for a running cluster: leave it or --in-place out", name)
					}
				}
				var err error
				if d.InPlace, err = inPlaceOptions(f.config, servers, d.DryRun); err != nil {
					return err
				}
				d.InPlace.Log = logging.New(d.InPlace.Config.Log, c.ErrOrStderr())
			} else if len(servers) > 0 {
				return errors.New("--server is for --in-place")
			} else if !d.DryRun && (len(to) == 0 || d.Live.State == "") {
				return errors.New("--to and --state are needed, or --in-place, or --dry-run to see what is there")
			}
			d.Look.Rename = map[string]string{}
			for _, r := range rename {
				from, name, ok := strings.Cut(r, "=")
				if !ok || from == "" || name == "" {
					return fmt.Errorf("--rename %q: write NAME=NEW_NAME or ID=NEW_NAME", r)
				}
				d.Look.Rename[from] = name
			}
			d.Look.Dirs, d.Live.Pace, d.Rejects, d.MaxBad = args, f.args.Pace, f.args.Rejects, f.args.MaxBad
			if len(to) > 0 {
				f.metas = to
			}
			return f.with(c, func(ctx context.Context, x *cli.Transfer) error {
				ctx, stop := withoutTerminal(ctx)
				defer stop()
				d.Transfer = *x
				return d.Run(ctx)
			})
		}}
	f.add(c)
	f.addPace(c)
	f.addBad(c)
	fl := c.Flags()
	fl.BoolVar(&inPlace, "in-place", false, "make data directories of servers that don't run yet")
	fl.StringVar(&f.config, "config", os.Getenv("PEGASUS_CONFIG"), "configuration file that the servers will have (default from PEGASUS_CONFIG)")
	fl.StringArrayVar(&servers, "server", nil, "ADDRESS=DIR[,DIR...]: a server, and its data directories as in replica.data_dirs (with --in-place; may be repeated)")
	fl.StringSliceVar(&to, "to", nil, "addresses of the meta servers of the cluster that gets the tables")
	fl.StringVar(&d.Live.State, "state", "", "directory that says how far it is")
	fl.StringSliceVar(&d.Look.Only, "tables", nil, "names or ids of the tables that are taken (default: all that weren't dropped)")
	fl.StringSliceVar(&rename, "rename", nil, "NAME=NEW_NAME or ID=NEW_NAME: what a table is to be called")
	numberVar(fl, &d.Live.Replicas, "replicas", "r", 0, base.Range{Min: 0, Max: base.Replicas.Max}, "replicas of the tables; 0 is as many as they had")
	numberVar(fl, &d.Live.Partitions, "partitions", "", 4, base.Range{Min: 1, Max: 64}, "partitions that are read at the same time")
	fl.BoolVar(&d.Live.AcceptLoss, "accept-loss", false, "take what can be read where rows are missing or files are damaged")
	fl.BoolVar(&d.DryRun, "dry-run", false, "say what is there, and write nothing")
	return c
}

// inPlaceOptions reads what directories are to be made.
func inPlaceOptions(file string, servers []string, dry bool) (*inplace.Options, error) {
	if (file == "" || len(servers) == 0) && !dry {
		return nil, errors.New("--in-place needs --config, the file that the servers will have, and a --server ADDRESS=DIR for each of them")
	}
	cfg := config.Default()
	if file != "" {
		var err error
		if cfg, err = config.Load(file); err != nil {
			return nil, err
		}
	}
	o := &inplace.Options{Config: &cfg}
	for _, s := range servers {
		addr, list, ok := strings.Cut(s, "=")
		if !ok || list == "" {
			return nil, fmt.Errorf("--server %q: write ADDRESS=DIR[,DIR...], for example 10.0.0.1:34801=/data/a,/data/b", s)
		}
		if err := config.CheckAddr(addr); err != nil {
			return nil, fmt.Errorf("--server %q: %w", s, err)
		}
		a, err := base.ParseAddr(addr)
		if err != nil {
			return nil, fmt.Errorf("--server %q: %w", s, err)
		}
		to := inplace.Server{Addr: a}
		for i, d := range strings.Split(list, ",") {
			tag, path := config.SplitDataDir(d, i)
			if path == "" {
				return nil, fmt.Errorf("--server %q: a directory has no name", s)
			}
			to.Dirs = append(to.Dirs, disk.Place{Tag: tag, Path: path})
		}
		o.Servers = append(o.Servers, to)
	}
	return o, nil
}
