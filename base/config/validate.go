package config

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxNumber is the limit of numbers whose key has none: what is made of them by multiplying still
// fits into 64 bits.
const maxNumber = 1 << 50

// maxDuration is that for durations.
const maxDuration = 8760 * time.Hour

func (c *Config) validate(file string, data []byte) error {
	fail := func(path, problem, fix string) error {
		dot := strings.LastIndexByte(path, '.')
		sec, name := path[:dot], path[dot+1:]
		line := lineOf(data, sec, name)
		if line == 0 && strings.Contains(sec, ".") {
			line = lineOf(data, sec, "") // a key that is missing
		}
		return &Error{File: file, Line: line, Key: path, Problem: problem, Fix: fix}
	}
	for _, k := range append(keys(), c.named()...) {
		if problem, fix := checkValue(k, k.field(c)); problem != "" {
			return fail(k.path(), problem, fix)
		}
	}
	switch {
	case c.FD.Lease.D() >= c.FD.Grace.D():
		return fail("failure_detector.lease", fmt.Sprintf("%v is not shorter than failure_detector.grace, %v", c.FD.Lease.D(), c.FD.Grace.D()),
			"shorten the lease or lengthen the grace: a server must stop serving before another one takes over")
	case c.FD.BeaconInterval.D()*2 > c.FD.Lease.D():
		return fail("failure_detector.beacon_interval", fmt.Sprintf("%v is more than half of failure_detector.lease, %v", c.FD.BeaconInterval.D(), c.FD.Lease.D()),
			"shorten it: the loss of one beacon must not end the lease")
	case c.Meta.MinReplicaCount > c.Meta.MaxReplicaCount:
		return fail("meta.min_replica_count", fmt.Sprintf("%d is more than meta.max_replica_count, %d", c.Meta.MinReplicaCount, c.Meta.MaxReplicaCount),
			"lower it, or raise meta.max_replica_count")
	case c.Replica.MaxWriteBytes > c.RPC.MaxFrameBytes:
		return fail("replica.max_allowed_write_size", fmt.Sprintf("%d is more than rpc.max_frame_bytes, %d", c.Replica.MaxWriteBytes, c.RPC.MaxFrameBytes),
			"lower it, or raise rpc.max_frame_bytes")
	}
	for name, b := range c.Blob {
		if key, problem, fix := b.check(); problem != "" {
			return fail("blob."+name+"."+key, problem, fix)
		}
	}
	if key, problem, fix := c.checkClusters(); problem != "" {
		return fail(key, problem, fix)
	}
	if problem, fix := c.checkMemory(); problem != "" {
		return fail("replica.memory_bytes", problem, fix)
	}
	for name, n := range map[string]int64{"read_capacity_unit_size": c.Replica.ReadUnit, "write_capacity_unit_size": c.Replica.WriteUnit} {
		if n&(n-1) != 0 {
			return fail("replica."+name, fmt.Sprintf("%d is not a power of two", n), "write a power of two, for example 4096")
		}
	}
	for key, a := range map[string][2]string{"meta.listen": {c.Meta.Listen, c.Meta.Advertise}, "replica.listen": {c.Replica.Listen, c.Replica.Advertise}} {
		if everywhere(a[0]) && a[1] == "" {
			return fail(key, CheckAddr(a[0]).Error(), "write the address that they reach it by into "+strings.Replace(key, "listen", "advertise", 1))
		}
	}
	if d := duplicate(c.Cluster.MetaServers); d != "" {
		return fail("cluster.meta_servers", fmt.Sprintf("%q is listed twice", d), "list each meta server once")
	}
	if d := duplicate(c.Meta.WhiteList); d != "" {
		return fail("meta.white_list", fmt.Sprintf("%q is listed twice", d), "list each replica server once")
	}
	if problem, fix := c.Replica.checkDirs(); problem != "" {
		return fail("replica.data_dirs", problem, fix)
	}
	if _, problem, fix := c.Meta.tables(); problem != "" {
		return fail("meta.default_tables", problem, fix)
	}
	return nil
}

