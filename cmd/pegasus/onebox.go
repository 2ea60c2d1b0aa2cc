package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"pegasus/base/config"
	"pegasus/client"
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
		Short: "Run a whole cluster on this machine, each server a process of its own",
		Long: `Run a whole cluster on this machine, each server a process of its own, until Ctrl-C.

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
			o.Command = func(role, configFile, pidFile string) []string {
				return []string{self, role, "--config", configFile, "--pid-file", pidFile}
			}
			k := client.New(o.MetaAddrs(), client.Options{Timeout: 15 * time.Second})
			defer k.Close()
			o.Cluster, o.Out, o.Err = onebox.Connect(k), c.OutOrStdout(), c.ErrOrStderr()
			return onebox.Run(c.Context(), o)
		},
	}
	fl := c.Flags()
	fl.StringVar(&o.Dir, "dir", "onebox-data", "directory of the cluster")
	fl.IntVar(&o.Port, "port", 34601, "port of the first meta server")
	fl.IntVar(&o.Metas, "metas", 1, "meta servers")
	fl.IntVar(&o.Replicas, "replicas", 3, "replica servers")
	fl.StringVar(&tables, "tables", "temp:8", "tables to make if they aren't there: NAME:PARTITIONS[:REPLICAS], several separated by commas")
	fl.StringVar(&baseFile, "config", "", "configuration file whose sections all servers start from")
	fl.BoolVar(&o.Restart, "restart", false, "start servers again that die")
	fl.DurationVar(&o.ReadyTimeout, "ready-timeout", 5*time.Minute, "give up if the cluster isn't ready by then")
	return c
}
