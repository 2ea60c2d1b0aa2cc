package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"pegasus/base/config"
	"pegasus/base/pause"
)

// Run does what o says, printing as it goes; the last line printed sums up. An error is a
// check that failed, or why the run could not be done; what it left in o.Dir says more.
func Run(ctx context.Context, o Options) error {
	switch o.Mode {
	case "run":
		return torment(ctx, o)
	case "pair":
		return pair(ctx, o)
	case "failover":
		return failover(ctx, o)
	case "killall":
		return killRounds(ctx, o)
	case "syncs":
		return syncs(ctx, o)
	case "learn":
		return learn(ctx, o)
	}
	return fmt.Errorf("no mode %q; there are run, pair, failover, killall, syncs and learn", o.Mode)
}

// smallFiles makes logs, memtables and caches so small that minutes of light load bring
// about what takes days in use: segments that go, flushes, compactions, learners for whom
// the log doesn't reach back.
func smallFiles(c *config.Config) {
	c.WAL.SegmentBytes, c.WAL.MaxBytes, c.WAL.KeepBytes = 512<<10, 6<<20, 1<<20
	c.Replica.DiskRetry = config.Duration(time.Second)
	c.Replica.Memory = 1 << 30
	c.Storage.MemtableBytes, c.Storage.MemtablesBytes, c.Storage.BlockCacheBytes = 512<<10, 16<<20, 8<<20
}

// prefillRows are rows that a run begins with: 8 MB of them, several table files a
// partition.
const prefillRows = 8000

// ErrFailed is what a run returns whose checks failed.
var ErrFailed = errors.New("the fault run failed")

func torment(ctx context.Context, o Options) error {
	list, err := choose(o.Nemeses)
	if err != nil {
		return err
	}
	o.makeSmallDisks(list)
	w, err := newWorld(ctx, o, smallFiles)
	if err != nil {
		return err
	}
	defer w.close()
	list = w.possible(list)
	l, err := newLoad(w)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(list, func(n nemesis) bool { return n.name == "foreign" }) {
		if w.them, err = newStrangers(ctx, w); err != nil {
			return fmt.Errorf("another cluster: %w", err)
		}
	}
	w.tell("seed %d: %d metas, %d replica servers, %d partitions, %d operations/s for %v; nemeses %s", o.Seed, o.Metas, o.Replicas, o.Partitions,
		o.Rate, o.Duration, names(list))

	if err := l.prefill(prefillRows); err != nil {
		return err
	}
	if err := w.lasting.fill(ctx, w.cl); err != nil {
		return err
	}
	began := now()
	loading := newTasks(ctx)
	loading.run(l.run)
	nctx, cancel := context.WithTimeout(ctx, o.Duration)
	w.torment(nctx, list, o.Lanes)
	cancel()

	ended := now()
	w.recover(ctx)
	pause.For(ctx, 2*time.Second)
	loading.stop()
	return w.verdict(ctx, l, began, ended)
}

// makeSmallDisks asks for the disks that nemeses fill.
func (o *Options) makeSmallDisks(list []nemesis) {
	if !InSandbox() {
		return
	}
	for _, n := range list {
		switch n.name {
		case "full-disk":
			o.SmallDisks = max(o.SmallDisks, 1)
		case "full-all":
			o.SmallDisks = o.Replicas
		}
	}
}

// possible returns the nemeses that can be had, and tells of the others.
func (w *world) possible(list []nemesis) []nemesis {
	return slices.DeleteFunc(slices.Clone(list), func(n nemesis) bool {
		if n.needs == nil {
			return false
		}
		err := n.needs(w)
		if err != nil {
			w.tell("left out %s: %v", n.name, err)
		}
		return err != nil
	})
}

// newLoad makes the clients of a run, whose history goes to its directory.
func newLoad(w *world) (*load, error) {
	o := &w.opts
	h, err := newHistory(filepath.Join(o.Dir, "history.jsonl"))
	if err != nil {
		return nil, err
	}
	l := &load{seed: o.Seed, c: w.ca, h: h, l: newLedger(o.Partitions, 2000), rate: o.Rate, workers: o.Workers, most: 10000, say: w.tell}
	l.l.own = w.name
	for _, s := range w.c.of("replica") {
		l.servers = append(l.servers, s.Addr)
	}
	w.load = l
	return l, nil
}

func names(list []nemesis) string {
	var ns []string
	for _, n := range list {
		ns = append(ns, n.name)
	}
	if len(ns) == 0 {
		return "none"
	}
	return strings.Join(ns, ", ")
}

// recover heals everything, and waits until the cluster is whole.
func (w *world) recover(ctx context.Context) {
	ended := now()
	w.tell("all nemeses end; everything is healed")
	if err := w.c.heal(); err != nil {
		w.wrong("heal: %v", err)
	}
	if err := w.awaitWhole(ctx, wholePatience); err != nil {
		w.wrong("the cluster isn't whole %v after the nemeses ended: %v", wholePatience, err)
	}
	w.tell("whole again after %.1fs", seconds(now()-ended))
}

// checkPatience bounds the search for a linearization of one key.
const checkPatience = time.Minute

