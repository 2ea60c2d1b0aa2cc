package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/base/pause"
	"pegasus/client"
	"pegasus/gen/metaadmin"
	"pegasus/rpc"
)

// Options say what a run does. Flags of cmd/faults set them.
type Options struct {
	Mode       string        // run, pair, failover, killall, syncs, learn
	Bin        string        // the server, built by Build
	Clock      bool          // Bin's clock can be moved
	Dir        string        // of the run; made by the caller
	Namespaces bool          // a namespace for each server; needs a sandbox
	Seed       uint64        // of everything that is chosen
	Duration   time.Duration // of the nemeses' time
	Nemeses    string        // names, separated by commas
	Lanes      int           // nemeses at the same time
	Metas      int
	Replicas   int
	Partitions int
	Rate       int // operations a second
	Workers    int
	Fill       int64  // learn: bytes that are copied
	LearnRate  int64  // learn: bytes a second that servers send and receive, whatever clients feel; 0: as configured by default
	Rounds     int    // killall: rounds; failover: kills
	SmallDisks int    // so many replica servers have disks that can be filled; needs a sandbox
	How        string // failover: kill, pause, cut, kill-meta, kill-both
	Plant      string // a bug of package pacifica that the servers have, "" none
	Shared     int    // pair: of 100 operations, how many write rows that both clusters write
	Removes    bool   // pair: rows that both clusters write are removed, too
	Verbose    bool
	Out        io.Writer
}

const table = "faults"

// world is a running cluster and what a run knows of it.
type world struct {
	name string // of a cluster of two, "" if it is alone
	opts Options
	c    *cluster
	cl   *client.Client
	ca   *caller
	bg   *tasks
	load *load      // of mode run
	them *strangers // another cluster, nil if none was made
	peer *world     // the cluster that the table is duplicated to, and from; nil if there is none

	lasting lasting

	out sync.Mutex

	turn sync.RWMutex // held for writing by nemeses that want to be alone

	mu      sync.Mutex
	claimed map[*server]bool
	done    map[string]int // nemeses by name
	wrongs  []string       // what failed besides histories and rows
}

// newWorld starts a cluster with one table whose partitions have all replicas.
func newWorld(ctx context.Context, o Options, change func(*config.Config)) (*world, error) {
	w := &world{opts: o, claimed: map[*server]bool{}, done: map[string]int{}}
	cfg := config.Default()
	cfg.Cluster.Name = "faults"
	change(&cfg)
	n, err := newNetwork(o.Namespaces)
	if err != nil {
		return nil, err
	}
	if w.c, err = newCluster(o, n, "", cfg, w.tell); err != nil {
		return nil, err
	}
	return w, w.start(ctx)
}

// start starts the cluster, and makes its table.
func (w *world) start(ctx context.Context) error {
	o := w.opts
	for _, s := range w.c.servers {
		if err := s.Start(); err != nil {
			w.close()
			return err
		}
	}
	w.cl = newClient(w.c.metaAddrs())
	sctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err := poll(sctx, func() error {
		if notes := w.c.deathNotes(); len(notes) > 0 {
			cancel()
			return errors.New(notes[0])
		}
		cctx, cancel := context.WithTimeout(sctx, 15*time.Second)
		defer cancel()
		_, err := w.cl.Admin().CreateTable(cctx, table, o.Partitions, min(3, o.Replicas), client.CreateOptions{SuccessIfExists: true})
		return err
	})
	if err != nil {
		w.close()
		return fmt.Errorf("create the table: %w", err)
	}
	w.ca = newCaller(w.cl, table, 2*time.Second)
	w.ca.own = w.name
	w.bg = newTasks(context.WithoutCancel(ctx))
	w.bg.run(w.ca.follow)
	if err := w.awaitWhole(ctx, time.Minute); err != nil {
		w.close()
		return fmt.Errorf("a new cluster: %w", err)
	}
	return nil
}

// close ends everything, servers by SIGTERM.
func (w *world) close() {
	if w.bg != nil {
		w.bg.stop()
	}
	if w.them != nil {
		w.them.close()
	}
	if late := w.c.terminate(20 * time.Second); len(late) > 0 {
		w.wrong("%v didn't end within 20 s of SIGTERM", late)
	}
	if w.ca != nil {
		w.ca.close()
	}
	if w.cl != nil {
		w.cl.Close()
	}
}

// tell prints a line with the time of the run.
func (w *world) tell(format string, args ...any) {
	w.out.Lock()
	defer w.out.Unlock()
	text := fmt.Sprintf(format, args...)
	if w.name != "" {
		text = w.name + ": " + text
	}
	fmt.Fprintf(w.opts.Out, "%8.3f  %s\n", seconds(now()), text)
}

