package observe

import (
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"pegasus/base"
	"pegasus/metrics"
	"pegasus/remotecmd"
	"pegasus/replica/part"
)

// Observer observes the replicas of one server.
type Observer struct {
	part.Quiet
	// replicas returns those that are here, in the order of their ids.
	replicas func() []*Replica
	units    unitShifts
	changing sync.Mutex
	options  atomic.Pointer[Options]
	slow     slowLog
	turned   time.Time // of Tick: when the sketches of keys were last turned
}

// New returns an Observer of the replicas that all returns, in the order of their ids.
func New(o Options, all func() []*Replica) (*Observer, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	x := &Observer{replicas: all, units: shiftsOf(&o), slow: slowLog{lines: rate.NewLimiter(10, 20)}}
	x.options.Store(&o)
	return x, nil
}

// Register implements part.Part.
func (o *Observer) Register(r *part.Routes) {
	part.Handle(r, base.RPCDetectHotkey, part.Fast, o.detect)
	r.Command(remotecmd.Command{Name: "replica.hotkeys", Shows: remotecmd.Always, Args: "[app_id]",
		Help: "Show the hash keys that took most requests in the last seconds, by partition, as JSON", Run: o.hotKeysCommand})
	r.Command(remotecmd.Command{Name: "replica.slow", Shows: remotecmd.Always, Args: "[count]",
		Help: "Show the last requests that took long or answered much, as JSON", Run: o.slowCommand})
	live(r, o, "replica.slow_query_threshold", func(o *Options, v time.Duration) { o.Reads.Took = v })
	live(r, o, "replica.slow_write_threshold", func(o *Options, v time.Duration) { o.SlowWrite = v })
	live(r, o, "replica.abnormal_get_size", func(o *Options, v int64) { o.Reads.Get = v })
	live(r, o, "replica.abnormal_multi_get_size", func(o *Options, v int64) { o.Reads.MultiGet = v })
	live(r, o, "replica.abnormal_multi_get_rows", func(o *Options, v int64) { o.Reads.MultiGetRows = v })
	live(r, o, "replica.abnormal_batch_get_size", func(o *Options, v int64) { o.Reads.BatchGet = v })
	live(r, o, "replica.abnormal_batch_get_rows", func(o *Options, v int64) { o.Reads.BatchGetRows = v })
	live(r, o, "replica.redact_keys", func(o *Options, v bool) { o.RedactKeys = v })
	live(r, o, "replica.hot_bucket_variance_threshold", func(o *Options, v int) { o.HotKeys.Bucket = float64(v) })
	live(r, o, "replica.hot_key_variance_threshold", func(o *Options, v int) { o.HotKeys.Key = float64(v) })
	live(r, o, "replica.hotkey_analyse_time_interval", func(o *Options, v time.Duration) { o.HotKeys.Interval = v })
	live(r, o, "replica.max_time_to_detect_hotkey", func(o *Options, v time.Duration) { o.HotKeys.GiveUp = v })
}

func live[T any](r *part.Routes, o *Observer, key string, set func(*Options, T)) {
	part.Live(r, key, func(v T) { o.change(func(c *Options) { set(c, v) }) })
}

// change changes the options.
func (o *Observer) change(f func(*Options)) {
	o.changing.Lock()
	defer o.changing.Unlock()
	c := *o.options.Load()
	f(&c)
	o.options.Store(&c)
}

// Collect adds the latencies of requests on all replicas together. Those of each are in its
// own entity, see Replica.Collect.
func (o *Observer) Collect(sn *metrics.Snapshot) {
	all := o.replicas()
	for op := range metrics.NumOps {
		var l []int64
		for _, r := range all {
			l = r.Ops.AppendSamples(l, op)
		}
		if len(l) > 0 {
			name := op.RPC()
			sn.Entity(metrics.Profiler, name, "task_name", name).SetQuantiles(metrics.TaskLatency, metrics.QuantilesOf(l))
		}
	}
}

var _ part.Part = (*Observer)(nil)
