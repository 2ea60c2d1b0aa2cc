package compat

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"pegasus/base"
	"pegasus/compat_test/wire"
	"pegasus/gen/layer2"
	"pegasus/gen/value"
)

// difference is a field of an answer that may be another than the C++ server's, why, and what
// is still demanded of it. Whatever isn't here must be equal.
type difference struct {
	code, path string // regular expressions
	why        string
	check      func(d *diff) error
}

// diff is one field that is different.
type diff struct {
	p          *player
	c          *call
	path       string
	rec, got   string // "" where the field isn't there
	recV, gotV value.Value
}

var differences = []difference{
	{`RPC_RRDB_.*`, `Server`, "a server's name is its own",
		func(d *diff) error { return want(d.got == d.c.addr, "the asked server's address %s", d.c.addr) }},
	{`RPC_RRDB_.*`, `Decree`, "decrees are a server's own; they grow with every write, and a refused atomic write may have none",
		func(d *diff) error {
			n := number(d.got)
			if refused(d.gotV) {
				return want(n >= -1, "-1 or more")
			}
			last := d.p.decrees[d.c.frame.Gpid]
			d.p.decrees[d.c.frame.Gpid] = n
			return want(n > last, "more than %d, the partition's last", last)
		}},
	{`RPC_RRDB_.*`, `ContextId`, "scan contexts are a server's own; only -1, the end of a scan, means something",
		func(d *diff) error {
			return want(d.rec != "-1" && number(d.got) > 0, "positive, and -1 only where it was")
		}},
	{`RPC_RRDB_.*`, `TtlSeconds`, "the rest of a TTL depends on the moment it is asked for",
		func(d *diff) error {
			gone := int64(time.Since(d.p.began)/time.Second) + 5
			n, rec := number(d.got), number(d.rec)
			return want(rec > 0 && n <= rec+5 && n >= rec-gone, "within 5 seconds, and what the session took")
		}},
	{`RPC_RRDB_.*`, `Kvs\[\d+\]\.ExpireTsSeconds`, "all expiries were moved to now",
		func(d *diff) error { return want(number(d.got) == number(d.rec)+d.p.shift, "moved by %d", d.p.shift) }},

	{`.*`, `(.*\.)?Hp[A-Z]\w*(#|\[\d+\])?`, "host_port fields: over THFT no client but the newest can decode them, so they are left out; over rDSN they are there, with our addresses",
		func(d *diff) error {
			if d.c.frame.Framing != wire.RDSN {
				return want(d.got == "", "absent")
			}
			if strings.HasSuffix(d.path, "#") {
				return nil // how many: checked with the addresses beside them
			}
			return ours(d)
		}},
	{`RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX`, `Partitions\[\d+\]\.Ballot`, "a ballot counts a partition's configurations, of which ours has others",
		func(d *diff) error { return want(number(d.got) >= 1, "at least 1") }},
	{`RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX`, `Partitions\[\d+\]\.(Primary|Secondaries\[\d+\])`, "which server has which partition is the meta's choice",
		ours},
	{`RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX`, `Partitions\[\d+\]\.Secondaries#`, "a poll of a table that is being made sees as many members as there are by then",
		func(d *diff) error { return want(!full(d.recV), "all members, as the recorded answer has") }},
	{`RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX`, `Partitions\[\d+\]\.LastCommittedDecree`, "decrees are a server's own",
		func(d *diff) error { return want(number(d.got) >= 0, "a decree") }},
	{`RPC_CM_LIST_NODES`, `Infos\[\d+\]\.Node`, "addresses are a cluster's own", ours},
	{`RPC_CM_LIST_APPS`, `Infos\[\d+\]\.(Create|Drop)Second`, "when it happened",
		func(d *diff) error {
			return want(number(d.rec) > 0 && abs(number(d.got)-time.Now().Unix()) < 600, "some minutes ago, and 0 only where it was")
		}},
	{`RPC_CM_LIST_APPS`, `Infos\[\d+\]\.ExpireSecond`, "when it happened, plus the time it can be recalled",
		func(d *diff) error {
			return want(number(d.rec) > 0 && abs(number(d.got)-time.Now().Unix()-3600) < 600, "in about an hour")
		}},
	{`RPC_CM_CLUSTER_INFO`, `Values\[[01]\]`, "meta_servers, primary_meta_server: addresses are a cluster's own",
		func(d *diff) error { return want(d.got == d.p.c.Metas()[0], "%s", d.p.c.Metas()[0]) }},
	{`RPC_CM_CLUSTER_INFO`, `Values\[[23]\]`, "zookeeper_hosts, zookeeper_root: there is none",
		func(d *diff) error { return nil }},
	{`RPC_CM_CLUSTER_INFO`, `Values\[[67]\]`, "primary_replica_count_stddev, total_replica_count_stddev: how even the meta's choice was",
		func(d *diff) error {
			return want(regexp.MustCompile(`^\d+\.\d\d$`).MatchString(d.got), "a number with two decimals")
		}},
	{`RPC_CLI_CLI_CALL`, ``, "server-info tells of the program",
		func(d *diff) error {
			var rec, got map[string]string
			if err := errors.Join(json.Unmarshal([]byte(d.rec), &rec), json.Unmarshal([]byte(d.got), &got)); err != nil {
				return err
			}
			r, g := slices.Sorted(maps.Keys(rec)), slices.Sorted(maps.Keys(got))
			return want(slices.Equal(r, g), "the keys %v", r)
		}},
}

