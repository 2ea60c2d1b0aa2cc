package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/user"
	"regexp"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/cli"
	"pegasus/client"
)

// clientFlags are common to all commands that talk to a cluster.
type clientFlags struct {
	metas   []string
	output  string
	quiet   bool
	timeout time.Duration
	escape  bool
	trace   bool
}

const defaultMeta = "127.0.0.1:34601"

func (f *clientFlags) add(c *cobra.Command) {
	fl := c.PersistentFlags()
	fl.StringSliceVar(&f.metas, "meta", splitList(defaultMetas()), "addresses of the meta servers (default from PEGASUS_META)")
	fl.StringVarP(&f.output, "output", "o", "table", "output format: table, json, or jsonl (JSON, one line for each item)")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, "print nothing but errors")
	c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json", "jsonl"}, cobra.ShellCompDirectiveNoFileComp))
	durationVar(fl, &f.timeout, "timeout", 10*time.Second, time.Millisecond, "time limit of an operation, including retries (scan, count: of each page of rows)")
}

// defaultMetas are those of a cluster that no flag names.
func defaultMetas() string { return cmp.Or(os.Getenv("PEGASUS_META"), defaultMeta) }

// addEscape adds the flag of commands whose arguments are keys and values.
func (f *clientFlags) addEscape(c *cobra.Command) {
	c.Flags().BoolVarP(&f.escape, "escape", "e", false, `interpret C escapes in keys and values: \n \\ \xNN \NNN`)
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
	if err := checkOutput(f.output); err != nil {
		return err
	}
	if len(f.metas) == 0 {
		return cli.NewUsageError(errors.New("--meta is empty: give the addresses of the meta servers, host:port, separated by commas"))
	}
	return checkAddrs("meta", f.metas)
}

func checkOutput(format string) error {
	if format != "table" && format != "json" && format != "jsonl" {
		return cli.NewUsageError(fmt.Errorf("--output %q: give table, json or jsonl", format))
	}
	return nil
}

// checkAddrs checks the addresses of a flag.
func checkAddrs(flag string, metas []string) error {
	for _, m := range metas {
		if err := config.CheckReach(m); err != nil {
			return cli.NewUsageError(fmt.Errorf("--%s: %w; write host:port; separate several addresses with commas", flag, err))
		}
	}
	return nil
}

// checkMetas checks the addresses of a flag that has to be given.
func checkMetas(flag string, metas []string) error {
	if len(metas) == 0 {
		return errors.New("--" + flag + " is missing: give the addresses of the cluster's meta servers, host:port, separated by commas")
	}
	return checkAddrs(flag, metas)
}

// noAnswer is how long a cluster is waited for that says nothing.
const noAnswer = 3 * time.Second

// who is what the servers' logs say of this process.
func who() string {
	name, host := os.Getenv("USER"), ""
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if h, err := os.Hostname(); err == nil {
		host = "@" + h
	}
	return "pegasus, " + name + host
}

// with runs a command on an Env whose operations are bounded by --timeout.
func (f *clientFlags) with(c *cobra.Command, do func(context.Context, *cli.Env) error) error {
	if err := f.check(); err != nil {
		return err
	}
	o := client.Options{Timeout: f.timeout, NoAnswer: noAnswer, Who: who()}
	if c.Flags().Changed("timeout") {
		o.NoAnswer = f.timeout
	}
	if f.trace {
		o.Trace = rand.Uint64() | 1
	}
	k := client.New(f.metas, o)
	defer k.Close()
	e := &cli.Env{Client: k, Out: c.OutOrStdout(), JSON: f.output != "table", Lines: f.output == "jsonl", Escape: f.escape}
	e.DryRun = c.Flags().Lookup(dryRun) != nil && has(c, dryRun)
	if f.quiet {
		e.Out = io.Discard
	}
	err := do(c.Context(), e)
	if f.trace {
		if terr := e.ShowTraces(c.Context(), strconv.FormatUint(o.Trace, 16), c.ErrOrStderr()); err == nil {
			err = terr
		}
	}
	return e.Judged(c.Context(), err)
}

// progress is where a command shows how far it is, beside its output.
func (f *clientFlags) progress(c *cobra.Command) io.Writer {
	if f.quiet {
		return io.Discard
	}
	return c.ErrOrStderr()
}

// sub makes a subcommand of a command that has f's flags.
func (f *clientFlags) sub(use, short string, least, most int, do func(context.Context, *cli.Env, []string) error) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: wantArgs(least, most),
		RunE: func(c *cobra.Command, args []string) error {
			return f.with(c, func(ctx context.Context, e *cli.Env) error { return do(ctx, e, args) })
		}}
}