// verdict checks everything there is to check on a quiet, healed cluster.
func (w *world) verdict(ctx context.Context, l *load, began, ended int64) error {
	vctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	if err := l.finish(vctx); err != nil {
		w.wrong("final reads: %v", err)
	}
	res, err := l.l.scanAll(vctx, w.cl, table)
	if err != nil {
		w.wrong("final scans: %v", err)
	}
	for _, s := range res.lost {
		l.trouble(&l.lost, s)
	}
	for _, s := range res.odd {
		l.trouble(&l.odd, s)
	}
	for _, s := range w.lasting.missing(vctx, w.cl) {
		l.trouble(&l.lost, s)
	}
	rctx, cancel := context.WithTimeout(vctx, time.Minute)
	defer cancel()
	records, differ := w.compareReplicas(rctx)
	for _, d := range differ {
		w.wrong("replicas differ: %s", d)
	}
	if err := l.h.close(); err != nil {
		w.wrong("%v", err)
	}
	findings := l.h.check(w.opts.Dir, checkPatience)
	violations, undecided := 0, 0
	for i, f := range findings {
		if f.undecided {
			undecided++
		} else {
			violations++
		}
		if i < maxPictures {
			what := "is not linearizable"
			if f.undecided {
				what = fmt.Sprintf("could not be decided in %v", checkPatience)
			}
			w.tell("WRONG: the history of key %d %s; picture %s\n%s", f.key, what, f.picture, f.text)
		}
	}
	notes := w.c.deathNotes()

	silence, at := l.longestSilence(began, ended)
	w.tell("%d nemeses: %s", total(w.done), counts(w.done))
	w.tell("%d operations on %d keys and %d ledger rows; %d refused, %d unknown; longest time without an acknowledged write %d s, at %d s",
		l.tried.Load(), l.keys.Load(), l.l.acknowledged(), l.refusedN.Load(), l.unknownN.Load(), silence, at)
	w.tell("%d scans compared, %d broken off; %d rows in the final scans, %d records in each set of replicas", l.scans.Load(), l.scanFailures.Load(), res.rows, records)
	equal := "yes"
	if len(differ) > 0 {
		equal = "no"
	}
	w.mu.Lock()
	wrongs := len(w.wrongs)
	w.mu.Unlock()
	l.mu.Lock()
	lost, odd := len(l.lost), len(l.odd)
	l.mu.Unlock()
	failed := wrongs+lost+odd+len(findings)+len(notes) > 0
	if failed {
		w.tell("FAILED with seed %d; history %s; the servers' logs %s", w.opts.Seed, filepath.Join(w.opts.Dir, "history.jsonl"), filepath.Join(w.opts.Dir, "*", "log"))
	}
	fmt.Fprintf(w.opts.Out, "faults: seed=%d seconds=%.0f nemeses=%d ops=%d acked_writes=%d lost=%d violations=%d undecided=%d odd_rows=%d died=%d other=%d replicas_equal=%s\n",
		w.opts.Seed, seconds(ended-began), total(w.done), l.tried.Load(), l.acked.Load(), lost, violations, undecided, odd, len(notes), wrongs, equal)
	if failed {
		return ErrFailed
	}
	return nil
}

func total(m map[string]int) (n int) {
	for _, v := range m {
		n += v
	}
	return n
}

func counts(m map[string]int) string {
	var ns []string
	for _, n := range nemeses {
		if m[n.name] > 0 {
			ns = append(ns, fmt.Sprintf("%s %d", n.name, m[n.name]))
		}
	}
	return strings.Join(ns, ", ")
}

// killRounds kills all processes at once under write load, again and again, and verifies
// each time that what was acknowledged is there.
func killRounds(ctx context.Context, o Options) error {
	w, err := newWorld(ctx, o, smallFiles)
	if err != nil {
		return err
	}
	defer w.close()
	h, err := newHistory(filepath.Join(o.Dir, "history.jsonl"))
	if err != nil {
		return err
	}
	l := &load{seed: o.Seed, c: w.ca, h: h, l: newLedger(o.Partitions, 500), rate: o.Rate, workers: o.Workers, most: 5000, say: w.tell}
	for _, s := range w.c.of("replica") {
		l.servers = append(l.servers, s.Addr)
	}
	began := now()
	r := rand.New(rand.NewPCG(o.Seed, 3))
	var back []time.Duration
	for round := range o.Rounds {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		loading := newTasks(ctx)
		loading.run(l.run)
		before := l.acked.Load()
		pause.For(ctx, between(r, 500*time.Millisecond, 3*time.Second))
		kill(w.c.servers...)
		at := time.Now()
		loading.stop()
		for _, s := range w.c.servers {
			if err := s.Start(); err != nil {
				return err
			}
		}
		if err := w.awaitWhole(ctx, wholePatience); err != nil {
			w.wrong("round %d: not whole after %v: %v", round, wholePatience, err)
			break
		}
		back = append(back, time.Since(at))
		res, err := l.l.scanAll(ctx, w.cl, table)
		if err != nil {
			w.wrong("round %d: %v", round, err)
		}
		for _, s := range append(res.lost, res.odd...) {
			l.trouble(&l.lost, s)
		}
		w.tell("round %d: %d writes acknowledged before the blow, whole again after %v, %d rows there", round, l.acked.Load()-before, back[round].Round(time.Millisecond), res.rows)
		w.done["kill-all"]++
	}
	w.tell("whole again after p50 %v, longest %v", quantile(back, 0.5), quantile(back, 1))
	return w.verdict(ctx, l, began, now())
}

// MakeDir makes a directory for a run's files in parent ("": the system's for temporary
// files).
func MakeDir(parent string) (string, error) {
	dir, err := tempDir(parent)
	if err != nil {
		return "", fmt.Errorf("directory of the run: %w", err)
	}
	return filepath.Abs(dir)
}

// Remove removes a run's directory, unless it failed.
func Remove(dir string) error { return os.RemoveAll(dir) }
