package compat

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/base/appenv"
	"pegasus/compat_test/cluster"
	"pegasus/compat_test/wire"
	"pegasus/gen/backup"
	"pegasus/gen/bulkload"
	"pegasus/gen/duplication"
	"pegasus/gen/layer2"
	"pegasus/gen/metaadmin"
	"pegasus/gen/registry"
	gensplit "pegasus/gen/split"
	"pegasus/gen/value"
)

// adminRecording is a recorded session of an administrator's tool.
type adminRecording struct {
	dir  string
	port int    // of the first replica server in it
	root string // name of its cluster, and its cold_backup_root
	// others are the other clusters that it names, by their numbers.
	others map[int]string
	// before are tables that were there, in the order of their ids; others appeared beside the
	// session, just before the frame that is named.
	before []made
	beside map[string]beside
	// loses is the frame before which the meta was started again with an empty state.
	loses string
	// stands and goes are frames: from before the first one until before the second one the meta of
	// the other cluster stands still. The session didn't wait there, and waited half a minute then.
	stands, goes string
	// held are pairs of frames: from before the first one until before the second one no split or bulk load goes on, as
	// those of the recording took longer than what was asked meanwhile.
	held [][2]string
	// passing are answers that tell of a state through which a split or a bulk load passes.
	passing []string
	// unsent are requests that were refused there, and would take effect here: what follows them couldn't be compared.
	unsent []string
	// files is the frame before which the files of the bulk load that succeeds appear.
	files string
	// follows is a table that follows one of the other cluster. Only what went to the cluster that has
	// this table is played; the other one's servers give the answers that they gave (bootstrap_replay_test.go).
	follows string
}

// beside is a table that wasn't made by a request of the session.
type beside struct {
	id int32
	made
	to  string // the cluster that it was duplicated to
	dup int32  // the number of that duplication
}

var adminRecordings = []adminRecording{
	{dir: "frames-admin", port: 34801, root: "onebox", before: []made{{name: "bl", partitions: 4}}, loses: "01372.bin", others: map[int]string{2: "onebox2"}, stands: "00738.bin", goes: "00750.bin",
		held: [][2]string{{"01284.bin", "01310.bin"}, {"01342.bin", "01358.bin"}}, passing: []string{"01349.bin", "01359.bin", "01361.bin"},
		unsent: []string{"01300.bin", "01302.bin", "01306.bin"}, files: "01280.bin",
		beside: map[string]beside{
			"00644.bin": {6, made{name: "dupt", partitions: 4}, "onebox2", 1795393463},
		}},
	{dir: "frames-admincli", port: 34805, root: "onebox2", others: map[int]string{1: "onebox"},
		held:    [][2]string{{"00860.bin", "01094.bin"}, {"01174.bin", "01198.bin"}, {"01484.bin", "01542.bin"}},
		passing: []string{"01191.bin", "01515.bin", "01543.bin", "01547.bin", "01551.bin"}, files: "01484.bin", beside: map[string]beside{
			"00750.bin": {id: 6, made: made{name: "dupt", partitions: 4, envs: []base.Pair[string, string]{
				{Key: "duplication.follower_app_status", Val: "created"}, {Key: "duplication.master_app_name", Val: "dupt"},
				{Key: "duplication.master_cluster", Val: "onebox"}, {Key: "duplication.master_metas", Val: "localhost:34601"},
			}}},
		}},
	// The metas of a C++ cluster make a table here that follows one of theirs.
	{dir: "frames-duplicate-bootstrap", port: 34805, root: "onebox2", others: map[int]string{1: "onebox"}, follows: "dupt",
		before: []made{{name: "a", partitions: 1}, {name: "b", partitions: 1}, {name: "c", partitions: 1}, {name: "d", partitions: 1}, {name: "e", partitions: 1}}},
	{dir: "frames-backup-policy", port: 34801, root: "onebox", before: []made{{name: "bl", partitions: 4}, {name: "adm", partitions: 4}, {name: "badenv", partitions: 4}}},
}

