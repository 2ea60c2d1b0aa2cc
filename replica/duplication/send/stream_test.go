package send

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"pegasus/base"
	"pegasus/base/version"
	"pegasus/client"
	"pegasus/client/clienttest"
	"pegasus/gen/dupinternal"
	"pegasus/gen/duplication"
	idl "pegasus/gen/rrdb"
	"pegasus/pacifica"
	"pegasus/replica/part"
	"pegasus/replica/wal"
	"pegasus/rpc"
	"pegasus/rrdb"
)

const maxWait = 40 * time.Second

func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(maxWait); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", maxWait, what)
		}
	}
}

// fakeReplica is a replica with a log in memory.
type fakeReplica struct {
	part.Replica // the rest isn't asked for
	gpid         base.Gpid

	mu    sync.Mutex
	log   []wal.Entry // by decree - 1
	first int64
	role  pacifica.Status
	bal   int64
	holds map[string]int64
	lost  map[string]func()
	dir   string
	room  part.LogRoom
	// lapsed: the lease is over.
	lapsed bool
}

func (r *fakeReplica) Gpid() base.Gpid { return r.gpid }

func (r *fakeReplica) View() part.View {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := int64(len(r.log))
	return part.View{Role: r.role, Ballot: r.bal, Committed: n, Applied: n, Prepared: n, Usable: true, Serves: !r.lapsed}
}

func (r *fakeReplica) ReadLog(from, maxBytes int64) (es []wal.Entry, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if from < r.first {
		return nil, fmt.Errorf("decree %d: %w", from, wal.ErrGone)
	}
	size := int64(0)
	for _, e := range r.log[from-1:] {
		if size > 0 && size+int64(len(e.Payload)) > maxBytes {
			break
		}
		es = append(es, e)
		size += int64(len(e.Payload))
	}
	return es, nil
}

func (r *fakeReplica) Hold(name string, decree int64) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.holds[name] = decree
	return max(decree, r.first)
}

func (r *fakeReplica) HoldLong(name string, decree int64, lost func()) int64 {
	first := r.Hold(name, decree)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lost[name] = lost
	return first
}

// yield ends a hold, and lets the log go up to what is committed.
func (r *fakeReplica) yield(name string) {
	r.mu.Lock()
	f := r.lost[name]
	delete(r.holds, name)
	delete(r.lost, name)
	r.mu.Unlock()
	f()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.first = min(r.holds[name], int64(len(r.log))+1)
}

func (r *fakeReplica) LogRoom() part.LogRoom {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.room
}

func (r *fakeReplica) Scratch() string { return r.dir }

// Checkpoint makes a store of what was written.
func (r *fakeReplica) Checkpoint(_ context.Context, dir string) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	shared, err := rrdb.NewShared(rrdb.SharedOptions{})
	if err != nil {
		return 0, err
	}
	defer shared.Close()
	if err := os.RemoveAll(filepath.Join(r.dir, "store")); err != nil {
		return 0, err
	}
	s, err := rrdb.Open(rrdb.Options{Dir: filepath.Join(r.dir, "store"), Shared: shared, Gpid: r.gpid, Server: "here:1", Create: true})
	if err != nil {
		return 0, err
	}
	for i := s.LastApplied(); i < int64(len(r.log)) && err == nil; i++ {
		payload := r.log[i].Payload
		if rrdb.IsTake(payload) {
			payload = nil // its rows aren't in the log
		}
		err = s.Apply(r.log[i].Decree, r.log[i].Timestamp, payload)
	}
	d := int64(0)
	if err == nil {
		d, err = s.Checkpoint(dir)
	}
	return d, errors.Join(err, s.Close())
}

func (r *fakeReplica) Release(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.holds, name)
}

func (r *fakeReplica) held(name string) (int64, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d, ok := r.holds[name]
	return d, ok
}

// write appends a mutation.
func (r *fakeReplica) write(ops ...rrdb.Op) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var payload []byte
	for _, o := range ops {
		payload = rrdb.AppendOp(payload, o)
	}
	d := int64(len(r.log)) + 1
	r.log = append(r.log, wal.Entry{Gpid: r.gpid, Ballot: r.bal, Decree: d, Timestamp: 1000 + d, Payload: payload})
}

func (r *fakeReplica) become(s pacifica.Status, ballot int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.role, r.bal = s, ballot
}

// lapse ends the lease, or begins another one.
func (r *fakeReplica) lapse(is bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lapsed = is
}

// fakeHost hosts one replica.
type fakeHost struct {
	r      *fakeReplica
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func (h *fakeHost) Replica(g base.Gpid) (part.Replica, bool) { return h.r, g == h.r.gpid }
func (h *fakeHost) Replicas() []part.Replica                 { return []part.Replica{h.r} }
func (h *fakeHost) Name() string                             { return "here" }
func (h *fakeHost) Now() time.Time                           { return time.Now() }
func (h *fakeHost) Go(f func(context.Context))               { h.wg.Go(func() { f(h.ctx) }) }
func (h *fakeHost) Log() *logrus.Entry                       { return silence() }

func silence() *logrus.Entry {
	l := logrus.New()
	l.SetOutput(io.Discard)
	return logrus.NewEntry(l)
}

// errorLines are the lines that tell of errors.
type errorLines struct {
	mu    sync.Mutex
	lines []string
}

func (*errorLines) Levels() []logrus.Level { return []logrus.Level{logrus.ErrorLevel} }

func (l *errorLines) Fire(e *logrus.Entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, e.Message)
	return nil
}

func (l *errorLines) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines
}