func checkValue(k key, v reflect.Value) (problem, fix string) {
	tag := k.tag
	switch {
	case v.Type() == durationType:
		d := time.Duration(v.Int())
		lo, err := time.ParseDuration(tag.Get("min"))
		if err != nil {
			lo = 1
		}
		if d < lo {
			return fmt.Sprintf("%v is too short", d), "write at least " + orDefault(tag.Get("min"), "1ms") + ", the default is " + k.def
		}
		hi, err := time.ParseDuration(tag.Get("max"))
		if err != nil {
			hi = maxDuration
		}
		if d > hi {
			return fmt.Sprintf("%v is too long", d), "write at most " + orDefault(tag.Get("max"), "8760h") + ", the default is " + k.def
		}
	case v.CanInt():
		lo, _ := strconv.ParseInt(tag.Get("min"), 10, 64)
		if v.Int() < lo {
			return fmt.Sprintf("%d is too small", v.Int()), fmt.Sprintf("write at least %d, the default is %s", lo, k.def)
		}
		hi, err := strconv.ParseInt(tag.Get("max"), 10, 64)
		if err != nil {
			hi = maxNumber
		}
		if v.Int() > hi {
			return fmt.Sprintf("%d is too large", v.Int()), fmt.Sprintf("write at most %d, the default is %s", hi, k.def)
		}
	case v.Kind() == reflect.String:
		return checkText(k, v.String())
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.String:
		if v.Len() == 0 && tag.Get("min") != "" {
			return "the list is empty", "write, for example, " + k.name + " = " + k.def
		}
		for i := range v.Len() {
			if problem, fix = checkText(k, v.Index(i).String()); problem != "" {
				return problem, fix
			}
		}
	}
	return "", ""
}

func checkText(k key, s string) (problem, fix string) {
	if words := strings.Fields(k.tag.Get("oneof")); len(words) > 0 && !slices.Contains(words, s) {
		return fmt.Sprintf("%q is not a valid value", s), "write one of " + strings.Join(words, ", ")
	}
	form := k.tag.Get("form")
	if form == "" || form == "optional" && s == "" {
		return "", ""
	}
	if form == "level" {
		if problem = CheckPackageLevel(s); problem != "" {
			return problem, `write PACKAGE=LEVEL, for example ` + k.name + ` = ["replica/wal=debug"]`
		}
		return "", ""
	}
	err := CheckAddr(s)
	if form == "listen" && everywhere(s) {
		err = nil
	}
	if err != nil {
		sample := k.def
		if form == "optional" {
			sample = `"10.0.0.1:34801"`
		}
		return err.Error(), "write host:port, for example " + k.name + " = " + sample
	}
	return "", ""
}

// logLevels are those of logging.level.
var logLevels = []string{"debug", "info", "warn", "error"}

// CheckPackageLevel says what is wrong with an item of logging.packages, "" if nothing is.
func CheckPackageLevel(s string) (problem string) {
	name, level, ok := strings.Cut(s, "=")
	switch {
	case !ok || name == "" || strings.Trim(name, "/") != name || strings.ContainsAny(name, " ,\"[]"):
		return fmt.Sprintf("%q is not PACKAGE=LEVEL", s)
	case !slices.Contains(logLevels, level):
		return fmt.Sprintf("%q: the level must be one of %s", s, strings.Join(logLevels, ", "))
	}
	return ""
}

// everywhere tells whether an address to listen on is of all addresses of the machine, or one by which the
// protocol can't name the server.
func everywhere(s string) bool {
	a, err := netip.ParseAddrPort(s)
	return err == nil && a.Port() != 0 && (a.Addr() == netip.IPv4Unspecified() || a.Addr().Is6())
}

// Network is that of an address to listen on: IPv6 only where an IPv6 address is written. [::] takes IPv4 connections too.
func Network(listen string) string {
	a, err := netip.ParseAddrPort(listen)
	switch {
	case err != nil || a.Addr().Is4():
		return "tcp4"
	case a.Addr().IsUnspecified():
		return "tcp"
	}
	return "tcp6"
}