// TestAdminReplay plays the recorded sessions of the C++ shell and of admin-cli, right and
// wrong commands, against a fresh cluster, and compares every answer with the C++ server's.
// What may differ is what diff_test.go says of all sessions, and what the table in
// docs/compatibility.md lists with its reason; a row of that table that no answer needs is
// an error, unless it is needed "at times" only.
func TestAdminReplay(t *testing.T) {
	dir := golden(t)
	deviations := readDeviations(t)
	for _, r := range adminRecordings {
		t.Run(strings.TrimPrefix(r.dir, "frames-"), func(t *testing.T) {
			blobs := t.TempDir()
			config := fmt.Sprintf("[blob.local_service]\npath = %q\n", blobs)
			id := 1
			p := &adminPlayer{deviations: deviations, rec: r, blobs: blobs, httpOpen: map[string]string{}, backups: map[int64]int64{}, dups: map[int32]int32{}}
			for n, name := range r.others {
				id = 3 - n
				metas := "127.0.0.1:1" // nobody is there, and nobody needs it
				switch {
				case r.follows != "":
					p.source = newRecordedSource(t, filepath.Join(dir, r.dir))
					metas = p.source.addr.String()
				case r.goes != "":
					p.other = cluster.Start(t, cluster.Options{Tables: "dupt:4:1", Replicas: 1, Config: fmt.Sprintf("[cluster]\nname = %q\nid = %d\n", name, n)})
					metas = p.other.Metas()[0]
				}
				config += fmt.Sprintf("[clusters.%s]\nid = %d\nmeta_servers = [%q]\n", name, n, metas)
			}
			c := cluster.Start(t, cluster.Options{Tables: "-", Config: config + fmt.Sprintf("[cluster]\nname = %q\nid = %d\ncold_backup_root = %q\n", r.root, id, r.root)})
			p.player = &player{
				t: t, c: c, framesDir: filepath.Join(dir, r.dir),
				tables: map[int32]string{}, conns: map[connKey]*wire.Conn{}, open: map[callKey]*call{}, early: map[callKey]*wire.Frame{},
				contexts: map[int64]int64{}, decrees: map[base.Gpid]int64{}, differences: map[string]int{},
			}
			if err := wholeCluster(c); err != nil {
				t.Fatal(err)
			}
			for i, m := range r.before {
				p.make(int32(i+1), m)
			}
			p.playAdmin()
			if r.follows != "" && !t.Failed() {
				p.playFollower(dir)
			}
		})
	}
	if !t.Failed() {
		for _, d := range deviations {
			if d.used == 0 && !strings.HasPrefix(d.why, "at times") {
				t.Errorf("docs/compatibility.md: nothing needs the row %q %q %q", d.code, d.request, d.field)
			}
		}
	}
}

// commandStarts reads when each command of a session began, in Unix seconds, by number; nothing for a session without
// that.
func commandStarts(t *testing.T, dir string) map[string]int64 {
	t.Helper()
	starts := map[string]int64{}
	b, err := os.ReadFile(filepath.Join(dir, "commands.tsv"))
	if errors.Is(err, os.ErrNotExist) {
		return starts
	}
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(strings.TrimSpace(string(b)), "\n")[1:] {
		f := strings.Split(line, "\t")
		n := strconv.Itoa(i + 1)
		if len(f) == 4 { // admin-cli's have their numbers
			n, f = f[0], f[1:]
		}
		at, err := strconv.ParseFloat(f[0], 64)
		if err != nil {
			t.Fatalf("%s: %v", dir, err)
		}
		starts[n] = int64(at)
	}
	return starts
}

// deviation is a row of the table in docs/compatibility.md.
type deviation struct {
	code, request, field *regexp.Regexp
	why                  string
	used                 int
}

// readDeviations reads the table below the heading "Recorded sessions of administrators".
func readDeviations(t *testing.T) (list []*deviation) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "docs", "compatibility.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, text, ok := strings.Cut(string(b), "## Recorded sessions of administrators")
	if !ok {
		t.Fatal("docs/compatibility.md has no table of recorded sessions")
	}
	text, _, _ = strings.Cut(text, "\n## ")
	cell := regexp.MustCompile("^`(.*)`$")
	for _, line := range strings.Split(text, "\n") {
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		f := strings.Split(strings.ReplaceAll(strings.Trim(line, "| "), `\|`, "\x00"), "|")
		if len(f) != 4 {
			t.Fatalf("docs/compatibility.md: %d columns in %s", len(f), line)
		}
		var re [3]*regexp.Regexp
		for i := range re {
			s := strings.ReplaceAll(strings.TrimSpace(f[i]), "\x00", "|")
			if m := cell.FindStringSubmatch(s); m != nil {
				s = m[1]
			}
			if i != 1 {
				s = "^(" + s + ")$"
			}
			if re[i], err = regexp.Compile(s); err != nil {
				t.Fatalf("docs/compatibility.md: %v", err)
			}
		}
		list = append(list, &deviation{code: re[0], request: re[1], field: re[2], why: strings.TrimSpace(f[3])})
	}
	if len(list) == 0 {
		t.Fatal("docs/compatibility.md: the table of recorded sessions is empty")
	}
	return list
}

