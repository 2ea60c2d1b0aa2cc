package live

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"pegasus/base"
	"pegasus/base/appenv"
	"pegasus/base/version"
	"pegasus/client"
	"pegasus/gen/duplication"
	"pegasus/gen/layer2"
	"pegasus/gen/metadata"
	"pegasus/migrate"
)

// Cluster is a cluster.
type Cluster struct {
	c *client.Client
	a client.Admin
}

// New makes one of a client.
func New(c *client.Client) *Cluster { return &Cluster{c, c.Admin()} }

// Info implements migrate.Cluster.
func (c *Cluster) Info(ctx context.Context) (i migrate.Info, err error) {
	i.Free = -1
	cpp := false
	kvs, err := c.a.ClusterInfo(ctx)
	if err != nil {
		return i, err
	}
	for _, kv := range kvs {
		switch kv.Key {
		case "cluster_name":
			i.Name = kv.Val
		case "primary_meta_server":
			i.Leader = kv.Val
		case "meta_function_level":
			i.Level = kv.Val
		case "zookeeper_hosts":
			cpp = kv.Val != ""
		}
	}
	i.Program, i.Duplicates = "a C++ cluster", true
	if !cpp {
		s, err := c.a.MetaStatus(ctx, i.Leader)
		if err != nil {
			return i, err
		}
		v := version.Version(s.ClusterVersion.V).OrFirst()
		i.Ours, i.ID, i.Duplicates = true, s.ClusterId.V, v.Allows(version.Origins)
		i.Program = fmt.Sprintf("cluster %s of version %d", i.Name, v)
	}
	nodes, err := c.a.ListNodes(ctx)
	if err != nil {
		return i, err
	}
	var free int64
	known := true
	for _, n := range nodes {
		if !n.Alive {
			i.Dead++
			continue
		}
		i.Alive++
		d, err := c.a.Disks(ctx, n.Addr)
		if err != nil {
			known = false
			continue
		}
		free += d.TotalAvailableMb << 20
	}
	if known {
		i.Free = free
	}
	return i, nil
}

// Table implements migrate.Cluster.
func (c *Cluster) Table(ctx context.Context, name string) (*migrate.Table, error) {
	list, err := c.a.ListTables(ctx, layer2.AS_AVAILABLE)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(list, func(a layer2.AppInfo) bool { return a.AppName == name })
	if at < 0 {
		return nil, nil
	}
	a := &list[at]
	t := &migrate.Table{ID: a.AppId, Partitions: int(a.PartitionCount), Replicas: int(a.MaxReplicaCount), Envs: map[string]string{}, AtomicIdempotent: a.AtomicIdempotent.V}
	for _, e := range a.Envs {
		t.Envs[e.Key] = e.Val
	}
	if a.CreateSecond > 0 {
		t.Created = time.Unix(a.CreateSecond, 0)
	}
	cfg, err := c.a.QueryConfig(ctx, name)
	if err != nil {
		return nil, err
	}
	for i := range cfg.Partitions {
		if cfg.Partitions[i].Primary.IsZero() {
			t.Unhealthy++
		}
	}
	return t, nil
}

// Drop implements migrate.Cluster.
func (c *Cluster) Drop(ctx context.Context, table string) error {
	return c.a.DropTable(ctx, table, 0, true)
}

// Deny implements migrate.Cluster.
func (c *Cluster) Deny(ctx context.Context, table string, deny bool) error {
	if deny {
		return c.a.SetEnvs(ctx, table, []base.Pair[string, string]{{Key: appenv.DenyClient, Val: migrate.Denied}})
	}
	return c.a.DelEnvs(ctx, table, []string{appenv.DenyClient})
}

// hurryTime bounds what asks servers to hurry.
const hurryTime = 2 * time.Second

// Hurry implements migrate.Cluster. Servers that don't know the commands answer so.
func (c *Cluster) Hurry(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, hurryTime)
	defer cancel()
	nodes, err := c.a.ListNodes(ctx)
	if err != nil {
		return
	}
	var wg sync.WaitGroup
	for _, n := range nodes {
		if !n.Alive {
			continue
		}
		wg.Go(func() {
			for _, cmd := range []string{"replica.sync-config", "replica.sync-duplications"} {
				if _, err := c.a.RemoteCommand(ctx, n.Addr.String(), cmd); err != nil {
					return
				}
			}
		})
	}
	wg.Wait()
}

// probeTime bounds the writes by which it is seen whether a table refuses them.
const probeTime = 3 * time.Second

// Refused implements migrate.Cluster.
func (c *Cluster) Refused(ctx context.Context, table string) (refused, of int, err error) {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	answers, err := c.a.TryWrites(ctx, table, "pegasus-migrate-"+rand.Text())
	if err != nil {
		return 0, 0, err
	}
	for _, err := range answers {
		// Who isn't the primary any more says the same: a write that another one takes is seen in its decrees.
		if base.CodeOf(err) == base.ErrInvalidState {
			refused++
		}
	}
	return refused, len(answers), nil
}

// primaries calls f for each server that is the primary of partitions of a table, at the same time.
func (c *Cluster) primaries(ctx context.Context, table string, f func(node base.RPCAddress, of []base.Gpid) error) (partitions int, err error) {
	cfg, err := c.a.QueryConfig(ctx, table)
	if err != nil {
		return 0, err
	}
	at := map[base.RPCAddress][]base.Gpid{}
	for i := range cfg.Partitions {
		p := &cfg.Partitions[i]
		if p.Primary.IsZero() {
			return 0, fmt.Errorf("partition %v of table %q has no primary: %w", p.Pid, table, base.ErrInactiveState)
		}
		at[p.Primary] = append(at[p.Primary], p.Pid)
	}
	var wg sync.WaitGroup
	errs := make(chan error, len(at))
	for node, of := range at {
		wg.Go(func() { errs <- f(node, of) })
	}
	wg.Wait()
	close(errs)
	for e := range errs {
		err = errors.Join(err, e)
	}
	return len(cfg.Partitions), err
}

