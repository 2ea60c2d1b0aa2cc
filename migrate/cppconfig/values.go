package cppconfig

import (
	"errors"
	"fmt"
	"net"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"pegasus/base/config"
)

// value is one key of ours with its value in TOML.
type value struct {
	path string // section.name
	toml string
	list bool // toml is one entry of a list, to which several keys add
}

// how makes our values of a key. Without values and errors the key is needless, for the reason that is told.
type how func(in *input, k Key, to string) (out []value, why string, err error)

// errOpen: what is missing has to be filled in by a person.
type errOpen string

func (e errOpen) Error() string { return string(e) }

// input is what else is configured.
type input struct {
	keys map[[2]string]string
	host string // of this server
}

func (in *input) get(section, name string) string { return in.keys[[2]string{section, name}] }

// one is a single value for the key of the rule.
func one(to, toml string) ([]value, string, error) { return []value{{path: to, toml: toml}}, "", nil }

func quoteList(list []string) string {
	var q []string
	for _, s := range list {
		q = append(q, config.Quote(s))
	}
	return "[" + strings.Join(q, ", ") + "]"
}

func split(s string) []string {
	var out []string
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

// whole reads a number as the C++ server does: 0x and a leading 0 count.
func whole(v string) (int64, error) {
	n, err := strconv.ParseInt(v, 0, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is no whole number", v)
	}
	return n, nil
}

func text(_ *input, k Key, to string) ([]value, string, error) {
	if k.Value == "" {
		return nil, "it is empty", nil
	}
	return one(to, config.Quote(k.Value))
}

func boolean(_ *input, k Key, to string) ([]value, string, error) {
	switch v := strings.ToLower(k.Value); v {
	case "true", "false":
		return one(to, v)
	}
	return nil, "", fmt.Errorf("%q is neither true nor false", k.Value)
}

func number(_ *input, k Key, to string) ([]value, string, error) {
	n, err := whole(k.Value)
	if err != nil {
		return nil, "", err
	}
	return one(to, strconv.FormatInt(n, 10))
}

// mebibytes is a number of MiB that is one of bytes here.
func mebibytes(_ *input, k Key, to string) ([]value, string, error) {
	n, err := whole(k.Value)
	if err == nil && (n < 0 || n > 1<<30) {
		err = fmt.Errorf("%d MiB is no size", n)
	}
	if err != nil {
		return nil, "", err
	}
	return one(to, strconv.FormatInt(n<<20, 10))
}

func copyRate(in *input, k Key, to string) ([]value, string, error) {
	if k.Value == "0" {
		return nil, "no limit there; here copies have one, and are slowed down while they slow requests down", nil
	}
	return mebibytes(in, k, to)
}

func duration(unit time.Duration) how {
	return func(_ *input, k Key, to string) ([]value, string, error) {
		n, err := whole(k.Value)
		if err == nil && (n < 0 || n > int64(1<<62/unit)) {
			err = fmt.Errorf("%d is no duration", n)
		}
		if err != nil {
			return nil, "", err
		}
		return one(to, config.Quote((time.Duration(n) * unit).String()))
	}
}

var (
	seconds = duration(time.Second)
	millis  = duration(time.Millisecond)
	nanos   = duration(time.Nanosecond)
)

func iterationTime(in *input, k Key, to string) ([]value, string, error) {
	if k.Value == "0" {
		return one(to, `"1h0m0s"`)
	}
	return millis(in, k, to)
}

func multiGetSize(in *input, k Key, to string) ([]value, string, error) {
	if k.Value == "0" {
		return one(to, "2147483647")
	}
	return number(in, k, to)
}

func memtables(in *input, k Key, to string) ([]value, string, error) {
	if !strings.EqualFold(in.get("pegasus.server", "rocksdb_enable_write_buffer_manager"), "true") {
		return nil, "rocksdb_enable_write_buffer_manager isn't true", nil
	}
	return number(in, k, to)
}

func logLevel(_ *input, k Key, to string) ([]value, string, error) {
	level, ok := map[string]string{"LOG_LEVEL_DEBUG": "debug", "LOG_LEVEL_INFO": "info", "LOG_LEVEL_WARNING": "warn", "LOG_LEVEL_ERROR": "error", "LOG_LEVEL_FATAL": "error",
		"LOG_LEVEL_INFORMATION": "info"}[strings.ToUpper(k.Value)]
	if !ok {
		return nil, "", fmt.Errorf("%q is no level", k.Value)
	}
	return one(to, config.Quote(level))
}

// checked returns the addresses of a list, each of which has to be host:port.
func checked(list []string) ([]string, error) {
	for _, a := range list {
		if err := config.CheckAddr(a); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func addresses(_ *input, k Key, to string) ([]value, string, error) {
	list, err := checked(split(k.Value))
	if err != nil {
		return nil, "", err
	}
	if len(list) == 0 {
		return nil, "it is empty", nil
	}
	return one(to, quoteList(list))
}

func whiteList(in *input, k Key, to string) ([]value, string, error) {
	if !strings.EqualFold(in.get("meta_server", "enable_white_list"), "true") {
		return nil, "enable_white_list isn't true", nil
	}
	return addresses(in, k, to)
}

func directories(_ *input, k Key, to string) ([]value, string, error) {
	list := split(k.Value)
	if len(list) == 0 {
		return nil, "it is empty: the C++ server uses data_dir of [core]; ours, replica.data_dirs", nil
	}
	return one(to, quoteList(list))
}

var goodName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

func checkName(name string) error {
	if !goodName.MatchString(name) {
		return fmt.Errorf("%q is no valid name of a section here, which has 1 to 64 characters of a-z A-Z 0-9 _ -", name)
	}
	return nil
}

// own is this cluster's name as the other clusters know it.
func (in *input) own() string {
	if n := in.get("replication", "dup_cluster_name"); n != "" {
		return n
	}
	return in.get("replication", "cluster_name")
}

// named says whether this cluster's name is known, by which its own entry in a list of clusters is told from others'.
func (in *input) named() error {
	if placeholder.MatchString(in.own()) {
		return errOpen("this cluster's name is to be filled in: it tells which entry is its own")
	}
	return nil
}

func clusterID(in *input, k Key, _ string) ([]value, string, error) {
	if err := in.named(); err != nil {
		return nil, "", err
	}
	n, err := whole(k.Value)
	if err == nil && (n < 1 || n > 127) {
		err = fmt.Errorf("%d is no number of a cluster, 1 to 127", n)
	}
	if err == nil && k.Name != in.own() {
		err = checkName(k.Name)
	}
	if err != nil {
		return nil, "", err
	}
	if k.Name == in.own() {
		return one("cluster.id", strconv.FormatInt(n, 10))
	}
	return one("clusters."+k.Name+".id", strconv.FormatInt(n, 10))
}

func clusterMetas(in *input, k Key, _ string) ([]value, string, error) {
	if err := in.named(); err != nil {
		return nil, "", err
	}
	list, err := checked(split(k.Value))
	if err != nil {
		return nil, "", err
	}
	switch {
	case len(list) == 0:
		return nil, "it is empty", nil
	case k.Name == in.own() || k.Name == in.get("replication", "cluster_name"):
		if in.get("meta_server", "server_list") != "" {
			return nil, "it is this cluster, whose metas are in server_list of [meta_server]", nil
		}
		return one("cluster.meta_servers", quoteList(list))
	}
	if err := checkName(k.Name); err != nil {
		return nil, "", err
	}
	return one("clusters."+k.Name+".meta_servers", quoteList(list))
}

func dupName(in *input, k Key, _ string) ([]value, string, error) {
	switch {
	case k.Value == "":
		return nil, "it is empty: cluster_name is meant", nil
	case in.get("duplication-group", k.Value) == "":
		return nil, "[duplication-group] has no such name", nil
	}
	return nil, "the number of that name in [duplication-group] is cluster.id", nil
}

func defaultTable(in *input, k Key, to string) ([]value, string, error) {
	partitions, replicas := in.get(k.Section, "partition_count"), in.get(k.Section, "max_replica_count")
	if partitions == "" {
		partitions = "1"
	}
	if replicas == "" {
		replicas = "3"
	}
	switch {
	case k.Value == "":
		return nil, "it is empty: the C++ server leaves such a table out", nil
	case placeholder.MatchString(partitions + replicas):
		return nil, "", errOpen("its section has values that are to be filled in")
	}
	entry := config.Quote(k.Value + ":" + partitions + ":" + replicas)
	c := config.Default()
	c.Meta.MaxReplicaCount = 100
	if err := c.Set(to, "["+entry+"]"); err != nil {
		return nil, "", problem(err)
	}
	return []value{{path: to, toml: entry, list: true}}, "", nil
}

// problem is what is wrong with a value, without the key.
func problem(err error) error {
	var e *config.Error
	if errors.As(err, &e) {
		return errors.New(e.Problem)
	}
	return err
}

func listen(in *input, k Key, _ string) ([]value, string, error) {
	role := strings.TrimPrefix(k.Section, "apps.")
	if role != "meta" && role != "replica" {
		return nil, "no such server is there: " + noMimic, nil
	}
	ports := split(k.Value)
	switch {
	case len(ports) == 0:
		return nil, "it is empty", nil
	case len(ports) > 1:
		return nil, "", errors.New("a server here has one port")
	case in.host == "":
		return nil, "", errOpen(fmt.Sprintf("give --host ADDRESS, or start this server with --listen ADDRESS:%s", ports[0]))
	}
	addr := net.JoinHostPort(in.host, ports[0])
	if err := config.CheckAddr(addr); err != nil {
		return nil, "", err
	}
	return one(role+".listen", config.Quote(addr))
}

func host(in *input, k Key, _ string) ([]value, string, error) {
	switch {
	case k.Value == "":
		return nil, "it is empty", nil
	case k.Value != in.host:
		return nil, "another address was given", nil
	}
	return nil, "is the host of meta.listen and replica.listen", nil
}

// place reads a section [block_service.NAME].
func (in *input) place(section string) ([]value, error) {
	name := strings.TrimPrefix(section, "block_service.")
	kind, args := in.get(section, "type"), in.get(section, "args")
	to := "blob." + name + "."
	fields := strings.Fields(strings.ReplaceAll(args, ",", " "))
	switch {
	case placeholder.MatchString(args + kind):
		return nil, errOpen("args and type of the section are to be filled in")
	case checkName(name) != nil:
		return nil, checkName(name)
	case kind == "local_service":
		if len(fields) == 0 || !path.IsAbs(fields[0]) {
			return nil, fmt.Errorf("%q is no absolute path: write [blob.%s] by hand, with a directory that all servers share", args, name)
		}
		return []value{{path: to + "type", toml: `"local"`}, {path: to + "path", toml: config.Quote(fields[0])}}, nil
	case kind == "hdfs_service":
		out := []value{{path: to + "type", toml: `"hdfs"`}}
		if len(fields) > 0 {
			node := strings.TrimSuffix(strings.TrimPrefix(fields[0], "hdfs://"), "/")
			if config.CheckAddr(node) == nil {
				out = append(out, value{path: to + "hdfs_name_nodes", toml: quoteList([]string{node})})
			} // else it names a service, which Hadoop's own configuration knows
		}
		if len(fields) > 1 {
			if !path.IsAbs(fields[1]) {
				return nil, fmt.Errorf("%q is no absolute path", fields[1])
			}
			out = append(out, value{path: to + "path", toml: config.Quote(fields[1])})
		}
		return out, nil
	}
	return nil, fmt.Errorf("places of type %q are not supported: write [blob.%s] by hand, for a directory, S3 or HDFS", kind, name)
}

func blobPlace(in *input, k Key, _ string) ([]value, string, error) {
	out, err := in.place(k.Section)
	if err != nil {
		return nil, "", err
	}
	return out, "", nil
}

func blobType(in *input, k Key, _ string) ([]value, string, error) {
	out, err := in.place(k.Section)
	if err != nil {
		return nil, "", err
	}
	return out[:1], "", nil
}

func blobRate(in *input, k Key, to string) ([]value, string, error) {
	var out []value
	for at := range in.keys {
		section := at[0]
		if at[1] != "type" || !strings.HasPrefix(section, "block_service.") || in.keys[at] != "hdfs_service" {
			continue
		}
		if _, err := in.place(section); err != nil {
			continue
		}
		v, _, err := mebibytes(in, k, strings.Replace(to, "NAME", strings.TrimPrefix(section, "block_service."), 1))
		if err != nil {
			return nil, "", err
		}
		out = append(out, v...)
	}
	if len(out) == 0 {
		return nil, "no store with HDFS is taken over", nil
	}
	return out, "", nil
}

// printable makes one line of text that may stand in a comment.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return ' '
		}
		return r
	}, s)
	return strings.TrimSpace(s)
}