// adminPlayer plays an administrator's session.
type adminPlayer struct {
	*player
	deviations []*deviation
	rec        adminRecording
	httpOpen   map[string]string // the request that isn't answered yet, by the recorded client's port and server
	backups    map[int64]int64   // ids of backups, by the recorded one
	dups       map[int32]int32   // numbers of duplications, by the recorded one
	other      *cluster.Cluster  // that tables are duplicated to
	source     *recordedSource   // of a table that follows
	level      metaadmin.MetaFunctionLevel
	blobs      string // directory of local_service

	equal, deviate int
	skipped        map[callKey]bool
}

func (p *adminPlayer) playAdmin() {
	defer func() {
		for _, c := range p.conns {
			c.Close()
		}
	}()
	p.skipped = map[callKey]bool{}
	starts := commandStarts(p.t, p.framesDir)
	for _, r := range readIndex(p.t, p.framesDir) {
		if at, ok := starts[r.command]; ok {
			p.shift = time.Now().Unix() - at
		}
		if m, ok := p.rec.beside[r.file]; ok {
			p.make(m.id, m.made)
			if m.to != "" {
				p.duplicate(m.name, m.to, m.dup)
			}
		}
		switch r.file {
		case p.rec.stands:
			p.signalOther(syscall.SIGSTOP)
		case p.rec.goes:
			p.signalOther(syscall.SIGCONT)
		}
		for _, h := range p.rec.held {
			switch r.file {
			case h[0]:
				p.level = p.setLevel(metaadmin.FlFreezed)
			case h[1]:
				p.setLevel(p.level)
			}
		}
		if r.file == p.rec.files {
			from := filepath.Join(golden(p.t), "bulk-load-source", "bulk_root", "onebox")
			if err := os.CopyFS(filepath.Join(p.blobs, "bulk_root", p.rec.root), os.DirFS(from)); err != nil {
				p.t.Fatal(err)
			}
		}
		if r.file == p.rec.loses {
			for k, c := range p.conns {
				c.Close()
				delete(p.conns, k)
			}
			loseMeta(p.t, p.c)
		}
		if p.source != nil && !strings.HasPrefix(r.server, "b-") {
			continue
		}
		r.server = strings.TrimPrefix(r.server, "b-")
		b, err := os.ReadFile(filepath.Join(p.framesDir, r.file))
		if err != nil {
			p.t.Fatal(err)
		}
		if isHTTP(b) {
			p.playHTTP(r, b)
			continue
		}
		f, err := wire.Parse(b)
		if err != nil {
			p.t.Fatalf("%s: %v", r.file, err)
		}
		if r.request {
			p.sendAdmin(r, f, b)
		} else {
			p.answerAdmin(r, f)
		}
	}
	var reasons []string
	for r, n := range p.differences {
		reasons = append(reasons, fmt.Sprintf("%4d %s", n, r))
	}
	slices.Sort(reasons)
	p.t.Logf("%d answers equal, %d deviate as docs/compatibility.md says; tolerated fields:\n%s", p.equal, p.deviate, strings.Join(reasons, "\n"))
	if p.equal == 0 {
		p.t.Error("nothing was equal")
	}
}

// setLevel sets the level of the meta, and returns what it was.
func (p *adminPlayer) setLevel(to metaadmin.MetaFunctionLevel) metaadmin.MetaFunctionLevel {
	var res metaadmin.ConfigurationMetaControlResponse
	if err := p.c.MetaCall("RPC_CM_CONTROL_META", &metaadmin.ConfigurationMetaControlRequest{Level: to}, &res, func() base.ErrorCode { return res.Err }); err != nil || res.Err != base.ErrOK {
		p.t.Fatalf("level %v: %+v, %v", to, res, err)
	}
	return res.OldLevel
}

