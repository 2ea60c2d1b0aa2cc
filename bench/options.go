package bench

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"pegasus/client"
	"pegasus/rpc"
)

// Options describe a run.
type Options struct {
	Metas   []string
	Table   string
	Op      string // a key of Workloads, or "verify"
	Framing rpc.Framing

	Count    int64         // operations; 0: until Duration is over
	Duration time.Duration // 0: until Count is reached
	Rate     float64       // operations a second offered, all clients together; 0: as many as are answered

	Clients     int // each with connections of its own
	Outstanding int // operations in flight, each client

	Keys        int64   // rows; 0: Count, or 1,000,000
	RowsPerHash int     // rows that share a hash key; 0: 1, for operations on many rows 100
	ValueSize   int     // bytes
	Seed        uint64  // of values, and of the choice of rows
	Dist        string  // "uniform", "zipf", "latest", "sequential"; "": the operation's own
	ReadRatio   float64 // of "mixed"

	Timeout  time.Duration // of an operation, attempts included
	NoResend bool
	GiveUp   time.Duration // stop after this time without a successful operation; 0: 30 s
	Acked    string        // file that records acknowledged indices, and that "verify" reads
	Check    bool          // check the values that get reads

	Pids     []int     // server processes to account
	Progress io.Writer // a line each second; nil: none
}

// kind is a single operation.
type kind int

const (
	kindGet kind = iota
	kindSet
	kindDel
	kindIncr
	kindMultiGet
	kindMultiSet
	kindScan
	kindInsert // set of a row beyond those there are
	kindRMW    // get, then set
	kindTTL
	kindCount
)

var kindNames = [...]string{"get", "set", "del", "incr", "multi-get", "multi-set", "scan", "insert", "read-modify-write", "ttl"}

func (k kind) String() string { return kindNames[k] }

// share is a part of a workload, in percent.
type share struct {
	kind    kind
	percent float64
}

// workload is a mix of operations on rows chosen in some way.
type workload struct {
	mix  []share
	dist string
	many bool // works on all rows of a hash key
	doc  string
}

// workloads by name. a to f are the shapes of the Yahoo! Cloud Serving Benchmark.
var workloads = map[string]workload{
	"set":       {[]share{{kindSet, 100}}, "sequential", false, "write each row once"},
	"get":       {[]share{{kindGet, 100}}, "uniform", false, "read rows"},
	"ttl":       {[]share{{kindTTL, 100}}, "uniform", false, "read the expiry of rows"},
	"del":       {[]share{{kindDel, 100}}, "sequential", false, "remove rows"},
	"incr":      {[]share{{kindIncr, 100}}, "uniform", false, "increment rows (use another --seed than set: its rows are not numbers)"},
	"mixed":     {nil, "uniform", false, "get and set; --read-ratio is the share of get"},
	"multi-set": {[]share{{kindMultiSet, 100}}, "sequential", true, "write all rows of a hash key"},
	"multi-get": {[]share{{kindMultiGet, 100}}, "uniform", true, "read all rows of a hash key"},
	"scan":      {[]share{{kindScan, 100}}, "uniform", true, "scan the rows of a hash key"},
	"ycsb-a":    {[]share{{kindGet, 50}, {kindSet, 50}}, "zipf", false, "half reads, half updates"},
	"ycsb-b":    {[]share{{kindGet, 95}, {kindSet, 5}}, "zipf", false, "mostly reads"},
	"ycsb-c":    {[]share{{kindGet, 100}}, "zipf", false, "reads only"},
	"ycsb-d":    {[]share{{kindGet, 95}, {kindInsert, 5}}, "latest", false, "reads of the latest inserts"},
	"ycsb-e":    {[]share{{kindScan, 95}, {kindInsert, 5}}, "zipf", true, "short scans"},
	"ycsb-f":    {[]share{{kindGet, 50}, {kindRMW, 50}}, "zipf", false, "read-modify-write"},
}

// Verify is the Op that reads back what Options.Acked records.
const Verify = "verify"

// Ops describes the values of Options.Op, one a line.
func Ops() string {
	var b strings.Builder
	for _, n := range slices.Sorted(maps.Keys(workloads)) {
		fmt.Fprintf(&b, "  %-10s %s\n", n, workloads[n].doc)
	}
	fmt.Fprintf(&b, "  %-10s %s\n", Verify, "read the rows that --record-acked of an earlier run recorded")
	return b.String()
}

// complete fills defaults and checks.
func (o *Options) complete() (workload, error) {
	w, known := workloads[o.Op]
	switch {
	case !known && o.Op != Verify:
		return w, fmt.Errorf("unknown operation --op %q: give one of %s, %s", o.Op, strings.Join(slices.Sorted(maps.Keys(workloads)), ", "), Verify)
	case o.Table == "":
		return w, fmt.Errorf("--table is missing: give the table to use")
	case o.Op == Verify && o.Acked == "":
		return w, fmt.Errorf("verify needs --record-acked, the file that a run of set wrote")
	case o.Acked != "" && o.Op != "set" && o.Op != "multi-set" && o.Op != Verify:
		return w, fmt.Errorf("--record-acked works with set, multi-set and verify, not with %s", o.Op)
	case o.Clients < 1 || o.Outstanding < 1:
		return w, fmt.Errorf("--clients %d --outstanding %d: give at least 1 of each", o.Clients, o.Outstanding)
	case o.ValueSize < 0 || o.ValueSize > 16<<20:
		return w, fmt.Errorf("--value-size %d: give 0 to 16777216 bytes", o.ValueSize)
	case o.Rate < 0 || o.Count < 0 || o.Keys < 0 || o.RowsPerHash < 0:
		return w, fmt.Errorf("--rate, --count, --keys and --rows-per-hash can't be negative")
	case o.ReadRatio < 0 || o.ReadRatio > 1:
		return w, fmt.Errorf("--read-ratio %g: give 0 to 1", o.ReadRatio)
	}
	if o.Op == "mixed" {
		w.mix = []share{{kindGet, 100 * o.ReadRatio}, {kindSet, 100 * (1 - o.ReadRatio)}}
	}
	if o.RowsPerHash == 0 {
		o.RowsPerHash = 1
		if w.many {
			o.RowsPerHash = 100
		}
	}
	if o.Keys == 0 {
		o.Keys = 1_000_000
		if o.Count > 0 {
			o.Keys = o.Count
			if w.many && o.Op != "ycsb-e" {
				o.Keys *= int64(o.RowsPerHash)
			}
		}
	}
	// Whole hash keys, so that operations on many rows find all of them.
	if r := int64(o.RowsPerHash); o.Keys%r != 0 {
		o.Keys += r - o.Keys%r
	}
	if o.Count == 0 && o.Duration == 0 && o.Op != Verify {
		o.Duration = 10 * time.Second
	}
	if o.Dist == "" {
		o.Dist = w.dist
	}
	if !slices.Contains([]string{"uniform", "zipf", "latest", "sequential", ""}, o.Dist) {
		return w, fmt.Errorf("--dist %q: give uniform, zipf, latest or sequential", o.Dist)
	}
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	if o.GiveUp <= 0 {
		o.GiveUp = 30 * time.Second
	}
	return w, nil
}

func (o *Options) newClient() *client.Client {
	return client.New(o.Metas, client.Options{Timeout: o.Timeout, NoResend: o.NoResend, Framing: o.Framing})
}
