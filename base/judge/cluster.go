package judge

import (
	"fmt"
	"slices"
	"strings"

	"pegasus/base"
)

// Cluster are the facts of a cluster, as its leading meta knows them.
type Cluster struct {
	Context
	// Level is the name of the function level if it is below steady, "" else.
	Level string
	// Tables is how many tables are available, Unknown the ids of tables that only replica servers know.
	Tables  int
	Unknown []int32
	// Replica servers that are dead, that are refused, that are silent, and that are being taken out.
	Dead, Refused, Silent []base.RPCAddress
	// NoPrimaries and Leaving are the replica servers that may lead no partition, and that are being
	// taken out.
	NoPrimaries, Leaving []base.RPCAddress
	// Disks are those that refuse writes, or that are broken.
	Disks []Disk
	// Held says why replicas that are missing aren't copied, "" if they are.
	Held string
	// Clocks says what is wrong with the servers' clocks, "" if nothing.
	Clocks string
}

// Disk is a data directory that can't be used as it should.
type Disk struct {
	Server     base.RPCAddress
	Tag        string
	Broken     bool
	Free, Size int64
}

// Overall is what is said of a cluster.
type Overall struct {
	Health Health
	// Lost: the metas have no table, and the replica servers have some.
	Lost bool
	Why  []Reason
}

// Whole judges a cluster. tables are the verdicts on its tables.
func Whole(c *Cluster, tables []Table) (v Overall) {
	say := func(h Health, do, format string, args ...any) {
		v.Health = max(v.Health, h)
		v.Why = append(v.Why, Reason{fmt.Sprintf(format, args...), do})
	}
	for i := range tables {
		v.Health = max(v.Health, tables[i].Health)
	}
	switch {
	case c.Restored:
		say(Ill, "pegasus recover", "%s: nothing changes until the replica servers were asked", oldState)
	case c.Tables == 0 && len(c.Unknown) > 0:
		v.Lost = true
		say(Dead, "pegasus recover, before any table is created", "the meta servers have no table, and replica servers have data%s: the meta servers lost their state, or are another cluster's", ofTables(c.Unknown))
	case len(c.Unknown) > 0:
		say(Unreadable, "pegasus recover", "replica servers have replicas%s that the meta servers don't know: nothing of them is touched, and nobody can read them", ofTables(c.Unknown))
	}
	if c.Level != "" && !c.Restored {
		say(Ill, raiseLevel, "the function level is %s, as an administrator wants: nothing is repaired, and no table is made", c.Level)
	}
	if c.Alive == 0 {
		say(Dead, "start the replica servers", "no replica server lives")
	}
	if len(c.Dead) > 0 && c.Alive > 0 {
		say(Ill, "start them; if they are gone for good: pegasus node forget ADDRESS", "dead: %s", addrs(c.Dead))
	}
	if len(c.Silent) > 0 {
		say(Ill, "", "silent, and about to be taken for dead: %s", addrs(c.Silent))
	}
	for _, a := range c.NoPrimaries {
		say(Healthy, fmt.Sprintf("unless `pegasus node restart` is at it: pegasus node back %v", a), "%v may lead no partition, as while it is restarted", a)
	}
	for _, a := range c.Leaving {
		say(Healthy, fmt.Sprintf("to keep it: pegasus node back %v", a), "%v is being taken out (`pegasus node drain`)", a)
	}
	if len(c.Refused) > 0 && !v.Lost {
		say(Ill, "pegasus nodes says why", "refused: %s", addrs(c.Refused))
	}
	for _, d := range c.Disks {
		if d.Broken {
			say(Ill, "pegasus disk ls says what happened, and what comes next", "the disk %q of %v is broken", d.Tag, d.Server)
		} else {
			say(Ill, fmt.Sprintf("free space on %v (disk %q)", d.Server, d.Tag), "the disk %q of %v is too full (%s of %s free): what has a replica there takes no writes", d.Tag, d.Server, size(d.Free), size(d.Size))
		}
	}
	for _, text := range []string{c.Held, c.Clocks} {
		if text != "" {
			say(Ill, "", "%s", text)
		}
	}
	return v
}

