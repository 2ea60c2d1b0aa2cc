package replica

import (
	"math/bits"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/gen/replicaadmin"
	idl "pegasus/gen/rrdb"
	"pegasus/metrics"
	"pegasus/replica/hotkey"
	"pegasus/rpc"
	"pegasus/rrdb"
)

// usage is what clients used of a replica: bytes and capacity units as upstream counts them,
// and which hash keys they asked for most.
type usage struct {
	readUnits, writeUnits atomic.Int64
	bytes                 [metrics.NumOps]atomic.Int64
	backupBytes           atomic.Int64
	expired, filtered     atomic.Int64 // rows that reads found and didn't answer
	tooLarge              atomic.Int64 // writes above replica.max_allowed_write_size
	reads, writes         keyUse
}

// keyUse is of the reads or of the writes.
type keyUse struct {
	sketch  hotkey.Sketch
	collect hotkey.Collector
}

// see counts a request for weight rows of a hash key.
func (k *keyUse) see(hashKey []byte, weight int, sampled, collecting bool) {
	if sampled {
		k.sketch.Add(hashKey, weight)
	}
	if collecting {
		k.collect.Capture(hashKey, weight)
	}
}

// unitShift are the sizes of capacity units, as powers of two.
type unitShift struct{ read, write uint }

func newUnitShift(c config.Replica) unitShift {
	log := func(n int64) uint { return uint(bits.Len64(uint64(max(n, 1))) - 1) }
	return unitShift{log(c.ReadUnit), log(c.WriteUnit)}
}

// units returns how many units of 1<<shift bytes n bytes are: at least one.
func units(n int64, shift uint) int64 { return max(1, (n+1<<shift-1)>>shift) }

// Codes of answers, of which some count.
const (
	codeOK         = 0
	codeNotFound   = 1
	codeInvalid    = 4
	codeIncomplete = 7
	codeTryAgain   = 13
)

// read counts a read that is about to be answered, and returns how many bytes it counts for
// where reads are limited by their size. What is answered counts: values that the client
// didn't want don't, and one unit is the least.
func (u *usage) read(shift unitShift, op metrics.Op, req *rpc.Request, res *rrdb.Result) (size int64) {
	sampled, collecting := hotkey.Sampled(), u.reads.collect.Active()
	if sampled || collecting {
		u.sawRead(op, req, res, sampled, collecting)
	}
	if h := res.Hidden(); h != (rrdb.Hidden{}) {
		u.expired.Add(int64(h.Expired))
		u.filtered.Add(int64(h.Filtered))
	}
	n, rows := res.Size()
	size = int64(n)
	bytes := size
	counts := res.Code() == codeOK || res.Code() == codeNotFound
	switch op {
	case metrics.OpGet:
		if res.Code() != codeOK {
			rd := req.ArgReader()
			bytes = int64(len(rd.Bytes()))
		}
	case metrics.OpTTL, metrics.OpSortKeyCount:
		size, bytes = 1, 1
	case metrics.OpMultiGet: // each row is counted with its hash key, but for the bytes
		rd := req.ArgReader()
		rd.Field()
		hashKey := int64(len(rd.Bytes()))
		size += int64(rows) * hashKey
		bytes += hashKey
		fallthrough
	default:
		counts = counts || res.Code() == codeIncomplete || res.Code() == codeInvalid
	}
	if counts || op == metrics.OpGet || op == metrics.OpMultiGet || op == metrics.OpBatchGet {
		u.bytes[op].Add(bytes)
		if req.IsBackup {
			u.backupBytes.Add(bytes)
		}
	}
	if !counts {
		return 0
	}
	size = max(size, 1)
	u.readUnits.Add(units(size, shift.read))
	return size
}

// sawRead shows the hash keys of a read to who looks for hot ones. Scans have none.
func (u *usage) sawRead(op metrics.Op, req *rpc.Request, res *rrdb.Result, sampled, collecting bool) {
	rd := req.ArgReader()
	switch op {
	case metrics.OpGet, metrics.OpTTL:
		if h, _, ok := base.SplitKey(rd.Bytes()); ok && rd.Err() == nil {
			u.reads.see(h, 1, sampled, collecting)
		}
	case metrics.OpSortKeyCount:
		if h := rd.Bytes(); rd.Err() == nil {
			u.reads.see(h, 1, sampled, collecting)
		}
	case metrics.OpMultiGet:
		rd.Field()
		if h := rd.Bytes(); rd.Err() == nil {
			_, rows := res.Size()
			u.reads.see(h, max(rows, 1), sampled, collecting)
		}
	case metrics.OpBatchGet:
		var q idl.BatchGetRequest
		if q.ReadThrift(&rd); rd.Err() == nil {
			for i := range q.Keys {
				u.reads.see(q.Keys[i].HashKey, 1, sampled, collecting)
			}
		}
	}
}