// playFollower gives the table that follows what the other cluster sent after the copy: it has the rows that the
// C++ cluster's had in the end.
func (p *adminPlayer) playFollower(dir string) {
	if list := p.source.unwanted(); len(list) > 0 {
		p.t.Errorf("of the other cluster nobody wanted: %s", strings.Join(list, ", "))
	}
	d := &duplicatePlayer{t: p.t, c: p.c, conns: map[string]*wire.Conn{}}
	d.play(p.rec.follows, filepath.Join(dir, "frames-duplicate"))
	want := duplicatedRows(p.t, filepath.Join(dir, "frames-duplicate", "expected-follower.jsonl"))
	if got := scanRows(p.t, p.c, p.rec.follows); !maps.Equal(got, want) {
		p.t.Errorf("%d rows, want %d: %s", len(got), len(want), rowsApart(got, want))
	}
}

// signalOther stops the meta of the other cluster, or lets it go on. A recording that has no other one names no frame.
func (p *adminPlayer) signalOther(sig syscall.Signal) {
	if p.other == nil {
		return
	}
	if err := p.other.Signal("meta1", sig); err != nil {
		p.t.Fatal(err)
	}
}

// duplicate makes a duplication that the session found there.
func (p *adminPlayer) duplicate(table, to string, recorded int32) {
	var res duplication.DuplicationAddResponse
	q := &duplication.DuplicationAddRequest{AppName: table, RemoteClusterName: to, IsDuplicatingCheckpoint: base.Some(false)}
	if err := p.c.MetaCall(base.RPCAddDuplication, q, &res, func() base.ErrorCode { return res.Err }); err != nil || res.Err != base.ErrOK {
		p.t.Fatalf("%+v, %v", res, err)
	}
	p.dups[recorded] = res.Dupid
}

func (p *adminPlayer) sendAdmin(r row, f *wire.Frame, raw []byte) {
	if slices.Contains(p.rec.unsent, r.file) {
		p.skipped[callKey{r.port, f.ID}] = true
		return
	}
	e, ok := registry.Lookup(f.Code)
	if !ok {
		p.t.Fatalf("%s: code %s isn't in the registry", r.file, f.Code)
	}
	arg := e.Arg()
	id, err := registry.ReadBody(f.Body, arg)
	if err != nil {
		p.t.Fatalf("%s: %v", r.file, err)
	}
	changed := p.toOurs(reflect.ValueOf(arg).Elem())
	if q, ok := arg.(*metaadmin.ConfigurationDropAppRequest); ok && q.Options.ReserveSeconds.Set && q.Options.ReserveSeconds.V < slowReplay {
		// The session finds the data again, in less time than a slow machine takes to get there.
		q.Options.ReserveSeconds.V, changed = slowReplay, true
	}
	if changed {
		g := *f
		g.Body = registry.AppendBody(nil, id, arg)
		raw = g.Encode()
		if f, err = wire.Parse(raw); err != nil {
			p.t.Fatalf("%s: %v", r.file, err)
		}
	}
	if err := p.send(r, f, raw); err != nil {
		if !strings.HasPrefix(f.Code, "RPC_RRDB_") {
			p.t.Fatalf("%s %s: %v", r.file, f.Code, err)
		}
		p.skipped[callKey{r.port, f.ID}] = true // its table isn't here
	}
}

// slowReplay is how many seconds a replay may take from one request to another.
const slowReplay = 900

// toOurs turns the addresses of recorded servers into those of ours.
func (p *adminPlayer) toOurs(v reflect.Value) (changed bool) {
	if v.CanAddr() {
		switch x := v.Addr().Interface().(type) {
		case *backup.QueryBackupStatusRequest:
			if id, ok := p.backups[x.BackupId.V]; ok {
				x.BackupId.V = id
				return true
			}
			return false
		case *base.Pair[string, string]:
			if changed = x.Key == appenv.DupMasterMetas && p.source != nil; changed {
				x.Val = p.source.addr.String()
			}
			return changed
		case *duplication.DuplicationModifyRequest:
			if id, ok := p.dups[x.Dupid]; ok {
				x.Dupid = id
				return true
			}
			return false
		case *backup.ConfigurationRestoreRequest:
			if id, ok := p.backups[x.TimeStamp]; ok {
				x.TimeStamp = id
				return true
			}
			return false
		case *base.RPCAddress:
			if a := p.ours(x.AddrPort().Port()); a != 0 {
				*x = a
				return true
			}
			return false
		case *base.HostPort:
			if _, port, err := net.SplitHostPort(x.String()); err == nil {
				if n, err := strconv.Atoi(port); err == nil {
					if ap := p.ours(uint16(n)).AddrPort(); ap.IsValid() {
						*x = base.MakeHostPort(ap.Addr().String(), ap.Port())
						return true
					}
				}
			}
			return false
		}
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() && p.toOurs(v.Field(i)) {
				changed = true
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			if p.toOurs(v.Index(i)) {
				changed = true
			}
		}
	}
	return changed
}