func want(ok bool, format string, args ...any) error {
	if ok {
		return nil
	}
	return fmt.Errorf("should be "+format, args...)
}

// ours demands the address of one of our replica servers.
func ours(d *diff) error {
	_, _, err := net.SplitHostPort(d.got)
	return want(err == nil && slices.Contains(d.p.c.Replicas(), d.got), "one of %v", d.p.c.Replicas())
}

func number(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return -1 << 62
	}
	return n
}

func abs(n int64) int64 { return max(n, -n) }

// refused tells whether an atomic write wasn't done.
func refused(v value.Value) bool {
	f := reflect.ValueOf(v).Elem().FieldByName("Error")
	return f.IsValid() && f.Int() != 0
}

// compare returns what is different in our answer and isn't tolerated.
func (p *player) compare(c *call, rec, got value.Value) (bad []string) {
	r, g := flatten(rec), flatten(got)
	paths := slices.Clone(r.order)
	for _, path := range g.order {
		if _, ok := r.leaf[path]; !ok {
			paths = append(paths, path)
		}
	}
	for _, path := range paths {
		rl, gl := r.leaf[path], g.leaf[path]
		_, inR := r.leaf[path]
		_, inG := g.leaf[path]
		if rl == gl && inR == inG {
			continue
		}
		d := &diff{p: p, c: c, path: path, rec: rl, got: gl, recV: rec, gotV: got}
		if err := p.tolerate(d); err != nil {
			bad = append(bad, fmt.Sprintf("%s is %q, was %q: %v", path, gl, rl, err))
		}
	}
	if q, ok := got.(*layer2.QueryCfgResponse); ok {
		bad = append(bad, p.checkMembers(c, q)...)
	}
	return bad
}

func (p *player) tolerate(d *diff) error {
	for _, t := range differences {
		if regexp.MustCompile("^("+t.code+")$").MatchString(d.c.frame.Code) && regexp.MustCompile("^("+t.path+")$").MatchString(d.path) {
			if err := t.check(d); err != nil {
				return err
			}
			p.differences[t.why]++
			return nil
		}
	}
	return errors.New("it should be equal")
}

// checkMembers demands what the tolerated differences of single addresses leave open.
func (p *player) checkMembers(c *call, q *layer2.QueryCfgResponse) (bad []string) {
	for i := range q.Partitions {
		pc := &q.Partitions[i]
		members := append([]base.RPCAddress{pc.Primary}, pc.Secondaries...)
		slices.Sort(members)
		if len(slices.Compact(members)) != len(pc.Secondaries)+1 {
			bad = append(bad, fmt.Sprintf("%s: a server is twice in %s %v", pc.Pid, pc.Primary, pc.Secondaries))
		}
		if c.frame.Framing != wire.RDSN {
			continue
		}
		same := pc.HpPrimary.V.String() == pc.Primary.String() && len(pc.HpSecondaries.V) == len(pc.Secondaries)
		for j := 0; same && j < len(pc.Secondaries); j++ {
			same = pc.HpSecondaries.V[j].String() == pc.Secondaries[j].String()
		}
		if !same {
			bad = append(bad, fmt.Sprintf("%s: %s %v, as host_port %s %v", pc.Pid, pc.Primary, pc.Secondaries, pc.HpPrimary.V, pc.HpSecondaries.V))
		}
	}
	return bad
}

// leaves is a value taken to pieces: one text for each field, by path.
type leaves struct {
	leaf  map[string]string
	order []string
}

func flatten(v value.Value) *leaves {
	l := &leaves{leaf: map[string]string{}}
	l.add("", reflect.ValueOf(v).Elem())
	return l
}

func (l *leaves) put(path, text string) {
	l.leaf[path] = text
	l.order = append(l.order, path)
}

func (l *leaves) add(path string, v reflect.Value) {
	t := v.Type()
	switch {
	case t.PkgPath() == "pegasus/base" && strings.HasPrefix(t.Name(), "Opt["):
		if v.FieldByName("Set").Bool() {
			l.add(path, v.FieldByName("V"))
		}
	case t.PkgPath() == "pegasus/base" && !strings.HasPrefix(t.Name(), "Pair["):
		l.put(path, fmt.Sprint(v.Interface()))
	case t.Kind() == reflect.Struct:
		if path != "" {
			path += "."
		}
		for i := range t.NumField() {
			l.add(path+t.Field(i).Name, v.Field(i))
		}
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
		l.put(path, string(v.Bytes()))
	case t.Kind() == reflect.Slice:
		l.put(path+"#", strconv.Itoa(v.Len()))
		for i := range v.Len() {
			l.add(path+"["+strconv.Itoa(i)+"]", v.Index(i))
		}
	case v.CanInt():
		l.put(path, strconv.FormatInt(v.Int(), 10))
	case v.CanUint():
		l.put(path, strconv.FormatUint(v.Uint(), 10))
	default:
		l.put(path, fmt.Sprint(v))
	}
}
