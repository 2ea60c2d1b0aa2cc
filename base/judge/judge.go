package judge

import (
	"fmt"
	"slices"
	"strings"

	"pegasus/base"
)

// Can says whether clients can do something now.
type Can int32

// The answers.
const (
	Unsure Can = 0 // it isn't known: a server is silent, or wasn't heard of yet
	Yes    Can = 1
	No     Can = 2
)

// String returns the answer for people.
func (c Can) String() string {
	switch c {
	case Yes:
		return "yes"
	case No:
		return "no"
	}
	return "not known"
}

// Health sums a verdict up; the higher, the worse.
type Health int32

// The states of a partition, of the worst partition of a table, or of a cluster.
const (
	Healthy    Health = 0
	Ill        Health = 1 // everything works, and something is missing: a replica, a server, a meta
	InDoubt    Health = 2
	Unwritable Health = 3
	Unreadable Health = 4
	Dead       Health = 5 // no living copy that can be used is known
)

var healthNames = [...]string{"healthy", "lacks replicas", "in doubt", "not writable", "not readable", "dead"}

// String returns the state for people.
func (h Health) String() string {
	if h < 0 || int(h) >= len(healthNames) {
		return fmt.Sprintf("state %d", int32(h))
	}
	return healthNames[h]
}

// Reason is something that isn't as it should be, and what a person should do about it; Do is ""
// if the cluster helps itself.
type Reason struct{ What, Do string }

// Verdict is what is said of a partition.
type Verdict struct {
	Health      Health
	Read, Write Can
	// Copies is on how many living servers each acknowledged row is known to be, Wanted on how many
	// it should be.
	Copies, Wanted int
	Why            []Reason
}

// Safety says in words how safe acknowledged rows are.
func (v *Verdict) Safety() string {
	switch {
	case v.Copies == 0:
		return "no usable copy is known to live"
	case v.Copies >= v.Wanted:
		return fmt.Sprintf("all %d copies live", v.Wanted)
	case v.Copies == 1:
		return fmt.Sprintf("only 1 of %d copies lives: rows are lost if it is", v.Wanted)
	}
	return fmt.Sprintf("%d of %d copies live", v.Copies, v.Wanted)
}

// Context is what the facts of all partitions of a cluster have in common.
type Context struct {
	// Restored: the metas' state comes from a backup or a quorum that was made anew, and no server
	// is told a role until the replica servers were asked.
	Restored bool
	// Idle: an administrator has switched off that configurations change (a function level below
	// steady).
	Idle bool
	// Alive is how many replica servers live.
	Alive int
}

// Partition are the facts of a partition.
type Partition struct {
	// Wanted is how many replicas the table wants, Needed how many members a write needs.
	Wanted, Needed int
	// Members of its configuration; the primary, if there is one, is the first.
	Members []Member
	// GaveUp: the last member said at this very configuration that its replica can't be used, and
	// no other that is known has all that was acknowledged.
	GaveUp bool
	// Below are living members that lack what is known to be committed.
	Below []base.RPCAddress
	// Full: every living server holds as many replicas as it can. Only of a partition without members.
	Full bool
	// Making says how its first replica is being made, if that takes its time; "": it isn't. Only of a partition without
	// members.
	Making string
	// Gone are dead servers that were members before.
	Gone []base.RPCAddress
	// Copies are servers that live, are no members, and have a replica that can be gone on with.
	Copies []base.RPCAddress
	// Broken are disks that don't work, of members that live: it is known of none whether its replica was there.
	Broken []string
	// Sending are duplications for which the log is kept that has little room left.
	Sending []Sending
	// What the table's settings deny.
	DenyReads, DenyWrites bool
}

// Sending is that the log of a partition is kept for a duplication.
type Sending struct {
	Cluster string // the other one
	Room    int    // how many percent of the room for such logs are used
}

// LogRoomStrained is from how many percent of the room for logs that duplications keep on a person should do something.
const LogRoomStrained = 50