// world is a sender with a fake replica, meta and other cluster.
type world struct {
	t      *testing.T
	r      *fakeReplica
	h      *fakeHost
	s      *Sender
	remote *clienttest.Cluster

	mu        sync.Mutex
	entry     duplication.DuplicationEntry
	none      bool // there is no duplication
	confirmed int64
	last      duplication.DuplicationConfirmEntry
	deaf      bool   // the meta answers nothing
	asked     func() // called when a primary asks the meta
	errors    errorLines

	rows    map[string]row // of the other cluster
	answer  func() (code int32, silent bool)
	leaves  bool                  // it leaves all writes out, and says so in the hint of a success, as our servers do
	tagless bool                  // it doesn't tell timetags
	refuses []byte                // the key of a row: it refuses requests with it
	fails   func() base.ErrorCode // with what it doesn't answer a request
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, remote: clienttest.Start(t, 2), rows: map[string]row{}, confirmed: -1,
		r: &fakeReplica{gpid: base.Gpid{AppID: 3, PartitionIndex: 1}, first: 1, role: pacifica.Secondary, bal: 5, holds: map[string]int64{}, lost: map[string]func(){}, dir: t.TempDir()}}
	w.entry = duplication.DuplicationEntry{Dupid: 7, Status: duplication.DS_LOG, Remote: "east", RemoteAppName: base.Some("copy")}
	w.remote.SetHook(w.receive)
	w.start()
	return w
}

