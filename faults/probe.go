package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"time"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/base/pause"
	"pegasus/gen/rrdb"
)

// probe writes to every partition all the time, one attempt after the other, and notes when
// each could be written.
type probe struct {
	w    *world
	t    *tasks
	keys [][]byte // a hash key of each partition

	mu    sync.Mutex
	times [][]int64 // of each partition: when acknowledged writes began
	leads []string  // who led each partition when the probe began
}

// probeEvery is how often a partition is tried.
const probeEvery = 10 * time.Millisecond

func newProbe(w *world) *probe {
	n := w.opts.Partitions
	p := &probe{w: w, keys: make([][]byte, n), times: make([][]int64, n), leads: make([]string, n)}
	for i, left := 0, n; left > 0; i++ {
		hk := []byte("probe" + strconv.Itoa(i))
		if at := base.CRC64(hk) % uint64(n); p.keys[at] == nil {
			p.keys[at] = hk
			left--
		}
	}
	return p
}

func (p *probe) start(ctx context.Context) {
	p.t = newTasks(ctx)
	// An attempt that hangs must not hide that the next one would succeed.
	c := newCaller(p.w.cl, table, 300*time.Millisecond)
	p.t.run(func(ctx context.Context) { c.follow(ctx); c.close() })
	for i := range p.keys {
		p.t.run(func(ctx context.Context) {
			for pause.For(ctx, probeEvery) {
				p.try(c, i)
			}
		})
	}
}

func (p *probe) stop() { p.t.stop() }

func (p *probe) try(c *caller, i int) {
	at := now()
	var res rrdb.UpdateResponse
	key := base.AppendKey(nil, p.keys[i], nil)
	to, err := c.call("", base.CRC64(p.keys[i]), base.RPCPut, &rrdb.UpdateRequest{Key: key, Value: text(at + 1)}, &res)
	if err != nil || res.Error != 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	// When it was acknowledged, not when it was sent: that is what a client waits for.
	p.times[i] = append(p.times[i], now())
	if len(p.times[i]) == 1 {
		p.leads[i] = to
	}
}

// awaitAll waits until every partition was written after at.
func (p *probe) awaitAll(ctx context.Context, at int64, limit time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return poll(ctx, func() error {
		p.mu.Lock()
		defer p.mu.Unlock()
		for i, ts := range p.times {
			// Twice: the first answer may have been on its way when the blow fell.
			if n := len(ts); n < 2 || ts[n-2] <= at {
				return fmt.Errorf("partition %d", i)
			}
		}
		return nil
	}) == nil
}

// since returns how long each partition that s led had no acknowledged write after at; of
// a meta server, all partitions.
func (p *probe) since(at int64, s *server, how string) []time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []time.Duration
	for i, ts := range p.times {
		if how != "kill-meta" && p.leads[i] != s.Addr {
			continue
		}
		// The longest time without an acknowledgement, which for a primary that died is
		// from the blow to the first answer of its successor.
		gap, last := int64(0), at
		for _, t := range ts {
			if t > at {
				gap, last = max(gap, t-last), t
			}
		}
		out = append(out, time.Duration(gap))
	}
	return out
}

// walStats is what the remote command replica.wal-stats tells of a data directory.
type walStats struct {
	Entries, Bytes, Batches, Syncs uint64
	SyncTime                       time.Duration
}

func (w *world) walStats(ctx context.Context) (map[string]walStats, error) {
	out := map[string]walStats{}
	for _, s := range w.c.of("replica") {
		text, err := w.cl.Admin().RemoteCommand(ctx, s.Addr, "replica.wal-stats")
		if err != nil {
			return nil, err
		}
		var dirs []walStats
		if err := json.Unmarshal([]byte(text), &dirs); err != nil || len(dirs) != 1 {
			return nil, fmt.Errorf("replica.wal-stats of %s answers %q: %w", s.Name, text, err)
		}
		out[s.Name] = dirs[0]
	}
	return out, nil
}

// syncs counts how many fdatasyncs a committed write costs the logs when writers write at
// the same time to many partitions: 64 writers and 64 partitions, if not told otherwise.
func syncs(ctx context.Context, o Options) error {
	w, err := newWorld(ctx, o, func(*config.Config) {})
	if err != nil {
		return err
	}
	defer w.close()
	ca := newCaller(w.cl, table, 5*time.Second)
	defer ca.close()
	t := newTasks(ctx)
	t.run(ca.follow)
	defer t.stop()
	if err := poll(ctx, func() error {
		if ca.config.Load() == nil {
			return fmt.Errorf("no route yet")
		}
		return nil
	}); err != nil {
		return err
	}
	writers := func(d time.Duration) (acked, failed int64, took time.Duration) {
		var mu sync.Mutex
		var wg sync.WaitGroup
		wctx, cancel := context.WithTimeout(ctx, d)
		defer cancel()
		began := time.Now()
		for i := range o.Workers {
			wg.Go(func() {
				good, bad := int64(0), int64(0)
				value := make([]byte, 100)
				for n := 0; wctx.Err() == nil; n++ {
					hk := []byte("s" + strconv.Itoa(i) + "." + strconv.Itoa(n%1000))
					var res rrdb.UpdateResponse
					_, err := ca.call("", base.CRC64(hk), base.RPCPut, &rrdb.UpdateRequest{Key: base.AppendKey(nil, hk, nil), Value: value}, &res)
					if err == nil && res.Error == 0 {
						good++
					} else {
						bad++
					}
				}
				mu.Lock()
				acked, failed = acked+good, failed+bad
				mu.Unlock()
			})
		}
		wg.Wait()
		return acked, failed, time.Since(began)
	}
	writers(2 * time.Second) // connections, first segments
	before, err := w.walStats(ctx)
	if err != nil {
		return err
	}
	acked, failed, took := writers(o.Duration)
	after, err := w.walStats(ctx)
	if err != nil {
		return err
	}
	if acked == 0 {
		return fmt.Errorf("no write was acknowledged, %d failed", failed)
	}
	var sum uint64
	worst := 0.0
	for name, a := range after {
		b := before[name]
		n := a.Syncs - b.Syncs
		sum += n
		per := float64(n) / float64(acked)
		worst = max(worst, per)
		w.tell("%s: %d fdatasyncs of %v on average, %d log entries in %d batches", name, n, (a.SyncTime-b.SyncTime)/time.Duration(max(n, 1)), a.Entries-b.Entries, a.Batches-b.Batches)
	}
	fmt.Fprintf(o.Out, "syncs: writers=%d partitions=%d servers=%d acked_writes=%d failed=%d writes_per_second=%.0f fdatasyncs=%d per_write_one_log=%.4f per_write_all_logs=%.4f\n",
		o.Workers, o.Partitions, len(after), acked, failed, float64(acked)/took.Seconds(), sum, worst, float64(sum)/float64(acked))
	return nil
}
