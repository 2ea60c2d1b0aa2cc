package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"pegasus/base/config"
	"pegasus/base/pause"
	"pegasus/client"
)

// strangers is another cluster, of one meta and one replica server, with a table of the same
// name and id. It runs only while it is made and looked at.
type strangers struct {
	w             *world
	c             *cluster
	meta, replica *server
}

// strangerRows is how many rows the other cluster has.
const strangerRows = 200

// misled is the configuration with which their replica server asks our metas.
const misled = "misled.toml"

func newStrangers(ctx context.Context, w *world) (*strangers, error) {
	o := w.opts
	o.Metas, o.Replicas, o.SmallDisks = 1, 1, 0
	cfg := config.Default()
	cfg.Cluster.Name = "faults" // the name is no identity
	smallFiles(&cfg)
	c, err := newCluster(o, w.c.net, "x", cfg, w.tell)
	if err != nil {
		return nil, err
	}
	x := &strangers{w: w, c: c, meta: c.servers[0], replica: c.servers[1]}
	b, err := os.ReadFile(filepath.Join(x.replica.Dir, "config.toml"))
	if err != nil {
		return nil, err
	}
	quoted := func(list []string) string { return `"` + strings.Join(list, `", "`) + `"` }
	theirs, ours := quoted(c.metaAddrs()), quoted(w.c.metaAddrs())
	text := strings.Replace(string(b), theirs, ours, 1)
	if text == string(b) {
		return nil, fmt.Errorf("the configuration of %s doesn't name its meta", x.replica.Name)
	}
	if err := os.WriteFile(filepath.Join(x.replica.Dir, misled), []byte(text), 0o644); err != nil {
		return nil, err
	}
	defer x.down()
	return x, x.atHome(ctx, func(ctx context.Context, cl *client.Client) error {
		err := poll(ctx, func() error {
			_, err := cl.Admin().CreateTable(ctx, table, o.Partitions, 1, client.CreateOptions{SuccessIfExists: true})
			return err
		})
		if err != nil {
			return err
		}
		t, err := cl.Table(ctx, table)
		for i := 0; i < strangerRows && err == nil; i++ {
			err = t.Set(ctx, fmt.Appendf(nil, "x%d", i), []byte("s"), []byte("theirs"), 0)
		}
		return err
	})
}

// atHome runs the other cluster with its own meta while f is at work.
func (x *strangers) atHome(ctx context.Context, f func(context.Context, *client.Client) error) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	x.replica.config = ""
	if err := errors.Join(x.meta.Start(), x.replica.Start()); err != nil {
		return err
	}
	cl := newClient(x.c.metaAddrs())
	defer cl.Close()
	return f(ctx, cl)
}

func (x *strangers) down() { kill(x.meta, x.replica) }

func (x *strangers) close() { x.down() }

// foreign starts the strangers' replica server with our metas, and looks whether it still
// has all that it had. That nothing of it got into ours, the load's checks show.
func foreign(ctx context.Context, w *world, r *rand.Rand) error {
	x := w.them
	w.mu.Lock()
	_, free, err := w.claimThis(x.replica)
	w.mu.Unlock()
	if err != nil {
		return err
	}
	defer free()
	defer x.down()
	d := between(r, 6*time.Second, 15*time.Second)
	w.tell("%s, of another cluster, asks our metas for %v", x.replica.Name, d.Round(time.Millisecond))
	x.replica.config = misled
	x.replica.excused("its metas are another cluster's")
	err = x.replica.Start()
	pause.For(ctx, d)
	x.replica.excused("")
	x.down()
	if err != nil {
		return err
	}
	err = x.atHome(context.WithoutCancel(ctx), func(ctx context.Context, cl *client.Client) error {
		t, err := cl.Table(ctx, table)
		for i := 0; i < strangerRows && err == nil; i++ {
			var v []byte
			var found bool
			v, found, err = t.Get(ctx, fmt.Appendf(nil, "x%d", i), []byte("s"))
			if err == nil && (!found || string(v) != "theirs") {
				err = fmt.Errorf("row %d is %q, found: %v", i, v, found)
			}
		}
		return err
	})
	if err != nil {
		w.wrong("%s doesn't have its rows any more after it met our metas: %v; its log ends: %s", x.replica.Name, err, tail(x.replica.logFile(), 1000))
	}
	return nil
}