func (p *adminPlayer) ours(port uint16) base.RPCAddress {
	i := int(port) - p.rec.port
	if i < 0 || i >= len(p.c.Replicas()) {
		return 0
	}
	a, err := base.ParseAddr(p.c.Replicas()[i])
	if err != nil {
		p.t.Fatal(err)
	}
	return a
}

func (p *adminPlayer) answerAdmin(r row, f *wire.Frame) {
	k := callKey{r.port, f.ID}
	e, _ := registry.Lookup(f.Code)
	if p.skipped[k] {
		p.judge(r, f.Code, "", []field{{path: "(not asked)"}}, nil)
		return
	}
	c := p.open[k]
	if c == nil || e.Result == nil {
		p.t.Fatalf("%s: a recorded answer to id %d, which wasn't asked", r.file, f.ID)
	}
	rec := e.Result()
	if len(f.Body) > 0 {
		if _, err := registry.ReadBody(f.Body, rec); err != nil {
			p.t.Fatalf("%s: recorded: %v", r.file, err)
		}
	}
	request := text(c.arg)
	for deadline := time.Now().Add(2 * time.Minute); ; {
		a, err := p.receive(c)
		if err != nil {
			p.t.Fatalf("%s %s {%s}: %v", r.file, f.Code, request, err)
		}
		got := e.Result()
		if len(a.Body) > 0 {
			if _, err := registry.ReadBody(a.Body, got); err != nil {
				p.t.Fatalf("%s %s: our answer: %v", r.file, f.Code, err)
			}
		}
		if (full(rec) && !full(got) && isOK(got) || compacted(rec) && !compacted(got) || balanced(rec) && !balanced(got) || backupBehind(rec, got) || duplicationBehind(rec, got) || splitBehind(rec, got) || bulkLoadBehind(rec, got)) && !slices.Contains(p.rec.passing, r.file) && time.Now().Before(deadline) {
			time.Sleep(20 * time.Millisecond)
			if err := c.conn.Send(c.sent); err != nil {
				p.t.Fatal(err)
			}
			continue
		}
		delete(p.open, k)
		var d []field
		if slices.Contains(p.rec.passing, r.file) {
			d = append(d, field{path: "(passing)"})
		} else if a.Code != f.Code || a.Err != f.Err {
			d = append(d, field{"(header)", f.Err, a.Err})
		} else {
			p.learn(c, rec, got)
			p.learnBackups(rec, got)
			if r, ok := rec.(*duplication.DuplicationAddResponse); ok && r.Err == base.ErrOK {
				p.dups[r.Dupid] = got.(*duplication.DuplicationAddResponse).Dupid
			}
			d = p.fields(c, rec, got)
			if flatten(rec).leaf["Err"] == string(base.ErrUnderRecovery) {
				d = []field{{path: "(under recovery)"}}
			}
		}
		p.judge(r, f.Code, request, d, got)
		return
	}
}

// compacted tells of a table whose compaction has ended: the recorded session waited for that.
func compacted(v value.Value) bool {
	q, ok := v.(*metaadmin.QueryAppManualCompactResponse)
	return ok && q.Err == base.ErrOK && q.Progress.Or(0) == 100
}

// balanced tells of a cluster in which nothing is to be moved, as in all that were recorded.
func balanced(v value.Value) bool {
	q, ok := v.(*metaadmin.ConfigurationClusterInfoResponse)
	return ok && len(q.Values) > 5 && strings.Contains(q.Values[5], `"total": 0`)
}