// start starts the server.
func (w *world) start() {
	h := &fakeHost{r: w.r}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	log := silence()
	log.Logger.AddHook(&w.errors)
	s := New(h, Options{ID: own, Ask: w.ask, Every: 20 * time.Millisecond, Fresh: 4 * time.Second, SendTime: 500 * time.Millisecond, Linger: 200 * time.Millisecond, Log: log,
		Version: func() version.Version { return version.Newest },
		Remote:  func(name string) ([]string, int, bool) { return []string{w.remote.Meta}, 2, name == "east" }})
	w.h, w.s = h, s
	done := make(chan struct{})
	go func() {
		defer close(done)
		for h.ctx.Err() == nil {
			s.Tick(time.Now())
			select {
			case <-h.ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	w.t.Cleanup(func() {
		h.cancel()
		<-done
		h.wg.Wait()
		if err := s.Close(); err != nil {
			w.t.Error(err)
		}
	})
}

func (w *world) ask(_ context.Context, q *duplication.DuplicationSyncRequest) (*duplication.DuplicationSyncResponse, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.deaf {
		return nil, base.ErrTimeout
	}
	if w.asked != nil && len(q.ConfirmList) > 0 {
		w.asked()
	}
	for _, p := range q.ConfirmList {
		for _, e := range p.Val {
			w.last = e
			if p.Key == w.r.gpid && e.Dupid == w.entry.Dupid {
				w.confirmed = max(w.confirmed, e.ConfirmedDecree)
			}
		}
	}
	a := &duplication.DuplicationSyncResponse{Err: base.ErrOK}
	if !w.none {
		e := w.entry
		e.Progress = base.Some([]base.Pair[int32, int64]{{Key: w.r.gpid.PartitionIndex, Val: w.confirmed}})
		a.DupMap = []base.Pair[int32, []base.Pair[int32, duplication.DuplicationEntry]]{{Key: w.r.gpid.AppID, Val: []base.Pair[int32, duplication.DuplicationEntry]{{Key: e.Dupid, Val: e}}}}
	}
	return a, nil
}

func (w *world) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// receive is the other cluster's answer to DUPLICATE.
func (w *world) receive(_ int, r *rpc.Request) bool {
	if r.Code != base.RPCDuplicate && r.Code != base.RPCGetScanner {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.Code == base.RPCGetScanner {
		w.scan(r)
		return true
	}
	var q dupinternal.DuplicateRequest
	if err := r.DecodeArg(&q); err != nil {
		w.t.Errorf("a request that can't be read: %v", err)
		return true
	}
	if w.fails != nil {
		if code := w.fails(); code != base.ErrOK {
			r.ReplyError(code)
			return true
		}
	}
	if w.answer != nil {
		code, silent := w.answer()
		if silent {
			return true
		}
		if code != 0 {
			r.Reply(&dupinternal.DuplicateResponse{Error: base.Some(code), ErrorHint: base.Some("no")})
			return true
		}
	}
	for i := range q.Entries {
		for _, x := range decodeEntry(w.t, &q.Entries[i]) {
			if w.refuses != nil && bytes.Equal(x.key, w.refuses) {
				r.Reply(&dupinternal.DuplicateResponse{Error: base.Some(int32(base.StoreInvalidArgument)), ErrorHint: base.Some("a row of it is too large")})
				return true
			}
		}
	}
	if w.leaves {
		r.Reply(&dupinternal.DuplicateResponse{Error: base.Some(int32(0)), ErrorHint: base.Some("1 writes were made by this cluster itself")})
		return true
	}
	for i := range q.Entries {
		for _, x := range decodeEntry(w.t, &q.Entries[i]) {
			if int(base.HashOfKey(x.key)%4) != int(r.Gpid.PartitionIndex) {
				w.t.Errorf("%v goes to partition %v", x, r.Gpid)
			}
			if x.tag >= w.rows[string(x.key)].tag {
				x.key, x.value = append([]byte(nil), x.key...), append([]byte(nil), x.value...)
				w.rows[string(x.key)] = x
			}
		}
	}
	r.Reply(&dupinternal.DuplicateResponse{Error: base.Some(int32(0))})
	return true
}

// scan answers what keys the other cluster has.
func (w *world) scan(r *rpc.Request) {
	var q idl.GetScannerRequest
	if err := r.DecodeArg(&q); err != nil || !q.NoValue || !q.ReturnTimetag.V {
		w.t.Errorf("scan: %+v, %v", q, err)
	}
	if w.answer != nil {
		return
	}
	a := &idl.ScanResponse{ContextId: -1}
	for _, x := range w.rows {
		if x.remove || int(base.HashOfKey(x.key)%4) != int(r.Gpid.PartitionIndex) {
			continue
		}
		kv := idl.KeyValue{Key: x.key}
		if !w.tagless {
			kv.Value = binary.BigEndian.AppendUint64(nil, x.tag)
		}
		a.Kvs = append(a.Kvs, kv)
	}
	r.Reply(a)
}

// same tells whether the other cluster has the rows that are here, and those beside them.
func (w *world) same(beside ...string) bool {
	w.r.mu.Lock()
	log := w.r.log
	w.r.mu.Unlock()
	want := map[string]string{}
	for i := range log {
		e, err := entryOf(&log[i], own, 4)
		if err != nil && !errors.Is(err, errTake) {
			w.t.Fatal(err)
		}
		rows, _ := rowsOf(e.Ops)
		for _, x := range rows {
			if want[string(x.key)] = string(x.value); x.remove {
				delete(want, string(x.key))
			}
		}
	}
	for _, k := range beside {
		want[k] = "beside"
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for k, x := range w.rows {
		if x.remove {
			continue
		}
		if v, ok := want[k]; !ok || v != string(x.value) {
			return false
		}
		n++
	}
	return n == len(want)
}

// equal tells whether the other cluster has what was written after decree from.
func (w *world) equal(from int64) bool {
	w.r.mu.Lock()
	log := w.r.log
	w.r.mu.Unlock()
	want := map[string]row{}
	for i := range log {
		if log[i].Decree <= from {
			continue
		}
		e, err := entryOf(&log[i], own, 4)
		if err != nil {
			w.t.Fatal(err)
		}
		rows, _ := rowsOf(e.Ops)
		for _, x := range rows {
			want[string(x.key)] = x
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(want) != len(w.rows) {
		return false
	}
	for k, x := range want {
		if w.rows[k].String() != x.String() {
			return false
		}
	}
	return true
}

func (w *world) writeSome(n int) {
	for i := range n {
		k := rowKey(fmt.Sprintf("h%d", i%23), fmt.Sprint(i%7))
		if i%5 == 4 {
			w.r.write(rrdb.Op{Key: k, Delete: true}, rrdb.Op{Key: rowKey("other", fmt.Sprint(i)), Value: []byte("x")})
		} else {
			w.r.write(rrdb.Op{Key: k, Value: fmt.Append(nil, i), ExpireTS: uint32(i)})
		}
	}
}

// writeLasting is writeSome of rows that don't expire.
func (w *world) writeLasting(n int) {
	for i := range n {
		w.r.write(rrdb.Op{Key: rowKey(fmt.Sprintf("h%d", i%23), fmt.Sprint(i%7)), Value: fmt.Append(nil, i)})
	}
}

func (w *world) why() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last.Why.V
}

// What is written after the duplication begins is sent, by whoever leads, also after a restart; the log is held from
// what is confirmed.
func TestStream(t *testing.T) {
	w := newWorld(t)
	w.remote.CreateTable("copy", 4, 1)
	w.writeSome(10)
	until(t, "the log is held for the duplication", func() bool { d, ok := w.r.held("duplication-7"); return ok && d <= 11 })
	until(t, "and not as a whole any more", func() bool { _, ok := w.r.held(firstHold); return !ok })
	w.r.become(pacifica.Primary, 6)
	until(t, "the beginning is persisted", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.confirmed == 10 })
	w.writeSome(300)
	until(t, "all is sent", func() bool { return w.equal(10) })
	until(t, "and confirmed", func() bool { d, _ := w.r.held("duplication-7"); return d == 311 })
	until(t, "it says so", func() bool { return w.why() == "up to date" })

	w.r.become(pacifica.Secondary, 7)
	w.writeSome(50)
	w.h.cancel()
	w.h.wg.Wait()
	w.start()
	w.r.become(pacifica.Primary, 9)
	w.writeSome(50)
	until(t, "all is sent after a restart", func() bool { return w.equal(10) })

	// A pause stops it, and loses nothing.
	w.set(func() { w.entry.Status = duplication.DS_PAUSE })
	until(t, "it pauses", func() bool { return w.why() == "paused" })
	w.writeSome(20)
	w.set(func() { w.entry.Status = duplication.DS_LOG })
	until(t, "it goes on", func() bool { return w.equal(10) })

	w.set(func() { w.none = true })
	until(t, "the log is let go", func() bool { _, ok := w.r.held("duplication-7"); return !ok })
}

// Errors, silence and refusals of the other cluster, and one without the table.
func TestStreamOfTrouble(t *testing.T) {
	w := newWorld(t)
	w.set(func() { w.confirmed = 0 })
	w.r.become(pacifica.Primary, 6)
	w.writeSome(30)
	until(t, "it says that there is no table", func() bool { return len(w.why()) > 20 && w.why() != "up to date" })
	if w.why() == "" {
		t.Error("no reason")
	}
	n := 0
	w.set(func() {
		w.answer = func() (int32, bool) {
			n++
			return int32(n % 2 * base.StoreTryAgain), false
		}
	})
	w.remote.CreateTable("copy", 4, 1)
	until(t, "all is sent in spite of errors", func() bool { return w.equal(0) })
	w.set(func() { w.answer = func() (int32, bool) { return base.StoreInvalidArgument, false } })
	w.writeSome(3)
	until(t, "it says that it is refused", func() bool { return w.why() != "" && w.why()[:10] == "the remote" })
	w.set(func() { w.answer = nil })
	until(t, "all is sent", func() bool { return w.equal(0) })
	w.set(func() {
		if got := w.last.Skipped.V; got != 0 {
			t.Errorf("%d are skipped", got)
		}
	})
	// In mode skip what is refused is left out and counted.
	w.set(func() {
		w.entry.FailMode = base.Some(duplication.FAIL_SKIP)
		w.answer = func() (int32, bool) { return base.StoreInvalidArgument, false }
	})
	before := w.r.View().Committed
	w.writeSome(3)
	until(t, "it is left out", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.last.Skipped.V == 3 && w.confirmed == before+3
	})
}

// What the other cluster leaves out, since it has the same number or can't apply it, isn't taken for sent.
func TestStreamLeftOut(t *testing.T) {
	w := newWorld(t)
	w.remote.CreateTable("copy", 4, 1)
	w.set(func() { w.confirmed, w.leaves = 0, true })
	w.r.become(pacifica.Primary, 6)
	w.writeLasting(3)
	until(t, "it says why it stands still", func() bool { return strings.Contains(w.why(), "made by this cluster itself") })
	w.set(func() {
		if w.confirmed != 0 {
			t.Errorf("decree %d is confirmed", w.confirmed)
		}
		w.leaves = false
	})
	until(t, "all is sent", func() bool { return w.equal(0) })

	// A copy isn't done either.
	w.set(func() { w.none = true })
	until(t, "the duplication ends", func() bool { _, ok := w.r.held("duplication-7"); return !ok })
	w.set(func() {
		w.confirmed, w.none, w.leaves, w.rows = -1, false, true, map[string]row{}
		w.entry.Status = duplication.DS_APP
	})
	until(t, "the copy says why it stands still", func() bool { return strings.Contains(w.why(), "made by this cluster itself") })
	w.set(func() {
		if w.confirmed != -1 {
			t.Errorf("decree %d is confirmed", w.confirmed)
		}
		w.leaves = false
	})
	until(t, "all is copied", func() bool { return w.same() })
	w.set(func() { w.entry.FailMode, w.leaves = base.Some(duplication.FAIL_SKIP), true })
	before := w.r.View().Committed
	w.writeSome(3)
	until(t, "in mode skip it is left out and counted", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.last.Skipped.V == 3 && w.confirmed == before+3
	})
}

// A primary that hears nothing of the meta sends nothing.
func TestDeafPrimarySendsNothing(t *testing.T) {
	w := newWorld(t)
	w.remote.CreateTable("copy", 4, 1)
	w.set(func() { w.confirmed = 0 })
	w.r.become(pacifica.Primary, 6)
	w.writeSome(5)
	until(t, "all is sent", func() bool { return w.equal(0) })
	w.set(func() { w.deaf = true })
	until(t, "it leads no more", func() bool { return !w.s.fresh() })
	seen := w.remote.Seen(base.RPCDuplicate)
	w.writeSome(5)
	time.Sleep(20 * poll)
	if now := w.remote.Seen(base.RPCDuplicate); now != seen {
		t.Errorf("%d requests", now-seen)
	}
	w.set(func() { w.deaf = false })
	until(t, "it goes on", func() bool { return w.equal(0) })
}

// Where the log lacks what comes next all rows are copied: rows that were removed meanwhile go there, too, and those of the
// other cluster stay. In mode skip what is missing is left out and counted.
func TestLogThatLacksSomething(t *testing.T) {
	w := newWorld(t)
	w.remote.CreateTable("copy", 4, 1)
	for i := range 20 {
		w.r.write(rrdb.Op{Key: rowKey("h", fmt.Sprint(i)), Value: []byte("v")})
	}
	for i := range 10 {
		w.r.write(rrdb.Op{Key: rowKey("h", fmt.Sprint(i)), Delete: true})
	}
	w.r.mu.Lock()
	w.r.first = 28
	w.r.mu.Unlock()
	theirs := row{key: rowKey("theirs", "k"), value: []byte("beside"), tag: rrdb.MakeTimetag(5, 2, false)}
	w.set(func() {
		w.confirmed = 20 // they have all rows
		for i := range 20 {
			k := rowKey("h", fmt.Sprint(i))
			w.rows[string(k)] = row{key: k, value: []byte("v"), tag: rrdb.MakeTimetag(1001+int64(i), own, false)}
		}
		w.rows[string(theirs.key)] = theirs
	})
	w.r.become(pacifica.Primary, 6)
	until(t, "the other cluster has the same", func() bool { return w.same(string(theirs.key)) })
	until(t, "it is confirmed", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.confirmed == 30 && w.last.Gaps.V >= 1 && w.last.Skipped.V == 0
	})
	w.writeSome(30)
	until(t, "and goes on", func() bool { return w.same(string(theirs.key)) })
	if es, err := os.ReadDir(w.r.dir); err != nil || len(es) != 1 { // the store
		t.Errorf("%v, %v", es, err)
	}

	w.h.cancel()
	w.h.wg.Wait()
	w.r.mu.Lock()
	w.r.first = 56
	w.r.mu.Unlock()
	w.set(func() {
		w.entry.FailMode = base.Some(duplication.FAIL_SKIP)
		w.confirmed = 50
	})
	w.start()
	until(t, "what is missing is counted", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.last.Skipped.V == 5 && w.confirmed == 60 })
}

// The rows of a bulk load aren't in the log, so it is never passed over as if there were nothing to send: all rows are copied, or, in mode skip,
// it is counted as left out.
func TestBulkLoadInTheLog(t *testing.T) {
	for _, skip := range []bool{false, true} {
		w := newWorld(t)
		w.remote.CreateTable("copy", 4, 1)
		if skip {
			w.set(func() { w.entry.FailMode = base.Some(duplication.FAIL_SKIP) })
		}
		w.set(func() { w.confirmed = 0 })
		w.writeLasting(10)
		w.r.write()
		w.r.mu.Lock()
		w.r.log[len(w.r.log)-1].Payload = rrdb.AppendTake(nil, rrdb.Take{Load: 1, Digest: "0-0", Partitions: 4})
		end := int64(len(w.r.log)) + 10
		w.r.mu.Unlock()
		w.writeLasting(10)
		w.r.become(pacifica.Primary, 6)
		skipped := int64(0)
		if skip {
			skipped = 1
		}
		until(t, "it goes on behind the load, and says so", func() bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.confirmed == end && w.last.Gaps.V >= 1 && w.last.Skipped.V == skipped
		})
		until(t, "the other cluster has the same", func() bool { return w.same() })
		w.h.cancel()
		w.h.wg.Wait()
	}
}