// Member is what is known of a member of a partition.
type Member struct {
	Addr    base.RPCAddress
	Primary bool
	Dead    bool
	// Unheard: it counts as alive, and the leading meta hasn't heard of it yet.
	Unheard bool
	// Silent is for how many seconds it has been silent, longer than between beacons; 0: it isn't.
	Silent float64
	// Ending: its process said that it ends soon.
	Ending bool
	// Serves is whether it said that its lease holds, so that it serves what it leads. Servers of an
	// older version don't say.
	Serves Can
	// Unusable: it said that it has no replica of the partition that it can use.
	Unusable bool
	// Unconfirmed: its process was started again and hasn't taken up its role.
	Unconfirmed bool
	// FullDisk is the tag of the disk that its replica is on, if that refuses writes because it has too
	// little room; Free and Size are its bytes.
	FullDisk   string
	Free, Size int64
}

func (m *Member) sound() bool { return !m.Dead && !m.Unusable }

// role names m in a sentence.
func (m *Member) role() string {
	if m.Primary {
		return "the primary " + m.Addr.String()
	}
	return "the secondary " + m.Addr.String()
}

const acceptLoss = "start the servers that had replicas of it; if they are lost: pegasus recover --accept-loss"

// broken says that disks are to be brought back first: what is on them may be whole.
func broken(p *Partition) string {
	if len(p.Broken) == 0 {
		return ""
	}
	return "bring back " + strings.Join(p.Broken, ", ") + " (pegasus disk ls says how); "
}

// Of judges a partition.
func Of(c *Context, p *Partition) Verdict {
	v := Verdict{Read: Yes, Write: Yes, Wanted: p.Wanted}
	j := &judging{Verdict: &v}
	for i := range p.Members {
		if m := &p.Members[i]; m.sound() && !slices.Contains(p.Below, m.Addr) {
			v.Copies++
		}
	}
	if p.GaveUp {
		v.Copies = 0
	}
	j.serving(c, p)
	j.writing(c, p)
	j.settings(p)
	j.sending(p)
	switch {
	case len(p.Members) > 0 && v.Copies == 0 && v.Read != Yes:
		v.Health = Dead
	case v.Read == No:
		v.Health = Unreadable
	case v.Write == No:
		v.Health = Unwritable
	case v.Read == Unsure || v.Write == Unsure:
		v.Health = InDoubt
	case v.Copies < v.Wanted:
		v.Health = Ill
		if len(v.Why) == len(p.Sending) {
			j.missing(p)
		}
	}
	return v
}

// judging is a verdict that is being reached.
type judging struct{ *Verdict }

func (j *judging) say(do, format string, args ...any) {
	j.Why = append(j.Why, Reason{fmt.Sprintf(format, args...), do})
}

// refuse notes that reads, and with them writes, can do no better than that.
func (j *judging) refuse(c Can) {
	j.Read, j.Write = worse(j.Read, c), worse(j.Write, c)
}

func worse(a, b Can) Can {
	if a == No || b == No {
		return No
	}
	if a == Unsure || b == Unsure {
		return Unsure
	}
	return Yes
}

