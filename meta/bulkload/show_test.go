package bulkload

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"pegasus/base"
	"pegasus/gen/loading"
	"pegasus/meta/service"
	"pegasus/meta/state"
)

// How long a load takes yet goes by what is read since this leader first heard of it; members that don't know yet what they have to read count as the others, dead ones don't.
func TestProgress(t *testing.T) {
	a, b, c, dead := &member{alive: true}, &member{alive: true}, &member{alive: true}, &member{total: 1 << 40}
	r := &run{parts: []part{{members: map[base.RPCAddress]*member{1: a, 2: b}}, {members: map[base.RPCAddress]*member{1: c, 3: dead}}}}
	now := time.Now()
	want := func(what string, read, total, seconds int64) {
		t.Helper()
		if x, y, z := r.progress(now); x != read || y != total || z != seconds {
			t.Errorf("%s: %d of %d, %d seconds; want %d of %d, %d", what, x, y, z, read, total, seconds)
		}
	}
	want("nobody has begun", 0, 0, -1)
	a.read, a.total, b.read, b.total = 100, 1000, 0, 2000
	want("a new leader hears of it", 100, 4500, -1)
	now = now.Add(10 * time.Second)
	want("nothing was read since", 100, 4500, -1)
	a.read, b.read, c.read, c.total = 600, 500, 100, 1500
	want("120 bytes are read in a second", 1200, 4500, 30)
	b.read = 0
	want("one began anew, and there is more than at first", 700, 4500, 64)
	a.read, c.read = 0, 0
	want("all began anew", 0, 4500, -1)
	now = now.Add(time.Second)
	a.read = 5000 // more than there is
	want("the new pace", 1000, 4500, 4)
}

// A load that has ended waits for whoever may forget it yet: a minute for members that are dead or can't, not at all for the dead that are none any more.
func TestForgetting(t *testing.T) {
	for _, x := range []struct {
		m              member
		is, late, want bool
	}{
		{member{alive: true}, true, true, false},
		{member{alive: true, forgot: true}, true, false, true},
		{member{}, true, false, false},
		{member{}, true, true, true},
		{member{}, false, false, true},
		{member{alive: true, stuck: true}, true, false, false},
		{member{alive: true, stuck: true}, false, false, false},
		{member{alive: true, stuck: true}, true, true, true},
	} {
		if got := x.m.done(x.is, x.late); got != x.want {
			t.Errorf("%+v: %v", x, got)
		}
	}
}

type quietLeader struct{ service.Leader }

func (quietLeader) Log() *logrus.Entry {
	l := logrus.New()
	l.SetOutput(io.Discard)
	return logrus.NewEntry(l)
}

// A member whose disk hangs lives and doesn't answer: a load that has ended waits for it as for one that can't forget, and for one
// that is busy until it isn't.
func TestHangingMemberIsNotWaitedFor(t *testing.T) {
	for _, c := range []struct {
		err  error
		code base.ErrorCode
		want bool
	}{
		{err: base.ErrTimeout, want: true},
		{err: context.DeadlineExceeded, want: true},
		{err: base.ErrBusy},
		{code: base.ErrBusy},
		{code: base.ErrFileOperationFailed, want: true},
	} {
		m := &member{alive: true, busy: true}
		s := &Service{Leader: quietLeader{}, runs: map[int32]*run{1: {id: 7, parts: []part{{members: map[base.RPCAddress]*member{5: m}}}}}}
		j := &job{BulkLoad: state.BulkLoad{Table: 1, ID: 7}}
		s.answered(&question{job: j, to: 5, step: loading.LOAD_FORGET}, &loading.LoadResponse{Err: c.code}, c.err)
		if m.busy || m.done(true, false) || m.done(true, true) != c.want {
			t.Errorf("%v, %v: %+v", c.err, c.code, m)
		}
	}
}
