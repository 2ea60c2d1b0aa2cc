package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/remotecmd/answer"
)

// Servers are the commands about one server, or all of them, meta and replica.
type Servers struct{ *Env }

// Which servers a command is about.
type Which struct {
	Addrs    []string // given by a person
	All      bool     // metas and replica servers
	Metas    bool     // all metas
	Replicas bool     // all replica servers
}

// server is one that is asked.
type server struct{ Addr, Role string }

// find returns the servers that are meant. Those of the cluster that are dead are among them: that they don't answer
// is told.
func (s Servers) find(ctx context.Context, w Which) ([]server, error) {
	var list []server
	for _, a := range w.Addrs {
		if err := config.CheckAddr(a); err != nil {
			return nil, fmt.Errorf("%w; give the address (host:port) of a server; `pegasus server ls` lists them", err)
		}
		list = append(list, server{a, ""})
	}
	if w.All || w.Metas {
		metas, err := s.metas(ctx)
		if err != nil {
			return nil, err
		}
		for _, m := range metas {
			list = append(list, server{m, "meta"})
		}
	}
	if w.All || w.Replicas {
		nodes, err := s.Client.Admin().ListNodes(ctx)
		if err != nil {
			return nil, err
		}
		for _, n := range nodes {
			list = append(list, server{n.Addr.String(), "replica"})
		}
	}
	if len(list) == 0 {
		return nil, errors.New("no server is named: give the addresses (host:port), or --all, --metas or --replicas; `pegasus server ls` lists them")
	}
	return list, nil
}

// metas are those of the cluster, as the leader knows them.
func (s Servers) metas(ctx context.Context) ([]string, error) {
	info, err := s.Client.Admin().ClusterInfo(ctx)
	if err != nil {
		return nil, err
	}
	for _, kv := range info {
		if kv.Key == "meta_servers" {
			return strings.FieldsFunc(kv.Val, func(r rune) bool { return r == ',' || r == ' ' }), nil
		}
	}
	return nil, errors.New("the meta servers don't tell which there are")
}

// answerOf is what one server said.
type answerOf[T any] struct {
	server
	got T
	err error
}

// askEach asks servers, all at once, and keeps their order.
func askEach[T any](list []server, ask func(server) (T, error)) []answerOf[T] {
	out := make([]answerOf[T], len(list))
	var wg sync.WaitGroup
	for i := range list {
		wg.Go(func() {
			out[i].server = list[i]
			out[i].got, out[i].err = ask(list[i])
		})
	}
	wg.Wait()
	return out
}

// silent is the error of those that didn't answer, nil if all did.
func silent[T any](list []answerOf[T]) error {
	var bad []string
	var last error
	for i := range list {
		if list[i].err != nil {
			bad, last = append(bad, list[i].Addr), list[i].err
		}
	}
	switch len(bad) {
	case 0:
		return nil
	case 1:
		return last
	}
	return fmt.Errorf("%d servers of %d failed (%s), the last: %w", len(bad), len(list), strings.Join(bad, " "), last)
}

type saidJSON struct {
	Address string `json:"address"`
	Role    string `json:"role,omitempty"`
	Answer  any    `json:"answer,omitempty"`
	Error   string `json:"error,omitempty"`
}

// List lists all servers, metas and replicas, and what runs there.
func (s Servers) List(ctx context.Context) error {
	list, err := s.find(ctx, Which{All: true})
	if err != nil {
		return err
	}
	type row struct {
		Address string `json:"address"`
		Role    string `json:"role"`
		Alive   bool   `json:"alive"`
		Version string `json:"version,omitempty"`
		Start   string `json:"start_time,omitempty"`
		Error   string `json:"error,omitempty"`
	}
	rows := make([]row, len(list))
	g := newGrid("address", "role", "status", "version", "started")
	for i, a := range askEach(list, func(x server) (infoJSON, error) { return s.info(ctx, x) }) {
		rows[i] = row{Address: a.Addr, Role: a.Role, Alive: a.err == nil, Version: a.got.version, Start: a.got.Start}
		status := "answers"
		if a.err != nil {
			rows[i].Error, status = a.err.Error(), "doesn't answer"
		}
		g.add(a.Addr, a.Role, status, a.got.version, a.got.Start)
	}
	if s.JSON {
		return s.json(rows)
	}
	return g.print(s.Out)
}

