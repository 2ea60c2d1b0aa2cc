package compat

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/compat_test/cluster"
	"pegasus/compat_test/wire"
	"pegasus/gen/layer2"
	"pegasus/gen/metaadmin"
	"pegasus/gen/registry"
	"pegasus/gen/rrdb"
	"pegasus/gen/value"
)

// recording is one recorded session of a client with the C++ server.
type recording struct {
	dir string
	// at is when it was recorded, in seconds since 2016, if records expire in it: the expiry
	// of its first put with a TTL, less that TTL. All times are moved from there to now.
	at int64
	// tables make the state it began with, in the order of their ids.
	tables []made
}

type made struct {
	name       string
	partitions int32
	envs       []base.Pair[string, string]
	dropped    bool // again, before the session
}

var temp = []made{{name: "temp", partitions: 8}}

// Before the sessions of the shell and the Go client there were the tables that the rest of
// the golden data is about.
var before = []made{
	{name: "mig", partitions: 4},
	{name: "mig_restored", partitions: 4, envs: []base.Pair[string, string]{
		{Key: "restore.app_id", Val: "1"}, {Key: "restore.app_name", Val: "mig"},
		{Key: "restore.backup_id", Val: "1795388400586"}, {Key: "restore.block_service_provider", Val: "local_service"},
		{Key: "restore.cluster_name", Val: "onebox"}, {Key: "restore.policy_name", Val: ""},
		{Key: "restore.restore_path", Val: "golden"},
	}},
	{name: "frames", partitions: 4},
}

var recordings = []recording{
	{dir: "frames-java", at: 343785868 - 100, tables: temp},
	{dir: "frames-node", tables: temp},
	{dir: "frames-python", at: 343785789 - 100, tables: temp},
	{dir: "frames-shell", at: 659142324 - 315360000, tables: before},
	{dir: "frames-go", tables: append(slices.Clone(before), made{name: "frames2", partitions: 4, dropped: true})},
}

// TestReplay plays the recorded sessions, each against a fresh cluster: the same bytes in the
// same order, but for what diff_test.go says must be another, and every answer compared field
// by field with the C++ server's.
func TestReplay(t *testing.T) {
	dir := golden(t)
	for _, r := range recordings {
		t.Run(strings.TrimPrefix(r.dir, "frames-"), func(t *testing.T) {
			c := cluster.Start(t, cluster.Options{Tables: "-"})
			if err := wholeCluster(c); err != nil {
				t.Fatal(err)
			}
			p := &player{
				t: t, began: time.Now(), c: c, framesDir: filepath.Join(dir, r.dir),
				tables: map[int32]string{}, conns: map[connKey]*wire.Conn{}, open: map[callKey]*call{},
				contexts: map[int64]int64{}, decrees: map[base.Gpid]int64{}, differences: map[string]int{},
			}
			if r.at != 0 {
				p.shift = time.Now().Unix() - epoch2016 - r.at
			}
			for i, m := range r.tables {
				p.make(int32(i+1), m)
			}
			p.play()
		})
	}
}

const epoch2016 = 1451606400

// row is one line of a recording's index.
type row struct {
	file, port, server string
	request            bool
	command            string // number of the command that had begun last, if it says so
}

type connKey struct{ port, addr string }

type callKey struct {
	port string
	id   uint64
}

// call is a request that was sent and isn't answered yet.
type call struct {
	row   row
	frame *wire.Frame // as recorded
	sent  []byte
	arg   value.Value // as sent
	addr  string
	conn  *wire.Conn
}

// player plays one recording.
type player struct {
	began     time.Time
	t         *testing.T
	c         *cluster.Cluster
	framesDir string
	shift     int64            // seconds from the recording to now, for everything that expires
	tables    map[int32]string // names of the tables by id, as far as they are known

	conns    map[connKey]*wire.Conn
	open     map[callKey]*call
	contexts map[int64]int64         // scan contexts: recorded -> ours
	decrees  map[base.Gpid]int64     // last decree seen
	early    map[callKey]*wire.Frame // answers that overtook the one waited for

	answers     int
	differences map[string]int // tolerated ones, by reason
}