func (w *world) debug(format string, args ...any) {
	if w.opts.Verbose {
		w.tell(format, args...)
	}
}

// wrong notes something that makes the run fail.
func (w *world) wrong(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	w.tell("WRONG: %s", text)
	w.mu.Lock()
	w.wrongs = append(w.wrongs, text)
	w.mu.Unlock()
}

// leader returns the meta server that leads, nil if none answers that it does for 30 s.
func (w *world) leader(ctx context.Context) *server {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		for _, s := range w.c.of("meta") {
			if s.Running() && w.leads(ctx, s) {
				return s
			}
		}
		pause.For(ctx, 20*time.Millisecond)
	}
	return nil
}

// leads asks a meta server whether it leads.
func (w *world) leads(ctx context.Context, s *server) bool {
	ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	// Over THFT: what comes over RDSN a follower relays to the leader.
	var res metaadmin.ConfigurationListNodesResponse
	err := w.ca.pool.Call(ctx, s.Addr, rpc.Outgoing{Code: base.RPCListNodes, Arg: &metaadmin.ConfigurationListNodesRequest{}, Framing: rpc.THFT0}, &res)
	return err == nil && res.Err == base.ErrOK
}

// whole returns what the meta says is missing.
func (w *world) whole(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	cfg, err := w.cl.Admin().QueryConfig(ctx, table)
	if err != nil {
		return err
	}
	for i := range cfg.Partitions {
		p := &cfg.Partitions[i]
		if p.Primary.IsZero() || len(p.Secondaries)+1 < min(3, w.opts.Replicas) {
			return fmt.Errorf("partition %v at ballot %d has primary %v, secondaries %v", p.Pid, p.Ballot, p.Primary, p.Secondaries)
		}
	}
	return nil
}

// awaitWhole waits until every partition has all its members, and each of them can read
// all its data and has the same.
func (w *world) awaitWhole(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return poll(ctx, func() error {
		if err := w.whole(ctx); err != nil {
			return err
		}
		for i := range w.opts.Partitions {
			ds, err := w.digests(ctx, i)
			if err != nil {
				return err
			}
			for _, d := range ds {
				if d.Error != "" {
					return fmt.Errorf("replica %s at %s: %s", d.Replica, d.server, d.Error)
				}
			}
		}
		return nil
	})
}

// digest is the answer of the remote command replica.digest.
type digest struct {
	Replica string `json:"replica"`
	Status  string `json:"status"`
	Ballot  int64  `json:"ballot"`
	Decree  int64  `json:"decree"`
	Rows    int64  `json:"rows"`
	Hash    string `json:"hash"`
	Error   string `json:"error"`

	server string
}

// digestNow is a moment for all digests: nothing of a run expires.
const digestNow = "1000"

// digests asks the members of a partition for their digests.
func (w *world) digests(ctx context.Context, partition int) ([]digest, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	cfg, err := w.cl.Admin().QueryConfig(ctx, table)
	if err != nil {
		return nil, err
	}
	p := &cfg.Partitions[partition]
	var out []digest
	for _, m := range append([]base.RPCAddress{p.Primary}, p.Secondaries...) {
		var d digest
		text, err := w.cl.Admin().RemoteCommand(ctx, m.String(), "replica.digest", p.Pid.String(), digestNow)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(text), &d); err != nil {
			return nil, fmt.Errorf("replica.digest of %v at %v answers %q: %w", p.Pid, m, text, err)
		}
		d.server = m.String()
		if s := w.c.at(d.server); s != nil {
			d.server = s.Name
		}
		out = append(out, d)
	}
	return out, nil
}

// compareReplicas waits until all members of each partition applied the same decree and
// returns what differs then.
func (w *world) compareReplicas(ctx context.Context) (rows int64, differ []string) {
	for i := range w.opts.Partitions {
		var last []digest
		err := poll(ctx, func() (err error) {
			if last, err = w.digests(ctx, i); err != nil {
				return err
			}
			for _, d := range last {
				if d.Error != "" || d.Decree != last[0].Decree {
					return fmt.Errorf("members of partition %d: %s", i, describe(last))
				}
			}
			return nil
		})
		if err != nil {
			differ = append(differ, err.Error())
			continue
		}
		rows += last[0].Rows
		if slices.ContainsFunc(last, func(d digest) bool { return d.Hash != last[0].Hash || d.Rows != last[0].Rows }) {
			differ = append(differ, fmt.Sprintf("members of partition %d: %s", i, describe(last)))
		}
	}
	return rows, differ
}

func describe(ds []digest) string {
	var b strings.Builder
	for i, d := range ds {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s (%s) decree %d rows %d hash %s %s", d.server, d.Status, d.Decree, d.Rows, d.Hash, d.Error)
	}
	return b.String()
}