// maxIDs bounds how many ids are written out.
const maxIDs = 10

func ofTables(ids []int32) string {
	switch n := len(ids); {
	case n == 0:
		return ""
	case n > maxIDs:
		return fmt.Sprintf(" of %d tables (ids %v and more)", n, ids[:maxIDs])
	default:
		return fmt.Sprintf(" of %d tables (ids %v)", n, ids)
	}
}

// Meta is what a meta server said of itself, or that it said nothing.
type Meta struct {
	Addr     string
	Answers  bool
	Leads    bool
	Joined   bool // it is a member of a quorum
	Restored bool
	Quorum   string   // its identity, "" if it has none yet
	Members  []string // as this one knows them
	Hint     string   // what it says itself
	Error    string   // why there is no answer
}

// Quorum is what is said of the meta servers.
type Quorum struct {
	// Members is how many there are, 0 if that isn't known; Answering how many of them answer.
	Members, Answering int
	// Serves: one leads.
	Serves bool
	// Reached: some server answered.
	Reached bool
	Why     []Reason
}

// OfMetas judges the quorum from what those who were asked said.
func OfMetas(list []Meta) (q Quorum) {
	say := func(do, format string, args ...any) { q.Why = append(q.Why, Reason{fmt.Sprintf(format, args...), do}) }
	members, quorums := map[string]bool{}, map[string]bool{}
	var leader *Meta
	for i := range list {
		m := &list[i]
		q.Reached = q.Reached || m.Answers
		if m.Leads && leader == nil {
			leader = m
		}
		if m.Quorum != "" {
			quorums[m.Quorum] = true
		}
	}
	for i := range list {
		if leader != nil && leader != &list[i] {
			continue
		}
		for _, a := range list[i].Members {
			members[a] = true
		}
	}
	var silent []string
	for i := range list {
		switch m := &list[i]; {
		case m.Answers && members[m.Addr]:
			q.Answering++
		case !m.Answers:
			silent = append(silent, m.Addr)
		}
	}
	q.Members, q.Serves = len(members), leader != nil
	switch {
	case !q.Reached:
		say("check the addresses (--meta or PEGASUS_META), and that meta servers run there", "no meta server answers: %s", join(silent))
	case len(members) == 0:
		say("start the first meta server without --join, or add this one: pegasus meta add", "the servers that answer belong to no quorum")
	case leader == nil && q.Answering < len(members)/2+1:
		say("start "+join(missing(members, list))+"; only if they are lost forever: stop all members and run `pegasus meta recover-quorum` on the one with the highest last entry",
			"%d of %d members answer, which is no majority, so there is no leader", q.Answering, len(members))
	case leader == nil:
		say("", "there is no leader at the moment: one is being elected")
	case q.Answering < len(members):
		say("start "+join(missing(members, list)), "%d of %d members answer", q.Answering, len(members))
	case len(members) == 2:
		say("add a third: pegasus meta add", "two members have no majority while one of them is down")
	}
	if len(quorums) > 1 {
		say("", "the members belong to different quorums: one has the data of another cluster, or of a quorum that was replaced")
	}
	if leader != nil && leader.Restored {
		say("pegasus recover", "the state comes from a backup or a recovered quorum and may be old: nothing changes until the replica servers were asked")
	}
	for i := range list {
		if list[i].Hint != "" {
			say("", "%s: %s", list[i].Addr, list[i].Hint)
		}
	}
	return q
}

// missing returns the members that don't answer.
func missing(members map[string]bool, list []Meta) (l []string) {
	answers := map[string]bool{}
	for i := range list {
		answers[list[i].Addr] = list[i].Answers
	}
	for a := range members {
		if !answers[a] {
			l = append(l, a)
		}
	}
	slices.Sort(l)
	return l
}

func join(l []string) string { return strings.Join(l, ", ") }