// Rows that the other cluster made were removed here, or overwritten by what has expired since, and the log lacks that: a copy tells of it, with the time at
// which it was done. What was written there later stays.
func TestCopyTellsRemovesOfTheirs(t *testing.T) {
	w := newWorld(t)
	w.remote.CreateTable("copy", 4, 1)
	keys := map[string][]byte{}
	for _, k := range []string{"removed", "expired", "later"} {
		keys[k] = rowKey("theirs", k)
	}
	w.r.write(rrdb.Op{Key: keys["removed"], Delete: true, Timetag: rrdb.Tombstone(own)})
	w.r.write(rrdb.Op{Key: keys["expired"], Value: []byte("short"), ExpireTS: 5, Timetag: rrdb.MakeTimetag(1002, own, false)})
	w.r.write(rrdb.Op{Key: keys["later"], Delete: true, Timetag: rrdb.Tombstone(own)})
	w.r.write(rrdb.Op{Key: rowKey("h", "1"), Value: []byte("v")})
	w.r.mu.Lock()
	w.r.first = 4
	w.r.mu.Unlock()
	w.set(func() {
		w.confirmed = 0
		for k, us := range map[string]int64{"removed": 900, "expired": 901, "later": 5000} {
			w.rows[string(keys[k])] = row{key: keys[k], value: []byte("beside"), tag: rrdb.MakeTimetag(us, 2, false)}
		}
	})
	w.r.become(pacifica.Primary, 6)
	until(t, "the copy is confirmed", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.confirmed == 4 })
	w.set(func() {
		for k, tag := range map[string]uint64{"removed": rrdb.MakeTimetag(1001, own, true), "expired": rrdb.MakeTimetag(1002, own, true), "later": rrdb.MakeTimetag(5000, 2, false)} {
			if x := w.rows[string(keys[k])]; x.tag != tag {
				t.Errorf("%s: %v, timetag %#x, want %#x", k, x, x.tag, tag)
			}
		}
		if x := w.rows[string(rowKey("h", "1"))]; string(x.value) != "v" {
			t.Errorf("a row of this cluster: %v", x)
		}
	})
}

