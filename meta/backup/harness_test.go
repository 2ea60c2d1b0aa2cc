package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	files "pegasus/backup"
	"pegasus/base"
	"pegasus/base/tbin"
	"pegasus/base/version"
	"pegasus/blob"
	wire "pegasus/gen/backup"
	"pegasus/gen/backupadmin"
	"pegasus/meta/service"
	"pegasus/meta/state"
	"pegasus/rocks/pegasus"
	"pegasus/rpc"
)

const maxWait = 60 * time.Second

func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(maxWait); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", maxWait, what)
		}
	}
}

// place is a blob store in memory.
type place struct {
	mu    sync.Mutex
	files map[string][]byte
	// op is called before each operation, with its name and the file's; an error is the operation's.
	op func(op, name string) error
}

func (p *place) before(ctx context.Context, op, name string) error {
	p.mu.Lock()
	f := p.op
	p.mu.Unlock()
	if f != nil {
		if err := f(op, name); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (p *place) fail(f func(op, name string) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.op = f
}

func (p *place) names(dir string) (list []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range slices.Sorted(maps.Keys(p.files)) {
		if strings.HasPrefix(n, dir) {
			list = append(list, n)
		}
	}
	return list
}

func (p *place) Put(ctx context.Context, name string, src *blob.Source) (blob.Info, error) {
	if err := p.before(ctx, "put", name); err != nil {
		return blob.Info{}, err
	}
	b, err := io.ReadAll(src)
	if err != nil {
		return blob.Info{}, err
	}
	p.mu.Lock()
	p.files[name] = b
	p.mu.Unlock()
	return p.Stat(ctx, name)
}

func (p *place) Read(ctx context.Context, info blob.Info, off, n int64) (io.ReadCloser, error) {
	if err := p.before(ctx, "read", info.Name); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	b, ok := p.files[info.Name]
	if !ok || int64(len(b)) < off+n {
		return nil, blob.ErrChanged
	}
	return io.NopCloser(bytes.NewReader(b[off : off+n])), nil
}

func (p *place) Stat(_ context.Context, name string) (blob.Info, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b, ok := p.files[name]
	if !ok {
		return blob.Info{}, blob.ErrNotFound
	}
	return blob.Info{Name: name, Size: int64(len(b))}, nil
}

func (p *place) List(ctx context.Context, dir string) (list []blob.Info, err error) {
	if err := p.before(ctx, "list", dir); err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for _, n := range p.names(dir + "/") {
		rest := n
		if dir != "" {
			rest = strings.TrimPrefix(n, dir+"/")
		}
		element, _, below := strings.Cut(rest, "/")
		if name := blob.Join(dir, element); !seen[name] {
			seen[name] = true
			list = append(list, blob.Info{Name: name, Dir: below})
		}
	}
	if len(list) == 0 {
		return nil, blob.ErrNotFound
	}
	return list, nil
}

func (p *place) Delete(ctx context.Context, name string) error {
	if err := p.before(ctx, "delete", name); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.files, name)
	return nil
}

func (p *place) DeleteTree(ctx context.Context, dir string) error {
	if err := p.before(ctx, "delete tree", dir); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.files, func(n string, _ []byte) bool { return strings.HasPrefix(n, dir+"/") })
	return nil
}

func (p *place) Where() string { return "memory" }
func (p *place) Close() error  { return nil }

// world is a cluster of which the meta alone is real.
type world struct {
	t     testing.TB
	place *place
	store *blob.Store
	log   *logrus.Entry

	mu      sync.Mutex
	st      *state.State
	servers map[base.RPCAddress]*replicaServer
	applied []state.Command // those that changed something
	ahead   time.Duration   // of the clock
	now     time.Time       // if set: the clock
	frozen  string
}

// replicaServer makes backups as a replica server does.
type replicaServer struct {
	w    *world
	addr base.RPCAddress
	// Of these mu of the world is the lock.
	dead   bool
	asked  map[base.Gpid]int
	clears map[base.Gpid]int
	jobs   map[string]*replicaJob
	// behave, if set, answers in its place; ok false: it answers itself.
	behave func(q *wire.BackupRequest) (r wire.BackupResponse, err error, ok bool)
}

type replicaJob struct {
	done   bool
	err    error
	bytes  int64
	cancel context.CancelFunc
}

func addr(i int) base.RPCAddress {
	a, err := base.ParseAddr(fmt.Sprintf("10.0.0.%d:34801", i))
	if err != nil {
		panic(err)
	}
	return a
}

