package bench

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Report is the result of a run. Times are in microseconds unless they say otherwise.
type Report struct {
	Table       string             `json:"table"`
	Op          string             `json:"op"`
	Clients     int                `json:"clients"`
	Outstanding int                `json:"outstanding"`
	Rate        float64            `json:"rate,omitempty"`
	ValueSize   int                `json:"value_size"`
	Keys        int64              `json:"keys"`
	Seed        uint64             `json:"seed"`
	Seconds     float64            `json:"seconds"`
	Ops         int64              `json:"ops"`
	OpsPerSec   float64            `json:"ops_per_second"`
	MBPerSec    float64            `json:"mb_per_second"` // 10^6 bytes of values
	Misses      int64              `json:"rows_not_found"`
	Wrong       int64              `json:"rows_wrong"`
	WrongRows   []string           `json:"rows_wrong_first,omitempty"`
	Errors      map[string]int64   `json:"errors,omitempty"`
	ErrorTexts  []string           `json:"errors_first,omitempty"`
	Latency     Latency            `json:"latency_us"`
	ByKind      map[string]Latency `json:"latency_us_by_operation,omitempty"`
	ClientCPU   float64            `json:"client_cpu_us_per_op"`
	ServerCPU   float64            `json:"server_cpu_us_per_op,omitempty"` // all processes together
	Servers     []ServerUse        `json:"servers,omitempty"`
}

// Latency summarises latencies.
type Latency struct {
	Count int64   `json:"count"`
	Mean  float64 `json:"mean"`
	P50   int64   `json:"p50"`
	P90   int64   `json:"p90"`
	P95   int64   `json:"p95"`
	P99   int64   `json:"p99"`
	P999  int64   `json:"p999"`
	P9999 int64   `json:"p9999"`
	Max   int64   `json:"max"`
}

// ServerUse is what a server process used during the run.
type ServerUse struct {
	Pid        int     `json:"pid"`
	CPUSeconds float64 `json:"cpu_seconds"`
	PeakMB     float64 `json:"peak_resident_mb"` // since its start, 10^6 bytes
	Gone       bool    `json:"gone,omitempty"`
}

type use struct {
	own  time.Duration
	pids map[int]time.Duration
}

func usage(pids []int) use {
	u := use{ownCPU(), map[int]time.Duration{}}
	for _, p := range pids {
		if d, err := cpuOf(p); err == nil {
			u.pids[p] = d
		}
	}
	return u
}

func latencyOf(h *hdrhistogram.Histogram) Latency {
	q := h.ValueAtQuantile
	return Latency{h.TotalCount(), h.Mean(), q(50), q(90), q(95), q(99), q(99.9), q(99.99), h.Max()}
}

func (r *run) report(total *sum, took time.Duration, before, after use) *Report {
	sec := took.Seconds()
	rep := &Report{Table: r.o.Table, Op: r.o.Op, Clients: r.o.Clients, Outstanding: r.o.Outstanding, Rate: r.o.Rate, ValueSize: r.rows.size,
		Keys: r.o.Keys, Seed: r.rows.seed, Seconds: sec, Ops: total.ops, OpsPerSec: float64(total.ops) / sec, MBPerSec: float64(total.bytes) / 1e6 / sec,
		Misses: total.misses, Wrong: r.wrongs, WrongRows: r.lost, Errors: total.errs, ErrorTexts: r.errs.text, Latency: latencyOf(total.all())}
	kinds := 0
	for k, h := range total.hist {
		if h != nil {
			kinds++
			if rep.ByKind == nil {
				rep.ByKind = map[string]Latency{}
			}
			rep.ByKind[kind(k).String()] = latencyOf(h)
		}
	}
	if kinds < 2 {
		rep.ByKind = nil
	}
	perOp := func(d time.Duration) float64 {
		return float64(d.Nanoseconds()) / 1e3 / float64(max(total.ops, 1))
	}
	rep.ClientCPU = perOp(after.own - before.own)
	var all time.Duration
	for _, pid := range r.o.Pids {
		s := ServerUse{Pid: pid, PeakMB: float64(peakOf(pid)) / 1e6}
		now, ok := after.pids[pid]
		s.Gone = !ok
		if ok {
			s.CPUSeconds = (now - before.pids[pid]).Seconds()
			all += now - before.pids[pid]
		}
		rep.Servers = append(rep.Servers, s)
	}
	rep.ServerCPU = perOp(all)
	return rep
}

// us writes microseconds for people.
func us(v int64) string {
	switch {
	case v < 1000:
		return fmt.Sprintf("%dµs", v)
	case v < 1_000_000:
		return fmt.Sprintf("%.1fms", float64(v)/1e3)
	}
	return fmt.Sprintf("%.2fs", float64(v)/1e6)
}

// Print writes the report for people.
func (r *Report) Print(w io.Writer) {
	fmt.Fprintf(w, "%s on table %s: %d operations in %.2f s with %d clients of %d in flight", r.Op, r.Table, r.Ops, r.Seconds, r.Clients, r.Outstanding)
	if r.Rate > 0 {
		fmt.Fprintf(w, ", offered %.0f op/s", r.Rate)
	}
	fmt.Fprintf(w, "\n  %-18s %.0f op/s, %.1f MB/s of values\n", "throughput", r.OpsPerSec, r.MBPerSec)
	line := func(name string, l Latency) {
		fmt.Fprintf(w, "  %-18s mean %s  p50 %s  p90 %s  p99 %s  p99.9 %s  p99.99 %s  max %s\n", name, us(int64(l.Mean)), us(l.P50), us(l.P90), us(l.P99), us(l.P999), us(l.P9999), us(l.Max))
	}
	line("latency", r.Latency)
	for _, k := range slices.Sorted(maps.Keys(r.ByKind)) {
		line("  "+k, r.ByKind[k])
	}
	fmt.Fprintf(w, "  %-18s client %.1f µs/op", "processor", r.ClientCPU)
	if len(r.Servers) > 0 {
		fmt.Fprintf(w, ", all servers %.1f µs/op", r.ServerCPU)
	}
	fmt.Fprintln(w)
	for _, s := range r.Servers {
		if s.Gone {
			fmt.Fprintf(w, "  server %-11d is gone\n", s.Pid)
			continue
		}
		fmt.Fprintf(w, "  server %-11d processor %.2f s, peak resident %.0f MB\n", s.Pid, s.CPUSeconds, s.PeakMB)
	}
	if r.Misses > 0 {
		fmt.Fprintf(w, "  %-18s %d\n", "rows not found", r.Misses)
	}
	for _, e := range slices.Sorted(maps.Keys(r.Errors)) {
		fmt.Fprintf(w, "  %-18s %d\n", e, r.Errors[e])
	}
	for _, t := range r.ErrorTexts {
		fmt.Fprintf(w, "    %s\n", t)
	}
	for _, t := range r.WrongRows {
		fmt.Fprintf(w, "  wrong: %s\n", t)
	}
}