// write counts a write that was evaluated to ops, a payload of package rrdb.
func (u *usage) write(shift unitShift, op metrics.Op, req *rpc.Request, reply *rrdb.Reply, ops []byte) {
	n, rows := int64(0), 0
	sampled, collecting := hotkey.Sampled(), u.writes.collect.Active()
	var o rrdb.Op
	for rd := rrdb.NewOpReader(ops); rd.Next(&o); rows++ {
		n += int64(len(o.Key) + len(o.Value))
		if op != metrics.OpPut && op != metrics.OpRemove {
			n -= 2 // upstream counts the keys as they came: with their length, or in two parts
		}
	}
	if sampled || collecting {
		if h, _, ok := base.SplitKey(o.Key); ok {
			u.writes.see(h, rows, sampled, collecting)
		}
	}
	code := reply.Code()
	bytes := n
	if h, _, ok := base.SplitKey(o.Key); ok && rows > 1 {
		bytes -= int64(rows-1) * int64(len(h)) // it counts once
	}
	switch op {
	case metrics.OpCheckAndSet, metrics.OpCheckAndMutate:
		if code != codeOK && code != codeInvalid && code != codeTryAgain {
			return
		}
		rd := req.ArgReader()
		rd.Field()
		hashKey := int64(len(rd.Bytes()))
		rd.Field()
		checked := int64(len(rd.Bytes()))
		u.readUnits.Add(units(hashKey+checked, shift.read))
		bytes += checked
	case metrics.OpIncr:
		if code != codeOK && code != codeInvalid {
			return
		}
		u.readUnits.Add(1)
		n = 0
	}
	if code == codeOK {
		u.bytes[op].Add(bytes)
		u.writeUnits.Add(units(n, shift.write))
	}
}

// counted are the operations that have a metric of their bytes.
var counted = []metrics.Op{metrics.OpGet, metrics.OpMultiGet, metrics.OpBatchGet, metrics.OpScan, metrics.OpPut, metrics.OpMultiPut,
	metrics.OpCheckAndSet, metrics.OpCheckAndMutate}

func (u *usage) collect(e *metrics.Entity) {
	e.Set(metrics.ReadUnits, u.readUnits.Load())
	e.Set(metrics.WriteUnits, u.writeUnits.Load())
	for _, op := range counted {
		e.Set(metrics.OpBytes[op], u.bytes[op].Load())
	}
	e.Set(metrics.BackupBytes, u.backupBytes.Load())
	e.Set(metrics.ExpiredReads, u.expired.Load())
	e.Set(metrics.FilteredReads, u.filtered.Load())
	e.Set(metrics.TooLargeWrites, u.tooLarge.Load())
	for _, k := range []struct {
		use         *keyUse
		rate, share *metrics.Metric
	}{{&u.reads, metrics.HotReadRate, metrics.HotReadShare}, {&u.writes, metrics.HotWriteRate, metrics.HotWriteShare}} {
		var hot hotkey.Key
		if t := k.use.sketch.Top(); len(t.Keys) > 0 {
			hot = t.Keys[0]
		}
		e.Set(k.rate, int64(hot.PerSecond))
		e.Set(k.share, int64(hot.Share*100))
	}
}

// sketchSpan is how long a sketch counts before it shows what it saw.
const sketchSpan = 10 * time.Second

// watchKeys is called once a second.
func (s *Server) watchKeys(now time.Time, rs []*replica) {
	c := s.live()
	l := hotkey.Limits{Bucket: float64(c.HotBucket), Key: float64(c.HotKey), Interval: c.HotKeyInterval.D(), GiveUp: c.HotKeyTime.D()}
	turn := now.Sub(s.sketched) >= sketchSpan
	if turn {
		s.sketched = now
	}
	for _, r := range rs {
		for i, k := range []*keyUse{&r.usage.reads, &r.usage.writes} {
			if turn {
				k.sketch.Turn(now)
			}
			if news := k.collect.Analyse(now, l); news != "" {
				key, _ := k.collect.Result()
				r.log.Warnf("detection of a hot key of %s: %s: %s", [...]string{"reads", "writes"}[i], news, s.abnormal.key(key))
			}
		}
	}
}