// make makes a table and checks that it gets the id it had. What says that it follows a table of another
// cluster, which isn't there, is set afterwards.
func (p *player) make(id int32, m made) {
	p.t.Helper()
	var later metaadmin.ConfigurationUpdateAppEnvRequest
	m.envs = slices.DeleteFunc(slices.Clone(m.envs), func(e base.Pair[string, string]) bool {
		follows := strings.HasPrefix(e.Key, "duplication.")
		if follows {
			later.Keys.V, later.Values.V = append(later.Keys.V, e.Key), append(later.Values.V, e.Val)
		}
		return follows
	})
	var res metaadmin.ConfigurationCreateAppResponse
	arg := &metaadmin.ConfigurationCreateAppRequest{AppName: m.name, Options: metaadmin.CreateAppOptions{
		PartitionCount: m.partitions, ReplicaCount: 3, AppType: "pegasus", IsStateful: true, Envs: m.envs,
	}}
	if err := p.c.MetaCall("RPC_CM_CREATE_APP", arg, &res, func() base.ErrorCode { return res.Err }); err != nil || res.Err != base.ErrOK {
		p.t.Fatalf("create %s: %v %s", m.name, err, res.Err)
	}
	if res.Appid != id {
		p.t.Fatalf("table %s has id %d, had %d when it was recorded", m.name, res.Appid, id)
	}
	if err := p.c.WaitHealthy(m.name, time.Minute); err != nil {
		p.t.Fatal(err)
	}
	if len(later.Keys.V) > 0 {
		later.AppName, later.Op, later.Keys.Set, later.Values.Set = m.name, metaadmin.APP_ENV_OP_SET, true, true
		var res metaadmin.ConfigurationUpdateAppEnvResponse
		if err := p.c.MetaCall("RPC_CM_UPDATE_APP_ENV", &later, &res, func() base.ErrorCode { return res.Err }); err != nil || res.Err != base.ErrOK {
			p.t.Fatalf("settings of %s: %v %s %s", m.name, err, res.Err, res.HintMessage)
		}
	}
	if m.dropped {
		var res metaadmin.ConfigurationDropAppResponse
		arg := &metaadmin.ConfigurationDropAppRequest{AppName: m.name, Options: metaadmin.DropAppOptions{ReserveSeconds: base.Some[int64](3600)}}
		if err := p.c.MetaCall("RPC_CM_DROP_APP", arg, &res, func() base.ErrorCode { return res.Err }); err != nil || res.Err != base.ErrOK {
			p.t.Fatalf("drop %s: %v %s", m.name, err, res.Err)
		}
		return
	}
	p.tables[id] = m.name
}

func (p *player) play() {
	defer func() {
		for _, c := range p.conns {
			c.Close()
		}
	}()
	p.early = map[callKey]*wire.Frame{}
	for _, r := range readIndex(p.t, p.framesDir) {
		b, err := os.ReadFile(filepath.Join(p.framesDir, r.file))
		if err != nil {
			p.t.Fatal(err)
		}
		f, err := wire.Parse(b)
		if err != nil {
			p.t.Fatalf("%s: %v", r.file, err)
		}
		if r.request {
			err = p.send(r, f, b)
		} else {
			err = p.answer(r, f)
		}
		if err != nil {
			p.t.Fatalf("%s %s: %v", r.file, f.Code, err)
		}
	}
	for _, c := range p.open {
		if c.frame.Code != "RPC_RRDB_RRDB_CLEAR_SCANNER" {
			p.t.Errorf("%s %s has no recorded answer", c.row.file, c.frame.Code)
		}
	}
	if p.answers == 0 {
		p.t.Error("nothing was compared")
	}
	var reasons []string
	for r, n := range p.differences {
		reasons = append(reasons, fmt.Sprintf("%4d %s", n, r))
	}
	slices.Sort(reasons)
	p.t.Logf("%d answers compared; tolerated differences:\n%s", p.answers, strings.Join(reasons, "\n"))
}

