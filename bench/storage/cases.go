package main

import (
	"context"
	"fmt"
	"time"

	"pegasus/base"
	"pegasus/bench"
)

const (
	otherRows = 100_000 // of the table that stands for all others of the server
	// foreground is the load on it while another table is looked at: what a server with
	// room for more does.
	foreground = 500
	// patience is for how long expired rows' space may stay.
	patience = 5 * time.Minute
)

func (s *storage) rows() int64 { return s.bytes / int64(s.value) }

// ttl writes rows that live for a minute, and waits for their space.
func (s *storage) ttl(ctx context.Context, b *box) error {
	app, err := b.table(ctx, "short", 8, base.Pair[string, string]{Key: "default_ttl", Val: "60"})
	if err != nil {
		return err
	}
	fg := bench.Options{Table: "other", Op: "mixed", ReadRatio: 0.5, Keys: otherRows, ValueSize: 1024, Clients: 2, Outstanding: 64}
	if _, err := b.load(ctx, bench.Options{Table: "other", Op: "set", Keys: otherRows, Count: otherRows, ValueSize: 1024}); err != nil {
		return err
	}
	// A table that a little was written to has all its files.
	if _, err := b.load(ctx, bench.Options{Table: "short", Op: "set", Count: 1000, ValueSize: s.value}); err != nil {
		return err
	}
	_, empty := b.usage(app)
	s.add("ttl: empty table on disk", "KB", float64(empty)/1e3)
	fg.Rate, fg.Duration = foreground, 30*time.Second
	quiet, err := b.load(ctx, fg)
	if err != nil {
		return err
	}
	s.add("ttl: foreground p99 before", "us", float64(quiet.Latency.P99))
	wrote, err := b.load(ctx, bench.Options{Table: "short", Op: "set", Count: s.rows(), ValueSize: s.value, Clients: 4, Outstanding: 32})
	if err != nil {
		return err
	}
	s.add("ttl: fill", "MB/s", wrote.MBPerSec)
	all, full := b.usage(app)
	s.add("ttl: table on disk after the fill", "MB", float64(full)/1e6)
	s.add("ttl: server on disk after the fill", "MB", float64(all)/1e6)
	began := time.Now()
	fg.Duration, fg.Progress = patience, s.progress
	fgCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		rep *bench.Report
		err error
	}
	done := make(chan result, 1)
	go func() {
		rep, err := b.load(fgCtx, fg)
		done <- result{rep, err}
	}()
	var little, back time.Duration // since began, until the files took less than 1 MB, and as little as must be
	for tick := time.NewTicker(time.Second); ; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case r := <-done:
			tick.Stop()
			if r.err != nil {
				return r.err
			}
			all, now := b.usage(app)
			s.most("ttl: foreground p99 meanwhile / before", "", float64(r.rep.Latency.P99)/float64(quiet.Latency.P99), 1.5)
			s.add("ttl: foreground p99 meanwhile", "us", float64(r.rep.Latency.P99))
			if back == 0 {
				back = time.Since(began)
			}
			s.add("ttl: table on disk below 1 MB after", "s", little.Seconds())
			s.most("ttl: space is back after", "s", back.Seconds(), patience.Seconds())
			s.add("ttl: table on disk at the end", "KB", float64(now)/1e3)
			s.add("ttl: server on disk at the end", "MB", float64(all)/1e6)
			s.most("ttl: table on disk / empty table", "", float64(now)/float64(empty), 1.2)
			return nil
		case <-tick.C:
			_, now := b.usage(app)
			if little == 0 && now <= 1<<20 {
				little = time.Since(began)
			}
			if back == 0 && now*10 <= empty*12 {
				back = time.Since(began)
			}
		}
	}
}

// amp fills a table, and overwrites it three times.
func (s *storage) amp(ctx context.Context, b *box) error {
	app, err := b.table(ctx, "full", 8)
	if err != nil {
		return err
	}
	for pass := range 4 {
		name := "amp: fill"
		if pass > 0 {
			name = fmt.Sprintf("amp: overwrite %d", pass)
		}
		before, err := b.written()
		if err != nil {
			return err
		}
		o := bench.Options{Table: "full", Op: "set", Count: s.rows(), Keys: s.rows(), ValueSize: s.value, Seed: 1}
		if pass > 0 {
			o.Dist = "uniform"
		}
		rep, err := b.load(ctx, o)
		if err != nil {
			return err
		}
		after, err := b.written()
		if err != nil {
			return err
		}
		user := float64(s.rows() * int64(s.value))
		all, table := b.usage(app)
		s.add(name+", throughput", "MB/s", rep.MBPerSec)
		s.add(name+", put p99", "us", float64(rep.Latency.P99))
		s.add(name+", write amplification, log and store", "", float64(after-before)/user)
		s.add(name+", space amplification", "", float64(table)/user)
		s.add(name+", server on disk / rows", "", float64(all)/user)
		get, err := b.load(ctx, bench.Options{Table: "full", Op: "get", Duration: 15 * time.Second, Keys: s.rows(), ValueSize: s.value, Rate: 2000, Seed: 1, Clients: 4, Outstanding: 64})
		if err != nil {
			return err
		}
		s.add(name+", get p99 at 2000/s", "us", float64(get.Latency.P99))
	}
	return nil
}
