package faults

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/base/pause"
	"pegasus/client"
	"pegasus/gen/duplication"
	"pegasus/gen/rrdb"
	"pegasus/rpc"
)

// restPatience is how long two healed clusters get until each has everything of the other.
const restPatience = 3 * time.Minute

// pair hurts two clusters that duplicate a table to each other. Each has clients of its own, with histories of
// their own keys; some rows are written by both. At rest, both tables are the same.
func pair(ctx context.Context, o Options) error {
	list, err := choose(o.Nemeses)
	if err != nil {
		return err
	}
	o.makeSmallDisks(list)
	ws, err := newPair(ctx, o, smallFiles)
	if err != nil {
		return err
	}
	defer ws[1].close()
	defer ws[0].close()
	// What is there before the duplication begins is copied.
	for _, w := range ws {
		l, err := newLoad(w)
		if err != nil {
			return err
		}
		if err := l.prefill(prefillRows / 2); err != nil {
			return err
		}
	}
	if err := ws[0].lasting.fill(ctx, ws[0].cl); err != nil {
		return err
	}
	for _, w := range ws {
		if err := w.duplicate(ctx); err != nil {
			return err
		}
	}
	sh, err := newSharedRows(filepath.Join(o.Dir, "shared.jsonl"), o.Removes)
	if err != nil {
		return err
	}
	began := now()
	loading := newTasks(ctx)
	nctx, cancel := context.WithTimeout(ctx, o.Duration)
	defer cancel()
	var wg sync.WaitGroup
	for _, w := range ws {
		possible := w.possible(list)
		w.tell("seed %d: %d metas, %d replica servers, %d partitions, %d operations/s for %v, %d %% of them on rows of both, removes of those: %v; nemeses %s",
			w.opts.Seed, o.Metas, o.Replicas, o.Partitions, o.Rate, o.Duration, o.Shared, o.Removes, names(possible))
		w.load.rate = max(1, o.Rate*(100-o.Shared)/100)
		loading.run(w.load.run)
		if o.Shared > 0 {
			loading.run(func(ctx context.Context) { sh.run(ctx, w, max(1, o.Rate*o.Shared/100)) })
		}
		loading.run(w.watchLosses)
		wg.Go(func() { w.torment(nctx, possible, o.Lanes) })
	}
	wg.Wait()
	ended := now()
	for _, w := range ws {
		w.recover(ctx)
	}
	pause.For(ctx, 2*time.Second)
	loading.stop()
	stopped := time.Now()
	for _, w := range ws {
		if err := w.awaitSent(ctx, restPatience); err != nil {
			w.wrong("what was written isn't in the other cluster %v after everything was healed: %v", restPatience, err)
		}
		w.tell("everything is in the other cluster %.1fs after the last write", time.Since(stopped).Seconds())
	}
	lost := ws[0].losses(ctx) + ws[1].losses(ctx)
	rows, differ := compareTables(ctx, ws, sh)
	equal := compareDigests(ctx, ws)
	tried, acked := sh.close()
	for _, w := range ws {
		if e := w.verdict(ctx, w.load, began, ended); e != nil {
			err = e
		}
	}
	failed := err != nil || differ > 0 || !equal || lost > 0
	fmt.Fprintf(o.Out, "faults: pair seed=%d seconds=%.0f rows=%d shared_writes=%d shared_acked=%d rows_differ=%d lost_mutations=%d digests_equal=%v\n",
		o.Seed, seconds(ended-began), rows, tried, acked, differ, lost, map[bool]string{true: "yes", false: "no"}[equal])
	if failed {
		return ErrFailed
	}
	return nil
}