// The log is let go while the other cluster answers nothing: no copy is begun, and nothing is held. When it answers again
// all rows are copied, and rows that were removed meanwhile go; also if it doesn't tell timetags.
func TestLogYields(t *testing.T) {
	for _, tagless := range []bool{false, true} {
		w := newWorld(t)
		w.remote.CreateTable("copy", 4, 1)
		w.set(func() { w.confirmed, w.tagless = 0, tagless })
		w.r.become(pacifica.Primary, 6)
		w.writeLasting(40)
		until(t, "all is sent", func() bool { return w.equal(0) })
		until(t, "and confirmed", func() bool { d, _ := w.r.held("duplication-7"); return d == 41 })
		w.set(func() { w.answer = func() (int32, bool) { return 0, true } })
		big := make([]byte, windowBytes/2)
		for i := range 5 { // more than is read ahead
			w.r.write(rrdb.Op{Key: rowKey("h", fmt.Sprint("big", i)), Value: big})
		}
		w.r.write(rrdb.Op{Key: rowKey("h0", "0"), Delete: true}, rrdb.Op{Key: rowKey("h", "big1"), Delete: true}, rrdb.Op{Key: rowKey("h1", "1"), Delete: true})
		until(t, "the log is held", func() bool { d, ok := w.r.held("duplication-7"); return ok && d == 41 })
		w.r.yield("duplication-7")
		if d, ok := w.r.held("duplication-7"); !ok || d != 47 {
			t.Errorf("held from %d on", d)
		}
		w.writeLasting(9)
		until(t, "nothing is held for a copy that can't be made", func() bool { d, _ := w.r.held("duplication-7"); return d == 56 })
		w.set(func() { w.answer = nil })
		defer func() {
			if t.Failed() {
				t.Logf("without timetags %v: %s; %+v", tagless, w.why(), w.last)
			}
		}()
		until(t, "the other cluster has the same", func() bool { return w.same() })
		until(t, "it says so", func() bool { return w.why() == "up to date" })
		w.set(func() {
			if w.last.Gaps.V < 1 || w.last.Skipped.V != 0 {
				t.Errorf("%+v", w.last)
			}
		})
	}
}

// TestNothingToHold: in a cluster whose version knows no duplications no log is held, since its metas never say that there is
// none; nor is it held for ever for a replica that is no member.
func TestNothingToHold(t *testing.T) {
	r := &fakeReplica{gpid: base.Gpid{AppID: 3}, first: 1, role: pacifica.Inactive, bal: 5, holds: map[string]int64{}}
	h := &fakeHost{r: r}
	h.ctx, h.cancel = context.WithCancel(t.Context())
	v := version.First
	s := New(h, Options{ID: own, Every: time.Hour, Version: func() version.Version { return v }, Log: silence(),
		Ask: func(context.Context, *duplication.DuplicationSyncRequest) (*duplication.DuplicationSyncResponse, error) {
			return nil, io.EOF
		}})
	s.begin.Do(func() {})
	s.Tick(time.Now())
	if d, ok := r.held(firstHold); ok {
		t.Errorf("held from %d on", d)
	}
	v = version.Newest
	s.Tick(time.Now())
	if d, ok := r.held(firstHold); !ok || d != 1 {
		t.Errorf("held from %d on, %v", d, ok)
	}
	nothing := &duplication.DuplicationSyncResponse{Err: base.ErrOK}
	s.reconcile(t.Context(), nothing, nil, s.members())
	if _, ok := r.held(firstHold); !ok {
		t.Error("a replica that may become a member again isn't held")
	}
	s.seen[r] = time.Now().Add(-2 * outsiderTime)
	s.reconcile(t.Context(), nothing, nil, s.members())
	if _, ok := r.held(firstHold); ok {
		t.Error("what is no member is held for ever")
	}
	h.cancel()
	h.wg.Wait()
}

