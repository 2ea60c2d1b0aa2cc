package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/onebox"
)

func oneboxCmd() *cobra.Command {
	var (
		o        onebox.Options
		tables   string
		baseFile string
	)
	c := &cobra.Command{
		Use:   "onebox",
		Short: "Run a whole cluster on this machine, one process per server",
		Long: `Run a whole cluster on this machine, one process per server, until Ctrl-C.

Everything is in the directory: D/meta1, D/replica1 and so on, each with the server's
config.toml, data, log, pid, and cmd, which starts it by hand. Metas listen on the port
and up, replica servers on the port + 200 and up. One line on standard output says when
every partition has all its replicas; standard error says when a server dies. Started
again on the same directory it has the same data.`,
		Args: wantArgs(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			var err error
			if o.Tables, err = onebox.ParseTables(tables); err != nil {
				return fmt.Errorf("--tables: %w", err)
			}
			o.TablesOfNew = !c.Flags().Changed("tables")
			o.Config = config.Default()
			if baseFile != "" {
				if o.Config, err = config.Load(baseFile); err != nil {
					return err
				}
			}
			self, err := os.Executable()
			if err != nil {
				return fmt.Errorf("find this binary: %w", err)
			}
			o.Program, o.Out, o.Err = self, c.OutOrStdout(), c.ErrOrStderr()
			return onebox.Run(c.Context(), o)
		},
	}
	fl := c.Flags()
	fl.StringVar(&o.Dir, "dir", "onebox-data", "directory of the cluster")
	numberVar(fl, &o.Port, "port", "", 34601, base.Range{Min: 1, Max: 65535}, "port of the first meta server")
	numberVar(fl, &o.Metas, "metas", "", 1, base.Range{Min: 1, Max: 9}, "number of meta servers")
	numberVar(fl, &o.Replicas, "replicas", "", 3, base.Range{Min: 1, Max: 100}, "number of replica servers")
	fl.StringVar(&tables, "tables", "temp:8", "comma-separated list of tables to create if missing: NAME:PARTITIONS[:REPLICAS]; the default table is created only in a new directory")
	fl.StringVar(&baseFile, "config", "", "configuration file for all servers")
	fl.BoolVar(&o.Restart, "restart", false, "restart servers that die")
	durationVar(fl, &o.ReadyTimeout, "ready-timeout", 5*time.Minute, 0, "time limit for the cluster to become ready")
	return c
}