// replicas calls f with each primary of a table, one after the other.
func (c *Cluster) replicas(ctx context.Context, table string, f func(r *metadata.ReplicaInfo)) (partitions int, err error) {
	var mu sync.Mutex
	return c.primaries(ctx, table, func(node base.RPCAddress, of []base.Gpid) error {
		list, err := c.a.Replicas(ctx, node)
		if err != nil {
			return err
		}
		found := 0
		mu.Lock()
		defer mu.Unlock()
		for i := range list {
			if r := &list[i]; r.Status == metadata.PS_PRIMARY && slices.Contains(of, r.Pid) {
				found++
				f(r)
			}
		}
		if found < len(of) {
			return fmt.Errorf("%v isn't the primary of all partitions that it should be: %w", node, base.ErrInvalidState)
		}
		return nil
	})
}

// Decrees implements migrate.Cluster.
func (c *Cluster) Decrees(ctx context.Context, table string) ([]migrate.Decrees, error) {
	at := map[int32]migrate.Decrees{}
	n, err := c.replicas(ctx, table, func(r *metadata.ReplicaInfo) {
		at[r.Pid.PartitionIndex] = migrate.Decrees{Committed: r.LastCommittedDecree, Prepared: r.LastPreparedDecree}
	})
	if err != nil {
		return nil, err
	}
	out := make([]migrate.Decrees, n)
	for i := range out {
		out[i] = at[int32(i)]
	}
	return out, nil
}

// Bytes implements migrate.Cluster.
func (c *Cluster) Bytes(ctx context.Context, table string) (int64, error) {
	sum, known := int64(0), true
	_, err := c.replicas(ctx, table, func(r *metadata.ReplicaInfo) {
		known = known && r.Bytes.Set
		sum += r.Bytes.V
	})
	if !known {
		sum = -1
	}
	return sum, err
}

// Duplications implements migrate.Cluster.
func (c *Cluster) Duplications(ctx context.Context, table string) ([]migrate.Duplication, error) {
	list, err := c.a.Duplications(ctx, table)
	if err != nil {
		return nil, err
	}
	var out []migrate.Duplication
	for i := range list {
		e := &list[i]
		d := migrate.Duplication{ID: e.Dupid, Cluster: e.Remote, TableThere: cmp.Or(e.RemoteAppName.V, table), Status: e.Status,
			Skips: e.FailMode.Set && e.FailMode.V == duplication.FAIL_SKIP}
		if e.CreateTs > 0 {
			d.Created = time.UnixMilli(e.CreateTs)
		}
		states := slices.Clone(e.PartitionStates.V)
		slices.SortFunc(states, func(a, b base.Pair[int32, duplication.DuplicationPartitionState]) int {
			return cmp.Compare(a.Key, b.Key)
		})
		for n, s := range states {
			if int(s.Key) != n {
				return nil, fmt.Errorf("duplication %d of table %q: partition %d is missing in the answer: %w", d.ID, table, n, base.ErrInvalidData)
			}
			d.Partitions = append(d.Partitions, migrate.Progress{Confirmed: s.Val.ConfirmedDecree, Committed: s.Val.LastCommittedDecree, Skipped: s.Val.Skipped.V, Why: s.Val.Why.V})
		}
		out = append(out, d)
	}
	return out, nil
}

// Duplicate implements migrate.Cluster.
func (c *Cluster) Duplicate(ctx context.Context, table, cluster, tableThere string, replicas int) error {
	_, err := c.a.AddDuplication(ctx, table, cluster, client.DuplicationOptions{RemoteTable: tableThere, Replicas: replicas})
	if base.CodeOf(err) == base.ErrDupExist {
		return nil // it was asked for twice: an answer got lost
	}
	return err
}

// EndDuplication implements migrate.Cluster.
func (c *Cluster) EndDuplication(ctx context.Context, table string, id int32) error {
	return c.a.SetDuplication(ctx, table, id, duplication.DS_REMOVED)
}

// Digests implements migrate.Cluster.
func (c *Cluster) Digests(ctx context.Context, table string, at time.Time) ([]migrate.Digest, error) {
	now := strconv.FormatInt(at.Unix()-base.EpochBegin, 10)
	found := map[int32]migrate.Digest{}
	var mu sync.Mutex
	n, err := c.primaries(ctx, table, func(node base.RPCAddress, of []base.Gpid) error {
		for _, g := range of {
			text, err := c.a.RemoteCommand(ctx, node.String(), "replica.digest", g.String(), now, "rows")
			if err != nil {
				return err
			}
			var d struct {
				Rows        int64
				Hash, Error string
			}
			if json.Unmarshal([]byte(text), &d) != nil || d.Error == "" && d.Hash == "" {
				return fmt.Errorf("%v has no replica.digest: %w", node, errors.ErrUnsupported)
			}
			if strings.Contains(d.Error, "arguments are given") { // by an older program
				return fmt.Errorf("%v: %s: %w", node, d.Error, errors.ErrUnsupported)
			}
			if d.Error != "" {
				return fmt.Errorf("digest of %v at %v: %s", g, node, d.Error)
			}
			mu.Lock()
			found[g.PartitionIndex] = migrate.Digest{Rows: d.Rows, Hash: d.Hash}
			mu.Unlock()
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := make([]migrate.Digest, n)
	for i := range out {
		out[i] = found[int32(i)]
	}
	return out, nil
}
