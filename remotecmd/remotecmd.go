package remotecmd

import (
	"encoding/json"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"pegasus/base"
	"pegasus/gen/command"
	"pegasus/gen/security"
	"pegasus/rpc"
)

// The names under which clients call.
const (
	codeCall        = "RPC_CLI_CLI_CALL"
	codeNegotiation = "RPC_NEGOTIATION"
)

// Version is what servers say they are: upstream's tools compare it, so it is upstream's
// version whose behaviour we have, with our own mark.
const Version = "2.6.0-go"

// Func carries out a command and returns the text that is shown.
type Func func(args []string) string

// Command is a remote command with its help line.
type Command struct {
	Name, Usage string
	Run         Func
}

// Table is the commands of one server.
type Table struct{ list []Command }

// New returns the common commands, and extra, of a server that started at started.
func New(started time.Time, extra ...Command) *Table {
	t := &Table{list: slices.Clone(extra)}
	t.list = append(t.list,
		Command{"help", "help [command]: what commands there are", t.help},
		Command{"server-info", "server-info: version and start time, as JSON", func([]string) string { return Info(started) }},
		Command{"version", "version: the version of this server", func([]string) string { return Version + " (" + Revision() + ")" }})
	slices.SortFunc(t.list, func(a, b Command) int { return strings.Compare(a.Name, b.Name) })
	return t
}

// Register makes m answer the calls.
func (t *Table) Register(m *rpc.Mux) {
	m.HandleFunc(codeCall, t.call)
	m.HandleFunc(codeNegotiation, negotiate)
}

func (t *Table) call(req *rpc.Request) {
	var c command.Command
	if err := req.DecodeArg(&c); err != nil {
		req.Refuse(base.ErrInvalidData, err)
		return
	}
	req.ReplyString(t.Run(c.Cmd, c.Arguments))
}

// Run carries out a command by name.
func (t *Table) Run(name string, args []string) string {
	for _, c := range t.list {
		if c.Name == name {
			return c.Run(args)
		}
	}
	return fmt.Sprintf("unknown command '%s'", name)
}

func (t *Table) help(args []string) string {
	var b strings.Builder
	for _, c := range t.list {
		if len(args) == 0 || args[0] == c.Name {
			b.WriteString(c.Usage + "\n")
		}
	}
	if b.Len() == 0 {
		return fmt.Sprintf("cannot find command '%s'", args[0])
	}
	return b.String()
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

// Revision returns the revision that the binary was built from, as far as it is known.
func Revision() string {
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
