package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"pegasus/base/config"
	"pegasus/cli"
	"pegasus/client"
)

// clientFlags are common to all commands that talk to a cluster.
type clientFlags struct {
	metas   []string
	output  string
	timeout time.Duration
	escape  bool
}

const defaultMeta = "127.0.0.1:34601"

func (f *clientFlags) add(c *cobra.Command) {
	meta := os.Getenv("PEGASUS_META")
	if meta == "" {
		meta = defaultMeta
	}
	fl := c.PersistentFlags()
	fl.StringSliceVar(&f.metas, "meta", splitList(meta), "addresses of the meta servers (PEGASUS_META)")
	fl.StringVarP(&f.output, "output", "o", "table", "form of the output: table, or json")
	fl.DurationVar(&f.timeout, "timeout", 10*time.Second, "how long one operation may take, attempts included")
}

// addEscape adds the flag of commands whose arguments are keys and values.
func (f *clientFlags) addEscape(c *cobra.Command) {
	c.Flags().BoolVarP(&f.escape, "escape", "e", false, `read C's escapes in keys and values: \n \\ \xNN \NNN`)
}

func splitList(s string) []string {
	var out []string
	for len(s) > 0 {
		i := 0
		for i < len(s) && s[i] != ',' {
			i++
		}
		if i > 0 {
			out = append(out, s[:i])
		}
		s = s[min(i+1, len(s)):]
	}
	return out
}

func (f *clientFlags) check() error {
	if f.output != "table" && f.output != "json" {
		return fmt.Errorf("--output %q: give table or json", f.output)
	}
	if f.timeout <= 0 {
		return fmt.Errorf("--timeout %v: give a duration above 0, for example 10s", f.timeout)
	}
	for _, m := range f.metas {
		if err := config.CheckAddr(m); err != nil {
			return fmt.Errorf("--meta: %w; write host:port, several separated by commas", err)
		}
	}
	return nil
}

// with runs a command on an Env whose operations are bounded by --timeout.
func (f *clientFlags) with(c *cobra.Command, do func(context.Context, *cli.Env) error) error {
	if err := f.check(); err != nil {
		return err
	}
	k := client.New(f.metas, client.Options{Timeout: f.timeout})
	defer k.Close()
	return do(c.Context(), &cli.Env{Client: k, Out: c.OutOrStdout(), JSON: f.output == "json", Escape: f.escape})
}

// rowCmd makes a command on rows of a table.
func rowCmd(use, short string, least, most int, do func(context.Context, *cli.Env, []string) error) (*cobra.Command, *clientFlags) {
	f := &clientFlags{}
	c := &cobra.Command{Use: use, Short: short, Args: wantArgs(least, most),
		RunE: func(c *cobra.Command, args []string) error {
			return f.with(c, func(ctx context.Context, e *cli.Env) error { return do(ctx, e, args) })
		}}
	f.add(c)
	f.addEscape(c)
	return c, f
}

func getCmd() *cobra.Command {
	c, _ := rowCmd("get TABLE HASH_KEY SORT_KEY", "Print the value of a row", 3, 3, func(ctx context.Context, e *cli.Env, a []string) error {
		return e.Get(ctx, a[0], a[1], a[2])
	})
	return c
}

func setCmd() *cobra.Command {
	var ttl int
	c, _ := rowCmd("set TABLE HASH_KEY SORT_KEY VALUE", "Write a row", 4, 4, func(ctx context.Context, e *cli.Env, a []string) error {
		return e.Set(ctx, a[0], a[1], a[2], a[3], ttl)
	})
	c.Flags().IntVar(&ttl, "ttl", 0, "seconds until the row expires; 0: never")
	return c
}

func delCmd() *cobra.Command {
	c, _ := rowCmd("del TABLE HASH_KEY SORT_KEY", "Remove a row", 3, 3, func(ctx context.Context, e *cli.Env, a []string) error {
		return e.Del(ctx, a[0], a[1], a[2])
	})
	return c
}

func ttlCmd() *cobra.Command {
	c, _ := rowCmd("ttl TABLE HASH_KEY SORT_KEY", "Print how long a row will live on", 3, 3, func(ctx context.Context, e *cli.Env, a []string) error {
		return e.TTL(ctx, a[0], a[1], a[2])
	})
	return c
}

func incrCmd() *cobra.Command {
	var ttl int
	c, _ := rowCmd("incr TABLE HASH_KEY SORT_KEY [BY]", "Add to a row that holds a decimal number, and print the sum", 3, 4, func(ctx context.Context, e *cli.Env, a []string) error {
		by := int64(1)
		if len(a) > 3 {
			var err error
			if by, err = strconv.ParseInt(a[3], 10, 64); err != nil {
				return fmt.Errorf("BY is %q: give a whole number of at most 64 bits", a[3])
			}
		}
		return e.Incr(ctx, a[0], a[1], a[2], by, ttl)
	})
	c.Flags().IntVar(&ttl, "ttl", 0, "seconds until the row expires; 0: as before, -1: never")
	return c
}

func rangeFlags(c *cobra.Command, r *cli.Range) {
	fl := c.Flags()
	fl.StringVar(&r.From, "from", "", "first sort key")
	fl.StringVar(&r.To, "to", "", "sort key to end before; empty: to the end")
	fl.BoolVar(&r.ToInclusive, "to-inclusive", false, "take the row --to too")
	fl.StringVar(&r.Filter, "sort-filter", "", "only sort keys that match prefix:TEXT, postfix:TEXT or anywhere:TEXT")
	fl.BoolVar(&r.NoValue, "no-value", false, "keys only")
	fl.IntVar(&r.Max, "max", 0, "most rows; 0: no limit (multi-get: the server's)")
}