// rowCmd makes a command on rows of a table that is one operation.
func rowCmd(use, short string, least, most int, do func(context.Context, *cli.Env, []string) error) (*cobra.Command, *clientFlags) {
	var f *clientFlags
	var c *cobra.Command
	c, f = dataCmd(use, short, least, most, func(ctx context.Context, e *cli.Env, args []string) error {
		ctx, cancel := context.WithTimeout(ctx, f.timeout)
		defer cancel()
		return do(ctx, e, args)
	})
	return c, f
}

// dataCmd makes a command on rows of a table.
func dataCmd(use, short string, least, most int, do func(context.Context, *cli.Env, []string) error) (*cobra.Command, *clientFlags) {
	f := &clientFlags{}
	c := &cobra.Command{Use: use, Short: short, Args: wantArgs(least, most),
		RunE: func(c *cobra.Command, args []string) error {
			return f.with(c, func(ctx context.Context, e *cli.Env) error { return do(ctx, e, args) })
		}}
	f.add(c)
	f.addEscape(c)
	c.Flags().BoolVar(&f.trace, "trace", false, "show on standard error what the servers did, and when")
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		if negative.MatchString(err.Error()) {
			err = fmt.Errorf("%w; write -- before an argument that begins with -: `%s -- TABLE ...`", err, c.CommandPath())
		}
		return cli.NewUsageError(err)
	})
	return c, f
}

// negative is what is said of an argument that is a negative number.
var negative = regexp.MustCompile(`unknown shorthand flag: '[0-9]'`)

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
	numberVar(c.Flags(), &ttl, "ttl", "", 0, base.TTLSeconds, "seconds until the row expires; 0 means never")
	return c
}

func delCmd() *cobra.Command {
	c, _ := rowCmd("del TABLE HASH_KEY SORT_KEY", "Remove a row", 3, 3, func(ctx context.Context, e *cli.Env, a []string) error {
		return e.Del(ctx, a[0], a[1], a[2])
	})
	return c
}

func ttlCmd() *cobra.Command {
	c, _ := rowCmd("ttl TABLE HASH_KEY SORT_KEY", "Print the remaining time to live of a row", 3, 3, func(ctx context.Context, e *cli.Env, a []string) error {
		return e.TTL(ctx, a[0], a[1], a[2])
	})
	return c
}

func incrCmd() *cobra.Command {
	var ttl int
	c, _ := rowCmd("incr TABLE HASH_KEY SORT_KEY [BY]", "Add to a row that holds a decimal number, and print the result", 3, 4, func(ctx context.Context, e *cli.Env, a []string) error {
		by := int64(1)
		if len(a) > 3 {
			var err error
			if by, err = strconv.ParseInt(a[3], 10, 64); err != nil {
				return fmt.Errorf("BY is %q: give a whole number of at most 64 bits", a[3])
			}
		}
		return e.Incr(ctx, a[0], a[1], a[2], by, ttl)
	})
	numberVar(c.Flags(), &ttl, "ttl", "", 0, base.Range{Min: -1, Max: base.TTLSeconds.Max}, "seconds until the row expires; 0 keeps the present expiry, -1 means never")
	return c
}

func rangeFlags(c *cobra.Command, r *cli.Range) {
	fl := c.Flags()
	fl.StringVar(&r.From, "from", "", "first sort key")
	fl.StringVar(&r.To, "to", "", "sort key to stop before; empty means the end")
	fl.BoolVar(&r.ToInclusive, "to-inclusive", false, "include the row --to")
	fl.StringVar(&r.Filter, "sort-filter", "", "print only sort keys that match prefix:TEXT, postfix:TEXT or anywhere:TEXT")
	fl.BoolVar(&r.NoValue, "no-value", false, "print only keys")
	numberVar(fl, &r.Max, "max", "", 0, base.Counts, "maximum number of rows; 0 means no limit (multi-get: the server's limit)")
}

func multiGetCmd() *cobra.Command {
	var r cli.Range
	var reverse bool
	c, _ := rowCmd("multi-get TABLE HASH_KEY [SORT_KEY...]", "Print rows of a hash key: the given sort keys, or a range", 2, -1, func(ctx context.Context, e *cli.Env, a []string) error {
		return e.MultiGet(ctx, a[0], a[1], a[2:], r, reverse)
	})
	rangeFlags(c, &r)
	c.Flags().BoolVar(&reverse, "reverse", false, "with --max, print the last rows of the range")
	return c
}

// onePartition is a partition of a table, or -1 for all.
var onePartition = base.Range{Min: -1, Max: base.Partitions.Max - 1}

func scanFlags(c *cobra.Command, s *cli.Scan) {
	c.Flags().StringVar(&s.HashFilter, "hash-filter", "", "print only hash keys that match prefix:TEXT, postfix:TEXT or anywhere:TEXT")
	numberVar(c.Flags(), &s.Batch, "batch", "", 0, base.Counts, "rows per request; 0 uses 1,000, or what the server allows")
	numberVar(c.Flags(), &s.Partition, "partition", "", -1, onePartition, "scan only this partition")
}