// TestOpenedAgain: a replica that is closed and opened again, which may be within one tick, has a log that nobody holds. What
// ends holds nothing any more.
func TestOpenedAgain(t *testing.T) {
	replicaOf := func() *fakeReplica {
		return &fakeReplica{gpid: base.Gpid{AppID: 3}, first: 1, role: pacifica.Secondary, bal: 5, holds: map[string]int64{}, lost: map[string]func(){}}
	}
	r := replicaOf()
	h := &fakeHost{r: r}
	h.ctx, h.cancel = context.WithCancel(t.Context())
	s := New(h, Options{ID: own, Every: time.Hour, Version: func() version.Version { return version.Newest }, Log: silence(),
		Remote: func(string) ([]string, int, bool) { return nil, 2, true }})
	s.begin.Do(func() {})
	a := &duplication.DuplicationSyncResponse{DupMap: []base.Pair[int32, []base.Pair[int32, duplication.DuplicationEntry]]{{Key: 3, Val: []base.Pair[int32, duplication.DuplicationEntry]{
		{Key: 7, Val: duplication.DuplicationEntry{Dupid: 7, Status: duplication.DS_LOG, Remote: "east", Progress: base.Some([]base.Pair[int32, int64]{{Key: 0, Val: 4}})}}}}}}
	holds := func(r *fakeReplica, whole bool, from int64) {
		t.Helper()
		if _, ok := r.held(firstHold); ok != whole {
			t.Errorf("held as a whole: %v", ok)
		}
		if d, _ := r.held("duplication-7"); d != from {
			t.Errorf("held from %d on, not from %d", d, from)
		}
	}
	s.Tick(time.Now())
	holds(r, true, 0)
	s.reconcile(h.ctx, a, nil, s.members())
	holds(r, false, 5)

	old := r
	r = replicaOf()
	h.r = r
	s.Tick(time.Now())
	holds(old, false, 0)
	holds(r, true, 0)
	s.reconcile(h.ctx, a, nil, s.members())
	holds(r, false, 5)

	old, r = r, replicaOf()
	h.r = r
	asked := s.members()
	s.reconcile(h.ctx, a, nil, asked) // before the tick
	holds(old, false, 0)
	holds(r, false, 5)
	s.Tick(time.Now())
	holds(r, true, 5)

	st := s.all(nil)[0]
	s.reconcile(h.ctx, &duplication.DuplicationSyncResponse{}, nil, s.members())
	holds(r, false, 0)
	st.mu.Lock()
	st.keep(3)
	st.mu.Unlock()
	holds(r, false, 0)
	h.cancel()
	h.wg.Wait()
}

// A table that was made anew in the other cluster while nobody sent isn't sent to: the meta remembers which it was.
func TestTableMadeAnew(t *testing.T) {
	w := newWorld(t)
	w.remote.CreateTable("copy", 4, 1)
	w.r.become(pacifica.Primary, 6)
	var id int32
	until(t, "the meta is told of the table", func() bool { w.mu.Lock(); defer w.mu.Unlock(); id = w.last.RemoteAppId.V; return id > 0 })
	w.h.cancel()
	w.h.wg.Wait()
	w.set(func() { w.entry.RemoteAppId = base.Some(id + 1) })
	w.start()
	w.r.become(pacifica.Primary, 9)
	until(t, "it says so", func() bool { return strings.Contains(w.why(), "was made anew") })
	w.writeSome(20)
	until(t, "the duplication stands still", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.last.LastCommittedDecree.V == 20 && w.last.RemoteAppId.V == id+1
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.rows) > 0 {
		t.Errorf("%d rows were sent to another table", len(w.rows))
	}
}

// A partition that has lost writes that the other cluster has doesn't take for sent what is written instead.
func TestWritesLostHere(t *testing.T) {
	w := newWorld(t)
	w.remote.CreateTable("copy", 4, 1)
	w.r.become(pacifica.Primary, 6)
	w.writeSome(20)
	until(t, "all is sent", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.confirmed == 20 })
	w.h.cancel()
	w.h.wg.Wait()
	w.r.mu.Lock()
	w.r.log = w.r.log[:12]
	w.r.mu.Unlock()
	var sent int
	w.set(func() { sent = len(w.rows) })
	w.start()
	w.r.become(pacifica.Primary, 9)
	until(t, "it says so", func() bool { return strings.Contains(w.why(), "decree 20 is confirmed, and the partition had only 12") })
	if list := w.errors.all(); len(list) != 1 || !strings.Contains(list[0], "it has lost writes") {
		t.Errorf("the log says %q", list)
	}
	for i := range 20 {
		w.r.write(rrdb.Op{Key: rowKey("new", fmt.Sprint(i)), Value: []byte("x")})
	}
	until(t, "it has more than was confirmed", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.last.LastCommittedDecree.V == 32 })
	if why := w.why(); !strings.Contains(why, "it has lost writes") {
		t.Error(why)
	}
	// Its lease is over for a while, and nobody else leads: what it has by now stands for nothing.
	st := w.s.all(nil)[0]
	epoch := func() int64 { st.mu.Lock(); defer st.mu.Unlock(); return st.epoch }
	was := epoch()
	w.r.lapse(true)
	until(t, "it has resigned", func() bool { return epoch() > was })
	w.set(func() { w.last.Why.V = "" })
	w.r.lapse(false)
	until(t, "it says so again", func() bool { return strings.Contains(w.why(), "decree 20 is confirmed, and the partition had only 12") })
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.rows) != sent || w.confirmed != 20 {
		t.Errorf("%d rows are there, of %d, and decree %d is confirmed", len(w.rows), sent, w.confirmed)
	}
}

// A primary that stood still while another one led hears from the meta how far that one has come, before it hears that it isn't the
// primary any more. It has lost nothing.
func TestHearsOfAnotherPrimary(t *testing.T) {
	w := newWorld(t)
	w.remote.CreateTable("copy", 4, 1)
	w.r.become(pacifica.Primary, 6)
	w.writeSome(20)
	until(t, "all is sent", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.confirmed == 20 })
	asked := make(chan struct{})
	w.set(func() {
		w.asked = func() { // it was asked by a primary, and when the answer is there, that is none any more
			w.asked = nil
			w.r.mu.Lock()
			w.r.lapsed = true
			w.r.mu.Unlock()
			w.confirmed = 30
			close(asked)
		}
	})
	<-asked
	until(t, "it has heard", func() bool { at, _ := w.r.held("duplication-7"); return at == 31 })
	if list := w.errors.all(); len(list) > 0 {
		t.Error(list)
	}
	// It leads again, after it has got what the other one wrote.
	w.r.become(pacifica.Secondary, 7)
	for range 10 {
		w.r.write()
	}
	w.r.mu.Lock()
	w.r.lapsed = false
	w.r.mu.Unlock()
	w.r.become(pacifica.Primary, 9)
	w.writeSome(10)
	until(t, "it sends again", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.confirmed == 40 })
}

