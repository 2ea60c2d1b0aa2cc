package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// diskJSON is what the remote command replica.disks answers of a data directory, and whose it is.
type diskJSON struct {
	Server    string  `json:"server"`
	Tag       string  `json:"tag"`
	Path      string  `json:"path"`
	State     string  `json:"state"`
	Total     int64   `json:"total_bytes"`
	Available int64   `json:"available_bytes"`
	Replicas  int     `json:"replicas"`
	Broken    int     `json:"broken_replicas"`
	Error     string  `json:"error,omitempty"`
	Failures  int     `json:"failures,omitempty"`
	Next      string  `json:"next,omitempty"`
	Retry     float64 `json:"retry_seconds,omitempty"`
}

// outlook says in words what becomes of a directory.
func (d *diskJSON) outlook() string {
	switch {
	case d.Next == "":
		return ""
	case d.Retry > 0:
		return fmt.Sprintf("%s in %v", d.Next, time.Duration(d.Retry*float64(time.Second)).Round(time.Second))
	}
	return d.Next
}

// DiskList lists the data directories of the replica servers that live, those that are in
// trouble with their errors.
func (e *Env) DiskList(ctx context.Context) error {
	a := e.Client.Admin()
	nodes, err := a.NodeRoles(ctx)
	if err != nil {
		return err
	}
	list := []diskJSON{}
	var failed error
	for _, n := range nodes.Nodes {
		if !n.Alive {
			continue
		}
		there, err := e.disksOf(ctx, n.Node.String())
		failed = errors.Join(failed, err) // the others are worth a look nonetheless
		list = append(list, there...)
	}
	if e.JSON {
		return errors.Join(e.json(list), failed)
	}
	return errors.Join(printDisks(e, list), failed)
}

func printDisks(e *Env, list []diskJSON) error {
	g := newGrid("server", "tag", "path", "state", "#replicas", "#broken", "#free", "#of", "what next")
	for i := range list {
		d := &list[i]
		g.add(d.Server, Escape([]byte(d.Tag)), Escape([]byte(d.Path)), d.State, d.Replicas, d.Broken, size(d.Available), size(d.Total), d.outlook())
	}
	if err := g.print(e.Out); err != nil {
		return err
	}
	for _, d := range list {
		if d.Error != "" {
			fmt.Fprintf(e.Out, "%s %s: %s\n", d.Server, Escape([]byte(d.Tag)), Escape([]byte(d.Error)))
		}
	}
	return nil
}

func (e *Env) disksOf(ctx context.Context, node string) ([]diskJSON, error) {
	text, err := e.Client.Admin().RemoteCommand(ctx, node, "replica.disks")
	if err != nil {
		return nil, err
	}
	var list []diskJSON
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return nil, fmt.Errorf("%s answers %q to replica.disks: %w", node, text, err)
	}
	for i := range list {
		list[i].Server = node
	}
	return list, nil
}

// DiskRetry has a replica server try a data directory again that failed.
func (e *Env) DiskRetry(ctx context.Context, node, tag string) error {
	return e.disk(ctx, node, "replica.disk-retry", tag)
}

// DiskAbandon has a replica server give up a data directory that failed.
func (e *Env) DiskAbandon(ctx context.Context, node, tag string) error {
	return e.disk(ctx, node, "replica.disk-abandon", tag)
}

func (e *Env) disk(ctx context.Context, node, command, tag string) error {
	if _, err := nodeAddr(node); err != nil {
		return err
	}
	text, err := e.Client.Admin().RemoteCommand(ctx, node, command, tag)
	if err != nil {
		return err
	}
	if err := answered(text); err != nil {
		return fmt.Errorf("%s: %w", node, err)
	}
	return e.ok()
}

// answered reads the answer of a remote command that does something: {"error":"ok"}, or why not.
func answered(text string) error {
	var res struct {
		Error string `json:"error"`
	}
	if err := json.Unmarshal([]byte(text), &res); err != nil || res.Error == "" {
		return fmt.Errorf("an answer that isn't understood: %q: it may be an older version", text)
	}
	if res.Error != "ok" {
		return errors.New(strings.TrimPrefix(res.Error, "ERR: "))
	}
	return nil
}
