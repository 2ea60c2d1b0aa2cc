package replica

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/sirupsen/logrus/hooks/test"

	"pegasus/base"
	"pegasus/base/appenv"
	"pegasus/base/config"
	idl "pegasus/gen/rrdb"
	"pegasus/gen/value"
	"pegasus/replica/observe"
)

// abnormalLines returns what the replica's log says of abnormal reads from here on.
func (g *group) abnormalLines() func() []string {
	l, hook := test.NewNullLogger()
	g.nodes[0].srv.replica(g.gpid).observed.Log = logrus.NewEntry(l)
	return func() (lines []string) {
		for _, e := range hook.AllEntries() {
			if e.Level == logrus.WarnLevel && strings.HasPrefix(e.Message, "abnormal read: ") {
				lines = append(lines, e.Message)
			}
		}
		hook.Reset()
		return lines
	}
}

func limited(redact bool) func(*config.Config) {
	return func(c *config.Config) {
		c.Replica.MinReplicas = 1
		c.Replica.SlowQuery = config.Duration(time.Hour)
		c.Replica.AbnormalGet, c.Replica.AbnormalMultiGet, c.Replica.AbnormalMultiGetRows = 1000, 100000, 5
		c.Replica.AbnormalBatchGet, c.Replica.AbnormalBatchGetRows = 100000, 2
		c.Replica.RedactKeys = redact
	}
}

func TestAbnormalReads(t *testing.T) {
	for _, redact := range []bool{false, true} {
		g := newGroupWith(t, 1, limited(redact))
		g.mustPut(0, "small", "1")
		g.mustPut(0, "large", string(make([]byte, 2000)))
		put := &idl.MultiPutRequest{HashKey: []byte("many")}
		for i := range 6 {
			put.Kvs = append(put.Kvs, idl.KeyValue{Key: fmt.Append(nil, i), Value: []byte("v")})
		}
		if err := g.call(0, base.RPCMultiPut, put, new(idl.UpdateResponse)); err != nil {
			t.Fatal(err)
		}
		lines := g.abnormalLines()
		batch := func(n int) *idl.BatchGetRequest {
			q := &idl.BatchGetRequest{}
			for range n {
				q.Keys = append(q.Keys, idl.FullKey{HashKey: []byte("small"), SortKey: []byte("s")})
			}
			return q
		}
		blob := func(k string) *value.Blob { b := value.Blob(rowKey(k)); return &b }
		for _, c := range []struct {
			code     string
			arg, res value.Value
			want     []string // "": nothing is told
		}{
			{base.RPCGet, blob("small"), new(idl.ReadResponse), nil},
			{base.RPCGet, blob("large"), new(idl.ReadResponse), []string{"GET from ", `"large" : "s"`, "1 looked at"}},
			{base.RPCBatchGet, batch(1), new(idl.BatchGetResponse), nil},
			{base.RPCBatchGet, batch(2), new(idl.BatchGetResponse), []string{"BATCH_GET from ", `2 keys, the first "small" : "s"`, "2 rows"}},
			{base.RPCMultiGet, &idl.MultiGetRequest{HashKey: []byte("many"), MaxKvCount: 3}, new(idl.MultiGetResponse), nil},
			// Rows that a filter hides were looked at too.
			{base.RPCMultiGet, &idl.MultiGetRequest{HashKey: []byte("many"), SortKeyFilterType: idl.FT_MATCH_POSTFIX, SortKeyFilterPattern: []byte("5")},
				new(idl.MultiGetResponse), []string{"MULTI_GET from ", `hash key "many"`, `FT_MATCH_POSTFIX "5"`, "1 rows", "6 looked at"}},
			{base.RPCSortkeyCount, func() *value.Blob { b := value.Blob("many"); return &b }(), new(idl.CountResponse), nil},
		} {
			if err := g.call(0, c.code, c.arg, c.res); err != nil {
				t.Fatal(err)
			}
			got := lines()
			if len(got) != min(len(c.want), 1) {
				t.Errorf("%s: told %q", c.code, got)
				continue
			}
			for _, w := range c.want {
				if redact {
					for _, k := range []string{`"large" : "s"`, `"small" : "s"`, `"many"`, `"5"`} {
						w = strings.ReplaceAll(w, k, strings.Join(slices.Repeat([]string{observe.Redacted}, 1+strings.Count(k, ":")), " : "))
					}
				}
				if !strings.Contains(got[0], w) {
					t.Errorf("%s: %q lacks %q", c.code, got[0], w)
				}
			}
		}
		if n := g.nodes[0].srv.replica(g.gpid).observed.Counts().Abnormal; n != 3 {
			t.Errorf("%d are counted", n)
		}
	}
}

// How long is too long can be set for a table.
func TestSlowQuerySetting(t *testing.T) {
	g := alone(t)
	g.set(appenv.SlowQuery, "0x20")
	if u := g.nodes[0].srv.replica(g.gpid).admission.Rules.Load(); u.SlowRead() != 32*time.Millisecond {
		t.Errorf("the setting gives %+v", u)
	}
	g.set()
	if u := g.nodes[0].srv.replica(g.gpid).admission.Rules.Load(); u.SlowRead() != 0 {
		t.Errorf("no setting gives %+v", u)
	}
}