// slowFinder is an owner of whom a table is found while the lease of a replica ends.
type slowFinder struct {
	owner
	found *client.Table
	lapse func(bool)
}

func (o slowFinder) fresh() bool { return true }
func (o slowFinder) syncSoon()   {}
func (o slowFinder) table(context.Context, string, string) (*client.Table, error) {
	o.lapse(true)
	return o.found, nil
}

// A primary whose lease ends while it looks for the other cluster's table sends nothing, although it led before.
func TestLeaseEndsWhileTableIsLookedFor(t *testing.T) {
	w := newWorld(t)
	w.remote.CreateTable("copy", 4, 1)
	table, err := w.s.table(t.Context(), "east", "copy")
	if err != nil {
		t.Fatal(err)
	}
	r := &fakeReplica{gpid: w.r.gpid, first: 1, role: pacifica.Primary, bal: 5, holds: map[string]int64{}, lost: map[string]func(){}}
	r.write(rrdb.Op{Key: rowKey("h", "1"), Value: []byte("v")})
	st := newStream(t.Context(), slowFinder{found: table, lapse: r.lapse}, w.s.opt, silence(), key{r.gpid, 7}, r, 0)
	st.table = table
	step := func() {
		st.ticked = st.ticked.Add(-time.Minute) // what was sent before can't be applied any more
		st.step(t.Context())
	}
	step()
	st.configure(&w.entry, 0, st.epoch)
	step()
	if s := st.core.Status(); s.Bytes == 0 || s.Flying != 0 {
		t.Fatalf("nothing was read: %+v", s)
	}
	st.table = nil // as where it seems to be another one
	for range 3 {
		step()
		if n := st.counts.sentOK.Load() + st.counts.sentFailed.Load(); st.core.Status().Flying != 0 || n != 0 {
			t.Fatalf("%d were sent, %+v", n, st.core.Status())
		}
	}
	if st.leads {
		t.Error("it leads")
	}
}

// A table that was dropped in the other cluster and made anew for another duplication is sent to, by a server that has
// sent to the old one.
func TestAnotherDuplicationToATableMadeAnew(t *testing.T) {
	for _, remembered := range []bool{true, false} {
		w := newWorld(t)
		w.remote.CreateTable("copy", 4, 1)
		w.r.become(pacifica.Primary, 6)
		w.writeSome(20)
		until(t, "all is sent", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.confirmed == 20 })
		var id int32
		w.set(func() { w.none, id = true, w.last.RemoteAppId.V })
		until(t, "the duplication is gone", func() bool { _, held := w.r.held("duplication-7"); return !held })
		w.remote.CreateTable("copy", 4, 1)
		w.set(func() {
			w.none, w.confirmed, w.rows = false, 0, map[string]row{}
			if w.entry.Dupid = 8; remembered {
				w.entry.RemoteAppId = base.Some(id + 1)
			}
		})
		until(t, "all is sent to the new table", func() bool {
			if why := w.why(); strings.Contains(why, "made anew") {
				t.Fatal(why)
			}
			return w.same()
		})
		until(t, "the meta is told of it", func() bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.last.Dupid == 8 && w.last.RemoteAppId.V == id+1
		})
	}
}

// Rows that came from the other cluster are in no copy, as they are there; but they are if the table there was made for the
// duplication: then as this cluster's, since the other one leaves out what bears its own number.
func TestCopyToTableMadeForIt(t *testing.T) {
	for _, made := range []bool{false, true} {
		w := newWorld(t)
		w.remote.CreateTable("copy", 4, 1)
		w.r.become(pacifica.Primary, 6)
		var id int32
		until(t, "the table is found", func() bool { w.mu.Lock(); defer w.mu.Unlock(); id = w.last.RemoteAppId.V; return id > 0 })
		w.h.cancel()
		w.h.wg.Wait()
		k := rowKey("theirs", "k")
		w.r.write(rrdb.Op{Key: k, Value: []byte("beside"), Timetag: rrdb.MakeTimetag(5, 2, false)}, rrdb.Op{Key: rowKey("third", "k"), Value: []byte("x"), Timetag: rrdb.MakeTimetag(6, 3, false)})
		w.writeLasting(20)
		w.set(func() {
			w.confirmed, w.rows = -1, map[string]row{}
			w.entry.Status, w.entry.RemoteMade, w.entry.RemoteAppId = duplication.DS_APP, base.NonZero(made), base.Some(id)
		})
		w.start()
		w.r.become(pacifica.Primary, 9)
		until(t, "all is copied", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.confirmed == 21 })
		w.set(func() {
			if x, ok := w.rows[string(k)]; ok != made || ok && (x.tag != rrdb.MakeTimetag(5, own, false) || string(x.value) != "beside") {
				t.Errorf("made %v: %v, %v", made, x, ok)
			}
			if x := w.rows[string(rowKey("third", "k"))]; x.tag != rrdb.MakeTimetag(6, 3, false) {
				t.Errorf("made %v: a third cluster's row is %v", made, x)
			}
		})

		// A copy that follows a gap brings none of them: they are there, or were removed there.
		w.set(func() { delete(w.rows, string(k)) })
		w.h.cancel()
		w.h.wg.Wait()
		w.writeLasting(10)
		w.r.mu.Lock()
		w.r.first = 28
		w.r.mu.Unlock()
		w.set(func() { w.entry.Status = duplication.DS_LOG })
		w.start()
		until(t, "all is copied again", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.confirmed == 31 && w.last.Gaps.V >= 1 })
		w.set(func() {
			if x, ok := w.rows[string(k)]; ok {
				t.Errorf("made %v: %v came back", made, x)
			}
		})
	}
}

