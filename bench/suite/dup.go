package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"pegasus/base"
	"pegasus/client"
	"pegasus/gen/duplication"
	"pegasus/onebox"
)

const (
	dupRate   = 5000 // puts a second
	lagPuts   = 1_000_000
	plain     = "plain" // a table that isn't sent anywhere
	probeRate = 50
)

// dup measures a duplication between two clusters on this machine: the time from the acknowledgement of a put to its
// visibility in the other cluster, what the sending costs the source, and how fast a lag goes away.
func (s *suite) dup() error {
	port := s.port
	defer func() { s.port = port }()
	conf := func(name string, id int, other string, otherID, otherPort int) string {
		return fmt.Sprintf("%s[cluster]\nname = %q\nid = %d\n[clusters.%s]\nid = %d\nmeta_servers = [\"127.0.0.1:%d\"]\n", syncOS, name, id, other, otherID, otherPort)
	}
	const step = 10
	var cs [2]*cluster
	for i, text := range []string{conf("west", 1, "east", 2, port+step), conf("east", 2, "west", 1, port)} {
		s.clusters++
		c, err := startCluster(s.bin, filepath.Join(s.dir, fmt.Sprint(s.clusters)), port+i*step, 8, 3, text)
		if err != nil {
			return err
		}
		defer c.stop()
		cs[i] = c
	}
	p := &dupPair{s: s, west: cs[0], east: cs[1], here: client.New([]string{cs[0].meta}, client.Options{}), there: client.New([]string{cs[1].meta}, client.Options{})}
	defer p.here.Close()
	defer p.there.Close()
	return p.run(context.Background())
}

type dupPair struct {
	s           *suite
	west, east  *cluster
	here, there *client.Client
	id          int32 // of the duplication
}

func (p *dupPair) run(ctx context.Context) error {
	for _, c := range []*client.Client{p.here, p.there} {
		if _, err := c.Admin().CreateTable(ctx, plain, 8, 3, client.CreateOptions{}); err != nil {
			return err
		}
	}
	for _, t := range []string{table, plain} {
		if _, err := p.west.load("set", 4, 64, "--count", fmt.Sprint(rows), "--table", t); err != nil {
			return err
		}
	}
	a, err := p.here.Admin().AddDuplication(ctx, table, "east", client.DuplicationOptions{})
	if err != nil {
		return err
	}
	p.id = a.Dupid
	// The copy is complete when what is written now comes along.
	if err := p.settled(ctx, 2*time.Minute); err != nil {
		return err
	}
	for round := range p.s.rounds {
		if err := p.round(ctx, round); err != nil {
			return err
		}
	}
	return p.catchUp(ctx)
}

// settled waits until the duplication is up to date.
func (p *dupPair) settled(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		ds, err := p.here.Admin().Duplications(ctx, table)
		if err != nil {
			return err
		}
		if len(ds) == 1 && ds[0].Status == duplication.DS_LOG && len(ds[0].PartitionStates.V) > 0 &&
			!slices.ContainsFunc(ds[0].PartitionStates.V, func(x base.Pair[int32, duplication.DuplicationPartitionState]) bool {
				return x.Val.Why.V != "up to date"
			}) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the duplication isn't up to date after %v: %+v", limit, ds)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// round measures puts to a table that isn't sent: alone, and while the other cluster, which shares this machine's processors, has as
// many puts of its own. Then it measures puts to the table that is sent.
func (p *dupPair) round(ctx context.Context, round int) error {
	args := []string{"--rate", fmt.Sprint(dupRate), "--time", p.s.span()}
	unsent := append(slices.Clone(args), "--table", plain)
	alone, err := p.west.load("set", 4, 1000, unsent...)
	if err != nil {
		return err
	}
	var other error
	var loaded sync.WaitGroup
	loaded.Go(func() { _, other = p.east.load("set", 4, 1000, unsent...) })
	without, err := p.west.load("set", 4, 1000, unsent...)
	loaded.Wait()
	if err := errors.Join(err, other); err != nil {
		return err
	}
	far := p.east.cpu()
	probing, stop := context.WithCancel(ctx)
	var lags []time.Duration
	var failed error
	var probed sync.WaitGroup
	probed.Go(func() { lags, failed = p.probe(probing, round) })
	with, err := p.west.load("set", 4, 1000, args...)
	stop()
	probed.Wait()
	far = p.east.cpu() - far
	if err := errors.Join(err, failed); err != nil {
		return err
	}
	// settle of load stops once the source is calm: what it ends with is not under load any more.
	slices.Sort(lags)
	at := func(q float64) float64 { return float64(lags[int(q*float64(len(lags)-1))].Microseconds()) / 1000 }
	p.s.note("round %d: %d probes; visible after p50 %.1f ms, p99 %.1f, longest %.1f; put p99 %d us, without %d, alone %d; CPU %.1f us, without %.1f, of the other cluster %.1f",
		round+1, len(lags), at(0.5), at(0.99), at(1), with.Latency.P99, without.Latency.P99, alone.Latency.P99, with.ServerCPU, without.ServerCPU, float64(far.Microseconds())/float64(with.Ops))
	p.s.res.add("put seen in the other cluster, p50", "ms", at(0.5))
	p.s.res.most("put seen in the other cluster, p99", "ms", at(0.99), 200)
	p.s.res.add("put seen in the other cluster, longest", "ms", at(1))
	p.s.res.add("put p99, not sent, the other cluster idle", "us", float64(alone.Latency.P99))
	p.s.res.add("put p99, not sent", "us", float64(without.Latency.P99))
	p.s.res.add("put p99, sent", "us", float64(with.Latency.P99))
	p.s.res.most("put p99, sent by not sent", "x", float64(with.Latency.P99)/float64(max(without.Latency.P99, 1)), 1.2)
	p.s.res.add("put p50, sent by not sent", "x", float64(with.Latency.P50)/float64(max(without.Latency.P50, 1)))
	p.s.res.add("put p99, sent by not sent, the other cluster idle", "x", float64(with.Latency.P99)/float64(max(alone.Latency.P99, 1)))
	p.s.res.add("CPU of the source, not sent", "us/op", without.ServerCPU)
	p.s.res.add("CPU of the source, sent", "us/op", with.ServerCPU)
	p.s.res.add("CPU of the other cluster", "us/op", float64(far.Microseconds())/float64(with.Ops))
	return nil
}

// probe writes rows here and reads them there, from the acknowledgement on, until ctx ends.
func (p *dupPair) probe(ctx context.Context, round int) ([]time.Duration, error) {
	from, err := p.here.Table(ctx, table)
	if err != nil {
		return nil, err
	}
	to, err := p.there.Table(ctx, table)
	if err != nil {
		return nil, err
	}
	work, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Minute)
	defer cancel()
	var mu sync.Mutex
	var lags []time.Duration
	var bad error
	var wg sync.WaitGroup
	end := time.After(p.s.time) // while there is load
	tick := time.NewTicker(time.Second / probeRate)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
		case <-end:
		case <-tick.C:
			wg.Go(func() {
				lag, err := probeOne(work, from, to, fmt.Appendf(nil, "probe%d-%d", round, i))
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					bad = err
					return
				}
				lags = append(lags, lag)
			})
			continue
		}
		break
	}
	wg.Wait()
	if bad == nil && len(lags) == 0 {
		bad = errors.New("no probe ended")
	}
	return lags, bad
}

