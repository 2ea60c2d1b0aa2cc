package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"pegasus/base"
	"pegasus/cli"
)

func ttlFlag(c *cobra.Command, ttl *int) {
	numberVar(c.Flags(), ttl, "ttl", "", 0, base.TTLSeconds, "seconds until the rows expire; 0 means never")
}

func multiSetCmd() *cobra.Command {
	var ttl int
	c, _ := rowCmd("multi-set TABLE HASH_KEY SORT_KEY VALUE [SORT_KEY VALUE]...", "Write rows of a hash key, all or none", 4, -1, func(ctx context.Context, e *cli.Env, a []string) error {
		return cli.RowWrites{Env: e}.MultiSet(ctx, a[0], a[1], a[2:], ttl)
	})
	ttlFlag(c, &ttl)
	return c
}

func multiDelCmd() *cobra.Command {
	c, _ := rowCmd("multi-del TABLE HASH_KEY SORT_KEY...", "Remove rows of a hash key, all or none", 3, -1, func(ctx context.Context, e *cli.Env, a []string) error {
		return cli.RowWrites{Env: e}.MultiDel(ctx, a[0], a[1], a[2:])
	})
	return c
}

func delRangeCmd() *cobra.Command {
	var r cli.Range
	var dry bool
	c, _ := dataCmd("del-range TABLE HASH_KEY", "Remove the rows of a hash key, or those of a range of sort keys", 2, 2, func(ctx context.Context, e *cli.Env, a []string) error {
		return cli.RowWrites{Env: e}.DelRange(ctx, a[0], a[1], r, dry)
	})
	c.Long = "Remove the rows of a hash key, or those of a range of sort keys, some at a time: other clients see it half done."
	fl := c.Flags()
	fl.StringVar(&r.From, "from", "", "first sort key")
	fl.StringVar(&r.To, "to", "", "sort key to stop before; empty means the end")
	fl.BoolVar(&r.ToInclusive, "to-inclusive", false, "include the row --to")
	fl.StringVar(&r.Filter, "sort-filter", "", "remove only sort keys that match prefix:TEXT, postfix:TEXT or anywhere:TEXT")
	fl.BoolVar(&dry, "dry-run", false, "only count the rows")
	return c
}

func existsCmd() *cobra.Command {
	c, _ := rowCmd("exists TABLE HASH_KEY SORT_KEY", "Print whether a row exists: true or false", 3, 3, func(ctx context.Context, e *cli.Env, a []string) error {
		return cli.RowWrites{Env: e}.Exists(ctx, a[0], a[1], a[2])
	})
	return c
}

func hashCmd() *cobra.Command {
	var partitions int
	c, _ := rowCmd("hash TABLE HASH_KEY [SORT_KEY]", "Print the hash of a key, its partition and the primary", 1, 3, func(ctx context.Context, e *cli.Env, a []string) error {
		if partitions == 0 && len(a) < 2 {
			return cli.NewUsageError(fmt.Errorf("wrong number of arguments (%d); usage: pegasus hash TABLE HASH_KEY [SORT_KEY], or pegasus hash HASH_KEY [SORT_KEY] --partitions NUMBER", len(a)))
		}
		if partitions > 0 {
			if len(a) > 2 {
				return cli.NewUsageError(fmt.Errorf("wrong number of arguments (%d): with --partitions no table is given", len(a)))
			}
			return cli.RowWrites{Env: e}.Hash(ctx, "", a[0], append(a, "")[1], partitions)
		}
		return cli.RowWrites{Env: e}.Hash(ctx, a[0], a[1], append(a, "")[2], 0)
	})
	c.Long = "Print the hash of a key, its partition and the primary. It is the hash of the hash key, or of the sort key if the hash key is\nempty. With --partitions no cluster is asked, and no table is given."
	numberVar(c.Flags(), &partitions, "partitions", "", 0, base.Range{Min: 0, Max: base.Partitions.Max}, "number of partitions, in place of a table")
	return c
}

func checkFlags(c *cobra.Command, a *cli.CheckArgs, ttl *int) {
	fl := c.Flags()
	fl.StringVar(&a.Type, "check", "not-exist", "the condition: "+strings.Join(cli.Checks(), ", "))
	fl.StringVar(&a.Operand, "operand", "", "what the value is compared with")
	fl.BoolVar(&a.Show, "show", false, "print the value that was checked")
	ttlFlag(c, ttl)
	c.RegisterFlagCompletionFunc("check", cobra.FixedCompletions(cli.Checks(), cobra.ShellCompDirectiveNoFileComp))
}

const checkedLong = "\n\nThe condition is about the value of the row CHECK_SORT_KEY of the hash key. If it doesn't hold the exit status is 6."

func checkAndSetCmd() *cobra.Command {
	var a cli.CheckArgs
	var ttl int
	c, _ := rowCmd("check-and-set TABLE HASH_KEY CHECK_SORT_KEY SET_SORT_KEY VALUE", "Write a row if a condition on a row of its hash key holds", 5, 5, func(ctx context.Context, e *cli.Env, s []string) error {
		return cli.RowWrites{Env: e}.CheckAndSet(ctx, s[0], s[1], s[2], s[3], s[4], a, ttl)
	})
	c.Long = "Write a row if a condition on a row of its hash key holds, in one step." + checkedLong
	checkFlags(c, &a, &ttl)
	return c
}

func checkAndMutateCmd() *cobra.Command {
	var a cli.CheckArgs
	var ttl int
	c, _ := rowCmd("check-and-mutate TABLE HASH_KEY CHECK_SORT_KEY {set SORT_KEY VALUE | del SORT_KEY}...", "Write and remove rows if a condition on a row of their hash key holds", 5, -1, func(ctx context.Context, e *cli.Env, s []string) error {
		return cli.RowWrites{Env: e}.CheckAndMutate(ctx, s[0], s[1], s[2], s[3:], a, ttl)
	})
	c.Long = "Write and remove rows if a condition on a row of their hash key holds, in one step. The steps are done in the order in which\nthey are given." + checkedLong
	checkFlags(c, &a, &ttl)
	return c
}