// A row that the other cluster never takes is left out by a copy in mode skip, and counted; those that went with it are sent. In mode slow the copy
// waits, and says what for.
func TestCopyOfARefusedRow(t *testing.T) {
	w := newWorld(t)
	w.remote.CreateTable("copy", 4, 1)
	w.writeLasting(50)
	bad := rowKey("h", "bad")
	w.r.write(rrdb.Op{Key: bad, Value: []byte("v")})
	w.set(func() { w.refuses, w.entry.Status = bad, duplication.DS_APP })
	w.r.become(pacifica.Primary, 6)
	until(t, "the copy says what it waits for", func() bool { return strings.Contains(w.why(), "too large") })
	w.set(func() {
		if w.confirmed != -1 || w.last.Skipped.V != 0 {
			t.Errorf("%+v, decree %d is confirmed", w.last, w.confirmed)
		}
		w.entry.FailMode = base.Some(duplication.FAIL_SKIP)
	})
	until(t, "the row is left out and counted", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.last.Skipped.V == 1 && w.confirmed == 51
	})
	w.set(func() {
		if _, there := w.rows[string(bad)]; there {
			t.Error("the refused row is there")
		}
		w.rows[string(bad)] = row{key: bad, value: []byte("v")}
	})
	if !w.same() {
		t.Error("other rows are missing")
	}
}

// Rows were removed here in a gap of the log that the other cluster didn't have: a copy tells one of our clusters, which then leaves out older writes of them that
// come later from elsewhere. A cluster of C++ isn't told: it applies a remove whatever its time.
func TestCopyTellsRemovesOfRowsThatArentThere(t *testing.T) {
	for _, ours := range []bool{true, false} {
		w := newWorld(t)
		if ours {
			w.remote.SetOurs()
		}
		w.set(func() { w.tagless = !ours })
		w.remote.CreateTable("copy", 4, 1)
		removed, expired, theirs, unnumbered := rowKey("h", "removed"), rowKey("h", "expired"), rowKey("h", "theirs"), rowKey("h", "unnumbered")
		w.r.write(rrdb.Op{Key: removed, Delete: true, Timetag: rrdb.Tombstone(own)})
		w.r.write(rrdb.Op{Key: expired, Value: []byte("short"), ExpireTS: 5, Timetag: rrdb.MakeTimetag(1002, own, false)})
		w.r.write(rrdb.Op{Key: theirs, Delete: true, Timetag: rrdb.MakeTimetag(900, 3, true)})
		w.r.write(rrdb.Op{Key: unnumbered, Value: []byte("short"), ExpireTS: 5, Timetag: rrdb.MakeTimetag(1004, 0, false)}) // from before writes bore the number
		w.r.write(rrdb.Op{Key: rowKey("h", "1"), Value: []byte("v")})
		w.r.mu.Lock()
		w.r.first = 4
		w.r.mu.Unlock()
		w.set(func() { w.confirmed = 0 })
		w.r.become(pacifica.Primary, 6)
		until(t, "the copy is confirmed", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.confirmed == 5 })
		w.set(func() {
			want := map[string]uint64{string(removed): rrdb.MakeTimetag(1001, own, true), string(expired): rrdb.MakeTimetag(1002, own, true), string(unnumbered): rrdb.MakeTimetag(1004, own, true)}
			if !ours {
				want = nil
			}
			for _, k := range [][]byte{removed, expired, theirs, unnumbered} {
				x, there := w.rows[string(k)]
				if tag := want[string(k)]; there != (tag != 0) || there && (x.tag != tag || !x.remove) {
					t.Errorf("ours %v: %q is %v, timetag %#x, want %#x", ours, k, x, x.tag, tag)
				}
			}
			if x := w.rows[string(rowKey("h", "1"))]; string(x.value) != "v" {
				t.Errorf("a row that is here: %v", x)
			}
		})
	}
}

// Whatever error the other cluster tells of, once: the stream goes on, in order, and leaves nothing out.
func TestEachErrorOfTheOther(t *testing.T) {
	w := newWorld(t)
	w.remote.CreateTable("copy", 4, 1)
	w.set(func() { w.confirmed = 0 })
	w.r.become(pacifica.Primary, 6)
	for _, code := range []base.ErrorCode{base.ErrUnknown, base.ErrServiceNotFound, base.ErrTimeout, base.ErrBusy, base.ErrNetworkFailure, base.ErrHandlerNotFound, base.ErrOperationDisabled, base.ErrInvalidState, base.ErrInactiveState,
		base.ErrInvalidParameters, base.ErrInvalidData, base.ErrObjectNotFound, base.ErrAppNotExist, base.ErrCapacityExceeded, base.ErrNotEnoughMember, base.ErrTryAgain, base.ErrSplitting, base.ErrParentPartitionMisused, "ERR_NOBODY_KNOWS"} {
		told := false
		w.set(func() {
			w.fails = func() base.ErrorCode {
				if told {
					return base.ErrOK
				}
				told = true
				return code
			}
		})
		w.writeLasting(1)
		until(t, fmt.Sprintf("all is sent in spite of %s", code), func() bool { w.mu.Lock(); done := told; w.mu.Unlock(); return done && w.equal(0) })
	}
	w.set(func() { w.fails = nil })
	for code := int32(-2); code <= 14; code++ {
		told := code == 0
		w.set(func() {
			w.answer = func() (int32, bool) {
				if told {
					return 0, false
				}
				told = true
				return code, false
			}
		})
		w.writeLasting(1)
		until(t, fmt.Sprintf("all is sent in spite of code %d", code), func() bool { w.mu.Lock(); done := told; w.mu.Unlock(); return done && w.equal(0) })
	}
	until(t, "all is confirmed", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.confirmed == w.r.View().Committed && w.last.Skipped.V == 0
	})
}