func probeOne(ctx context.Context, from, to *client.Table, key []byte) (time.Duration, error) {
	if err := from.Set(ctx, key, []byte("s"), []byte("v"), 0); err != nil {
		return 0, err
	}
	acked := time.Now()
	for {
		_, there, err := to.Get(ctx, key, []byte("s"))
		if err != nil || there {
			return time.Since(acked), err
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// catchUp writes while nothing is sent, and measures how fast the other cluster gets it.
func (p *dupPair) catchUp(ctx context.Context) error {
	if err := p.here.Admin().SetDuplication(ctx, table, p.id, duplication.DS_PAUSE); err != nil {
		return err
	}
	if _, err := p.west.load("set", 4, 64, "--count", fmt.Sprint(lagPuts)); err != nil {
		return err
	}
	behind, err := p.pending(ctx)
	if err != nil {
		return err
	}
	if err := p.here.Admin().SetDuplication(ctx, table, p.id, duplication.DS_LOG); err != nil {
		return err
	}
	began, cpu := time.Now(), p.west.cpu()
	for left := behind; left > 0; {
		if time.Since(began) > 10*time.Minute {
			return fmt.Errorf("%d of %d mutations are still behind after 10 minutes", left, behind)
		}
		time.Sleep(100 * time.Millisecond)
		if left, err = p.pending(ctx); err != nil {
			return err
		}
	}
	took := time.Since(began)
	mb := float64(lagPuts) * 1024 / 1e6
	p.s.note("%.0f MB in %d mutations are caught up in %v, CPU of the source %.1f us a put", mb, behind, took.Round(100*time.Millisecond), float64((p.west.cpu()-cpu).Microseconds())/lagPuts)
	p.s.res.least("catching up", "MB/s", mb/took.Seconds(), 20)
	return nil
}

// pending adds up how many mutations of the source the other cluster isn't known to have.
func (p *dupPair) pending(ctx context.Context) (sum int64, err error) {
	for _, s := range p.west.box.Servers {
		if s.Role != "replica" {
			continue
		}
		n, err := pendingOf(ctx, s)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

func pendingOf(ctx context.Context, s *onebox.Server) (sum int64, err error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Addr+"/metrics?format=prometheus&metrics=dup_pending_mutations", nil)
	if err != nil {
		return 0, err
	}
	a, err := http.DefaultClient.Do(q)
	if err != nil {
		return 0, fmt.Errorf("metrics of %s: %w", s.Name, err)
	}
	defer a.Body.Close()
	lines := bufio.NewScanner(a.Body)
	for lines.Scan() {
		if text := lines.Text(); strings.HasPrefix(text, "pegasus_replica_dup_pending_mutations") {
			v, err := strconv.ParseFloat(text[strings.LastIndexByte(text, ' ')+1:], 64)
			if err != nil {
				return 0, fmt.Errorf("metrics of %s: %q: %w", s.Name, text, err)
			}
			sum += int64(v)
		}
	}
	return sum, lines.Err()
}