// newPair starts two clusters that know each other.
func newPair(ctx context.Context, o Options, change func(*config.Config)) ([]*world, error) {
	n, err := newNetwork(o.Namespaces)
	if err != nil {
		return nil, err
	}
	ws := make([]*world, 2)
	cfgs := make([]config.Config, 2)
	for i, name := range []string{"west", "east"} {
		w := &world{name: name, opts: o, claimed: map[*server]bool{}, done: map[string]int{}}
		w.opts.Dir = filepath.Join(o.Dir, name)
		w.opts.Seed = o.Seed + uint64(i)<<32
		cfgs[i] = config.Default()
		cfgs[i].Cluster.Name, cfgs[i].Cluster.ID = name, i+1
		change(&cfgs[i])
		if err := os.MkdirAll(w.opts.Dir, 0o755); err != nil {
			return nil, err
		}
		if w.c, err = newCluster(w.opts, n, name+"-", cfgs[i], w.tell); err != nil {
			return nil, err
		}
		ws[i] = w
	}
	for i, w := range ws {
		w.peer = ws[1-i]
		cfgs[i].Clusters = map[string]config.Remote{w.peer.name: {ID: 2 - i, MetaServers: w.peer.c.metaAddrs()}}
		if err := w.c.configure(cfgs[i]); err != nil {
			return nil, err
		}
	}
	for i, w := range ws {
		if err := w.start(ctx); err != nil {
			if i > 0 {
				ws[0].close()
			}
			return nil, err
		}
	}
	return ws, nil
}

// duplicate begins to send the table to the other cluster, and waits until what was there before has been copied.
func (w *world) duplicate(ctx context.Context) error {
	err := poll(ctx, func() error {
		actx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		_, err := w.cl.Admin().AddDuplication(actx, table, w.peer.name, client.DuplicationOptions{})
		return err
	})
	if err != nil {
		return err
	}
	return w.awaitSent(ctx, time.Minute)
}

// awaitSent waits until the other cluster has everything of this one.
func (w *world) awaitSent(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return poll(ctx, func() error {
		qctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		ds, err := w.cl.Admin().Duplications(qctx, table)
		if err != nil {
			return err
		}
		if len(ds) != 1 || ds[0].Status != duplication.DS_LOG || len(ds[0].PartitionStates.V) != w.opts.Partitions {
			return fmt.Errorf("duplications: %+v", ds)
		}
		for _, p := range ds[0].PartitionStates.V {
			if s := p.Val; s.Why.V != "up to date" || s.ConfirmedDecree < s.LastCommittedDecree {
				return fmt.Errorf("partition %d has committed decree %d, and confirmed %d: %s", p.Key, s.LastCommittedDecree, s.ConfirmedDecree, s.Why.V)
			}
		}
		return nil
	})
}

// lossMetrics are the counters that must stay 0: what was left out on the way to the other cluster, and what
// couldn't be applied.
var lossMetrics = []string{"dup_recent_lost_mutations", "dup_lost_writes"}

// losses adds up the counters of losses; each server must answer.
func (w *world) losses(ctx context.Context) (n int64) {
	for _, s := range w.c.of("replica") {
		of, err := lossesOf(ctx, s)
		if err != nil {
			w.wrong("%v", err)
		}
		for name, v := range of {
			if n += v; v != 0 {
				w.wrong("%s of %s is %d", name, s.Name, v)
			}
		}
	}
	return n
}

func lossesOf(ctx context.Context, s *server) (map[string]int64, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Addr+"/metrics?format=prometheus&metrics="+strings.Join(lossMetrics, ","), nil)
	if err != nil {
		return nil, err
	}
	a, err := http.DefaultClient.Do(q)
	if err != nil {
		return nil, fmt.Errorf("metrics of %s: %w", s.Name, err)
	}
	defer a.Body.Close()
	sums, err := readLosses(io.LimitReader(a.Body, 16<<20))
	if err != nil {
		return nil, fmt.Errorf("metrics of %s: %w", s.Name, err)
	}
	return sums, nil
}

// readLosses adds up the lossMetrics of all replicas in a text for Prometheus. Each must be there.
func readLosses(r io.Reader) (map[string]int64, error) {
	sums := map[string]int64{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		name, rest, _ := strings.Cut(lines.Text(), "{")
		name = strings.TrimSuffix(strings.TrimPrefix(name, "pegasus_replica_"), "_total")
		if !slices.Contains(lossMetrics, name) {
			continue
		}
		v, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("line %q: %w", lines.Text(), err)
		}
		sums[name] += int64(v)
	}
	for _, m := range lossMetrics {
		if _, ok := sums[m]; !ok && lines.Err() == nil {
			return nil, fmt.Errorf("%s isn't there", m)
		}
	}
	return sums, lines.Err()
}