func readIndex(t *testing.T, dir string) []row {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "index.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	var rows []row
	for _, line := range strings.Split(strings.TrimSpace(string(b)), "\n")[1:] {
		f := strings.Split(line, "\t")
		if len(f) < 6 {
			t.Fatalf("%s: line %q", dir, line)
		}
		r := row{file: f[0], port: f[1], server: f[2], request: f[3] == "c2s"}
		if len(f) > 6 {
			r.command, _, _ = strings.Cut(f[6], ":")
		}
		rows = append(rows, r)
	}
	return rows
}

// send sends a recorded request to the server of ours that it is for.
func (p *player) send(r row, f *wire.Frame, raw []byte) error {
	e, ok := registry.Lookup(f.Code)
	if !ok {
		return errors.New("code isn't in the registry")
	}
	arg := e.Arg()
	id, err := registry.ReadBody(f.Body, arg)
	if err != nil {
		return err
	}
	k := callKey{r.port, f.ID}
	c := &call{row: r, frame: f, sent: raw, arg: arg}
	if p.adapt(arg) {
		g := *f
		g.Body = registry.AppendBody(nil, id, arg)
		c.sent = g.Encode()
	}
	if c.addr, err = p.route(r, f); err != nil {
		return err
	}
	ck := connKey{r.port, c.addr}
	if c.conn = p.conns[ck]; c.conn == nil {
		if c.conn, err = wire.Dial(c.addr); err != nil {
			return err
		}
		p.conns[ck] = c.conn
	}
	if p.open[k] != nil {
		return fmt.Errorf("id %d is open twice", f.ID)
	}
	p.open[k] = c
	return c.conn.Send(c.sent)
}

// route returns the address of the server a request is for: the meta, the primary of the
// partition it names, or the server with the same number.
func (p *player) route(r row, f *wire.Frame) (string, error) {
	switch {
	case strings.HasPrefix(f.Code, "RPC_CM_"):
		return p.c.Metas()[0], nil
	case !strings.HasPrefix(f.Code, "RPC_RRDB_"):
		if r.server == "meta" {
			return p.c.Metas()[0], nil
		}
		return p.c.Addr(r.server), nil
	}
	name := p.tables[f.Gpid.AppID]
	cfg, err := p.c.Config(name)
	if err != nil {
		return "", fmt.Errorf("table %q of %s: %w", name, f.Gpid, err)
	}
	if i := int(f.Gpid.PartitionIndex); i >= 0 && i < len(cfg.Partitions) && !cfg.Partitions[i].Primary.IsZero() {
		return cfg.Partitions[i].Primary.String(), nil
	}
	return "", fmt.Errorf("no primary of %s", f.Gpid)
}

// adapt puts into a request what can't be as it was: scan contexts are the server's, and times
// of expiry lay in the past. It reports whether it changed anything.
func (p *player) adapt(arg value.Value) bool {
	switch a := arg.(type) {
	case *rrdb.ScanRequest:
		if ours, ok := p.contexts[a.ContextId]; ok {
			a.ContextId = ours
			return true
		}
		return false
	case *value.I64:
		if ours, ok := p.contexts[int64(*a)]; ok {
			*a = value.I64(ours)
			return true
		}
		return false
	}
	return p.shiftExpiry(reflect.ValueOf(arg).Elem())
}

// shiftExpiry moves every time of expiry in v. Node sends a plain TTL where a time belongs; that
// is a moment in 2016 and stays so.
func (p *player) shiftExpiry(v reflect.Value) (changed bool) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			name := v.Type().Field(i).Name
			f := v.Field(i)
			if (name == "ExpireTsSeconds" || name == "SetExpireTsSeconds") && f.Kind() == reflect.Int32 {
				if f.Int() > 300000000 && p.shift != 0 {
					f.SetInt(f.Int() + p.shift)
					changed = true
				}
			} else if f.CanSet() && p.shiftExpiry(f) {
				changed = true
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Struct {
			for i := range v.Len() {
				if p.shiftExpiry(v.Index(i)) {
					changed = true
				}
			}
		}
	}
	return changed
}