// serving looks whether a primary serves.
func (j *judging) serving(c *Context, p *Partition) {
	if len(p.Members) == 0 {
		j.never(c, p)
		return
	}
	primary := &p.Members[0]
	var dead, unusable []base.RPCAddress
	for i := range p.Members {
		switch m := &p.Members[i]; {
		case m.Dead:
			dead = append(dead, m.Addr)
		case m.Unusable:
			unusable = append(unusable, m.Addr)
		}
	}
	switch {
	case p.GaveUp:
		j.refuse(No)
		do := broken(p) + acceptLoss
		if len(p.Copies) > 0 {
			do = broken(p) + "start the other servers that had replicas of it; if they are lost, go on with what " + addrs(p.Copies) + " has: pegasus recover --accept-loss"
		}
		j.say(do, "the replica of its last member %v is lost or damaged, and no other one that is known holds all that was acknowledged", primary.Addr)
		return
	case len(dead) == len(p.Members):
		j.refuse(No)
		do := "start " + addrs(dead) + "; it goes on with the first that comes back"
		if len(p.Copies) > 0 {
			do += "; if they are lost for good, go on with what " + addrs(p.Copies) + " has: pegasus recover --accept-loss"
		}
		j.say(do, "all its members are dead: %s", addrs(dead))
		return
	case len(dead)+len(unusable) == len(p.Members):
		j.refuse(No)
		j.say(broken(p)+"start "+orOthers(dead)+"; if they are lost: pegasus recover --accept-loss", "no living member has a usable replica: %s", addrs(unusable))
		return
	case len(p.Below) > 0 && len(p.Below)+len(dead) >= len(p.Members):
		j.refuse(No)
		j.say("start "+orOthers(dead)+"; if they are lost: pegasus recover --accept-loss", "%s lacks rows that are known to be committed, so it isn't made the primary", addrs(p.Below))
		return
	}
	if c.Restored && !primary.Dead && primary.Serves != Yes {
		j.refuse(primary.Serves)
		j.say("pegasus recover", "%s: no replica server is told what to serve until they were all asked, and the primary %v %s", oldState, primary.Addr,
			map[Can]string{No: "says that it serves nothing", Unsure: "may serve nothing"}[primary.Serves])
		return
	}
	switch {
	case primary.Dead:
		j.refuse(No)
		j.afterDeath(c, p, "the primary "+primary.Addr.String()+" is dead")
	case primary.Unusable:
		j.refuse(No)
		j.afterDeath(c, p, "the primary "+primary.Addr.String()+" has no usable replica")
	case primary.Silent > 0:
		j.refuse(Unsure)
		do := ""
		if len(p.Members) == 1 {
			do = "see whether " + primary.Addr.String() + " hangs or is cut off: no other server has its rows"
		}
		j.say(do, "the primary %v has been silent for %.0f s: it hangs, or is cut off, and serves nothing then; another member takes over when it is taken for dead", primary.Addr, max(primary.Silent, 1))
	case primary.Serves == No:
		j.refuse(No)
		j.say("", "the primary %v was cut off from the meta servers and serves nothing until it knows its roles again", primary.Addr)
	case primary.Unconfirmed:
		j.refuse(No)
		j.say("", "the primary %v was started again and hasn't taken up its role; if it doesn't, another member does", primary.Addr)
	case primary.Unheard:
		j.refuse(Unsure)
		j.say("", "the leading meta hasn't heard of the primary %v since it began to lead", primary.Addr)
	}
	if c.Restored && j.Read == Yes {
		j.say("pegasus recover", "%s: what serves goes on, and nobody takes over from a server that fails", oldState)
	}
}

// oldState is why the metas change nothing.
const oldState = "the meta servers' state comes from a backup or a quorum that was made anew, and may be old"

// afterDeath says who takes over from a primary that doesn't serve.
func (j *judging) afterDeath(c *Context, p *Partition, what string) {
	switch {
	case c.Restored:
		j.say("pegasus recover", "%s, and nobody takes over: %s", what, oldState)
	case c.Idle:
		j.say(raiseLevel, "%s, and nobody takes over: the function level is below steady", what)
	default:
		j.say("", "%s; another member takes over", what)
	}
}

const raiseLevel = "raise the function level to steady (admin-cli: meta-level set steady)"

func (j *judging) never(c *Context, p *Partition) {
	j.refuse(No)
	switch {
	case c.Restored:
		j.say("pegasus recover", "it never had a member, and none is chosen: %s", oldState)
	case c.Idle:
		j.say(raiseLevel, "it has no first primary yet, and none is chosen: the function level is below steady")
	case c.Alive == 0:
		j.say("start the replica servers", "it never had a member, and no replica server lives")
	case p.Full:
		j.say("raise the limit of open files of the replica servers, or add servers", "it never had a member, and every replica server that lives has as many replicas as it has descriptors for")
	case p.Making != "":
		j.say("", "it never had a member, and %s", p.Making)
	default:
		j.say("", "it never had a member; a first primary is being chosen")
	}
}

