package rows

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pegasus/base"
	"pegasus/client"
	"pegasus/gen/rrdb"
)

// late is a table whose first write of each key that begins with l gets no answer, is sent again with success, and comes to the table once
// more when that of a connection that was given up can.
type late struct {
	stays
	mu   sync.Mutex
	lost map[string]bool
	rows map[string]string
	at   map[string]time.Duration // when a row was written last, but for those that come late
	from time.Time
	all  sync.WaitGroup
}

func (l *late) Go(op client.Op, _ time.Duration, done func([]byte, error)) {
	var keys, values []string
	switch arg := op.Arg.(type) {
	case *rrdb.UpdateRequest:
		keys, values = []string{string(arg.Key)}, []string{string(arg.Value)}
	case *rrdb.MultiPutRequest:
		for _, kv := range arg.Kvs {
			keys = append(keys, string(base.AppendKey(nil, arg.HashKey, kv.Key)))
			values = append(values, string(kv.Value))
		}
	}
	write := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		for i, k := range keys {
			l.rows[k] = values[i]
		}
	}
	l.mu.Lock()
	h, _, _ := base.SplitKey([]byte(keys[0]))
	lose := strings.HasPrefix(string(h), "l") && !l.lost[keys[0]]
	if lose {
		l.lost[keys[0]] = true
	}
	for _, k := range keys {
		l.at[k] = time.Since(l.from)
	}
	l.mu.Unlock()
	if lose {
		op.Lost()
		l.all.Add(1)
		time.AfterFunc(lateFor-1, func() { write(); l.all.Done() })
	}
	write()
	go done((&rrdb.UpdateResponse{}).AppendThrift(nil), nil)
}

// A write whose first attempt comes late doesn't undo a later row of the same key; other rows, also of its hash key, don't wait for it.
func TestLateWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &late{lost: map[string]bool{}, rows: map[string]string{}, at: map[string]time.Duration{}, from: time.Now()}
		var first, second strings.Builder
		for _, h := range []string{"l1", "l2", "", "quick"} {
			first.WriteString(line(h, "s", "old", 0) + line(h, "t", "only", 0))
			second.WriteString(line(h, "u", "only", 0))
		}
		// Files are written one behind the other.
		inputs := []Input{text("a", first.String()), text("b", second.String()), text("c", line("quick", "s", "new", 0)+line("l1", "s", "new", 0)+line("l2", "s", "new", 0))}
		var bad badRows
		res, err := Import(context.Background(), l, inputs, options(&bad))
		if err != nil || res.Written != 15 || len(bad.list) > 0 {
			t.Fatalf("%+v, %v, %q", res, err, bad.list)
		}
		l.all.Wait()
		for _, h := range []string{"l1", "l2", "", "quick"} {
			for s, want := range map[string]string{"s": "new", "t": "only", "u": "only"} {
				if h == "" && s == "s" {
					want = "old"
				}
				k := base.AppendKey(nil, []byte(h), []byte(s))
				if got := l.rows[string(k)]; got != want {
					t.Errorf("%s %s is %q, want %q", h, s, got, want)
				}
				if waited := l.at[string(k)] > 0; waited != (s == "s" && strings.HasPrefix(h, "l")) {
					t.Errorf("%s %s was written after %v", h, s, l.at[string(k)])
				}
			}
		}
	})
}

// What can come late any more isn't remembered.
func TestLateIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSink(context.Background(), accepts{}, Pace{}, nil, nil)
		defer s.stop(context.Canceled)
		g := []change{{hashKey: []byte("h"), sortKey: []byte("s")}, {hashKey: []byte("h"), sortKey: []byte("t")}}
		may := func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.mayCome(g[1:])
		}
		s.lost(g)
		time.Sleep(lateFor / 2)
		s.lost(g)
		time.Sleep(lateFor - 1)
		if !may() {
			t.Error("the second attempt is forgotten too early")
		}
		time.Sleep(2 * time.Nanosecond)
		synctest.Wait()
		if may() || len(s.late) > 0 {
			t.Errorf("%d rows are remembered", len(s.late))
		}
	})
}