func multiGetCmd() *cobra.Command {
	var r cli.Range
	var reverse bool
	c, _ := rowCmd("multi-get TABLE HASH_KEY [SORT_KEY...]", "Print rows of a hash key: those named, or those of a range", 2, -1, func(ctx context.Context, e *cli.Env, a []string) error {
		return e.MultiGet(ctx, a[0], a[1], a[2:], r, reverse)
	})
	rangeFlags(c, &r)
	c.Flags().BoolVar(&reverse, "reverse", false, "with --max: take the last rows of the range")
	return c
}

func scanFlags(c *cobra.Command, s *cli.Scan) {
	c.Flags().StringVar(&s.HashFilter, "hash-filter", "", "only hash keys that match prefix:TEXT, postfix:TEXT or anywhere:TEXT")
	c.Flags().IntVar(&s.Batch, "batch", 0, "rows a request; 0: the server's choice")
	c.Flags().IntVar(&s.Partition, "partition", -1, "only this partition")
}

func scanCmd() *cobra.Command {
	var s cli.Scan
	c, _ := rowCmd("scan TABLE [HASH_KEY]", "Print the rows of a table, or of a hash key in the order of sort keys", 1, 2, func(ctx context.Context, e *cli.Env, a []string) error {
		if len(a) > 1 {
			s.HashKey = &a[1]
		}
		return e.Scan(ctx, a[0], s)
	})
	rangeFlags(c, &s.Range)
	scanFlags(c, &s)
	c.Flags().BoolVar(&s.Expires, "expires", false, "print when rows expire")
	return c
}

func countCmd() *cobra.Command {
	var s cli.Scan
	c, _ := rowCmd("count TABLE [HASH_KEY]", "Print the number of rows of a table or a hash key", 1, 2, func(ctx context.Context, e *cli.Env, a []string) error {
		if len(a) > 1 {
			s.HashKey = &a[1]
		}
		return e.Count(ctx, a[0], s)
	})
	c.Flags().StringVar(&s.From, "from", "", "first sort key")
	c.Flags().StringVar(&s.To, "to", "", "sort key to end before; empty: to the end")
	c.Flags().StringVar(&s.Filter, "sort-filter", "", "only sort keys that match prefix:TEXT, postfix:TEXT or anywhere:TEXT")
	scanFlags(c, &s)
	return c
}

func tableCmd() *cobra.Command {
	f := &clientFlags{}
	c := &cobra.Command{Use: "table", Short: "Create, drop, list and show tables", RunE: wantSubcommand}
	f.add(c)

	var ct cli.CreateTable
	create := &cobra.Command{Use: "create NAME", Short: "Make a table and wait until it is whole", Args: wantArgs(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			ct.Name = args[0]
			if !c.Flags().Changed("timeout") {
				f.timeout = 30 * time.Second
			}
			return f.with(c, func(ctx context.Context, e *cli.Env) error { return e.TableCreate(ctx, ct) })
		}}
	create.Flags().IntVarP(&ct.Partitions, "partitions", "p", 8, "number of partitions; a power of two suits every client")
	create.Flags().IntVarP(&ct.Replicas, "replicas", "r", 3, "replicas of each partition")
	create.Flags().BoolVar(&ct.IfNotExists, "if-not-exists", false, "accept a table of that name and shape that is there")
	create.Flags().StringArrayVar(&ct.Envs, "env", nil, "setting of the table, KEY=VALUE; may be given several times")
	create.Flags().DurationVar(&ct.Wait, "wait", 30*time.Second, "how long to wait for all replicas; 0: not at all")

	var reserve time.Duration
	var ifExists bool
	drop := &cobra.Command{Use: "drop NAME", Short: "Drop a table", Args: wantArgs(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			return f.with(c, func(ctx context.Context, e *cli.Env) error { return e.TableDrop(ctx, args[0], reserve, ifExists) })
		}}
	drop.Flags().DurationVar(&reserve, "reserve", 0, "how long the data is kept to recall the table; 0: as the cluster is configured")
	drop.Flags().BoolVar(&ifExists, "if-exists", false, "don't mind if there is no such table")

	var all bool
	ls := &cobra.Command{Use: "ls", Short: "List tables", Args: wantArgs(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			return f.with(c, func(ctx context.Context, e *cli.Env) error { return e.TableList(ctx, all) })
		}}
	ls.Flags().BoolVar(&all, "all", false, "dropped tables too")

	var why bool
	var partition int
	show := &cobra.Command{Use: "show NAME", Short: "Show where a table's partitions are", Args: wantArgs(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			return f.with(c, func(ctx context.Context, e *cli.Env) error {
				if why || c.Flags().Changed("partition") {
					return e.TableWhy(ctx, args[0], partition)
				}
				return e.TableShow(ctx, args[0])
			})
		}}
	show.Flags().BoolVar(&why, "why", false, "say of each partition why it isn't in order, what is being done, and what was done last")
	show.Flags().IntVar(&partition, "partition", -1, "the same of one partition")

	var least float64
	hot := &cobra.Command{Use: "hotkeys NAME", Short: "Show the hash keys that take most of their partition's requests", Args: wantArgs(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			return f.with(c, func(ctx context.Context, e *cli.Env) error { return e.HotKeys(ctx, args[0], least) })
		}}
	hot.Flags().Float64Var(&least, "percent", 10, "least part of the partition's rows that a key must take to be shown")
	c.AddCommand(create, drop, ls, show, hot, tableEnvCmd(f))
	return c
}

func nodesCmd() *cobra.Command {
	f := &clientFlags{}
	c := &cobra.Command{Use: "nodes", Short: "List the replica servers", Args: wantArgs(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			return f.with(c, func(ctx context.Context, e *cli.Env) error { return e.Nodes(ctx) })
		}}
	f.add(c)
	return c
}
