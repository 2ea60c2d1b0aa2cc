package judge

import (
	"slices"
	"strings"
	"testing"

	"pegasus/base"
)

const (
	a = base.RPCAddress(0x0a00000187f10001) // 10.0.0.1:34801
	b = base.RPCAddress(0x0a00000287f10001)
	d = base.RPCAddress(0x0a00000387f10001)
)

// three returns a partition of three members that serves.
func three(change ...func(*Partition)) Partition {
	p := Partition{Wanted: 3, Needed: 2, Members: []Member{{Addr: a, Primary: true, Serves: Yes}, {Addr: b, Serves: Yes}, {Addr: d, Serves: Yes}}}
	for _, f := range change {
		f(&p)
	}
	return p
}

// TestPartition is the list of states that a partition can be in, and what is said of each.
func TestPartition(t *testing.T) {
	up := Context{Alive: 3}
	for name, tc := range map[string]struct {
		c      Context
		p      Partition
		health Health
		read   Can
		write  Can
		copies int
		why    string // in the reasons; "": there is none
		do     string // in what to do; "": nothing
	}{
		"in order": {up, three(), Healthy, Yes, Yes, 3, "", ""},
		"the log that another cluster lacks has little room": {up, three(func(p *Partition) { p.Sending = []Sending{{"east", 70}} }),
			Healthy, Yes, Yes, 3, "the log that cluster east lacks takes 70 % of the room", "wal.held_bytes"},
		"a replica is missing, and the log has little room": {up, three(func(p *Partition) { p.Sending = []Sending{{"east", 70}}; p.Members = p.Members[:2] }),
			Ill, Yes, Yes, 2, "it has 2 of 3 replicas", ""},
		"the primary's disk is full": {up, three(func(p *Partition) {
			p.Members[0].FullDisk, p.Members[0].Free, p.Members[0].Size = "ssd1", 1<<20, 10<<30
		}),
			Unwritable, Yes, No, 3, `the disk "ssd1" of 10.0.0.1:34801 is too full (1024 KiB of 10 GiB free)`, `free space on 10.0.0.1:34801 (disk "ssd1")`},
		"a secondary's disk is full": {up, three(func(p *Partition) { p.Members[2].FullDisk = "ssd1" }), Unwritable, Yes, No, 3, `"ssd1" of 10.0.0.3:34801 is too full`, "free space on 10.0.0.3:34801"},
		"after recover-quorum, nothing is served": {Context{Restored: true, Alive: 3}, three(func(p *Partition) { p.Members[0].Serves = No }),
			Unreadable, No, No, 3, "a quorum that was made anew", "pegasus recover"},
		"after recover-quorum, a server of an older version": {Context{Restored: true, Alive: 3}, three(func(p *Partition) { p.Members[0].Serves = Unsure }),
			InDoubt, Unsure, Unsure, 3, "may serve nothing", "pegasus recover"},
		"after recover-quorum, the lease still holds": {Context{Restored: true, Alive: 3}, three(), Healthy, Yes, Yes, 3, "nobody takes over", "pegasus recover"},
		"after recover-quorum, the primary is dead": {Context{Restored: true, Alive: 2}, three(func(p *Partition) { p.Members[0].Dead = true }),
			Unreadable, No, No, 2, "nobody takes over", "pegasus recover"},
		"after recover-quorum, a secondary is dead": {Context{Restored: true, Alive: 2}, three(func(p *Partition) { p.Members[1].Dead = true }),
			Unwritable, Yes, No, 2, "nothing changes in the group", "start 10.0.0.2:34801"},
		"the primary is stopped (SIGSTOP)": {up, three(func(p *Partition) { p.Members[0].Silent = 4 }), InDoubt, Unsure, Unsure, 3, "the primary 10.0.0.1:34801 has been silent for 4 s", ""},
		"the only member is stopped": {up, Partition{Wanted: 1, Needed: 1, Members: []Member{{Addr: a, Primary: true, Silent: 4}}},
			InDoubt, Unsure, Unsure, 1, "silent for 4 s", "no other server has its rows"},
		"a secondary is stopped": {up, three(func(p *Partition) { p.Members[1].Silent = 4 }), InDoubt, Yes, Unsure, 3, "the secondary 10.0.0.2:34801 has been silent", ""},
		"the primary is dead":    {up, three(func(p *Partition) { p.Members[0].Dead = true }), Unreadable, No, No, 2, "the primary 10.0.0.1:34801 is dead; another member takes over", ""},
		"the primary is dead, at a level below steady": {Context{Idle: true, Alive: 2}, three(func(p *Partition) { p.Members[0].Dead = true }),
			Unreadable, No, No, 2, "nobody takes over", "raise the function level"},
		"a secondary is dead": {up, three(func(p *Partition) { p.Members[1].Dead = true }), InDoubt, Yes, Unsure, 2, "is being taken out of the group", ""},
		"two are dead": {up, three(func(p *Partition) { p.Members[1].Dead, p.Members[2].Dead = true, true }),
			Unwritable, Yes, No, 1, "1 of its 3 members live, and a write needs 2", "start 10.0.0.2:34801, 10.0.0.3:34801"},
		"all are dead": {Context{}, three(func(p *Partition) {
			for i := range p.Members {
				p.Members[i].Dead = true
			}
		}), Dead, No, No, 0, "all its members are dead", "start 10.0.0.1:34801, 10.0.0.2:34801, 10.0.0.3:34801"},
		"all are dead, another server has a replica": {Context{Alive: 1}, Partition{Wanted: 1, Needed: 1, Members: []Member{{Addr: a, Primary: true, Dead: true}}, Copies: []base.RPCAddress{b}},
			Dead, No, No, 0, "all its members are dead", "go on with what 10.0.0.2:34801 has: pegasus recover --accept-loss"},
		"the last member lost its data": {up, Partition{Wanted: 3, Needed: 2, GaveUp: true, Members: []Member{{Addr: a, Primary: true, Serves: Yes}}},
			Dead, No, No, 0, "the replica of its last member 10.0.0.1:34801 is lost or damaged", "--accept-loss"},
		"a table of one replica lost its data": {up, Partition{Wanted: 1, Needed: 1, Members: []Member{{Addr: a, Primary: true, Serves: Yes, Unusable: true}}},
			Dead, No, No, 0, "no living member has a usable replica: 10.0.0.1:34801", "--accept-loss"},
		"the living lack what is committed": {up, three(func(p *Partition) { p.Members[0].Dead = true; p.Below = []base.RPCAddress{b, d} }),
			Dead, No, No, 0, "lacks rows that are known to be committed", "start 10.0.0.1:34801"},
		"the primary lost its replica":             {up, three(func(p *Partition) { p.Members[0].Unusable = true }), Unreadable, No, No, 2, "has no usable replica; another member takes over", ""},
		"a secondary lost its replica":             {up, three(func(p *Partition) { p.Members[1].Unusable = true }), InDoubt, Yes, Unsure, 2, "no usable replica", ""},
		"the primary was cut off":                  {up, three(func(p *Partition) { p.Members[0].Serves = No }), Unreadable, No, No, 3, "was cut off from the meta servers", ""},
		"the primary was restarted":                {up, three(func(p *Partition) { p.Members[0].Unconfirmed = true }), Unreadable, No, No, 3, "was started again", ""},
		"a new leader hasn't heard of the primary": {up, three(func(p *Partition) { p.Members[0].Unheard = true }), InDoubt, Unsure, Unsure, 3, "hasn't heard of the primary", ""},
		"a replica is missing":                     {up, three(func(p *Partition) { p.Members = p.Members[:2] }), Ill, Yes, Yes, 2, "it has 2 of 3 replicas", ""},
		"too few members":                          {up, three(func(p *Partition) { p.Members = p.Members[:1] }), Unwritable, Yes, No, 1, "it has 1 of the 2 members that a write needs", ""},
		"too few members, the others are dead": {up, three(func(p *Partition) { p.Members, p.Gone = p.Members[:1], []base.RPCAddress{b, d} }), Unwritable, Yes, No, 1,
			"it has 1 of the 2 members that a write needs", "start 10.0.0.2:34801, 10.0.0.3:34801"},
		"no member, no server":    {Context{}, Partition{Wanted: 3, Needed: 2}, Unreadable, No, No, 0, "no replica server lives", "start the replica servers"},
		"no member":               {up, Partition{Wanted: 3, Needed: 2}, Unreadable, No, No, 0, "a first primary is being chosen", ""},
		"no member, all are full": {up, Partition{Wanted: 3, Needed: 2, Full: true}, Unreadable, No, No, 0, "as many replicas as it has descriptors for", "raise the limit of open files"},
		"no member, restored":     {Context{Restored: true, Alive: 3}, Partition{Wanted: 3, Needed: 2}, Unreadable, No, No, 0, "none is chosen", "pegasus recover"},
		"no member, below steady": {Context{Idle: true, Alive: 3}, Partition{Wanted: 3, Needed: 2}, Unreadable, No, No, 0, "below steady", "meta-level set steady"},
		"writes are denied":       {up, three(func(p *Partition) { p.DenyWrites = true }), Unwritable, Yes, No, 3, "denies writes", "pegasus table env del"},
		"reads are denied":        {up, three(func(p *Partition) { p.DenyReads = true }), Unreadable, No, Yes, 3, "denies reads", "pegasus table env del"},
		"a server that ends":      {up, three(func(p *Partition) { p.Members[0].Ending = true }), Healthy, Yes, Yes, 3, "", ""},
	} {
		v := Of(&tc.c, &tc.p)
		if v.Health != tc.health || v.Read != tc.read || v.Write != tc.write || v.Copies != tc.copies {
			t.Errorf("%s: %v, read %v, write %v, %d copies: %v", name, v.Health, v.Read, v.Write, v.Copies, v.Why)
		}
		if !says(v.Why, tc.why, tc.do) {
			t.Errorf("%s: %q isn't said, or %q to be done: %q", name, tc.why, tc.do, v.Why)
		}
		if (v.Health != Healthy) && len(v.Why) == 0 {
			t.Errorf("%s: %v without a reason", name, v.Health)
		}
	}
}