func newWorld(t testing.TB, begin version.Version) *world {
	l := logrus.New()
	l.SetOutput(io.Discard)
	if os.Getenv("META_TEST_LOG") != "" {
		l.SetOutput(os.Stderr)
	}
	w := &world{t: t, place: &place{files: map[string][]byte{}}, st: state.New(), servers: map[base.RPCAddress]*replicaServer{}, log: logrus.NewEntry(l)}
	w.store = blob.NewStore("local_service", w.place, blob.Options{})
	w.apply(&state.Init{Cluster: "onebox", Quorum: "q", Version: begin, ID: "i"})
	for i := 1; i <= 4; i++ {
		w.servers[addr(i)] = &replicaServer{w: w, addr: addr(i), asked: map[base.Gpid]int{}, clears: map[base.Gpid]int{}, jobs: map[string]*replicaJob{}}
	}
	return w
}

func (w *world) apply(c state.Command) state.Result {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	res, err := w.st.Apply(state.Encode(c))
	if err != nil {
		w.t.Fatal(err)
	}
	return res
}

// table makes a table, each partition on three of the servers.
func (w *world) table(name string, partitions int) int32 {
	w.t.Helper()
	res := w.apply(&state.CreateTable{Name: name, Type: "pegasus", Stateful: true, Partitions: int32(partitions), MaxReplicas: 3, Envs: []state.Env{{Key: "default_ttl", Val: "5"}}})
	if res.Err != base.ErrOK {
		w.t.Fatal(res.Err)
	}
	for p := range partitions {
		g := base.Gpid{AppID: res.TableID, PartitionIndex: int32(p)}
		c := state.Config{Ballot: 1, Primary: addr(1 + p%4)}
		w.change(g, c, 0)
		for i := 1; i <= 2; i++ {
			add := addr(1 + (p+i)%4)
			c.Ballot++
			c.Secondaries = append(slices.Clone(c.Secondaries), add)
			w.change(g, c, add)
		}
	}
	return res.TableID
}

func (w *world) change(g base.Gpid, c state.Config, adds base.RPCAddress) {
	w.t.Helper()
	if res := w.apply(&state.ChangeConfigs{Changes: []state.Change{{Gpid: g, Config: c, Adds: adds}}}); res.Changes[0].Err != base.ErrOK {
		w.t.Fatal(res.Changes[0].Err)
	}
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.now.IsZero() {
		return w.now
	}
	return time.Now().Add(w.ahead)
}

func (w *world) setClock(t time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = t
}

// server changes a server.
func (w *world) server(a base.RPCAddress, f func(*replicaServer)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(w.servers[a])
}

// rows are the rows of a partition.
type rows struct {
	g base.Gpid
	i int
}

const rowsEach = 30

func (r *rows) Next() bool { r.i++; return r.i <= rowsEach }
func (r *rows) Key() []byte {
	return base.AppendKey(nil, fmt.Appendf(nil, "%v-%04d", r.g, r.i), []byte("s"))
}
func (r *rows) Value() pegasus.Value { return pegasus.Value{Timetag: 2, Data: []byte("value")} }
func (r *rows) Err() error           { return nil }

