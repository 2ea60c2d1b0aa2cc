package replica

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/base/version"
	"pegasus/pacifica"
	"pegasus/rpc"
)

// tryStart starts node i, which is stopped, on a changed configuration, and wants an error
// that says all of want.
func (g *group) tryStart(i int, what string, change func(*config.Config), want ...string) {
	g.t.Helper()
	n := g.nodes[i]
	cfg := n.cfg
	change(&cfg)
	s, err := New(cfg, addrOf(cfg.Replica.Listen), quiet())
	if err == nil {
		g.t.Errorf("%s: the server starts", what)
		if err := s.Close(g.t.Context()); err != nil {
			g.t.Error(err)
		}
		return
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			g.t.Errorf("%s: the error is %q, which doesn't say %q", what, err, w)
		}
	}
}

// addrOf is an address to be known by, without a listener.
type addrOf string

func (addrOf) Network() string  { return "tcp" }
func (a addrOf) String() string { return string(a) }

// TestWrongDataDir: a server doesn't start on data that isn't its own, and says what to do.
func TestWrongDataDir(t *testing.T) {
	g := newGroupWith(t, 1, func(c *config.Config) { c.Replica.MinReplicas = 1 })
	g.mustPut(0, "a", "1")
	g.nodes[0].stop()
	dir := g.nodes[0].cfg.Replica.DataDirs[0]
	other := filepath.Join(t.TempDir(), "other")

	g.tryStart(0, "another cluster", func(c *config.Config) { c.Cluster.Name = "elsewhere" }, dir, `"elsewhere"`, "cluster.name")
	g.tryStart(0, "another server", func(c *config.Config) { c.Replica.Listen = "127.0.0.1:1" }, dir, "127.0.0.1:1", "replica.listen")
	g.tryStart(0, "no directory", func(c *config.Config) { c.Replica.DataDirs = nil }, "data_dirs")
	g.tryStart(0, "no parent directory", func(c *config.Config) { c.Replica.DataDirs = []string{filepath.Join(dir, "no", "such")} }, "parent")

	// A partition in two directories.
	copyDir(t, dir, other)
	g.tryStart(0, "twice the same partition", func(c *config.Config) { c.Replica.DataDirs = []string{"a:" + dir, "b:" + other} }, dir, other, g.gpid.String())

	ident := filepath.Join(dir, "pegasus.json")
	was, err := os.ReadFile(ident)
	if err != nil {
		t.Fatal(err)
	}
	write := func(b string) {
		t.Helper()
		if err := os.WriteFile(ident, []byte(b), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(strings.Replace(string(was), fmt.Sprintf("\"format\": %d", version.Newest), `"format": 99`, 1))
	g.tryStart(0, "a later format", func(*config.Config) {}, dir, "99", "version")
	write("nonsense")
	g.tryStart(0, "an unreadable identity", func(*config.Config) {}, ident)
	write(string(was))

	stray := filepath.Join(dir, "reps", "nonsense.pegasus")
	if err := os.Mkdir(stray, 0o755); err != nil {
		t.Fatal(err)
	}
	g.tryStart(0, "a stray directory", func(*config.Config) {}, stray, "move it away")
	if err := os.Remove(stray); err != nil {
		t.Fatal(err)
	}

	segs, err := filepath.Glob(filepath.Join(dir, "wal", "*.log"))
	if err != nil || len(segs) == 0 {
		t.Fatalf("segments: %v, %v", segs, err)
	}

	// After all that nothing is lost.
	g.nodes[0].start()
	until(t, "it serves", func() bool { return g.serving(0) })
	g.wantGet(0, "a", "1")
}

// TestDirectoryOfAnotherPartition: one partition's data under another's name is not served
// as that; the member is replaced.
func TestDirectoryOfAnotherPartition(t *testing.T) {
	g := newGroup(t, 3)
	g.mustPut(0, "a", "1")
	path := g.nodes[2].srv.replica(g.gpid).path
	g.nodes[2].stop()
	info := filepath.Join(path, "info.json")
	b, err := os.ReadFile(info)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(b), `"partition": 0`, `"partition": 5`, 1)
	if changed == string(b) {
		t.Fatalf("info.json is %s", b)
	}
	if err := os.WriteFile(info, []byte(changed), 0o644); err != nil {
		t.Fatal(err)
	}
	g.nodes[2].start()
	until(t, "it is moved aside", func() bool { return len(g.asideOn(2)) == 1 })
	g.add(2)
	g.mustPut(0, "b", "1")
	g.same(0, 1, 2)
}

// TestDamagedLogIsLearnedAgain: a member whose log lost entries that its store lacks is
// replaced by a learner that gets all of them.
func TestDamagedLogIsLearnedAgain(t *testing.T) {
	for what, damage := range map[string]func(t *testing.T, segs []string){
		"a bit flipped": func(t *testing.T, segs []string) {
			b, err := os.ReadFile(segs[0])
			if err != nil {
				t.Fatal(err)
			}
			b[len(b)/3] ^= 4
			if err := os.WriteFile(segs[0], b, 0o644); err != nil {
				t.Fatal(err)
			}
		},
		"cut": func(t *testing.T, segs []string) {
			if len(segs) < 2 {
				t.Fatal("the log has one segment only")
			}
			if err := os.Truncate(segs[0], 5000); err != nil {
				t.Fatal(err)
			}
		},
		"missing": func(t *testing.T, segs []string) {
			for _, s := range segs {
				if err := os.Remove(s); err != nil {
					t.Fatal(err)
				}
			}
		},
	} {
		t.Run(what, func(t *testing.T) {
			g := newGroupWith(t, 3, func(c *config.Config) {
				c.WAL.SegmentBytes = 64 << 10
			})
			for i := range 100 {
				g.mustPut(0, rowName(i), string(make([]byte, 1000)))
			}
			dir := g.nodes[2].srv.disks.All()[0].Path
			// Killed, not stopped: a store that is closed holds everything.
			left := filepath.Join(t.TempDir(), "left")
			copyDir(t, dir, left)
			g.nodes[2].stop()
			g.mustPut(0, "without", "it")
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			copyDir(t, left, dir)
			segs, err := filepath.Glob(filepath.Join(dir, "wal", "*.log"))
			if err != nil || len(segs) == 0 {
				t.Fatalf("segments: %v, %v", segs, err)
			}
			damage(t, segs)
			g.nodes[2].start()
			r := g.nodes[2].srv.replica(g.gpid)
			if r == nil || !r.look().suspect {
				t.Fatal("the replica isn't suspect")
			}
			g.add(2)
			g.mustPut(0, "b", "1")
			g.same(0, 1, 2)
			if g.view(2).suspect {
				t.Error("a member is suspect")
			}
		})
	}
}

// TestShortenedLog: the end of the newest segment is gone, of which the store holds more.
func TestShortenedLog(t *testing.T) {
	g := newGroup(t, 3)
	for i := range 50 {
		g.mustPut(0, rowName(i), "v")
	}
	g.same(0, 1, 2)
	dir := g.nodes[2].srv.disks.All()[0].Path
	if err := g.nodes[2].srv.replica(g.gpid).flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	g.nodes[2].stop()
	g.mustPut(0, "without", "it")
	segs, err := filepath.Glob(filepath.Join(dir, "wal", "*.log"))
	if err != nil || len(segs) != 1 {
		t.Fatalf("segments: %v, %v", segs, err)
	}
	if err := os.Truncate(segs[0], 3000); err != nil {
		t.Fatal(err)
	}
	g.nodes[2].start()
	if r := g.nodes[2].srv.replica(g.gpid); r == nil || !r.look().suspect {
		t.Fatal("the replica isn't suspect")
	}
	g.add(2)
	g.mustPut(0, "b", "1")
	g.same(0, 1, 2)
}

func rowName(i int) string { return "row" + string(rune('a'+i%26)) + string(rune('a'+i/26)) }

// TestUnknownLogVersion: the server says which file it can't read, and leaves it alone.
func TestUnknownLogVersion(t *testing.T) {
	g := newGroupWith(t, 1, func(c *config.Config) { c.Replica.MinReplicas = 1 })
	g.mustPut(0, "a", "1")
	g.nodes[0].stop()
	segs, err := filepath.Glob(filepath.Join(g.nodes[0].cfg.Replica.DataDirs[0], "wal", "*.log"))
	if err != nil || len(segs) == 0 {
		t.Fatalf("segments: %v, %v", segs, err)
	}
	was, err := os.ReadFile(segs[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(segs[0], laterVersion(was), 0o644); err != nil {
		t.Fatal(err)
	}
	g.tryStart(0, "a segment of a later version", func(*config.Config) {}, filepath.Base(segs[0]), "version 99")
	if err := os.WriteFile(segs[0], was, 0o644); err != nil {
		t.Fatal(err)
	}
	g.nodes[0].start()
	until(t, "it serves", func() bool { return g.serving(0) })
	g.wantGet(0, "a", "1")
}

// stray sends node i a message as if it came from another server.
func (g *group) stray(i int, m pacifica.Message) {
	g.t.Helper()
	m.To = g.nodes[i].srv.Addr()
	g.pool.Go(m.To.String(), time.Second, rpc.Outgoing{Code: base.RPCPacifica, Gpid: g.gpid, Arg: wireMessage{&m}, OneWay: true, From: m.From}, nil)
}

// TestStrayMessages: messages of who is no member, of stale learn requests, and of other
// partitions change nothing, on members and elsewhere.
func TestStrayMessages(t *testing.T) {
	g := newGroupWith(t, 3, patient)
	g.mustPut(0, "a", "1")
	g.same(0, 1, 2)
	g.nodes = append(g.nodes, startNode(t, g.meta))
	v := g.view(1)
	stranger := base.RPCAddress(0x7f0000020001 << 16)
	entry := func(b int64) []pacifica.Entry {
		return []pacifica.Entry{{Ballot: b, Decree: v.Last + 1, Timestamp: 1, Payload: []byte("nonsense")}}
	}
	for _, i := range []int{0, 1, 2, 3} {
		for _, ballot := range []int64{0, v.Ballot - 1, v.Ballot} {
			for _, role := range []pacifica.Status{pacifica.Secondary, pacifica.Learner} {
				g.stray(i, pacifica.Message{Type: pacifica.MsgPrepare, From: stranger, Ballot: ballot, Role: role, Signature: 1, Prev: v.Last,
					Commit: v.Last + 1, Last: v.Last + 1, Entries: entry(ballot)})
				g.stray(i, pacifica.Message{Type: pacifica.MsgSnapshot, From: stranger, Ballot: ballot, Role: role, Signature: 1, Prev: v.Last, Last: v.Last + 9})
			}
			g.stray(i, pacifica.Message{Type: pacifica.MsgAck, From: stranger, Ballot: ballot, Role: pacifica.Secondary, Prepared: v.Last + 9})
			// A stale signature: from the primary itself, of an earlier time as a learner.
			g.stray(i, pacifica.Message{Type: pacifica.MsgPrepare, From: g.nodes[0].srv.Addr(), Ballot: ballot, Role: pacifica.Learner, Signature: 1,
				Prev: v.Last, Commit: v.Last + 1, Last: v.Last + 1, Entries: entry(ballot)})
		}
	}
	g.mustPut(0, "b", "2")
	g.wantGet(0, "b", "2")
	g.same(0, 1, 2)
	if c := g.meta.config(g.gpid); len(c.Secondaries) != 2 {
		t.Errorf("the group is %+v", c)
	}
	g.add(3)
	g.mustPut(0, "c", "3")
	g.same(0, 1, 2, 3)
}

// laterVersion returns a log segment with another version in its header.
func laterVersion(seg []byte) []byte {
	b := bytes.Clone(seg)
	binary.LittleEndian.PutUint32(b[8:], 99)
	binary.LittleEndian.PutUint32(b[12:], crc32.Checksum(b[:12], crc32.MakeTable(crc32.Castagnoli)))
	return b
}