func scanCmd() *cobra.Command {
	var s cli.Scan
	var file string
	c, _ := dataCmd("scan TABLE [HASH_KEY]", "Print the rows of a table, or the rows of a hash key ordered by sort key", 1, 2, func(ctx context.Context, e *cli.Env, a []string) error {
		if len(a) > 1 {
			s.HashKey = &a[1]
		}
		if file != "" {
			return (&cli.Transfer{Env: e}).ScanTo(ctx, a[0], s, file)
		}
		return e.Scan(ctx, a[0], s)
	})
	c.Flags().StringVar(&file, "to-file", "", "file that the rows are written to, in place of standard output; `pegasus export` is quicker and writes what programs read")
	rangeFlags(c, &s.Range)
	scanFlags(c, &s)
	c.Flags().BoolVar(&s.Expires, "expires", false, "print the expiry of each row")
	return c
}

func countCmd() *cobra.Command {
	var s cli.Scan
	var stats bool
	var top int
	var c *cobra.Command
	var f *clientFlags
	c, f = dataCmd("count TABLE [HASH_KEY]", "Print the number of rows of a table or a hash key", 1, 2, func(ctx context.Context, e *cli.Env, a []string) error {
		if len(a) > 1 {
			s.HashKey = &a[1]
		}
		if stats {
			if s.HashKey != nil || s.From != "" || s.To != "" || s.Partition >= 0 {
				return errors.New("--stats is for whole tables: it goes with --hash-filter and --sort-filter alone")
			}
			return (&cli.Transfer{Env: e, Progress: f.progress(c)}).Stats(ctx, a[0], cli.ChoiceArgs{HashFilter: s.HashFilter, SortFilter: s.Filter}, top)
		}
		return e.Count(ctx, a[0], s)
	})
	c.Flags().BoolVar(&stats, "stats", false, "read all rows, and print sizes, hash keys and the largest rows")
	numberVar(c.Flags(), &top, "top", "", 10, base.Range{Min: 0, Max: 10000}, "with --stats: how many of the largest rows to print")
	c.Flags().StringVar(&s.From, "from", "", "first sort key")
	c.Flags().StringVar(&s.To, "to", "", "sort key to stop before; empty means the end")
	c.Flags().StringVar(&s.Filter, "sort-filter", "", "print only sort keys that match prefix:TEXT, postfix:TEXT or anywhere:TEXT")
	scanFlags(c, &s)
	return c
}

func tableCmd() *cobra.Command {
	f := &clientFlags{}
	c := &cobra.Command{Use: "table", Short: "Create, drop, list, show and change tables", RunE: wantSubcommand}
	f.add(c)

	var ct cli.CreateTable
	create := &cobra.Command{Use: "create NAME", Short: "Create a table and wait until all replicas are ready", Args: wantArgs(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			ct.Name = args[0]
			if !c.Flags().Changed("timeout") {
				f.timeout = 30 * time.Second
			}
			return f.with(c, func(ctx context.Context, e *cli.Env) error { return e.TableCreate(ctx, ct) })
		}}
	numberVar(create.Flags(), &ct.Partitions, "partitions", "p", 8, base.Partitions, "number of partitions; all clients support powers of two")
	numberVar(create.Flags(), &ct.Replicas, "replicas", "r", 3, base.Replicas, "replicas per partition")
	create.Flags().BoolVar(&ct.IfNotExists, "if-not-exists", false, "succeed if an equal table exists")
	create.Flags().StringArrayVar(&ct.Envs, "env", nil, "table setting KEY=VALUE; may be repeated")
	durationVar(create.Flags(), &ct.Wait, "wait", 30*time.Second, 0, "how long to wait for all replicas; 0 doesn't wait")

	var reserve time.Duration
	var ifExists bool
	drop := f.sub("drop NAME", "Drop a table; `table recall` brings it back", 1, 1, func(ctx context.Context, e *cli.Env, a []string) error {
		return e.TableDrop(ctx, a[0], reserve, ifExists)
	})
	drop.Long = "Drop a table. Its data is kept for --reserve; until then `pegasus table recall` brings it back."
	durationVar(drop.Flags(), &reserve, "reserve", 0, 0, "how long the table can be recalled; 0 uses the cluster's default")
	drop.Flags().BoolVar(&ifExists, "if-exists", false, "succeed if the table doesn't exist")

	var all bool
	ls := &cobra.Command{Use: "ls", Short: "List tables", Args: wantArgs(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			return f.with(c, func(ctx context.Context, e *cli.Env) error { return e.TableList(ctx, all) })
		}}
	ls.Flags().BoolVar(&all, "all", false, "include dropped tables")

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
	show.Flags().BoolVar(&why, "why", false, "explain each partition: what is wrong, what is being done, and the latest events")
	numberVar(show.Flags(), &partition, "partition", "", -1, onePartition, "explain only this partition")

	var least float64
	hot := &cobra.Command{Use: "hotkeys NAME", Short: "Show the hash keys with most of the requests of their partition", Args: wantArgs(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			return f.with(c, func(ctx context.Context, e *cli.Env) error { return e.HotKeys(ctx, args[0], least) })
		}}
	fractionVar(hot.Flags(), &least, "percent", 10, 0, 100, "minimum share of the partition's rows for a key to be shown")
	c.AddCommand(create, drop, ls, show, hot, availabilityCmd(f), splitCmd(f), tableEnvCmd(f))
	c.AddCommand(tableAdminCmds(f)...)
	return c
}