// watchLosses looks at the counters while servers die, with which they begin anew.
func (w *world) watchLosses(ctx context.Context) {
	told := map[string]bool{}
	for pause.For(ctx, 2*time.Second) {
		for _, s := range w.c.of("replica") {
			of, _ := lossesOf(ctx, s) // it may be dead
			for name, v := range of {
				if v != 0 && !told[s.Name+name] {
					told[s.Name+name] = true
					w.wrong("%s of %s is %d", name, s.Name, v)
				}
			}
		}
	}
}

// Rows that both clusters write: so many hash keys, with so many sort keys each.
const (
	sharedKeys = 100
	sharedSort = 3
)

// sharedRows is what clients of both clusters do to the same rows, one line of JSON each.
type sharedRows struct {
	removes      bool
	tried, acked atomic.Int64

	mu      sync.Mutex
	file    *os.File
	w       *bufio.Writer
	written map[string]string // value -> the row that it was meant for
	sure    map[string]bool   // rows of which a write was acknowledged
}

type sharedOp struct {
	Cluster string
	Op      string
	Rows    []string
	Value   string `json:",omitempty"`
	Outcome string
	Call    int64
	Return  int64
	Server  string
}

func newSharedRows(file string, removes bool) (*sharedRows, error) {
	f, err := os.Create(file)
	if err != nil {
		return nil, fmt.Errorf("history of rows of both clusters: %w", err)
	}
	return &sharedRows{removes: removes, file: f, w: bufio.NewWriter(f), written: map[string]string{}, sure: map[string]bool{}}, nil
}

func (sh *sharedRows) close() (tried, acked int64) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	_ = sh.w.Flush()
	_ = sh.file.Close()
	return sh.tried.Load(), sh.acked.Load()
}

// run writes from one cluster until ctx ends.
func (sh *sharedRows) run(ctx context.Context, w *world, rate int) {
	const workers = 4
	var wg sync.WaitGroup
	for n := range workers {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(w.opts.Seed, uint64(5000+n)))
			for i := 0; pause.For(ctx, time.Duration(float64(workers*time.Second)/float64(rate)*(0.5+r.Float64()))); i++ {
				sh.write(w, r, fmt.Sprintf("%s-%d-%d", w.name, n, i))
			}
		})
	}
	wg.Wait()
}

func (sh *sharedRows) write(w *world, r *rand.Rand, value string) {
	hk := fmt.Appendf(nil, "both%d", r.IntN(sharedKeys))
	sort := []string{"a", "b", "c"}[:sharedSort]
	r.Shuffle(len(sort), func(i, j int) { sort[i], sort[j] = sort[j], sort[i] })
	op := sharedOp{Cluster: w.name, Value: value}
	var code string
	var send func() (string, error)
	one := base.AppendKey(nil, hk, []byte(sort[0]))
	hash := base.CRC64(hk)
	n := r.IntN(100)
	switch {
	case sh.removes && n < 15:
		op.Op, op.Value, sort, code = "del", "", sort[:1], base.RPCRemove
	case sh.removes && n < 20:
		op.Op, op.Value, code = "multi_del", "", base.RPCMultiRemove
	case n < 40:
		op.Op, sort, code = "multi_set", sort[:2], base.RPCMultiPut
	default:
		op.Op, sort, code = "set", sort[:1], base.RPCPut
	}
	switch code {
	case base.RPCRemove, base.RPCPut:
		send = func() (string, error) {
			var res rrdb.UpdateResponse
			var at string
			var err error
			if code == base.RPCRemove {
				at, err = w.ca.call("", hash, code, rpc.Blob(one), &res)
			} else {
				at, err = w.ca.call("", hash, code, &rrdb.UpdateRequest{Key: one, Value: []byte(value)}, &res)
			}
			return at, cmp.Or(err, result(res.Error))
		}
	case base.RPCMultiRemove:
		arg := &rrdb.MultiRemoveRequest{HashKey: hk}
		for _, s := range sort {
			arg.SortKeys = append(arg.SortKeys, []byte(s))
		}
		send = func() (string, error) {
			var res rrdb.MultiRemoveResponse
			at, err := w.ca.call("", hash, code, arg, &res)
			return at, cmp.Or(err, result(res.Error))
		}
	default:
		arg := &rrdb.MultiPutRequest{HashKey: hk}
		for _, s := range sort {
			arg.Kvs = append(arg.Kvs, rrdb.KeyValue{Key: []byte(s), Value: []byte(value)})
		}
		send = func() (string, error) {
			var res rrdb.UpdateResponse
			at, err := w.ca.call("", hash, code, arg, &res)
			return at, cmp.Or(err, result(res.Error))
		}
	}
	for _, s := range sort {
		op.Rows = append(op.Rows, string(hk)+"/"+s)
	}
	sh.tried.Add(1)
	op.Call = now()
	at, err := send()
	op.Return, op.Server = now(), at
	out := judge(err)
	op.Outcome = [...]string{"done", "refused", "unknown"}[out]
	if out == done {
		sh.acked.Add(1)
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if op.Value != "" && out != refused {
		for _, row := range op.Rows {
			sh.written[op.Value+" "+row] = row
			sh.sure[row] = sh.sure[row] || out == done
		}
	}
	if b, err := json.Marshal(&op); err == nil {
		_, _ = sh.w.Write(append(b, '\n'))
	}
}

// check says what is wrong with the rows of both clusters, which are the same in both.
func (sh *sharedRows) check(rows map[string]string) (bad []string) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for row, v := range rows {
		if _, ok := sh.written[v+" "+row]; strings.HasPrefix(row, "both") && !ok {
			bad = append(bad, fmt.Sprintf("row %q is %q, which nobody wrote, or whose write was refused", row, v))
		}
	}
	for row := range sh.sure {
		if _, there := rows[row]; !there && !sh.removes {
			bad = append(bad, fmt.Sprintf("row %q, which was written and never removed, is gone", row))
		}
	}
	slices.Sort(bad)
	return bad
}

