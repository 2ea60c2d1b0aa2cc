package state

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"pegasus/base"
	"pegasus/base/tbin"
	"pegasus/base/version"
)

// n1, n2, ... stand for nodes in test data.
func addr(i int) Addr {
	a, err := base.ParseAddr("10.0.0." + strconv.Itoa(i) + ":34801")
	if err != nil {
		panic(err)
	}
	return a
}

func parseAddr(t *testing.T, s string) Addr {
	t.Helper()
	if s == "-" {
		return 0
	}
	i, err := strconv.Atoi(strings.TrimPrefix(s, "n"))
	if err != nil {
		t.Fatalf("node %q", s)
	}
	return addr(i)
}

func nodeName(a Addr) string {
	if a == 0 {
		return "-"
	}
	return "n" + strconv.Itoa(int(a.AddrPort().Addr().As4()[3]))
}

func names(list []Addr) string {
	var s []string
	for _, a := range list {
		s = append(s, nodeName(a))
	}
	return "[" + strings.Join(s, " ") + "]"
}

// TestScripts runs the scripts in testdata. Every command is encoded, decoded and applied
// to one State, and its snapshot is restored into another, which must be the same.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/scripts", func(t *testing.T, path string) {
		s := New()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "show" {
				return show(s)
			}
			cmd := parseCommand(t, d)
			res, err := s.Apply(Encode(cmd))
			if err != nil {
				t.Fatalf("%s: %v", d.Pos, err)
			}
			checkSame(t, s)
			checkIndex(t, s)
			var out strings.Builder
			fmt.Fprintf(&out, "%s", res.Err)
			if res.TableID != 0 {
				fmt.Fprintf(&out, " table %d", res.TableID)
			}
			for _, c := range res.Changes {
				fmt.Fprintf(&out, "\n%s %s", c.Err, showConfig(&c.Config))
			}
			return out.String() + "\n"
		})
	})
}

func parseCommand(t *testing.T, d *datadriven.TestData) Command {
	t.Helper()
	var id, count, partitions, replicas int
	var now, expire int64
	var name string
	var on bool
	d.MaybeScanArgs(t, "id", &id)
	d.MaybeScanArgs(t, "count", &count)
	d.MaybeScanArgs(t, "partitions", &partitions)
	d.MaybeScanArgs(t, "replicas", &replicas)
	d.MaybeScanArgs(t, "now", &now)
	d.MaybeScanArgs(t, "expire", &expire)
	d.MaybeScanArgs(t, "name", &name)
	d.MaybeScanArgs(t, "on", &on)
	switch d.Cmd {
	case "init":
		return &Init{Cluster: name}
	case "create":
		return &CreateTable{Name: name, Type: "pegasus", Stateful: true, Partitions: int32(partitions),
			MaxReplicas: int32(replicas), Now: now, AtomicIdempotent: on, Envs: parseEnvs(d, "envs")}
	case "drop":
		return &DropTable{ID: int32(id), Now: now, Expire: expire}
	case "recall":
		return &RecallTable{ID: int32(id), Name: name}
	case "rename":
		return &RenameTable{ID: int32(id), Name: name}
	case "envs":
		c := &SetEnvs{ID: int32(id), Set: parseEnvs(d, "set")}
		for _, a := range d.CmdArgs {
			if a.Key == "del" {
				c.Del = a.Vals
			}
		}
		return c
	case "replicas":
		return &SetReplicas{ID: int32(id), Count: int32(count)}
	case "atomic":
		return &SetAtomic{ID: int32(id), On: on}
	case "purge":
		c := &PurgeTables{Before: now}
		for _, a := range d.CmdArgs {
			if a.Key == "ids" {
				for _, v := range a.Vals {
					n, err := strconv.Atoi(v)
					if err != nil {
						t.Fatal(err)
					}
					c.IDs = append(c.IDs, int32(n))
				}
			}
		}
		return c
	case "run":
		return &StartRun{Table: int32(id), PrimariesOnly: on, Now: now}
	case "end":
		return &EndRun{ID: int64(id), Now: now, Why: name, Done: int64(count)}
	case "level":
		return &SetLevel{Level: Level(count)}
	case "change":
		c := &ChangeConfigs{}
		for line := range strings.Lines(d.Input) {
			c.Changes = append(c.Changes, parseChange(t, strings.Fields(line)))
		}
		return c
	}
	if c := parseBackup(t, d); c != nil {
		return c
	}
	if c := parseBulkLoad(t, d); c != nil {
		return c
	}
	if c := parseDuplication(t, d); c != nil {
		return c
	}
	if c := parseSplit(t, d); c != nil {
		return c
	}
	t.Fatalf("%s: unknown command %q", d.Pos, d.Cmd)
	return nil
}

