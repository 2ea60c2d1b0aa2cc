package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"pegasus/base/pause"
	"slices"
	"strings"
	"time"
)

// failover measures how long a partition can't be written after its primary's server was
// hurt: from the blow to the first acknowledged write, of each partition it led.
func failover(ctx context.Context, o Options) error {
	w, err := newWorld(ctx, o, smallFiles)
	if err != nil {
		return err
	}
	defer w.close()
	if !slices.Contains([]string{"kill", "kill-meta", "kill-both", "pause", "cut"}, o.How) {
		return fmt.Errorf("failover by %q isn't known: kill, pause, cut, kill-meta or kill-both", o.How)
	}
	r := rand.New(rand.NewPCG(o.Seed, 2))
	var all, worst, metas []time.Duration
	for round := range o.Rounds {
		if err := w.awaitWhole(ctx, wholePatience); err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
		p := newProbe(w)
		p.start(ctx)
		if !p.awaitAll(ctx, now(), 30*time.Second) {
			p.stop()
			return fmt.Errorf("round %d: not every partition can be written before anything happened", round)
		}
		pause.For(ctx, between(r, 0, 2*time.Second))
		s, hurt, err := w.strike(ctx, r)
		if err != nil {
			p.stop()
			return err
		}
		at := now()
		hurt()
		if o.How == "cut" {
			at = now() // it takes a moment, in which writes still go through
		}
		if strings.Contains(o.How, "-") {
			if w.leader(ctx) == nil {
				return fmt.Errorf("round %d: no meta leads, 30 s after the leader was killed", round)
			}
			metas = append(metas, time.Duration(now()-at))
		}
		waited := p.awaitAll(ctx, at, time.Minute)
		ds := p.since(at, s, o.How)
		p.stop()
		if err := w.c.heal(); err != nil {
			return err
		}
		if !waited {
			return fmt.Errorf("round %d: a partition was not writable within a minute after %s of %s", round, o.How, s.Name)
		}
		if o.How == "kill-meta" {
			w.tell("round %d: %s killed, another leads after %v; longest time without a write of a partition %v", round, s.Name,
				metas[len(metas)-1].Round(time.Millisecond), slices.Max(ds).Round(time.Millisecond))
			worst = append(worst, slices.Max(ds))
			all = append(all, ds...)
			continue
		}
		if len(ds) == 0 {
			continue // it led nothing
		}
		all = append(all, ds...)
		worst = append(worst, slices.Max(ds))
		w.tell("round %d: %s of %s, which led %d partitions; writable after %v", round, o.How, s.Name, len(ds), slices.Max(ds).Round(time.Millisecond))
	}
	fmt.Fprintf(o.Out, "failover: how=%s blows=%d partitions=%d p50=%v p99=%v max=%v worst_partition_of_each_blow: p50=%v p99=%v\n", o.How, len(worst), len(all),
		quantile(all, 0.5), quantile(all, 0.99), quantile(all, 1), quantile(worst, 0.5), quantile(worst, 0.99))
	if len(metas) > 0 {
		fmt.Fprintf(o.Out, "failover: next meta leads after p50=%v p99=%v max=%v\n", quantile(metas, 0.5), quantile(metas, 0.99), quantile(metas, 1))
	}
	return nil
}

func quantile(ds []time.Duration, q float64) time.Duration {
	return quantileExact(ds, q).Round(time.Millisecond)
}

func quantileExact(ds []time.Duration, q float64) time.Duration {
	if len(ds) == 0 {
		return 0
	}
	s := slices.Clone(ds)
	slices.Sort(s)
	return s[min(len(s)-1, int(q*float64(len(s))))]
}

// strike picks whom to hurt and returns how.
func (w *world) strike(ctx context.Context, r *rand.Rand) (*server, func(), error) {
	if w.opts.How == "kill-meta" {
		s := w.leader(ctx)
		if s == nil {
			return nil, nil, errors.New("no meta leads")
		}
		return s, func() { kill(s) }, nil
	}
	rs := w.c.of("replica")
	cfg, err := w.cl.Admin().QueryConfig(ctx, table)
	if err != nil {
		return nil, nil, err
	}
	s := w.c.at(cfg.Partitions[r.IntN(len(cfg.Partitions))].Primary.String())
	if s == nil || !slices.Contains(rs, s) {
		return nil, nil, errors.New("a partition has no primary")
	}
	lead := w.leader(ctx)
	if lead == nil {
		return nil, nil, errors.New("no meta leads")
	}
	switch w.opts.How {
	case "kill-both":
		return s, func() { kill(s, lead) }, nil
	case "pause":
		return s, func() { s.pause() }, nil
	case "cut":
		return s, func() {
			for _, o := range append([]string{clientHost}, serverNames(w.c.servers)...) {
				if o != s.Name {
					if err := errors.Join(w.c.net.Cut(s.Name, o), w.c.net.Cut(o, s.Name)); err != nil {
						w.wrong("cut %s: %v", s.Name, err)
					}
				}
			}
		}, nil
	}
	return s, func() { kill(s) }, nil
}

func serverNames(ss []*server) (ns []string) {
	for _, s := range ss {
		ns = append(ns, s.Name)
	}
	return ns
}
