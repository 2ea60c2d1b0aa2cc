package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"pegasus/base/config"
	"pegasus/base/logging"
	"pegasus/meta"
)

// serverFlags are common to meta and replica.
type serverFlags struct {
	config, listen, advertise, pidFile, pprof string
	metas, dirs                               []string
}

func (f *serverFlags) add(c *cobra.Command) {
	fl := c.Flags()
	fl.StringVar(&f.config, "config", "", "configuration file (TOML; default: every key has its default)")
	fl.StringVar(&f.listen, "listen", "", "address to listen on; overrides the file")
	fl.StringVar(&f.advertise, "advertise", "", "address by which others reach the server, if it isn't the one that it listens on; overrides the file")
	fl.StringSliceVar(&f.metas, "meta-servers", nil, "addresses of all meta servers; overrides the file")
	fl.StringVar(&f.pidFile, "pid-file", "", "file for the process id")
	fl.StringVar(&f.pprof, "pprof", "", "address for Go's profiles")
	fl.MarkHidden("pprof")
}

// serverRun runs a server until ctx ends.
type serverRun func(ctx context.Context, cfg config.Config, log *logrus.Entry) error

// metaCmd is the group of commands about the quorum. That it also runs a server is for the scripts that have it: help
// shows `server meta`.
func metaCmd() *cobra.Command {
	c := runMetaCmd()
	c.Short = "Manage the quorum of meta servers"
	c.Flags().VisitAll(func(f *pflag.Flag) { f.Hidden = true })
	c.AddCommand(quorumCmds()...)
	return c
}

func runMetaCmd() *cobra.Command {
	var f serverFlags
	var join bool
	c := &cobra.Command{
		Use:   "meta",
		Short: "Run a meta server",
		Args:  wantArgs(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := f.load(func(cfg *config.Config) {
				override(&cfg.Meta.Listen, f.listen)
				override(&cfg.Meta.Advertise, f.advertise)
				cfg.Meta.Join = cfg.Meta.Join || join
				if len(f.dirs) > 0 {
					cfg.Meta.DataDir = f.dirs[0]
				}
			})
			if err == nil {
				err = cfg.CheckMeta(f.config, meta.Begun(cfg.Meta.DataDir))
			}
			if err != nil {
				return err
			}
			return f.serve(c.Context(), cfg, "meta", cfg.Meta.Listen, runMeta, c.ErrOrStderr())
		},
	}
	f.add(c)
	c.Flags().StringSliceVar(&f.dirs, "data-dir", nil, "data directory; overrides the file")
	c.Flags().BoolVar(&join, "join", false, "start with an empty data directory and wait for pegasus meta add")
	return c
}

func replicaCmd() *cobra.Command {
	var f serverFlags
	c := &cobra.Command{
		Use:    "replica",
		Short:  "Run a replica server",
		Hidden: true, // `server replica` is shown
		Args:   wantArgs(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := f.load(func(cfg *config.Config) {
				override(&cfg.Replica.Listen, f.listen)
				override(&cfg.Replica.Advertise, f.advertise)
				if len(f.dirs) > 0 {
					cfg.Replica.DataDirs = f.dirs
				}
			})
			if err == nil {
				err = cfg.CheckReplica(f.config)
			}
			if err != nil {
				return err
			}
			return f.serve(c.Context(), cfg, "replica", cfg.Replica.Listen, runReplica, c.ErrOrStderr())
		},
	}
	f.add(c)
	c.Flags().StringSliceVar(&f.dirs, "data-dirs", nil, "data directories; overrides the file")
	return c
}

func override(v *string, flag string) {
	if flag != "" {
		*v = flag
	}
}

// load reads the file and lays the flags over it.
func (f *serverFlags) load(lay func(*config.Config)) (config.Config, error) {
	cfg := config.Default()
	if f.config != "" {
		var err error
		if cfg, err = config.Load(f.config); err != nil {
			return cfg, err
		}
	}
	if len(f.metas) > 0 {
		cfg.Cluster.MetaServers = f.metas
	}
	lay(&cfg)
	return cfg, cfg.Validate()
}