func splitCmd(f *clientFlags) *cobra.Command {
	var a cli.Split
	c := &cobra.Command{Use: "split NAME", Short: "Double the partitions of a table while it is used", Args: wantArgs(1, 1),
		Long: "Double the partitions of a table while it is used. A partition that has begun to switch can't be held up; a split\n" +
			"can be canceled until the first one has. Clients of the rows that move wait meanwhile, for less than a second each.",
		RunE: func(c *cobra.Command, args []string) error {
			a.Name = args[0]
			wait := a.Wait
			if !c.Flags().Changed("timeout") && !a.Status && !a.Pause && !a.Resume && !a.Cancel {
				f.timeout = wait + 10*time.Second
			}
			return f.with(c, func(ctx context.Context, e *cli.Env) error { return e.TableSplit(ctx, a) })
		}}
	fl := c.Flags()
	fl.BoolVar(&a.Status, "status", false, "show how far it is")
	fl.BoolVar(&a.Pause, "pause", false, "begin with no further partition")
	fl.BoolVar(&a.Resume, "resume", false, "go on after a pause")
	fl.BoolVar(&a.Cancel, "cancel", false, "leave the table as it was before")
	durationVar(fl, &a.Wait, "wait", 10*time.Minute, 0, "how long to wait for the end of a split that is begun; 0 doesn't wait")
	c.MarkFlagsMutuallyExclusive("status", "pause", "resume", "cancel")
	return c
}

func healthCmd() *cobra.Command {
	f := &clientFlags{}
	c := &cobra.Command{Use: "health", Short: "Show what clients can do with each table, why, and what to do", Args: wantArgs(0, 0),
		Long: "Show what clients can do with each table now, why, and what to do about it. The exit status is 1 if some data can't be\n" +
			"read or written, or isn't known to be.",
		RunE: func(c *cobra.Command, _ []string) error {
			return f.with(c, func(ctx context.Context, e *cli.Env) error { return e.Health(ctx) })
		}}
	f.add(c)
	return c
}

func statusCmd() *cobra.Command {
	f := &clientFlags{}
	c := f.sub("status", "Show how the cluster is: one word, then what is wrong, the worst first", 0, 0, func(ctx context.Context, e *cli.Env, _ []string) error {
		return e.Status(ctx, f.metas)
	})
	c.Long = "Show how the cluster is: one word, then what is wrong and what to do, the worst first. The exit status is 0 if everything is\n" +
		"healthy, 7 if something is missing but everything can be read and written, 8 if some data can't be, or isn't known to be, and 4\nif the cluster doesn't answer."
	f.add(c)
	return c
}

func topCmd() *cobra.Command {
	f := &clientFlags{}
	var t cli.Top
	c := f.sub("top", "Show tables, servers and the busiest partitions, again and again", 0, 0, func(ctx context.Context, e *cli.Env, _ []string) error {
		return cli.Servers{Env: e}.Top(ctx, t)
	})
	c.Long = "Show tables, servers and the busiest partitions, again and again, until Ctrl-C: in place on a terminal, elsewhere one after the\nother. With -o json each is one line."
	f.add(c)
	durationVar(c.Flags(), &t.Every, "every", 2*time.Second, 10*time.Millisecond, "how long each is measured")
	c.Flags().BoolVar(&t.Once, "once", false, "show it once")
	numberVar(c.Flags(), &t.Rows, "rows", "", 10, base.Range{Min: 1, Max: 100000}, "how many tables and partitions are shown")
	return c
}

func nodesCmd() *cobra.Command {
	f := &clientFlags{}
	c := &cobra.Command{Use: "nodes", Short: "List the replica servers, as `node ls` does", Hidden: true, Args: wantArgs(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			return f.with(c, func(ctx context.Context, e *cli.Env) error { return e.Nodes(ctx) })
		}}
	f.add(c)
	return c
}