func parseEnvs(d *datadriven.TestData, key string) (envs []Env) {
	for _, a := range d.CmdArgs {
		if a.Key != key {
			continue
		}
		for _, v := range a.Vals {
			k, val, _ := strings.Cut(v, ":")
			envs = append(envs, Env{Key: k, Val: val})
		}
	}
	return envs
}

// parseChange reads: <gpid> b<ballot> <primary> <secondaries...> [+<added>] [c<committed>].
func parseChange(t *testing.T, f []string) (c Change) {
	t.Helper()
	var err error
	if c.Gpid, err = base.ParseGpid(f[0]); err != nil {
		t.Fatal(err)
	}
	if c.Config.Ballot, err = strconv.ParseInt(f[1][1:], 10, 64); err != nil {
		t.Fatal(err)
	}
	c.Config.Primary = parseAddr(t, f[2])
	for _, s := range f[3:] {
		switch s[0] {
		case '+':
			c.Adds = parseAddr(t, s[1:])
			c.Config.Secondaries = append(c.Config.Secondaries, c.Adds)
		case 'c':
			c.Config.LastCommitted, _ = strconv.ParseInt(s[1:], 10, 64)
		default:
			c.Config.Secondaries = append(c.Config.Secondaries, parseAddr(t, s))
		}
	}
	return c
}

func showConfig(c *Config) string {
	s := fmt.Sprintf("b%d %s %s", c.Ballot, nodeName(c.Primary), names(c.Secondaries))
	if len(c.LastDrops) > 0 {
		s += " dropped " + names(c.LastDrops)
	}
	if c.LastCommitted != 0 {
		s += fmt.Sprintf(" committed %d", c.LastCommitted)
	}
	return s
}

func show(s *State) string {
	var b strings.Builder
	fmt.Fprintf(&b, "cluster %q level %d last id %d\n", s.Cluster(), s.Level(), s.LastID())
	s.Tables(func(t *Table) {
		fmt.Fprintf(&b, "%d %q status %d replicas %d created %d dropped %d expires %d atomic %v envs %v\n",
			t.ID, t.Name, t.Status, t.MaxReplicas, t.CreateSecond, t.DropSecond, t.ExpireSecond, t.AtomicIdempotent, t.Envs)
		for i := range t.Parts {
			fmt.Fprintf(&b, "  %d %s\n", i, showConfig(&t.Parts[i]))
		}
	})
	if r := s.Run(); r.ID != 0 {
		fmt.Fprintf(&b, "run %d of table %d, primaries only %v, began %d, ended %d: %q, %d done\n", r.ID, r.Table, r.PrimariesOnly, r.Began, r.Ended, r.Why, r.Done)
	}
	if len(forgotten.of(s).ranges) > 0 {
		fmt.Fprintf(&b, "purged %v\n", forgotten.of(s).ranges)
	}
	showBackups(&b, s)
	showDuplications(&b, s)
	showBulkLoads(&b, s)
	showSplits(&b, s)
	if by := servers.of(s).by; len(by) > 0 {
		fmt.Fprintf(&b, "named %v\n", by)
	}
	for _, a := range s.Members() {
		fmt.Fprintf(&b, "%s %+v %v\n", nodeName(a), s.Load(a), s.PartitionsOf(a))
	}
	return b.String()
}