// says tells whether a reason contains what, and do stands beside it; nothing is said if what is "".
func says(l []Reason, what, do string) bool {
	if what == "" {
		return len(l) == 0
	}
	return slices.ContainsFunc(l, func(r Reason) bool {
		return strings.Contains(r.What, what) && strings.Contains(r.Do, do) && (do != "" || r.Do == "")
	})
}

func TestSafety(t *testing.T) {
	for want, v := range map[string]Verdict{
		"all 3 copies live":  {Copies: 3, Wanted: 3},
		"2 of 3 copies live": {Copies: 2, Wanted: 3},
		"only 1 of 3 copies lives: rows are lost if it is": {Copies: 1, Wanted: 3},
		"all 1 copies live":               {Copies: 1, Wanted: 1},
		"no usable copy is known to live": {Wanted: 1},
	} {
		if got := v.Safety(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestTable: five of eight partitions refuse writes for one full disk; the reason is said once, and names the
// partitions and the server.
func TestTable(t *testing.T) {
	var s Summary
	for i := range 8 {
		p := three()
		if i < 5 {
			p.Members[i%3].Addr = b
			p.Members[i%3].FullDisk = "data"
		}
		v := Of(&Context{Alive: 3}, &p)
		s.Add(i, &v)
	}
	got := s.Table()
	if got.Health != Unwritable || got.Partitions != 8 || got.Whole != 3 || got.Readable != 8 || got.Writable != 3 || got.Fewest != 3 || len(got.Why) != 1 ||
		!strings.HasPrefix(got.Why[0].What, `partitions 0-4: the disk "data" of 10.0.0.2:34801 is too full`) || !strings.Contains(got.Why[0].Do, "free space on 10.0.0.2:34801") {
		t.Errorf("%+v", got)
	}
	if r := ranges([]int{0, 2, 3, 4, 9}); r != "0, 2-4, 9" {
		t.Error(r)
	}
	var many []int
	for i := range 40 {
		many = append(many, 2*i)
	}
	if r := ranges(many); r != "0, 2, 4, 6, 8, 10, 12, 14, and 32 more" {
		t.Error(r)
	}
}

// TestWhole is the list of states of a cluster.
func TestWhole(t *testing.T) {
	up := Context{Alive: 3}
	for name, tc := range map[string]struct {
		c      Cluster
		tables []Table
		health Health
		lost   bool
		why    string
		do     string
	}{
		"in order":                             {Cluster{Context: up, Tables: 1}, []Table{{}}, Healthy, false, "", ""},
		"new":                                  {Cluster{Context: up}, nil, Healthy, false, "", ""},
		"empty metas beside servers with data": {Cluster{Context: up, Unknown: []int32{1, 2}}, nil, Dead, true, "lost their state", "pegasus recover, before any table is created"},
		"empty metas that refuse the servers":  {Cluster{Unknown: []int32{1}, Refused: []base.RPCAddress{a}}, nil, Dead, true, "lost their state", "pegasus recover"},
		"some tables aren't known":             {Cluster{Context: up, Tables: 1, Unknown: []int32{7}}, []Table{{}}, Unreadable, false, "of 1 tables (ids [7])", "pegasus recover"},
		"restored":                             {Cluster{Context: Context{Restored: true, Alive: 3}, Tables: 1, Level: "freezed"}, []Table{{}}, Ill, false, "may be old", "pegasus recover"},
		"frozen by an administrator":           {Cluster{Context: up, Tables: 1, Level: "freezed"}, []Table{{}}, Ill, false, "the function level is freezed", "meta-level set steady"},
		"no server":                            {Cluster{Tables: 1}, []Table{{Health: Dead}}, Dead, false, "no replica server lives", "start the replica servers"},
		"a server that leads nothing":          {Cluster{Context: up, Tables: 1, NoPrimaries: []base.RPCAddress{a}}, []Table{{}}, Healthy, false, "10.0.0.1:34801 may lead no partition", "pegasus node back 10.0.0.1:34801"},
		"a server that is being taken out":     {Cluster{Context: up, Tables: 1, Leaving: []base.RPCAddress{a}}, []Table{{}}, Healthy, false, "10.0.0.1:34801 is being taken out", "pegasus node back 10.0.0.1:34801"},
		"a dead server":                        {Cluster{Context: up, Tables: 1, Dead: []base.RPCAddress{a}}, []Table{{}}, Ill, false, "dead: 10.0.0.1:34801", "pegasus node forget"},
		"a silent server":                      {Cluster{Context: up, Tables: 1, Silent: []base.RPCAddress{a}}, []Table{{}}, Ill, false, "silent", ""},
		"a refused server":                     {Cluster{Context: up, Tables: 1, Refused: []base.RPCAddress{a}}, []Table{{}}, Ill, false, "refused: 10.0.0.1", "pegasus nodes"},
		"a full disk":                          {Cluster{Context: up, Tables: 1, Disks: []Disk{{Server: b, Tag: "ssd1"}}}, []Table{{}}, Ill, false, `the disk "ssd1" of 10.0.0.2:34801 is too full`, "free space on 10.0.0.2"},
		"a broken disk":                        {Cluster{Context: up, Tables: 1, Disks: []Disk{{Server: b, Tag: "ssd1", Broken: true}}}, []Table{{}}, Ill, false, "is broken", "pegasus disk ls"},
		"few servers":                          {Cluster{Context: up, Tables: 1, Held: "only 1 of 3 replica servers live"}, []Table{{}}, Ill, false, "only 1 of 3", ""},
		"a sick table":                         {Cluster{Context: up, Tables: 1}, []Table{{Health: Unwritable}}, Unwritable, false, "", ""},
	} {
		v := Whole(&tc.c, tc.tables)
		if v.Health != tc.health || v.Lost != tc.lost || !says(v.Why, tc.why, tc.do) {
			t.Errorf("%s: %+v", name, v)
		}
	}
}

// TestOfMetas is the list of states of a quorum.
func TestOfMetas(t *testing.T) {
	all := []string{"10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"}
	up := func(addr string) Meta { return Meta{Addr: addr, Answers: true, Quorum: "q", Members: all} }
	down := func(addr string) Meta { return Meta{Addr: addr, Error: "refused"} }
	leads := up(all[0])
	leads.Leads = true
	for name, tc := range map[string]struct {
		list    []Meta
		reached bool
		serves  bool
		why, do string
		not     string // must not be advised
	}{
		"in order":           {[]Meta{leads, up(all[1]), up(all[2])}, true, true, "", "", ""},
		"one is down":        {[]Meta{leads, up(all[1]), down(all[2])}, true, true, "2 of 3 members answer", "start 10.0.0.3:1", "recover-quorum"},
		"no majority":        {[]Meta{up(all[0]), down(all[1]), down(all[2])}, true, false, "no majority", "start 10.0.0.2:1, 10.0.0.3:1; only if they are lost forever", ""},
		"two of two":         {[]Meta{{Addr: all[0], Answers: true, Leads: true, Quorum: "q", Members: all[:2]}, {Addr: all[1], Answers: true, Quorum: "q", Members: all[:2]}}, true, true, "two members have no majority while one of them is down", "pegasus meta add", "recover-quorum"},
		"no leader yet":      {[]Meta{up(all[0]), up(all[1]), down(all[2])}, true, false, "one is being elected", "", "recover-quorum"},
		"a wrong address":    {[]Meta{down("10.9.9.9:1")}, false, false, "no meta server answers: 10.9.9.9:1", "check the addresses", "recover-quorum"},
		"all are down":       {[]Meta{down(all[0]), down(all[1]), down(all[2])}, false, false, "no meta server answers", "check the addresses", "recover-quorum"},
		"one that never was": {[]Meta{{Addr: all[0], Answers: true}}, true, false, "belong to no quorum", "pegasus meta add", "recover-quorum"},
	} {
		q := OfMetas(tc.list)
		if q.Reached != tc.reached || q.Serves != tc.serves || !says(q.Why, tc.why, tc.do) {
			t.Errorf("%s: %+v", name, q)
		}
		for _, r := range q.Why {
			if tc.not != "" && strings.Contains(r.Do, tc.not) {
				t.Errorf("%s advises %s", name, r.Do)
			}
		}
	}
	restored := leads
	restored.Restored = true
	other := up(all[1])
	other.Quorum, other.Hint = "r", "its disk is full"
	q := OfMetas([]Meta{restored, other, up(all[2])})
	for what, do := range map[string]string{"may be old": "pegasus recover", "different quorums": "", "its disk is full": ""} {
		if !says(q.Why, what, do) {
			t.Errorf("%q isn't in %+v", what, q.Why)
		}
	}
}