// detectHotkey starts, stops or asks after a detection. What it says is upstream's, word for
// word, because its tools show it.
func (s *Server) detectHotkey(q *replicaadmin.DetectHotkeyRequest, r *replicaadmin.DetectHotkeyResponse) {
	rep := s.replica(q.Pid)
	if rep == nil {
		r.Err = base.ErrObjectNotFound
		return
	}
	var k *keyUse
	var what string
	switch q.Type {
	case replicaadmin.READ:
		k, what = &rep.usage.reads, "replication::hotkey_type::READ"
	case replicaadmin.WRITE:
		k, what = &rep.usage.writes, "replication::hotkey_type::WRITE"
	}
	switch {
	case q.Action < replicaadmin.START || q.Action > replicaadmin.QUERY:
		r.Err, r.ErrHint = base.ErrInvalidParameters, base.Some("invalid detect_action")
		return
	case k == nil:
		r.Err, r.ErrHint = base.ErrInvalidParameters, base.Some("invalid hotkey_type")
		return
	}
	c := &k.collect
	r.Err = base.ErrOK
	switch q.Action {
	case replicaadmin.STOP:
		c.Stop()
	case replicaadmin.QUERY:
		key, ok := c.Result()
		if !ok {
			r.Err, r.ErrHint = base.ErrBusy, base.Some("Can't get hotkey now, now state: "+c.State().String())
			return
		}
		r.HotkeyResult = base.Some(cEscape(key))
	case replicaadmin.START:
		switch was := c.Start(time.Now()); was {
		case hotkey.Stopped:
			r.ErrHint = base.Some("starting to detect " + what + " hotkey")
		case hotkey.Finished:
			key, _ := c.Result()
			text := cEscape(key)
			if s.live().RedactKeys {
				text = redacted
			}
			r.Err = base.ErrBusy
			r.ErrHint = base.Some(what + " hotkey result has been found: " + text + ", you can send a stop rpc to restart hotkey detection")
		default:
			r.Err = base.ErrBusy
			r.ErrHint = base.Some("still detecting " + what + " hotkey, state is " + was.String())
		}
	}
}

// cEscape writes bytes as upstream's tools show them: what isn't printable ASCII in
// hexadecimal.
func cEscape(b []byte) string {
	const digits = "0123456789ABCDEF"
	var s strings.Builder
	for _, c := range b {
		switch {
		case c == '\n':
			s.WriteString(`\n`)
		case c == '\r':
			s.WriteString(`\r`)
		case c == '\t':
			s.WriteString(`\t`)
		case c == '"' || c == '\'' || c == '\\':
			s.WriteByte('\\')
			s.WriteByte(c)
		case c >= ' ' && c < 0x7f:
			s.WriteByte(c)
		default:
			s.WriteString(`\x`)
			s.WriteByte(digits[c>>4])
			s.WriteByte(digits[c&15])
		}
	}
	return s.String()
}

// HotKeys is what the remote command replica.hotkeys answers for one partition.
type HotKeys struct {
	Partition string   `json:"partition"`
	Reads     []HotKey `json:"reads"`
	Writes    []HotKey `json:"writes"`
	// ReadRows and WriteRows are how many rows of all keys were asked for, a second.
	ReadRows  float64 `json:"read_rows_per_second"`
	WriteRows float64 `json:"write_rows_per_second"`
}

// HotKey is one of them; figures are estimates from a sample of the requests.
type HotKey struct {
	Key       []byte  `json:"hash_key"` // base64 in JSON
	PerSecond float64 `json:"rows_per_second"`
	Percent   float64 `json:"percent"` // of all rows of the partition
}

// hotKeysCommand shows the heaviest hash keys of primaries.
func (s *Server) hotKeysCommand(args []string) string {
	if len(args) > 1 {
		return `{"error":"use: replica.hotkeys [app_id]"}`
	}
	out := []HotKeys{}
	for _, r := range s.all() {
		if len(args) == 1 && args[0] != itoa(r.gpid.AppID) {
			continue
		}
		h := HotKeys{Partition: r.gpid.String()}
		h.Reads, h.ReadRows = hottest(&r.usage.reads)
		h.Writes, h.WriteRows = hottest(&r.usage.writes)
		if len(h.Reads)+len(h.Writes) > 0 {
			out = append(out, h)
		}
	}
	return asJSON(out)
}

// shownKeys is how many keys of a partition are shown.
const shownKeys = 5

func hottest(k *keyUse) (keys []HotKey, rows float64) {
	t := k.sketch.Top()
	keys = []HotKey{}
	for _, h := range t.Keys[:min(len(t.Keys), shownKeys)] {
		keys = append(keys, HotKey{slices.Clone(h.Key), h.PerSecond, h.Share * 100})
	}
	return keys, t.PerSecond
}