// onBackup answers RPC_COLD_BACKUP.
func (v *replicaServer) onBackup(q *wire.BackupRequest) (r wire.BackupResponse, err error) {
	w := v.w
	w.mu.Lock()
	dead, behave := v.dead, v.behave
	v.asked[q.Pid]++
	w.mu.Unlock()
	if dead {
		return r, fmt.Errorf("connection refused: %w", base.ErrNetworkFailure)
	}
	if behave != nil {
		if r, err, ok := behave(q); ok {
			return r, err
		}
	}
	r = wire.BackupResponse{Err: base.ErrBusy, Pid: q.Pid, PolicyName: q.Policy.PolicyName, BackupId: q.BackupId}
	if q.Policy.BackupProviderType != "local_service" {
		r.Err = base.ErrInvalidParameters
		return r, nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	_, c, ok := w.st.Config(q.Pid)
	key := fmt.Sprint(q.Policy.PolicyName, q.BackupId, q.Pid)
	j := v.jobs[key]
	switch {
	case j == nil && (!ok || !c.Has(v.addr)):
		r.Err = base.ErrInvalidState
	case j == nil:
		ctx, cancel := context.WithCancel(context.Background())
		j = &replicaJob{cancel: cancel}
		v.jobs[key] = j
		go v.write(ctx, j, q)
	case j.done && errors.Is(j.err, files.ErrComplete), j.done && j.err == nil:
		r.Err, r.Progress, r.CheckpointTotalSize = base.ErrOK, 1000, j.bytes
	case j.done:
		r.Err, r.Reason = base.ErrLocalAppFailure, base.Some(j.err.Error())
		delete(v.jobs, key)
	default:
		r.Progress = 500
	}
	return r, nil
}

func (v *replicaServer) write(ctx context.Context, j *replicaJob, q *wire.BackupRequest) {
	table := files.Location{Path: q.BackupPath.V, Cluster: q.BackupRoot.V, ID: q.BackupId}.Table(q.AppName, q.Pid.AppID)
	m, err := files.WritePartition(ctx, v.w.store, &rows{g: q.Pid}, files.WriteOptions{Table: table, Partition: q.Pid.PartitionIndex,
		Checkpoint: files.CheckpointName(v.addr.AddrPort().Addr().String(), 34801), Decree: 5, Taken: time.Now()})
	v.w.mu.Lock()
	defer v.w.mu.Unlock()
	j.done, j.err = true, err
	for _, f := range m.Files {
		j.bytes += f.Size
	}
}

func (v *replicaServer) onClear(q *wire.BackupClearRequest) {
	v.w.mu.Lock()
	defer v.w.mu.Unlock()
	v.clears[q.Pid]++
	for key, j := range v.jobs {
		if strings.HasPrefix(key, q.PolicyName) && strings.HasSuffix(key, q.Pid.String()) {
			j.cancel()
			delete(v.jobs, key)
		}
	}
}

// meta is a meta that leads.
type meta struct {
	w *world
	s *Service
	// step is called before each thing that others see of the meta; deposed: it does nothing any more.
	step    func(what string)
	deposed bool // under mu of the world
	stop    context.CancelFunc
	wg      sync.WaitGroup
}

func (w *world) options() Options {
	return Options{Root: "onebox", Stores: w, Clock: w.clock, Frozen: func() string {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.frozen
	}, Poll: 2 * time.Millisecond, Stall: 300 * time.Millisecond, Patience: maxWait, Settle: 10 * time.Millisecond}
}

// lead begins to lead.
func (w *world) lead(change func(*meta, *Options)) *meta {
	m := &meta{w: w}
	o := w.options()
	o.Stores = m
	if change != nil {
		change(m, &o)
	}
	m.s = New(m, o)
	ctx, cancel := context.WithCancel(context.Background())
	m.stop = cancel
	m.wg.Go(func() { m.s.Lead(ctx) })
	w.t.Cleanup(m.end)
	return m
}

// end deposes it.
func (m *meta) end() {
	m.depose()
	m.wg.Wait()
}

func (m *meta) depose() {
	m.w.mu.Lock()
	m.deposed = true
	m.w.mu.Unlock()
	m.stop()
}

func (m *meta) alive() bool {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	return !m.deposed
}

func (m *meta) did(what string) {
	if m.step != nil {
		m.step(what)
	}
}

// Get returns the only store, as the world's servers have it too.
func (w *world) Get(_ context.Context, name string) (*blob.Store, error) {
	if name != "local_service" {
		return nil, blob.Failf(blob.ErrNotFound, "the configuration has no blob store %q", name)
	}
	return w.store, nil
}

// Get returns the store of the world, by which a deposed meta changes nothing.
func (m *meta) Get(ctx context.Context, name string) (*blob.Store, error) {
	if _, err := m.w.Get(ctx, name); err != nil {
		return nil, err
	}
	return blob.NewStore(name, &metaPlace{m.w.place, m}, blob.Options{}), nil
}

type metaPlace struct {
	*place
	m *meta
}

func (p *metaPlace) Put(ctx context.Context, name string, src *blob.Source) (blob.Info, error) {
	if p.m.did("put " + name); !p.m.alive() {
		return blob.Info{}, context.Canceled
	}
	return p.place.Put(ctx, name, src)
}

func (p *metaPlace) DeleteTree(ctx context.Context, dir string) error {
	if p.m.did("delete tree " + dir); !p.m.alive() {
		return context.Canceled
	}
	return p.place.DeleteTree(ctx, dir)
}

func (m *meta) Apply(c state.Command) state.Result {
	m.did(fmt.Sprintf("before %T", c))
	if !m.alive() {
		return state.Result{Err: base.ErrForwardToOthers}
	}
	m.w.mu.Lock()
	b, err := m.w.st.EncodeFor(c)
	res := state.Result{Err: base.CodeOf(err)}
	if err == nil {
		res, err = m.w.st.Apply(b)
	}
	if res.Err == base.ErrOK {
		m.w.applied = append(m.w.applied, c)
	}
	m.w.mu.Unlock()
	if err != nil {
		m.w.t.Errorf("%T: %v", c, err)
	}
	m.did(fmt.Sprintf("after %T", c))
	return res
}

func (m *meta) Read(f func(*state.State)) {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	f(m.w.st)
}

func (m *meta) Nodes() (list []service.Node) {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	for a, v := range m.w.servers {
		list = append(list, service.Node{Addr: a, Alive: !v.dead})
	}
	return list
}

func (m *meta) Call(ctx context.Context, node base.RPCAddress, code string, arg tbin.Encoder, answer tbin.Decoder) error {
	m.did("call " + code)
	if !m.alive() {
		return context.Canceled
	}
	m.w.mu.Lock()
	v := m.w.servers[node]
	m.w.mu.Unlock()
	if q, ok := arg.(*wire.BackupClearRequest); ok {
		v.onClear(q)
		answer.(*wire.BackupResponse).Err = base.ErrOK
		return nil
	}
	r, err := v.onBackup(arg.(*wire.BackupRequest))
	if err == nil {
		*answer.(*wire.BackupResponse) = r
	}
	if m.did("answer"); ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

func (m *meta) Send(node base.RPCAddress, out rpc.Outgoing) {
	m.w.mu.Lock()
	v := m.w.servers[node]
	m.w.mu.Unlock()
	if out.Code == base.RPCClearColdBackup && m.alive() {
		v.onClear(out.Arg.(*wire.BackupClearRequest))
	}
}

func (m *meta) Kick()              {}
func (m *meta) Log() *logrus.Entry { return m.w.log }

var asker = &service.Call{From: "a test"}

// begin asks for a backup of a table.
func (m *meta) begin(table int32, path string) wire.StartBackupAppResponse {
	q := &wire.StartBackupAppRequest{BackupProviderType: "local_service", AppId: table}
	if path != "" {
		q.BackupPath = base.Some(path)
	}
	var r wire.StartBackupAppResponse
	m.s.startBackup(asker, q, &r)
	return r
}

func (m *meta) mustBegin(table int32) int64 {
	m.w.t.Helper()
	r := m.begin(table, "")
	if r.Err != base.ErrOK || !r.BackupId.Set {
		m.w.t.Fatalf("%+v", r)
	}
	return r.BackupId.V
}

// show returns what our own request tells of a backup.
func (m *meta) show(id int64) (v backupadmin.BackupState, ok bool) {
	var r backupadmin.ListBackupsResponse
	m.s.list(asker, &backupadmin.ListBackupsRequest{BackupId: base.Some(id)}, &r)
	if r.Err != base.ErrOK {
		return v, false
	}
	return r.Backups[0], true
}

// await waits until a backup is at rest.
func (m *meta) await(id int64) backupadmin.BackupState {
	m.w.t.Helper()
	var v backupadmin.BackupState
	until(m.w.t, fmt.Sprintf("backup %d ends", id), func() bool {
		var ok bool
		if v, ok = m.show(id); !ok {
			m.w.t.Fatalf("there is no backup %d", id)
		}
		return v.Status != backupadmin.BACKUP_RUNNING && !v.Cleaning
	})
	return v
}

// verify demands that a backup is whole, and has those tables with all their rows.
func (w *world) verify(v backupadmin.BackupState, tables map[string]int) {
	w.t.Helper()
	if v.Status != backupadmin.BACKUP_COMPLETED {
		w.t.Fatalf("it is %v: %s", v.Status, v.Reason)
	}
	f, _, err := files.Find(context.Background(), w.store, v.Directory)
	if err != nil {
		w.t.Fatal(err)
	}
	r, err := files.Verify(context.Background(), w.store, f, files.VerifyOptions{})
	if err != nil || len(r.Problems) > 0 {
		w.t.Fatalf("%v, problems %+v\n%s", err, r.Problems, strings.Join(w.place.names(""), "\n"))
	}
	got := map[string]int{}
	for _, t := range r.Tables {
		if got[t.Name] = len(t.Partitions); t.Rows != int64(rowsEach*len(t.Partitions)) {
			w.t.Errorf("table %s has %d rows", t.Name, t.Rows)
		}
	}
	if !maps.Equal(got, tables) || len(r.Info.Tables()) != len(tables) {
		w.t.Errorf("the backup has partitions %v, want %v; backup_info %+v", got, tables, r.Info)
	}
	if r.Info.Start != v.StartMs || r.Info.End != v.EndMs || v.EndMs < v.StartMs {
		w.t.Errorf("from %d to %d, backup_info from %d to %d", v.StartMs, v.EndMs, r.Info.Start, r.Info.End)
	}
}