// backupBehind tells that a backup, or a restore, isn't as far as it was in the recorded session, which waited for it.
func backupBehind(rec, got value.Value) bool {
	switch r := rec.(type) {
	case *backup.ConfigurationQueryBackupPolicyResponse:
		g := got.(*backup.ConfigurationQueryBackupPolicyResponse)
		for i := range min(len(r.BackupInfos), len(g.BackupInfos)) {
			if len(r.BackupInfos[i]) > len(g.BackupInfos[i]) {
				return true
			}
			for k, b := range r.BackupInfos[i] {
				if b.EndTimeMs > 0 && g.BackupInfos[i][k].EndTimeMs == 0 {
					return true
				}
			}
		}
	case *backup.QueryBackupStatusResponse:
		g := got.(*backup.QueryBackupStatusResponse)
		for i := range min(len(r.BackupItems.V), len(g.BackupItems.V)) {
			if r.BackupItems.V[i].EndTimeMs > 0 && g.BackupItems.V[i].EndTimeMs == 0 {
				return true
			}
		}
	case *layer2.QueryCfgResponse: // of a table that is new, or is being restored: which partition is first is chance
		g := got.(*layer2.QueryCfgResponse)
		for i := range min(len(r.Partitions), len(g.Partitions)) {
			if members(&g.Partitions[i]) < members(&r.Partitions[i]) {
				return true
			}
		}
	case *backup.ConfigurationQueryRestoreResponse:
		g := got.(*backup.ConfigurationQueryRestoreResponse)
		for i := range min(len(r.RestoreProgress), len(g.RestoreProgress)) {
			if g.RestoreProgress[i] < r.RestoreProgress[i] {
				return true
			}
		}
	case *metaadmin.ConfigurationCreateAppResponse: // of a restore from a backup that ran no more
		return r.Err == base.ErrOK && got.(*metaadmin.ConfigurationCreateAppResponse).Err == base.ErrBusy
	case *backup.ConfigurationModifyBackupPolicyResponse:
		return r.Err == base.ErrOK && got.(*backup.ConfigurationModifyBackupPolicyResponse).Err == base.ErrBusy
	}
	return false
}

// splitBehind tells that a split isn't over that was when the recorded session asked, which waited for it.
func splitBehind(rec, got value.Value) bool {
	r, ok := rec.(*gensplit.QuerySplitResponse)
	return ok && r.Err == base.ErrInvalidState && got.(*gensplit.QuerySplitResponse).Err == base.ErrOK
}

// bulkLoadBehind tells that a bulk load isn't paused, or over, that was when the recorded session asked, which waited for it.
func bulkLoadBehind(rec, got value.Value) bool {
	r, ok := rec.(*bulkload.QueryBulkLoadResponse)
	if !ok {
		return false
	}
	g := got.(*bulkload.QueryBulkLoadResponse)
	return g.IsBulkLoading.V && (!r.IsBulkLoading.V || r.AppStatus == bulkload.BLS_PAUSED && g.AppStatus == bulkload.BLS_PAUSING)
}

// duplicationBehind tells that a duplication isn't as far as it was in the recorded session, which waited for it: in
// its status, or in a partition of which all was in the other cluster.
func duplicationBehind(rec, got value.Value) bool {
	behind := func(r, g *duplication.DuplicationEntry) bool {
		if r.Status == duplication.DS_LOG && g.Status < r.Status {
			return true
		}
		for i := range min(len(r.PartitionStates.V), len(g.PartitionStates.V)) {
			r, g := &r.PartitionStates.V[i].Val, &g.PartitionStates.V[i].Val
			if r.ConfirmedDecree >= 0 && (g.ConfirmedDecree < 0 || g.ConfirmedDecree != g.LastCommittedDecree) {
				return true
			}
		}
		return false
	}
	switch r := rec.(type) {
	case *duplication.DuplicationQueryResponse:
		g := got.(*duplication.DuplicationQueryResponse)
		for i := range min(len(r.EntryList), len(g.EntryList)) {
			if behind(&r.EntryList[i], &g.EntryList[i]) {
				return true
			}
		}
	case *duplication.DuplicationListResponse:
		g := got.(*duplication.DuplicationListResponse)
		for i := range min(len(r.AppStates), len(g.AppStates)) {
			r, g := r.AppStates[i].Val.Duplications, g.AppStates[i].Val.Duplications
			for k := range min(len(r), len(g)) {
				if behind(&r[k].Val, &g[k].Val) {
					return true
				}
			}
		}
	}
	return false
}

func members(p *layer2.PartitionConfiguration) int {
	if p.Primary.IsZero() {
		return 0
	}
	return 1 + len(p.Secondaries)
}