// serve runs a server; an error comes back as one line that says what to do.
func (f *serverFlags) serve(ctx context.Context, cfg config.Config, role, addr string, run serverRun, errw io.Writer) error {
	// A port that is taken is the commonest mistake: say so before anything is opened.
	l, err := net.Listen("tcp4", addr)
	if err != nil {
		return f.listenError(role, addr, err)
	}
	l.Close()
	if f.pidFile != "" {
		pid := strconv.Itoa(os.Getpid())
		if err := os.WriteFile(f.pidFile, []byte(pid+"\n"), 0o644); err != nil {
			return fmt.Errorf("--pid-file: %w; give a file in a writable directory", err)
		}
		defer func() {
			if data, err := os.ReadFile(f.pidFile); err == nil && strings.TrimSpace(string(data)) == pid {
				os.Remove(f.pidFile)
			}
		}()
	}
	if f.pprof != "" {
		stop, err := serveProfiles(f.pprof)
		if err != nil {
			return fmt.Errorf("--pprof %s: %w", f.pprof, err)
		}
		defer stop()
	}
	entry, file := logging.Open(cfg.Log, errw)
	if file != nil {
		defer file.Close()
		defer reopenOnHangup(file)()
		fmt.Fprintf(errw, "pegasus: %s server %s logs to %s\n", role, addr, cfg.Log.File)
	}
	log := entry.WithField("server", role+" "+addr)
	log.Infof("starts: pegasus %s, process %d", buildInfo(), os.Getpid())
	for _, w := range cfg.Warnings() {
		log.Warn(w)
	}
	if err := run(ctx, cfg, log); err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			return f.listenError(role, addr, err)
		}
		return fmt.Errorf("%s server %s: %w", role, addr, err)
	}
	return nil
}

// reopenOnHangup has the log's file opened anew on SIGHUP, until stop.
func reopenOnHangup(file *logging.File) (stop func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP)
	go func() {
		for range c {
			file.Reopen()
		}
	}()
	return func() {
		signal.Stop(c)
		close(c)
	}
}

func (f *serverFlags) listenError(role, addr string, err error) error {
	e := &config.Error{File: f.config, Key: role + ".listen"}
	if f.listen != "" {
		e.File, e.Key = "", "--listen"
	}
	if errors.Is(err, syscall.EADDRINUSE) {
		_, port, _ := net.SplitHostPort(addr)
		e.Problem = fmt.Sprintf("address %s is in use by another process", addr)
		e.Fix = fmt.Sprintf("stop it (`ss -ltnp 'sport = :%s'` shows it), or choose another port", port)
	} else {
		e.Problem = fmt.Sprintf("can't listen on %s: %v", addr, err)
		e.Fix = "give an address of this machine"
	}
	return e
}

// serveProfiles serves net/http/pprof on an address of its own.
func serveProfiles(addr string) (stop func(), err error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	go http.Serve(l, mux)
	return func() { l.Close() }, nil
}

func configCmd() *cobra.Command {
	c := &cobra.Command{Use: "config", Short: "Show and check configuration files", RunE: wantSubcommand}
	c.AddCommand(&cobra.Command{
		Use:   "example",
		Short: "Print every configuration key with its meaning and default",
		Args:  wantArgs(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := c.OutOrStdout().Write(config.Example())
			return err
		},
	}, &cobra.Command{
		Use:   "check FILE",
		Short: "Check a configuration file",
		Args:  wantArgs(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := config.Load(args[0])
			if err != nil {
				return err
			}
			for _, w := range cfg.Warnings() {
				fmt.Fprintf(c.OutOrStdout(), "warning: %s: %s\n", args[0], w)
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s is a valid configuration\n", args[0])
			return err
		},
	}, configImportCmd())
	return c
}