type infoJSON struct {
	BuildType string `json:"build_type"`
	SHA       string `json:"git_SHA"`
	Start     string `json:"start_time"`
	version   string
}

func (s Servers) info(ctx context.Context, x server) (i infoJSON, err error) {
	text, err := s.Client.Admin().RemoteCommand(ctx, x.Addr, "server-info")
	if err != nil {
		return i, err
	}
	if i, err = answer.Read[infoJSON](x.Addr, "server-info", text); err != nil {
		return i, err
	}
	i.version, err = s.Client.Admin().RemoteCommand(ctx, x.Addr, "version")
	i.version, _, _ = strings.Cut(i.version, " (")
	return i, err
}

// Command has servers carry out a remote command, and prints what each says.
func (s Servers) Command(ctx context.Context, w Which, name string, args []string) error {
	list, err := s.find(ctx, w)
	if err != nil {
		return err
	}
	all := askEach(list, func(x server) (string, error) {
		return s.Client.Admin().RemoteCommand(ctx, x.Addr, name, args...)
	})
	if err := s.said(all, func(text string) any {
		var v any
		if json.Unmarshal([]byte(text), &v) == nil {
			return v
		}
		return text
	}); err != nil {
		return err
	}
	for _, a := range all {
		if a.err == nil && strings.HasPrefix(a.got, "unknown command '") {
			return fmt.Errorf("%s has no command %q: `pegasus server command help %s` lists those that it has", a.Addr, name, a.Addr)
		}
	}
	return silent(all)
}

// said prints the texts of servers.
func (s Servers) said(all []answerOf[string], value func(string) any) error {
	if s.JSON {
		return s.json(saidEach(all, value))
	}
	for _, a := range all {
		if a.err != nil {
			continue // the command's error says it
		}
		if len(all) > 1 {
			fmt.Fprintf(s.Out, "%s:\n", a.Addr)
		}
		for line := range strings.Lines(strings.TrimSuffix(a.got, "\n") + "\n") {
			fmt.Fprintln(s.Out, Escape([]byte(strings.TrimSuffix(line, "\n"))))
		}
	}
	return nil
}

// saidEach is what each server said, for JSON.
func saidEach[T any](all []answerOf[T], value func(T) any) []saidJSON {
	out := make([]saidJSON, len(all))
	for i, a := range all {
		out[i] = saidJSON{Address: a.Addr, Role: a.Role}
		if a.err != nil {
			out[i].Error = a.err.Error()
		} else {
			out[i].Answer = value(a.got)
		}
	}
	return out
}

// settingPage is one key of the configuration, as servers show it.
type settingPage struct {
	Name  string `json:"name"`
	Tags  string `json:"tags"`
	Doc   string `json:"description"`
	Value any    `json:"value"`
}

func (p *settingPage) mutable() bool { return strings.Contains(p.Tags, "FT_MUTABLE") }

func (s Servers) settings(ctx context.Context, x server) (map[string]settingPage, error) {
	b, err := s.Client.Admin().Page(ctx, x.Addr, "configs", nil)
	if err != nil {
		return nil, err
	}
	m := map[string]settingPage{}
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, fmt.Errorf("%s answers something else than its configuration: %w", x.Addr, err)
	}
	return m, nil
}

type serverSettingJSON struct {
	Address string `json:"address"`
	Name    string `json:"name"`
	Value   any    `json:"value"`
	Mutable bool   `json:"mutable"` // can be changed while the server runs
	Purpose string `json:"purpose"`
}