func checkSame(t *testing.T, s *State) {
	t.Helper()
	snap := s.AppendSnapshot(nil)
	back, err := Restore(snap)
	if err != nil {
		t.Fatal(err)
	}
	if show(back) != show(s) {
		t.Fatalf("restored:\n%s\nwas:\n%s", show(back), show(s))
	}
	if again := back.AppendSnapshot(nil); !bytes.Equal(again, snap) {
		t.Fatalf("snapshot of the restored state differs:\n%x\n%x", again, snap)
	}
}

// checkIndex compares the index with a count from scratch.
func checkIndex(t *testing.T, s *State) {
	t.Helper()
	fresh := newTables()
	s.Tables(func(tb *Table) {
		if tb.Status == Available {
			fresh.indexTable(tb, true)
		}
	})
	if !reflect.DeepEqual(fresh.nodes, s.tables.nodes) {
		t.Fatalf("index is %+v, should be %+v", s.tables.nodes, fresh.nodes)
	}
}

func TestDecodeRefuses(t *testing.T) {
	good := Encode(&CreateTable{Name: "a", Partitions: 1, MaxReplicas: 1})
	for _, c := range []struct {
		name  string
		entry []byte
		want  error
	}{
		{"empty", nil, tbin.ErrMalformed},
		{"newer version", append([]byte{byte(version.Newest) + 1}, good[1:]...), ErrUnknownCommand},
		{"no version", append([]byte{0}, good[1:]...), ErrUnknownCommand},
		{"unknown kind", []byte{1, 200, 0}, ErrUnknownCommand},
		{"cut", good[:len(good)-3], tbin.ErrMalformed},
		{"more behind it", append(bytes.Clone(good), 0), tbin.ErrMalformed},
	} {
		if _, err := Decode(c.entry); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	// What has a field that this program doesn't know is never taken without it.
	extra := append(bytes.Clone(good[:len(good)-1]), 10, 0, 99, 0, 0, 0, 0, 0, 0, 0, 7, 0)
	if c, err := Decode(extra); !errors.Is(err, ErrUnknownCommand) {
		t.Errorf("with an unknown field: %+v, %v", c, err)
	}
}

func TestRestoreRefuses(t *testing.T) {
	if _, err := Restore([]byte{'P', 'G', 'S', 'M', 'E', 'T', 'A', byte(version.Newest) + 1, 0}); !errors.Is(err, ErrNotSnapshot) || !errors.Is(err, version.ErrUnknown) {
		t.Errorf("another version: %v", err)
	}
	s := New()
	for _, c := range []Command{&Init{Cluster: "x"}, &CreateTable{Name: "a", Partitions: 2, MaxReplicas: 3}} {
		if _, err := s.Apply(Encode(c)); err != nil {
			t.Fatal(err)
		}
	}
	snap := s.AppendSnapshot(nil)
	if _, err := Restore(snap[:len(snap)-2]); !errors.Is(err, tbin.ErrMalformed) {
		t.Errorf("cut: %v", err)
	}
	s.tables.ids = append(s.tables.ids, s.tables.ids[0]) // the same table twice
	if _, err := Restore(s.AppendSnapshot(nil)); !errors.Is(err, tbin.ErrMalformed) {
		t.Errorf("table twice: %v", err)
	}
}

func TestConfigHelpers(t *testing.T) {
	c := Config{Ballot: 4, Primary: addr(1), Secondaries: []Addr{addr(2), addr(3)}}
	p := c.WithPrimary(addr(3))
	if p.Primary != addr(3) || names(p.Secondaries) != "[n2 n1]" {
		t.Errorf("WithPrimary: %s", showConfig(&p))
	}
	w := c.Without(func(a Addr) bool { return a != addr(2) })
	if w.Primary != 0 || names(w.Secondaries) != "[n2]" || names(c.Secondaries) != "[n2 n3]" {
		t.Errorf("Without: %s of %s", showConfig(&w), showConfig(&c))
	}
	np := w.WithPrimary(addr(2))
	if np.Primary != addr(2) || len(np.Secondaries) != 0 {
		t.Errorf("WithPrimary without a former one: %s", showConfig(&np))
	}
	o := Config{Ballot: 4, Primary: addr(1), Secondaries: []Addr{addr(3), addr(2)}}
	if !c.SameGroup(&o) {
		t.Error("the order of secondaries counts")
	}
	o.Primary, o.Secondaries[0] = addr(3), addr(1)
	if c.SameGroup(&o) {
		t.Error("another primary is the same group")
	}
}

// FuzzDecode feeds the decoders of log entries and snapshots. What they accept must
// survive a round trip.
func FuzzDecode(f *testing.F) {
	for _, c := range []Command{
		&Init{Cluster: "onebox"}, &Init{Cluster: "onebox", Quorum: "q", Version: 2, ID: "i"}, &SetVersion{To: 2, ID: "i"},
		&CreateTable{Name: "t", Type: "pegasus", Stateful: true, Partitions: 4, MaxReplicas: 3, Envs: []Env{{Key: "k", Val: "v"}}, Now: 5},
		&DropTable{1, 2, 3}, &RecallTable{1, "x"}, &RenameTable{1, "x"}, &SetEnvs{1, []string{"a"}, []Env{{Key: "k", Val: "v"}}},
		&SetReplicas{1, 2}, &SetAtomic{1, true}, &SetLevel{LevelLively}, &SetNodeRole{addr(1), RoleLeaving},
		&StartRun{1, true, 5}, &EndRun{1, 6, "done", 1, 2, 3}, &PurgeTables{[]int32{1, 7}, 8},
		&ChangeConfigs{[]Change{{Gpid: base.Gpid{AppID: 1}, Config: Config{Ballot: 1, Primary: addr(1)}}}},
	} {
		f.Add(Encode(c))
	}
	s := New()
	s.Apply(Encode(&CreateTable{Name: "t", Partitions: 2, MaxReplicas: 3}))
	s.Apply(Encode(&SetNodeRole{addr(1), RoleLeaving}))
	s.Apply(Encode(&SetNodeRole{addr(2), RoleNoPrimaries}))
	s.Apply(Encode(&StartRun{1, true, 5}))
	for i := range int32(4) {
		s.Apply(Encode(&CreateTable{Name: fmt.Sprint("d", i), Partitions: 1, MaxReplicas: 3}))
		s.Apply(Encode(&DropTable{i + 2, 2, 3}))
	}
	s.Apply(Encode(&PurgeTables{[]int32{2, 3, 5}, 4}))
	f.Add(s.AppendSnapshot(nil))
	s.Apply(Encode(&SetVersion{To: 2, ID: "i"}))
	f.Add(s.AppendSnapshot(nil))
	for _, c := range slices.Concat(backupCommands(), duplicationCommands(), splitCommands(), []Command{&PlaceServer{Name: "a:1", ID: "i", Addr: addr(1)}, &PlaceServer{Name: "a:1", ID: "i", Addr: addr(2), Was: addr(1)}}) {
		f.Add(Encode(c))
		s.Apply(Encode(c))
		f.Add(s.AppendSnapshot(nil))
	}
	s = loadable(f)
	for _, c := range bulkLoadCommands() {
		f.Add(Encode(c))
		s.Apply(Encode(c))
		f.Add(s.AppendSnapshot(nil))
	}
	f.Add([]byte("PGSMETA\x01\n\x00\x020000\x00\x00\x00\x00\x00")) // no such level
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := Decode(b); err == nil {
			again, err := Decode(Encode(c))
			if err != nil || !reflect.DeepEqual(c, again) {
				t.Fatalf("%+v became %+v, %v", c, again, err)
			}
			if ct, ok := c.(*CreateTable); !ok || ct.Partitions < 1000 {
				c.apply(New())
			}
		}
		if s, err := Restore(b); err == nil {
			checkSame(t, s)
		}
	})
}