// CheckAddr says what is wrong with an address of the form host:port, where host is a
// name or an IPv4 address.
func CheckAddr(s string) error {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return fmt.Errorf("%q is not an address of the form host:port", s)
	}
	if p, err := strconv.ParseUint(port, 10, 16); err != nil || p == 0 {
		return fmt.Errorf("%q: the port must be a number from 1 to 65535", s)
	}
	if host == "" {
		return fmt.Errorf("%q has no host: other servers and clients need it to find the server", s)
	}
	if ip := net.ParseIP(host); ip != nil {
		if ip.To4() == nil {
			return fmt.Errorf("%q: Pegasus' protocol has only IPv4 addresses in its messages: write the server's IPv4 address or a name that has one (a server can listen on IPv6 besides: listen = \"[::]:%s\")", s, port)
		}
		if ip.IsUnspecified() {
			return fmt.Errorf("%q: other servers and clients can't reach the server at %s", s, host)
		}
	}
	return nil
}

// CheckReach is CheckAddr of a meta server that is only connected to: its address may be an IPv6 one, in brackets.
func CheckReach(s string) error {
	if a, err := netip.ParseAddrPort(s); err == nil && a.Addr().Is6() && a.Port() != 0 && !a.Addr().IsUnspecified() {
		return nil
	}
	return CheckAddr(s)
}

// CheckMeta checks what only a meta server needs: that it begins as one of the cluster's meta
// servers, and that its directory is there. One whose directory has been of a quorum (begun) needn't
// be in the list: that it is a member stands in the directory.
func (c *Config) CheckMeta(file string, begun bool) error {
	if err := c.CheckListed(begun); err != nil {
		err.File = file
		return err
	}
	return checkDir(file, "meta.data_dir", c.Meta.DataDir)
}

// CheckListed is the part of CheckMeta about the list.
func (c *Config) CheckListed(begun bool) *Error {
	if begun || c.Meta.Join || slices.Contains(c.Cluster.MetaServers, c.Meta.Known()) {
		return nil
	}
	key := "meta.listen"
	if c.Meta.Advertise != "" {
		key = "meta.advertise"
	}
	return &Error{Key: key, Problem: fmt.Sprintf("%q is not one of cluster.meta_servers %q", c.Meta.Known(), c.Cluster.MetaServers),
		Fix: "add it to cluster.meta_servers on every server; if it is to join a quorum that exists, start it with --join"}
}

// CheckReplica checks what only a replica server needs: that its directories are there.
func (c *Config) CheckReplica(file string) error {
	var seen []os.FileInfo
	for i, d := range c.Replica.DataDirs {
		_, path := SplitDataDir(d, i)
		if err := checkDir(file, "replica.data_dirs", path); err != nil {
			return err
		}
		is, err := os.Stat(path)
		if err != nil {
			continue // who uses it says so
		}
		if slices.ContainsFunc(seen, func(other os.FileInfo) bool { return os.SameFile(is, other) }) {
			return &Error{File: file, Key: "replica.data_dirs", Problem: fmt.Sprintf("%q is listed twice, as it is or by another name", path), Fix: "list each directory once"}
		}
		seen = append(seen, is)
	}
	return nil
}

// checkDir wants a directory to be there: a server that made it itself would start empty
// on the day its disk isn't mounted.
func checkDir(file, key, path string) error {
	e := &Error{File: file, Key: key}
	fi, err := os.Stat(path)
	switch {
	case os.IsNotExist(err):
		e.Problem = fmt.Sprintf("directory %q doesn't exist", path)
		e.Fix = fmt.Sprintf("create it (mkdir -p %s), or mount its disk", path)
	case err != nil:
		e.Problem, e.cause = fmt.Sprintf("directory %q: %s", path, rootCause(err)), err
		e.Fix = "let the user of the server read it"
	case !fi.IsDir():
		e.Problem, e.Fix = fmt.Sprintf("%q is a file", path), "give a directory"
	default:
		f, err := os.CreateTemp(path, ".writable-*")
		if err == nil {
			name := f.Name()
			f.Close()
			os.Remove(name)
			return nil
		}
		e.Problem, e.cause = fmt.Sprintf("directory %q can't be written: %s", path, rootCause(err)), err
		e.Fix = "let the user of the server write there"
	}
	return e
}

func duplicate(list []string) string {
	seen := map[string]bool{}
	for _, s := range list {
		if seen[s] {
			return s
		}
		seen[s] = true
	}
	return ""
}

func orDefault(s, d string) string {
	if s == "" {
		return d
	}
	return s
}