// tableOf returns all rows of the table.
func (w *world) tableOf(ctx context.Context) (map[string]string, error) {
	t, err := w.cl.Table(ctx, table)
	if err != nil {
		return nil, err
	}
	rows := map[string]string{}
	s := t.ScanAll(client.ScanOptions{Batch: 1000})
	defer s.Close()
	for s.Next(ctx) {
		r := s.Row()
		rows[string(r.HashKey)+"/"+string(r.SortKey)] = string(r.Value)
	}
	return rows, s.Err()
}

// compareTables compares all rows of both clusters.
func compareTables(ctx context.Context, ws []*world, sh *sharedRows) (rows, differ int) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	var of [2]map[string]string
	for i, w := range ws {
		if err := poll(ctx, func() (err error) { of[i], err = w.tableOf(ctx); return err }); err != nil {
			w.wrong("the rows can't be read: %v", err)
			return 0, 1
		}
	}
	differences := differing(of[0], of[1])
	for i, text := range differences {
		if i < maxTrouble {
			ws[0].wrong("%s", text)
		}
	}
	for _, text := range sh.check(of[0]) {
		ws[0].wrong("%s", text)
	}
	return len(of[0]), len(differences)
}

// differing says which rows two tables don't have in common.
func differing(west, east map[string]string) (out []string) {
	all := maps.Clone(west)
	maps.Copy(all, east)
	for _, row := range slices.Sorted(maps.Keys(all)) {
		a, here := west[row]
		b, there := east[row]
		if a != b || here != there {
			out = append(out, fmt.Sprintf("row %q: in west it is there %v %.40q, in east %v %.40q", row, here, a, there, b))
		}
	}
	return out
}

// compareDigests compares the digests of each partition, with expiries and timetags. Where they differ it says which rows do.
func compareDigests(ctx context.Context, ws []*world) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	equal := true
	for p := range ws[0].opts.Partitions {
		var of [2][]digest
		for i, w := range ws {
			if err := poll(ctx, func() (err error) { of[i], err = w.digests(ctx, p); return err }); err != nil {
				w.wrong("digests of partition %d: %v", p, err)
				return false
			}
		}
		if a, b := of[0][0], of[1][0]; a.Hash != b.Hash || a.Rows != b.Rows {
			ws[0].wrong("partition %d differs: %s; %s", p, describe(of[0][:1]), describe(of[1][:1]))
			equal = false
			explain(ctx, ws, p)
		}
	}
	return equal
}