// learnBackups notes which of our backups stands for which recorded one.
func (p *adminPlayer) learnBackups(rec, got value.Value) {
	note := func(rec, got int64) {
		if _, known := p.backups[rec]; !known && rec > 0 {
			p.backups[rec] = got
		}
	}
	switch r := rec.(type) {
	case *backup.StartBackupAppResponse:
		note(r.BackupId.V, got.(*backup.StartBackupAppResponse).BackupId.V)
	case *backup.ConfigurationQueryBackupPolicyResponse:
		g := got.(*backup.ConfigurationQueryBackupPolicyResponse)
		for i := range min(len(r.BackupInfos), len(g.BackupInfos)) {
			for k := range min(len(r.BackupInfos[i]), len(g.BackupInfos[i])) {
				note(r.BackupInfos[i][k].BackupId, g.BackupInfos[i][k].BackupId)
			}
		}
	}
}

func isOK(v value.Value) bool {
	q, ok := v.(*layer2.QueryCfgResponse)
	return ok && q.Err == base.ErrOK
}

// field is a difference that diff_test.go doesn't explain.
type field struct{ path, rec, got string }

func (p *adminPlayer) fields(c *call, rec, got value.Value) (out []field) {
	r, g := flatten(rec), flatten(got)
	paths := slices.Clone(r.order)
	for _, path := range g.order {
		if _, ok := r.leaf[path]; !ok {
			paths = append(paths, path)
		}
	}
	for _, path := range paths {
		rl, inR := r.leaf[path]
		gl, inG := g.leaf[path]
		if rl == gl && inR == inG || strings.HasSuffix(path, "absent") {
			continue
		}
		if p.normal(c, path, rl, gl) {
			continue
		}
		if p.tolerate(&diff{p: p.player, c: c, path: path, rec: rl, got: gl, recV: rec, gotV: got}) != nil {
			out = append(out, field{path, rl, gl})
		}
	}
	return out
}

var (
	nodeNames = regexp.MustCompile(`(localhost|127\.0\.0\.1):\d+`)
	dupIDs    = regexp.MustCompile(`\(\d{10}\)`)
	roles     = regexp.MustCompile(`@[PS] : `)
)

// normal tells whether a field is equal but for what the recordings' README names as a
// cluster's or a moment's own: addresses, times of creation and dropping.
func (p *adminPlayer) normal(c *call, path, rec, got string) bool {
	switch c.frame.Code {
	case "RPC_CLI_CLI_CALL":
		plain := func(s string) string {
			return roles.ReplaceAllString(nodeNames.ReplaceAllString(s, "NODE"), "@ROLE : ")
		}
		return plain(rec) == plain(got)
	case "RPC_CM_QUERY_RESTORE_STATUS":
		return strings.Contains(path, "RestoreProgress") && number(got) >= number(rec) // the replay is faster
	case "RPC_CM_START_BACKUP_APP", "RPC_CM_QUERY_BACKUP_STATUS", "RPC_CM_QUERY_BACKUP_POLICY":
		switch path[strings.LastIndexByte(path, '.')+1:] {
		case "BackupId":
			return p.backups[number(rec)] == number(got)
		case "StartTimeMs":
			return number(rec) > 0 && abs(number(got)-time.Now().UnixMilli()) < 600_000
		case "EndTimeMs": // of one that ran when the session asked, it may have ended here
			return abs(number(got)-time.Now().UnixMilli()) < 600_000
		}
	case base.RPCAddDuplication, base.RPCQueryDuplication, base.RPCListDuplication:
		switch path[strings.LastIndexByte(path, '.')+1:] {
		case "Dupid":
			return number(got) > 0 && int64(p.dups[int32(number(rec))]) == number(got)
		case "Key":
			return strings.Contains(path, ".Duplications[") && int64(p.dups[int32(number(rec))]) == number(got)
		case "CreateTs":
			return number(rec) > 0 && abs(number(got)-time.Now().UnixMilli()) < 600_000
		case "ConfirmedDecree", "LastCommittedDecree": // decrees are a server's own; see duplicationBehind
			return number(got) >= -1 && (number(rec) == -1 || number(got) >= 0)
		case "Hint":
			return dupIDs.ReplaceAllString(rec, "(ID)") == dupIDs.ReplaceAllString(got, "(ID)")
		}
	case "RPC_RRDB_RRDB_TTL":
		return path == "TtlSeconds" && number(rec) > 0 && abs(number(got)-number(rec)) <= 60 // the replay is faster
	case "RPC_CM_LIST_APPS", "RPC_CM_RECALL_APP":
		now := time.Now().Unix()
		if strings.HasSuffix(path, ".Val") && abs(number(rec)-recordedAt) < 1200 && abs(number(got)-now) < 600 {
			return true // manual_compact.once.trigger_time
		}
		if id, ok := p.backups[number(rec)]; ok && strings.HasSuffix(path, ".Val") && id == number(got) {
			return true // restore.backup_id
		}
		switch path[strings.LastIndexByte(path, '.')+1:] {
		case "CreateSecond", "DropSecond":
			return number(rec) > 0 && abs(number(got)-now) < 600
		case "ExpireSecond":
			return number(rec) > 0 && number(got) > 0 && abs((number(got)-now)-(number(rec)-recordedAt)) < 1200
		}
	}
	return false
}