// writing looks whether a primary that serves takes writes.
func (j *judging) writing(c *Context, p *Partition) {
	if len(p.Members) == 0 || j.Read == No {
		j.Write = No
		return
	}
	if n := len(p.Members); n < p.Needed {
		j.Write = No
		j.say(startDead(p), "it has %d of the %d members that a write needs", n, p.Needed)
	}
	alive := 0
	for i := range p.Members {
		if !p.Members[i].Dead {
			alive++
		}
	}
	if alive < p.Needed && len(p.Members) >= p.Needed {
		j.Write = No
		j.say(startDead(p), "%d of its %d members live, and a write needs %d", alive, len(p.Members), p.Needed)
	}
	for i := range p.Members {
		m := &p.Members[i]
		switch {
		case m.Dead:
			switch {
			case c.Restored || c.Idle:
				j.Write = No
				do := "pegasus recover"
				if !c.Restored {
					do = raiseLevel
				}
				j.say("start "+m.Addr.String()+", or "+do, "%s is dead, and nothing changes in the group: a write needs all members", m.role())
			default:
				j.Write = worse(j.Write, Unsure)
				j.say("", "%s is dead and is being taken out of the group; writes wait until then", m.role())
			}
			continue
		case m.FullDisk != "":
			j.Write = No
			j.say(fmt.Sprintf("free space on %s (disk %q)", m.Addr, m.FullDisk), "the disk %q of %v is too full (%s of %s free), and a write needs all members", m.FullDisk, m.Addr, size(m.Free), size(m.Size))
		}
		if m.Primary {
			continue
		}
		switch {
		case m.Silent > 0:
			j.Write = worse(j.Write, Unsure)
			j.say("", "%s has been silent for %.0f s: writes wait for it until it answers or is taken out of the group", m.role(), max(m.Silent, 1))
		case m.Unusable:
			j.Write = worse(j.Write, Unsure)
			j.say("", "%s has no usable replica, and is being taken out of the group", m.role())
		}
	}
}

// settings looks what the table's settings deny.
func (j *judging) settings(p *Partition) {
	const do = "pegasus table env del TABLE replica.deny_client_request"
	if p.DenyReads {
		j.Read = No
		j.say(do, "the table's setting replica.deny_client_request denies reads")
	}
	if p.DenyWrites {
		j.Write = No
		j.say(do, "the table's setting replica.deny_client_request denies writes")
	}
}

// sending looks whether the log that duplications keep has room.
func (j *judging) sending(p *Partition) {
	for _, s := range p.Sending {
		j.say("pegasus dup show TABLE says why it stands there; wal.held_bytes gives the log more room, if the disk has it",
			"the log that cluster %s lacks takes %d %% of the room for it: without room it is let go, and all rows are copied there anew", s.Cluster, s.Room)
	}
}

// missing says what a partition lacks that can be read and written.
func (j *judging) missing(p *Partition) {
	j.say("", "it has %d of %d replicas", len(p.Members), p.Wanted)
}

// startDead says to start the members that are dead.
func startDead(p *Partition) string {
	var dead []base.RPCAddress
	for i := range p.Members {
		if p.Members[i].Dead {
			dead = append(dead, p.Members[i].Addr)
		}
	}
	if dead = append(dead, p.Gone...); len(dead) == 0 {
		return ""
	}
	return "start " + addrs(dead)
}

func orOthers(dead []base.RPCAddress) string {
	if len(dead) == 0 {
		return "the servers that had replicas of it"
	}
	return addrs(dead)
}

func addrs(l []base.RPCAddress) string {
	s := make([]string, len(l))
	for i, a := range l {
		s[i] = a.String()
	}
	return strings.Join(s, ", ")
}

// size writes a number of bytes for people.
func size(n int64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}

// String is r on one line.
func (r Reason) String() string {
	if r.Do == "" {
		return r.What
	}
	return r.What + "; what to do: " + r.Do
}
