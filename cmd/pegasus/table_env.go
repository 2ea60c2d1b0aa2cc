package main

import (
	"context"

	"github.com/spf13/cobra"

	"pegasus/cli"
)

// tableEnvCmd makes `table env`, whose flags are those of `table`.
func tableEnvCmd(f *clientFlags) *cobra.Command {
	c := &cobra.Command{Use: "env", Short: "Explain, show, set and delete the settings of a table", RunE: wantSubcommand}
	sub := func(use, short string, least, most int, do func(context.Context, *cli.Env, []string) error) {
		c.AddCommand(f.sub(use, short, least, most, do))
	}
	sub("help [NAME]", "Explain the settings, or those whose names start with NAME", 0, 1, func(_ context.Context, e *cli.Env, a []string) error {
		return cli.TableEnvs{Env: e}.Help(append(a, "")[0])
	})
	sub("ls TABLE", "Show the settings of a table", 1, 1, func(ctx context.Context, e *cli.Env, a []string) error {
		return cli.TableEnvs{Env: e}.List(ctx, a[0])
	})
	sub("set TABLE NAME=VALUE...", "Set settings", 2, -1, func(ctx context.Context, e *cli.Env, a []string) error {
		return cli.TableEnvs{Env: e}.Set(ctx, a[0], a[1:])
	})
	sub("del TABLE NAME...", "Delete settings", 2, -1, func(ctx context.Context, e *cli.Env, a []string) error {
		return cli.TableEnvs{Env: e}.Del(ctx, a[0], a[1:])
	})
	return c
}
