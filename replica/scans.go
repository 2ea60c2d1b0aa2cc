package replica

import (
	"sync"
	"time"

	"pegasus/base"
	"pegasus/rpc"
)

// scanDoubt is for how long clients that came before a partition was cut can't begin scans of it as a whole. It is longer than
// clients repeat a call that is refused, so that each of their scanners from before the cut fails and none misses rows.
const scanDoubt = 10 * time.Second

// scannerAge is how long after a cut a new connection may be that of a scanner from before it: scanners connect to a server when they first come to a partition there,
// and anew after a connection broke.
const scannerAge = 5 * time.Minute

// scanPause is how long clients at most wait before they repeat a call: what comes later is another one.
const scanPause = 2500 * time.Millisecond

// scanWatch is the rrdb.ScanWatch of one request.
//
// Clients walk over a list of partitions that they made when they began, and don't say whether the children are in it. So a scan
// that began before a cut and comes to the cut partition afterwards would miss rows. It can't be told from one that
// began later, but both come over connections, and one that was made scannerAge after the cut is taken for one whose scanners are newer. Over an older connection
// the first scan of a whole partition is refused with the code that makes clients ask the meta, and so are those that
// follow it closely, for scanDoubt. So are scans while one from before the cut goes on over the same connection.
//
// What is promised: of a client's scanners from before the cut of a partition one fails, if one of them comes to that partition over a connection from before
// scannerAge after the cut. What isn't: that each does, as one connection is many scanners', nor anything of later connections.
type scanWatch struct {
	req *rpc.Request
	r   *replica
}

// scanNote is what is remembered of a connection and a table.
type scanNote struct {
	mu    sync.Mutex
	count int32     // the largest that a cut had whose partition was scanned
	first time.Time // when a scan of a partition of that count was refused first
	last  time.Time // and last
	older time.Time // when a scan from before a cut went on
}

type scanKey int32

// Begins implements rrdb.ScanWatch.
func (w scanWatch) Begins(count int32) base.ErrorCode {
	note, _ := w.req.Noted(scanKey(w.r.gpid.AppID)).(*scanNote)
	now := time.Now()
	old := false
	if count > 0 {
		old = mayBeOlder(w.req.Connected(), time.UnixMicro(w.r.store.Load().Cut().Timestamp))
	}
	if note == nil {
		if !old {
			return base.ErrOK
		}
		note = w.req.Note(scanKey(w.r.gpid.AppID), new(scanNote)).(*scanNote)
	}
	return note.begins(now, count, w.r.view.Load().info.Partitions, old)
}

// mayBeOlder tells whether what comes over a connection may be from before a cut.
func mayBeOlder(connected, cut time.Time) bool { return connected.Before(cut.Add(scannerAge)) }

// begins is Begins with what it goes by: partitions is how many the table has as far as the partition knows; old means
// that the connection isn't newer than the cut.
func (n *scanNote) begins(now time.Time, count, partitions int32, old bool) base.ErrorCode {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case now.Sub(n.older) < scanDoubt:
		return base.ErrParentPartitionMisused
	case n.count > max(count, partitions):
		// The client knows of the children, and this one isn't there yet.
		return base.ErrSplitting
	case !old:
		return base.ErrOK
	case n.count < count:
		n.count, n.first, n.last = count, now, now
	}
	if now.Sub(n.first) < scanDoubt && now.Sub(n.last) < scanPause {
		n.last = now
		return base.ErrParentPartitionMisused
	}
	return base.ErrOK
}

// Older implements rrdb.ScanWatch.
func (w scanWatch) Older() {
	n := w.req.Note(scanKey(w.r.gpid.AppID), new(scanNote)).(*scanNote)
	n.mu.Lock()
	n.older = time.Now()
	n.mu.Unlock()
}