// ConfigList shows the configuration keys of servers whose names begin with prefix. Of several servers one line
// stands for those that agree.
func (s Servers) ConfigList(ctx context.Context, w Which, prefix string, mutable bool) error {
	list, err := s.find(ctx, w)
	if err != nil {
		return err
	}
	all := askEach(list, func(x server) (map[string]settingPage, error) { return s.settings(ctx, x) })
	out := []serverSettingJSON{}
	type at struct{ name, value string }
	where := map[at][]string{}
	hot := map[string]bool{}
	for _, a := range all {
		for _, name := range slices.Sorted(maps.Keys(a.got)) {
			p := a.got[name]
			if strings.HasPrefix(name, prefix) && (!mutable || p.mutable()) {
				out = append(out, serverSettingJSON{a.Addr, name, p.Value, p.mutable(), p.Doc})
				k := at{name, fmt.Sprint(p.Value)}
				where[k] = append(where[k], a.Addr)
				hot[name] = p.mutable()
			}
		}
	}
	err = silent(all)
	if err == nil && len(out) == 0 {
		err = fmt.Errorf("no configuration key begins with %q: `pegasus server config ls` lists them", prefix)
	}
	if s.JSON {
		return errors.Join(s.json(out), err)
	}
	g := newGrid("name", "value", "while it runs", "servers")
	for _, k := range slices.SortedFunc(maps.Keys(where), func(a, b at) int {
		return strings.Compare(a.name+"\x00"+a.value, b.name+"\x00"+b.value)
	}) {
		can := "fixed"
		if hot[k.name] {
			can = "can be set"
		}
		servers := strings.Join(where[k], " ")
		if len(where[k]) == len(all) && len(all) > 1 {
			servers = "all"
		}
		g.add(k.name, Escape([]byte(k.value)), can, servers)
	}
	return errors.Join(g.print(s.Out), err)
}

// ConfigSet changes a configuration key of servers while they run.
func (s Servers) ConfigSet(ctx context.Context, w Which, name, value string, dry bool) error {
	list, err := s.find(ctx, w)
	if err != nil {
		return err
	}
	type change struct {
		Address string `json:"address"`
		Name    string `json:"name"`
		Was     any    `json:"was"`
		Value   string `json:"value"`
		Error   string `json:"error,omitempty"`
	}
	// All are asked first whether they would, so that none is changed alone.
	all := askEach(list, func(x server) (settingPage, error) {
		m, err := s.settings(ctx, x)
		if err != nil {
			return settingPage{}, err
		}
		p, ok := m[name]
		switch {
		case !ok:
			return p, fmt.Errorf("%s has no configuration key %q: `pegasus server config ls %s` lists them: %w", x.Addr, name, x.Addr, base.ErrObjectNotFound)
		case !p.mutable():
			return p, fmt.Errorf("%s can't be changed while %s runs: change its configuration file, and restart it: %w", name, x.Addr, base.ErrInvalidParameters)
		}
		return p, nil
	})
	if err := silent(all); err != nil {
		return fmt.Errorf("nothing is changed: %w", err)
	}
	was := map[string]any{}
	for _, a := range all {
		was[a.Addr] = a.got.Value
	}
	done := askEach(list, func(x server) (change, error) {
		c := change{Address: x.Addr, Name: name, Was: was[x.Addr], Value: value}
		if dry {
			return c, nil
		}
		b, err := s.Client.Admin().Page(ctx, x.Addr, "updateConfig", url.Values{name: {value}})
		if err != nil {
			return c, err
		}
		var r struct {
			Status string `json:"update_status"`
		}
		if err := json.Unmarshal(b, &r); err != nil || r.Status != string(base.ErrOK) {
			return c, fmt.Errorf("%s refuses %s=%s: %s", x.Addr, name, value, r.Status)
		}
		return c, nil
	})
	err = silent(done)
	out := make([]change, len(done))
	g := newGrid("address", "name", "was", "now")
	for i, d := range done {
		out[i] = d.got
		now := value
		if d.err != nil {
			out[i].Error, now = d.err.Error(), "unchanged"
		}
		g.add(d.Addr, name, Escape(fmt.Append(nil, d.got.Was)), Escape([]byte(now)))
	}
	if s.JSON {
		return errors.Join(s.json(out), err)
	}
	if perr := g.print(s.Out); perr != nil {
		return perr
	}
	if err == nil && dry {
		fmt.Fprintln(s.Out, "nothing is changed: this is what would be")
	} else if err == nil {
		fmt.Fprintln(s.Out, "a server that restarts has what its configuration file says: change that, too")
	}
	return err
}
