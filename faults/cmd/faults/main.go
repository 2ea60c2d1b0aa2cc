// Command faults runs a cluster under faults and checks that nothing was lost. See package
// faults and docs/testing.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"pegasus/faults"
)

func main() {
	runtime.LockOSThread() // what is started here dies with this thread
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	o := faults.Options{Out: os.Stdout}
	fl := flag.NewFlagSet("faults", flag.ContinueOnError)
	fl.StringVar(&o.Mode, "mode", "run", "run: nemeses and checks; pair: the same with two clusters that duplicate a table to each other; failover: how long a partition stands still; killall: all processes killed again and again; syncs: fdatasyncs of a write; learn: latencies while a server copies everything")
	fl.Uint64Var(&o.Seed, "seed", 1, "what everything that is chosen follows from")
	fl.DurationVar(&o.Duration, "duration", 5*time.Minute, "how long nemeses are at work (run), writers write (syncs)")
	fl.StringVar(&o.Nemeses, "nemeses", "all", "which, separated by commas; all,-pause-long leaves one out\n"+faults.Nemeses())
	fl.IntVar(&o.Lanes, "lanes", 2, "nemeses at the same time")
	fl.IntVar(&o.Metas, "metas", 3, "number of meta servers")
	fl.IntVar(&o.Replicas, "replicas", 4, "number of replica servers")
	fl.IntVar(&o.Partitions, "partitions", 8, "partitions of the table")
	fl.IntVar(&o.Rate, "rate", 400, "operations a second")
	fl.IntVar(&o.Workers, "workers", 16, "clients")
	fl.IntVar(&o.Rounds, "rounds", 50, "killall: rounds; failover: blows")
	fl.Int64Var(&o.Fill, "fill", 512<<20, "learn: bytes of rows, all of which are copied")
	fl.Int64Var(&o.LearnRate, "learn-rate", 0, "learn: bytes a second that a server sends, whatever clients feel; 0: it finds its own pace, as by default")
	fl.StringVar(&o.How, "how", "kill", "failover: kill, pause or cut a primary's server, kill-meta, or kill-both")
	fl.IntVar(&o.Shared, "shared", 25, "pair: of 100 operations, how many write rows that both clusters write")
	fl.BoolVar(&o.Removes, "shared-removes", false, "pair: rows that both clusters write are removed, too")
	fl.StringVar(&o.Plant, "plant", "", "a bug of package pacifica that the servers shall have, to see that it is found")
	fl.StringVar(&o.Bin, "bin", "", "a server binary built with the tag faults; \"\": it is built")
	fl.BoolVar(&o.Clock, "clock", false, "with a wall clock that can be moved (compiles the standard library anew, once)")
	fl.BoolVar(&o.Verbose, "v", false, "say more")
	parent := fl.String("dir", "", "where the run's directory is made; \"\": the system's directory for temporary files")
	inside := fl.String("inside", "", "the run's directory, in a sandbox (set by the command itself)")
	network := fl.String("net", "namespaces", "namespaces: one for each server; host: ports of 127.0.0.1, links can't be cut")
	keep := fl.Bool("keep", false, "keep the run's directory")
	if err := fl.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	o.Namespaces = *network == "namespaces"
	err := start(&o, *parent, *inside, *keep, args)
	var status exitStatus
	switch {
	case err == nil:
		return 0
	case errors.As(err, &status):
		return int(status)
	}
	fmt.Fprintln(os.Stderr, "faults:", err)
	return 1
}

type exitStatus int

func (e exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

func start(o *faults.Options, parent, inside string, keep bool, args []string) error {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	if inside != "" {
		o.Dir = inside
		return faults.Run(ctx, *o)
	}
	if o.Namespaces {
		if err := faults.CheckSandbox(); err != nil {
			return fmt.Errorf("%w; or give -net host, without cut links", err)
		}
	}
	var err error
	if o.Dir, err = faults.MakeDir(parent); err != nil {
		return err
	}
	if o.Bin == "" {
		if o.Bin, err = faults.Build(ctx, o.Dir, o.Clock, o.Plant != ""); err != nil {
			return errors.Join(err, faults.Remove(o.Dir))
		}
	}
	if o.Bin, err = filepath.Abs(o.Bin); err != nil {
		return err
	}
	if o.Namespaces {
		var code int
		code, err = faults.ReExec(append(args, "-bin", o.Bin, "-inside", o.Dir))
		if err == nil && code != 0 {
			err = exitStatus(code)
		}
	} else {
		err = faults.Run(ctx, *o)
	}
	if err != nil || keep {
		fmt.Println("kept:", o.Dir)
		return err
	}
	return faults.Remove(o.Dir)
}
