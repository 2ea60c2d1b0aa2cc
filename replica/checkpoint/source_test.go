package checkpoint

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"pegasus/base"
)

// TestCheckpointExpiry: one that is being made, or sent, is not taken away.
func TestCheckpointExpiry(t *testing.T) {
	h, copies := newHost(t, nil)
	c := copies.source
	past := time.Now().Add(-time.Minute)
	making, sending, idle := &checkpoint{dir: t.TempDir(), until: past, making: true}, &checkpoint{dir: t.TempDir(), until: past}, &checkpoint{dir: t.TempDir(), until: past}
	making.ID, sending.ID, idle.ID = "making", "sending", "idle"
	for _, cp := range []*checkpoint{making, sending, idle} {
		cp.gpid = h.r.gpid
	}
	c.open["making"], c.open["sending"], c.open["idle"] = making, sending, idle
	c.touch(sending)
	c.expire(time.Now())
	if c.open["making"] != making || c.open["sending"] != sending || c.open["idle"] != nil {
		t.Errorf("left: %v", c.open)
	}
	if _, err := os.Stat(idle.dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the files of an expired one: %v", err)
	}
}

// TestCheckpointsAreBounded: a peer that opens checkpoints again and again doesn't fill the disk
// with them, and one that is in use is not taken away for another's.
func TestCheckpointsAreBounded(t *testing.T) {
	h, c := newHost(t, map[string][]byte{"000001.sst": []byte("x")})
	s := c.source
	ask := func(learner string) (int, string) {
		t.Helper()
		q := url.Values{"replica": {h.r.gpid.String()}, "ballot": {"1"}}
		if learner != "" {
			q.Set("learner", learner)
		}
		req, err := http.NewRequest(http.MethodPost, "http://"+h.name+Path+"?"+q.Encode(), nil)
		if err != nil {
			t.Fatal(err)
		}
		h.Mark(req.Header)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var m Manifest
		if res.StatusCode == http.StatusOK {
			if err := json.NewDecoder(res.Body).Decode(&m); err != nil {
				t.Fatal(err)
			}
		}
		return res.StatusCode, m.ID
	}
	dirs := func() int {
		t.Helper()
		names, err := filepath.Glob(filepath.Join(h.r.dir, "*.checkpoint.*"))
		if err != nil {
			t.Fatal(err)
		}
		return len(names)
	}
	busy := 0
	for range 20 {
		if code, _ := ask(""); code == http.StatusServiceUnavailable {
			busy++
		}
	}
	if n := dirs(); n != manyOfReplica || busy != 20-manyOfReplica {
		t.Errorf("%d checkpoints of one replica are open, %d were refused", n, busy)
	}
	// Those that were left alone make room.
	s.mu.Lock()
	for _, cp := range s.open {
		cp.until = cp.until.Add(-checkpointIdler)
	}
	s.mu.Unlock()
	_, other := ask("other")
	for range 20 {
		if code, _ := ask("one"); code != http.StatusOK {
			t.Fatalf("a learner's next checkpoint: %d", code)
		}
	}
	if n := dirs(); n != manyOfReplica {
		t.Errorf("%d checkpoints are open", n)
	}
	s.mu.Lock()
	of := map[string]int{}
	for _, cp := range s.open {
		of[cp.learner]++
	}
	kept := s.open[other] != nil
	s.mu.Unlock()
	if of["one"] != 1 || !kept {
		t.Errorf("open by learner: %v, that of the other learner is there: %t", of, kept)
	}
}

// TestCheckpointsOfServer: all replicas together have a bound too.
func TestCheckpointsOfServer(t *testing.T) {
	c := &source{open: map[string]*checkpoint{}}
	now := time.Now()
	add := func(i int) bool {
		cp := &checkpoint{gpid: base.Gpid{AppID: 1, PartitionIndex: int32(i)}, Manifest: Manifest{ID: strconv.Itoa(i)}, until: now.Add(checkpointIdle)}
		if _, ok := c.makeRoom(cp, now); !ok {
			return false
		}
		c.open[cp.ID] = cp
		return true
	}
	for i := range manyCheckpoints {
		if !add(i) {
			t.Fatalf("number %d was refused", i)
		}
	}
	if add(1000) {
		t.Error("one more than there may be")
	}
	c.open["7"].gone = true
	if !add(1000) || c.open["7"] != nil || len(c.open) != manyCheckpoints {
		t.Errorf("one whose copy has ended makes no room: %d are open", len(c.open))
	}
}

// What follows a checkpoint stays in the log from before it is made until it is no longer asked for, also of
// a replica that was opened anew, and for a while after it was copied.
func TestCheckpointHoldsTheLog(t *testing.T) {
	h, c := newHost(t, map[string][]byte{"000001.sst": []byte("x")})
	r := h.r
	closeAll := func() {
		t.Helper()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	want := func(when string, ds ...int64) {
		t.Helper()
		if got := r.held(); !slices.Equal(got, ds) {
			t.Errorf("%s: the log is held from %v on, want %v", when, got, ds)
		}
	}
	post := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		req := httptest.NewRequest(http.MethodPost, path, nil)
		h.Mark(req.Header)
		h.router.ServeHTTP(w, req)
		return w
	}
	r.during = func() { want("while it is made", 0) }
	r.failing = errors.New("planted")
	ask := Path + "?replica=1.0&ballot=3&learner=one"
	if w := post(ask); w.Code != http.StatusInternalServerError {
		t.Errorf("one that can't be made: %d", w.Code)
	}
	want("after one that can't be made")
	r.failing = nil
	var m Manifest
	if err := json.Unmarshal(post(ask).Body.Bytes(), &m); err != nil {
		t.Fatal(err)
	}
	want("once it is made", 8)
	r.holds = nil // as in a replica that was opened anew
	c.Tick(time.Now())
	want("after the replica was opened anew", 8)
	post(pathDone + "?id=" + m.ID)
	want("after it was copied", 8)
	c.Tick(time.Now().Add(holdAfterDone + time.Second))
	want("a while later")

	post(ask)
	post(ask)
	want("when the same learner asks again", 8)
	// The log is full: its hold ends, and stays ended.
	r.mu.Lock()
	lost := r.lost
	r.holds = nil
	r.mu.Unlock()
	lost()
	c.Tick(time.Now())
	want("after the log had no room")
	c.Tick(time.Now().Add(checkpointIdle + time.Second))
	r.first = 9
	post(ask)
	want("with a log that has less")
	if n := len(c.source.open); n != 1 {
		t.Errorf("%d are open", n)
	}
	closeAll()
	r.first = 0
	post(ask)
	closeAll()
	want("after the server has stopped")
}
