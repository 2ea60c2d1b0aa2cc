package cppmeta

import (
	"cmp"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

// State is what the meta servers of a C++ cluster know.
type State struct {
	Root         string // of the cluster's nodes; "" if it wasn't read from nodes
	Level        string // function level; "" if it isn't known, since it is not among the nodes
	Tables       []Table
	Policies     []Policy
	Duplications []Duplication
	Problems     []string // what couldn't be read, and where
	Notes        []string // what the servers don't tell
}

// Table is a table, available or dropped.
type Table struct {
	ID             int32             `json:"app_id"`
	Name           string            `json:"app_name"`
	Type           string            `json:"app_type"`
	Status         string            `json:"status"` // AS_AVAILABLE, AS_DROPPED, ...
	Partitions     int32             `json:"partition_count"`
	Replicas       int32             `json:"max_replica_count"`
	Envs           map[string]string `json:"envs"`
	Created        int64             `json:"create_second"` // Unix time, 0: not known
	Dropped        int64             `json:"drop_second"`
	Expires        int64             `json:"expire_second"`
	InitPartitions int32             `json:"init_partition_count"`
	BulkLoading    Flag              `json:"is_bulk_loading"`
	Configs        []Partition       `json:"-"` // sorted by index; what isn't among the nodes isn't here
}

// Available says that the table is in use.
func (t *Table) Available() bool { return t.Status == "AS_AVAILABLE" }

// Partition is who is in the group of a partition.
type Partition struct {
	Index     int32    `json:"-"`
	Ballot    int64    `json:"ballot"`
	Committed int64    `json:"last_committed_decree"`
	Primary   string   `json:"primary"` // ip:port; "" if there is none
	Members   []string `json:"secondaries"`
}

// Duplication is a table that is sent to another cluster.
type Duplication struct {
	Table       string `json:"-"`
	ID          int64  `json:"-"`
	Remote      string `json:"remote"`
	RemoteTable string `json:"remote_app_name"` // "": the same name
	Status      string `json:"status"`
	FailMode    string `json:"fail_mode"`
}

// Policy is a backup policy.
type Policy struct {
	Name     string                       `json:"policy_name"`
	Provider string                       `json:"backup_provider_type"`
	Apps     []int32                      `json:"app_ids"`
	AppNames map[string]string            `json:"app_names"`
	Interval int64                        `json:"backup_interval_seconds"`
	Keep     int32                        `json:"backup_history_count_to_keep"`
	Disabled Flag                         `json:"is_disable"`
	Start    struct{ Hour, Minute int32 } `json:"start_time"`
}

// Flag is a bool that the C++ server writes as 0 or 1.
type Flag bool

func (f *Flag) UnmarshalJSON(b []byte) error {
	switch string(b) {
	case "1", "true":
		*f = true
	case "0", "false", "null":
		*f = false
	default:
		return fmt.Errorf("%.20q is neither true nor false", b)
	}
	return nil
}

// maxTables bounds what is read; no cluster has as many.
const maxTables = 1 << 20

// Roots returns the paths below which a cluster's nodes are.
func (t *Tree) Roots() []string {
	var out []string
	for p, n := range t.nodes {
		parent, name := up(p)
		v := string(n.value)
		if name == "apps" && parent != "/" && (v == "unlock" || v == "lock") {
			out = append(out, parent)
		}
	}
	slices.Sort(out)
	return out
}

// Read reads the nodes below a cluster's root; "" is the only one that there is.
func Read(t *Tree, root string) (*State, error) {
	if root == "" {
		roots := t.Roots()
		switch len(roots) {
		case 0:
			return nil, fmt.Errorf("there is no node \"apps\" of a cluster")
		case 1:
			root = roots[0]
		default:
			return nil, fmt.Errorf("there are several clusters: give the root of one: %s", strings.Join(roots, ", "))
		}
	}
	root = normal(root)
	apps := path.Join(root, "apps")
	lock, ok := t.Value(apps)
	switch {
	case root == "" || !ok:
		return nil, fmt.Errorf("there is no node %s: give the cluster_root of the meta servers' configuration", apps)
	case string(lock) == "lock":
		return nil, fmt.Errorf("%s is locked: a meta server ended while it wrote all tables; start the C++ cluster once more", apps)
	}
	s := &State{Root: root}
	ids := t.Children(apps)
	if len(ids) > maxTables {
		return nil, fmt.Errorf("%s has %d tables, more than a cluster can have", apps, len(ids))
	}
	for _, name := range ids {
		s.table(t, path.Join(apps, name), name)
	}
	for _, name := range t.Children(path.Join(root, "backup")) {
		at := path.Join(root, "backup", name)
		v, _ := t.Value(at)
		var p Policy
		if err := json.Unmarshal(v, &p); err != nil {
			s.problem("%s is no backup policy: %v", at, err)
			continue
		}
		if p.Name == "" {
			p.Name = name
		}
		s.Policies = append(s.Policies, p)
	}
	s.Sort()
	return s, nil
}

func (s *State) problem(format string, args ...any) {
	s.Problems = append(s.Problems, fmt.Sprintf(format, args...))
}

// Sort orders what there is: tables by id, the others by name.
func (s *State) Sort() {
	slices.SortFunc(s.Tables, func(a, b Table) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(s.Policies, func(a, b Policy) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(s.Duplications, func(a, b Duplication) int {
		if c := strings.Compare(a.Table, b.Table); c != 0 {
			return c
		}
		return cmp.Compare(a.ID, b.ID)
	})
	slices.Sort(s.Problems)
}

// table reads a table, its partitions and its duplications.
func (s *State) table(t *Tree, at, name string) {
	v, _ := t.Value(at)
	var a Table
	id, err := strconv.ParseInt(name, 10, 32)
	if err == nil {
		err = json.Unmarshal(v, &a)
	}
	switch {
	case err != nil:
		s.problem("%s is no table: %v", at, err)
		return
	case int64(a.ID) != id:
		s.problem("%s is a table that calls itself number %d", at, a.ID)
		return
	case a.Name == "" || a.Partitions <= 0 || a.Replicas <= 0:
		s.problem("%s is no table: name %q, %d partitions, %d replicas", at, a.Name, a.Partitions, a.Replicas)
		return
	}
	a.Status = token(a.Status)
	if a.Status != "AS_AVAILABLE" && a.Status != "AS_DROPPED" {
		s.problem("%s: table %q is in state %q", at, a.Name, a.Status)
	}
	for _, child := range t.Children(at) {
		below := path.Join(at, child)
		if child == "duplication" {
			s.duplications(t, below, a.Name)
			continue
		}
		v, _ := t.Value(below)
		p, err := partition(child, v)
		switch {
		case err != nil:
			s.problem("%s is no partition: %v", below, err)
		case p.Index >= a.Partitions:
			s.problem("%s is a partition that the table doesn't have: it has %d", below, a.Partitions)
		default:
			a.Configs = append(a.Configs, p)
		}
	}
	slices.SortFunc(a.Configs, func(x, y Partition) int { return cmp.Compare(x.Index, y.Index) })
	if n := int(a.Partitions) - len(a.Configs); n > 0 {
		s.problem("%s: table %q has %d partitions, and nothing is known of %d of them", at, a.Name, a.Partitions, n)
	}
	s.Tables = append(s.Tables, a)
}

func partition(name string, v []byte) (p Partition, err error) {
	i, err := strconv.ParseInt(name, 10, 32)
	if err == nil && i < 0 {
		err = fmt.Errorf("its number is %d", i)
	}
	if err == nil {
		err = json.Unmarshal(v, &p)
	}
	p.Index = int32(i)
	if strings.HasPrefix(p.Primary, "invalid") {
		p.Primary = ""
	}
	return p, err
}

func (s *State) duplications(t *Tree, at, table string) {
	for _, name := range t.Children(at) {
		v, _ := t.Value(path.Join(at, name))
		d := Duplication{Table: table}
		id, err := strconv.ParseInt(name, 10, 64)
		if err == nil {
			err = json.Unmarshal(v, &d)
		}
		if err != nil {
			s.problem("%s is no duplication: %v", path.Join(at, name), err)
			continue
		}
		d.ID, d.Status, d.FailMode = id, token(d.Status), token(d.FailMode)
		s.Duplications = append(s.Duplications, d)
	}
}

// token is the word of an enum, without its type.
func token(s string) string { return s[strings.LastIndexByte(s, ':')+1:] }
