package remotecmd

import (
	"encoding/json"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"pegasus/base"
	"pegasus/gen/command"
	"pegasus/gen/security"
	"pegasus/rpc"
)

// Version is what servers say they are: upstream's tools compare it, so it is upstream's
// version whose behaviour we have, with our own mark.
const Version = "2.6.0-go"

// Func carries out a command and returns the text that is shown.
type Func func(args []string) string

// Command is a remote command with its help lines.
type Command struct {
	Name string
	// Aliases are shorter names.
	Aliases []string
	// Args is how the arguments are written, Help what the command does.
	Args, Help string
	Run        Func
	// Shows says when the command changes nothing; all others are logged with who asked.
	Shows Shows
}

// Shows is when a command only shows something.
type Shows uint8

// A command changes something, unless it says that it never does, or not without arguments.
const (
	Never Shows = iota
	WithoutArgs
	Always
)

func (c *Command) names() string { return strings.Join(append([]string{c.Name}, c.Aliases...), "|") }

// Table is the commands of one server.
type Table struct {
	list []Command // in the order of help
	by   map[string]*Command
	log  *logrus.Logger // nil: nothing is logged
}

// Options are what the common commands show and change.
type Options struct {
	Started time.Time
	// Dump returns the configuration as a file.
	Dump func() (string, error)
	// Log is the logger whose level reset-log-start-level sets.
	Log *logrus.Logger
	// Counters returns what is left of upstream's counters; nil: none.
	Counters func() []Counter
}

// New returns the common commands, and extra.
func New(o Options, extra ...Command) *Table {
	t := &Table{by: map[string]*Command{}, log: o.Log}
	t.list = append(extra, t.common(&o)...)
	slices.SortFunc(t.list, func(a, b Command) int { return strings.Compare(a.Name, b.Name) })
	// Upstream lists these two first.
	i := slices.IndexFunc(t.list, func(c Command) bool { return c.Name == "help" })
	t.list = slices.Concat(t.list[i:i+1], t.list[:i], t.list[i+1:])
	for i := range t.list {
		c := &t.list[i]
		for _, n := range append([]string{c.Name}, c.Aliases...) {
			t.by[n] = c
		}
	}
	return t
}

// Register makes m answer the calls.
func (t *Table) Register(m *rpc.Mux) {
	m.HandleFunc(base.RPCCLICall, t.call)
	m.HandleFunc(base.RPCNegotiation, negotiate)
}

func (t *Table) call(req *rpc.Request) {
	var c command.Command
	if err := req.DecodeArg(&c); err != nil {
		req.Refuse(base.ErrInvalidData, err)
		return
	}
	t.note(c.Cmd, c.Arguments, req.Asker())                       // before: it may be what ends the logging
	req.Go(func() { req.ReplyString(t.Run(c.Cmd, c.Arguments)) }) // some read a whole replica, or wait for a disk
}

// noted is how much of a command is logged.
const noted = 200

// note logs a command that may change something.
func (t *Table) note(name string, args []string, from string) {
	c := t.by[name]
	if c == nil || t.log == nil || c.Shows == Always || c.Shows == WithoutArgs && len(args) == 0 {
		return
	}
	t.log.Infof("remote command %.*q, asked by %s", noted, strings.Join(append([]string{c.Name}, args...), " "), from)
}

// Run carries out a command by name.
func (t *Table) Run(name string, args []string) string {
	if c := t.by[name]; c != nil {
		return c.Run(args)
	}
	return fmt.Sprintf("unknown command '%s'", name)
}

func (t *Table) help(args []string) string {
	var b strings.Builder
	if len(args) == 0 {
		for i := range t.list {
			c := &t.list[i]
			fmt.Fprintf(&b, "%s - %s\n", c.names(), c.Help)
		}
		return b.String()
	}
	c := t.by[args[0]]
	if c == nil {
		return fmt.Sprintf("cannot find command '%s'", args[0])
	}
	return fmt.Sprintf("%s - %s\n%s %s\n", c.names(), c.Help, c.names(), c.Args)
}

// Info returns the JSON text of server-info.
func Info(started time.Time) string {
	b, err := json.Marshal(struct {
		BuildType string `json:"build_type"`
		SHA       string `json:"git_SHA"`
		Start     string `json:"start_time"`
		Version   string `json:"version"`
	}{"Release", Revision(), started.Format(time.DateTime), Version})
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// revision is set by the Makefile: a build outside of a repository, or without -buildvcs, knows none.
var revision string

// Revision returns the revision that the binary was built from, as far as it is known.
func Revision() string {
	if revision != "" {
		return revision
	}
	if bi, ok := debug.ReadBuildInfo(); ok {
		for _, s := range bi.Settings {
			if s.Key == "vcs.revision" {
				return s.Value
			}
		}
	}
	return "unknown"
}

// negotiate tells a client that no authentication is asked for.
func negotiate(req *rpc.Request) {
	var n security.NegotiationRequest
	if err := req.DecodeArg(&n); err != nil {
		req.ReplyError(base.ErrInvalidData)
		return
	}
	req.Reply(&security.NegotiationResponse{Status: security.SASL_AUTH_DISABLE, Msg: []byte{}})
}