// receive returns the server's answer to a call. Others on the same connection may overtake it.
func (p *player) receive(c *call) (*wire.Frame, error) {
	k := callKey{c.row.port, c.frame.ID}
	for {
		if a := p.early[k]; a != nil {
			delete(p.early, k)
			return a, nil
		}
		a, err := c.conn.Receive(20 * time.Second)
		if err != nil {
			return nil, err
		}
		got := callKey{c.row.port, a.ID}
		of := p.open[got]
		switch {
		case of == nil || of.conn != c.conn:
			return nil, fmt.Errorf("an answer to id %d, which wasn't asked", a.ID)
		case of.frame.Code == "RPC_RRDB_RRDB_CLEAR_SCANNER":
			return nil, errors.New("clear_scanner was answered")
		}
		p.early[got] = a
	}
}

// answer reads our answer to the request whose recorded answer f is, and compares.
func (p *player) answer(r row, f *wire.Frame) error {
	k := callKey{r.port, f.ID}
	c := p.open[k]
	if c == nil {
		return fmt.Errorf("a recorded answer to id %d, which wasn't asked", f.ID)
	}
	e, _ := registry.Lookup(f.Code)
	if e.Result == nil {
		return errors.New("a recorded answer of a one-way code")
	}
	rec := e.Result()
	if len(f.Body) > 0 {
		if _, err := registry.ReadBody(f.Body, rec); err != nil {
			return fmt.Errorf("recorded: %w", err)
		}
	}
	for deadline := time.Now().Add(30 * time.Second); ; {
		a, err := p.receive(c)
		if err != nil {
			return err
		}
		if a.Code != f.Code || a.Err != f.Err || a.Framing == wire.RDSN && a.Gpid != c.frame.Gpid {
			return fmt.Errorf("answered by %s, error %s, gpid %s, was %s, %s, %s", a.Code, a.Err, a.Gpid, f.Code, f.Err, f.Gpid)
		}
		got := e.Result()
		if len(a.Body) > 0 || len(f.Body) > 0 {
			if id, err := registry.ReadBody(a.Body, got); err != nil || id != 0 {
				return fmt.Errorf("our answer: field %d, %w", id, err)
			}
		}
		// A table that was ready when it was recorded is asked for again until it is here.
		if full(rec) && !full(got) && time.Now().Before(deadline) {
			if err := c.conn.Send(c.sent); err != nil {
				return err
			}
			continue
		}
		delete(p.open, k)
		p.answers++
		p.learn(c, rec, got)
		for _, d := range p.compare(c, rec, got) {
			p.t.Errorf("%s %s to %s: %s", r.file, f.Code, p.c.Name(c.addr), d)
		}
		return nil
	}
}

// full tells whether v is the configuration of a table whose partitions have all members,
// and none more than the table wants (its count may just have been lowered).
func full(v value.Value) bool {
	q, ok := v.(*layer2.QueryCfgResponse)
	if !ok || len(q.Partitions) == 0 {
		return false
	}
	for i := range q.Partitions {
		if pc := &q.Partitions[i]; pc.Primary.IsZero() || len(pc.Secondaries)+1 != int(pc.MaxReplicaCount) {
			return false
		}
	}
	return true
}

// learn keeps what later requests need.
func (p *player) learn(c *call, rec, got value.Value) {
	switch g := got.(type) {
	case *layer2.QueryCfgResponse:
		if q, ok := c.arg.(*layer2.QueryCfgRequest); ok && g.Err == base.ErrOK {
			p.tables[g.AppId] = q.AppName
		}
	case *rrdb.ScanResponse:
		p.contexts[rec.(*rrdb.ScanResponse).ContextId] = g.ContextId
	}
}