// recordedAt is when the sessions were recorded, in Unix seconds.
const recordedAt = 1795393400

// text is a request as a row of the table sees it: its fields that say something.
func text(v value.Value) string {
	l := flatten(v)
	var b []string
	for _, p := range l.order {
		if s := l.leaf[p]; s != "" && s != "0" && !strings.HasSuffix(p, "#") {
			b = append(b, p+"="+s)
		}
	}
	return strings.Join(b, " ")
}

// judge counts an answer as equal, or as a deviation if each difference has its row.
func (p *adminPlayer) judge(r row, code, request string, d []field, got value.Value) {
	if len(d) == 0 {
		p.equal++
		return
	}
	bad := 0
	for _, f := range d {
		i := slices.IndexFunc(p.deviations, func(x *deviation) bool {
			return x.code.MatchString(code) && x.request.MatchString(request) && x.field.MatchString(f.path)
		})
		if i < 0 {
			if bad++; bad <= 40 {
				p.t.Errorf("%s %s {%s}: %s is %.300q, was %.300q", r.file, code, request, f.path, f.got, f.rec)
			}
			continue
		}
		p.deviations[i].used++
	}
	if bad == 0 {
		p.deviate++
	}
}

func isHTTP(b []byte) bool {
	return bytes.HasPrefix(b, []byte("GET ")) || bytes.HasPrefix(b, []byte("HTTP/"))
}

// playHTTP asks for a page as it was asked for, and compares what tools read of it: which
// types of entities there are, and the names of their metrics.
func (p *adminPlayer) playHTTP(r row, b []byte) {
	k := r.port + " " + r.server
	if r.request {
		_, rest, _ := strings.Cut(string(b), " ")
		p.httpOpen[k], _, _ = strings.Cut(rest, " ")
		return
	}
	path := p.httpOpen[k]
	addr := p.c.Metas()[0]
	if r.server != "meta" {
		addr = p.c.Addr(r.server)
	}
	res, err := http.Get("http://" + addr + path)
	if err != nil {
		p.t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err = errors.Join(err, res.Body.Close()); err != nil {
		p.t.Fatal(err)
	}
	head, recorded, _ := bytes.Cut(b, []byte("\r\n\r\n"))
	var d []field
	if want := strings.Fields(string(head))[1]; want != strconv.Itoa(res.StatusCode) || res.Header.Get("Content-Type") != "text/plain" {
		d = append(d, field{"(status)", want, res.Status + " " + res.Header.Get("Content-Type")})
	}
	rec, got := metricsIn(p.t, recorded), metricsIn(p.t, body)
	for _, name := range rec {
		if whole := name[:max(0, strings.LastIndexByte(name, '.'))]; strings.Contains(whole, ".") && !slices.Contains(got, whole) {
			continue // the metric isn't there at all
		}
		if !slices.Contains(got, name) {
			d = append(d, field{path: name, rec: name})
		}
	}
	page, query, _ := strings.Cut(path, "?")
	p.judge(r, "GET "+page, query, d, nil)
}

// metricsIn lists the metrics in a page as type.name.field, and the fields at its top.
func metricsIn(t *testing.T, body []byte) []string {
	t.Helper()
	var page struct {
		Entities []struct {
			Type    string
			Metrics []map[string]any
		}
	}
	var top map[string]any
	if err := errors.Join(json.Unmarshal(body, &page), json.Unmarshal(body, &top)); err != nil {
		t.Fatalf("%v in %.200s", err, body)
	}
	set := map[string]bool{}
	for k := range top {
		set[k] = true
	}
	for _, e := range page.Entities {
		for _, m := range e.Metrics {
			for k := range m {
				set[fmt.Sprintf("%s.%v.%s", e.Type, m["name"], k)] = true
				set[fmt.Sprintf("%s.%v", e.Type, m["name"])] = true
			}
		}
	}
	var list []string
	for k := range set {
		list = append(list, k)
	}
	sort.Strings(list)
	return list
}
