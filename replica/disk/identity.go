package disk

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pegasus/base/version"
)

// Ident is what the file of a data directory says of it.
type Ident struct {
	// Format is the version of the cluster when the server last heard of it: what is in the
	// directory may be of it, and a program that doesn't understand it leaves it alone.
	Format  version.Version `json:"format"`
	Cluster string          `json:"cluster"`
	// ID is the identity of the cluster, "" as long as it isn't known.
	ID string `json:"cluster_id,omitempty"`
	// Node is the address that the replicas here are members under.
	Node string `json:"node"`
	// Name is the server's host name and port, if it is known by a name, and Server the random id of the server's data.
	// Programs of before cluster version 7 know neither.
	Name   string `json:"name,omitempty"`
	Server string `json:"server_id,omitempty"`
	// Dir is the random id of the directory, "" if the program that made it knew of none.
	Dir string `json:"dir_id,omitempty"`
	// Dirs are the ids of all data directories of the server by tag, so that one that is missing
	// is missed. Of two that say it differently the one with the higher Change is right.
	Dirs   map[string]string `json:"dirs,omitempty"`
	Change int64             `json:"dirs_change,omitempty"`
	// Added are the paths, by tag, of those that were added while the server ran, as long as
	// the configuration doesn't list them.
	Added map[string]string `json:"dirs_added,omitempty"`
}

func (id Ident) equal(o Ident) bool {
	return id.Format == o.Format && id.Cluster == o.Cluster && id.ID == o.ID && id.Node == o.Node && id.Name == o.Name && id.Server == o.Server && id.Dir == o.Dir && id.Change == o.Change && maps.Equal(id.Dirs, o.Dirs) && maps.Equal(id.Added, o.Added)
}

// IdentName is the file of a data directory that holds its Ident.
func IdentName(path string) string { return filepath.Join(path, "pegasus.json") }

// identity is whose the data directories of a server are: what they are compared with, and what
// they say.
type identity struct {
	files sync.Mutex // whoever changes files of the directories
	mu    sync.Mutex
	// is is what a directory says that is made now, but for its own id. Its ID is "" if there is
	// none, or if a directory with replicas doesn't say it. The maps aren't changed, but replaced.
	is Ident
	// made is the same while directories are made at the start, but of those that the others remember: a file of one that
	// is made must not say that there is another one before it is there. nil: is.
	made *Ident
	// said is what a directory says, and saidBy is which one; lacks is one that has replicas and says nothing.
	said, saidBy, lacks string
}

func newIdentity(cluster, node, name string) *identity {
	return &identity{is: Ident{Format: version.First, Cluster: cluster, Node: node, Name: name}}
}

// ident is what a data directory says.
func (i *identity) ident() Ident {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.is
}

// found takes what a data directory says, which holds replicas or not.
func (i *identity) found(path string, id Ident, holds bool) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case id.ID != "" && i.said != "" && id.ID != i.said:
		return fmt.Errorf("data directory %s belongs to the cluster with the id %s, and %s to the one with the id %s: they are of two clusters; correct replica.data_dirs", path, id.ID, i.saidBy, i.said)
	case id.ID != "":
		i.said, i.saidBy = id.ID, path
	case holds && i.is.ID != "":
		return fmt.Errorf("data directory %s has replicas and doesn't say of which cluster; this server is of the one with the id %s: start the server again, to have it compared with what the meta servers know", path, i.is.ID)
	case holds:
		i.lacks = path
	}
	i.is.Format = max(i.is.Format, id.Format)
	return nil
}

// begin is called when all data directories were looked at.
func (i *identity) begin() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.lacks == "" {
		i.is.ID = i.said
	}
	i.made = nil
}

// ours tells whether the file is of this server, and one that this program reads.
func (i *identity) ours(id Ident) bool {
	is := i.ident()
	return version.Understood(id.Format) == nil && id.Cluster == is.Cluster && is.sameServer(id) && (is.Server == "" || id.Server == "" || is.Server == id.Server)
}

// sameServer tells whether what o says is of the server that id says: by its address, or by its name
// if the metas know servers by names.
func (id Ident) sameServer(o Ident) bool {
	return id.Node == o.Node || id.Name != "" && id.Name == o.Name && o.Format.Allows(version.NamedServers)
}

// look reads what the places of the data directories say, before anything is made there. It returns
// the tags of those that are not the directory that is missed there, and the tags by which those
// were known that are at another's place. Those from the place number configured on were added.
func (i *identity) look(places []Place, configured int) (away map[string]bool, moved map[string]string) {
	var found []finding
	var known Ident
	server := ""
	for _, p := range places {
		var id Ident
		switch err := ReadJSON(IdentName(p.Path), &id); {
		case errors.Is(err, fs.ErrNotExist):
			found = append(found, finding{Place: p})
		case err == nil && i.ours(id):
			found = append(found, finding{p, true, id.Dir})
			server = cmp.Or(server, id.Server)
			if id.Change > known.Change {
				known = id
			}
		default: // prepare says what is wrong with it
			found = append(found, finding{Place: p, file: true})
		}
	}
	ids, away, moved := match(found, known.Dirs)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.is.Server = cmp.Or(known.Server, server, i.is.Server)
	if i.is.Server == "" {
		i.is.Server = newDirID()
	}
	i.is.Dirs, i.is.Change, i.is.Added = ids, known.Change, map[string]string{}
	for _, p := range places[configured:] {
		i.is.Added[p.Tag] = p.Path
	}
	if !maps.Equal(ids, known.Dirs) || !maps.Equal(i.is.Added, known.Added) {
		i.is.Change++
	}
	i.made = &known
	return away, moved
}

// missing is why the directory at p isn't the one that it is to be, nil if it is.
func (i *identity) missing(p Place) error {
	is, err := i.read(p)
	if err != nil {
		return err
	}
	ours := i.ident()
	if want := ours.Dirs[p.Tag]; is != want {
		return awayError(p, ours.Node, want, is, i.known(p.Tag, is))
	}
	return nil
}

// read returns the id of what is at p, "" if there is nothing. What has none has the one that it is
// to have.
func (i *identity) read(p Place) (string, error) {
	var id Ident
	switch err := ReadJSON(IdentName(p.Path), &id); {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("data directory %s: which one it is can't be read: %w", p.Path, err)
	case id.Dir == "" && i.ours(id):
		return i.ident().Dirs[p.Tag], nil
	case id.Dir == "":
		return fmt.Sprintf("of cluster %q and server %s", id.Cluster, id.Node), nil
	}
	return id.Dir, nil
}

// known is the other tag whose directory has that id, "" if there is none.
func (i *identity) known(but, id string) string {
	for tag, of := range i.ident().Dirs {
		if of == id && tag != but {
			return tag
		}
	}
	return ""
}

// accept takes what is at p for the directory of that tag: an administrator says so. If it is
// empty it is made.
func (i *identity) accept(p Place) error {
	is, err := i.read(p)
	if err != nil {
		return err
	}
	was := i.ident()
	if is == was.Dirs[p.Tag] {
		return i.prepare(p)
	}
	if by := i.known(p.Tag, is); by != "" {
		return awayError(p, was.Node, was.Dirs[p.Tag], is, by)
	}
	if is == "" {
		is = newDirID()
	}
	now := maps.Clone(was.Dirs)
	now[p.Tag] = is
	set := func(dirs map[string]string, change int64) {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.is.Dirs, i.is.Change = dirs, change
	}
	set(now, was.Change+1)
	if err := i.prepare(p); err != nil {
		set(was.Dirs, was.Change)
		return err
	}
	return nil
}

// prepare makes what a data directory consists of, and checks that it is of this server.
func (i *identity) prepare(p Place) error {
	path := p.Path
	for _, d := range []string{"", "wal", "reps", "tmp"} {
		if err := vfs.Default.MkdirAll(filepath.Join(path, d), 0o755); err != nil {
			return fmt.Errorf("data directory %s: %w", path, err)
		}
	}
	names, err := vfs.Default.List(filepath.Join(path, "reps"))
	if err != nil {
		return fmt.Errorf("data directory %s: %w", path, err)
	}
	holds := slices.ContainsFunc(names, func(n string) bool { return strings.HasSuffix(n, ReplicaSuffix) })
	ours := i.ident()
	var id Ident
	name := IdentName(path)
	switch err := ReadJSON(name, &id); {
	case errors.Is(err, fs.ErrNotExist):
		id = i.fresh()
		id.Dir = ours.Dirs[p.Tag]
		if holds {
			id.ID = "" // whose they are is to be found out
		}
		if err := WriteJSON(name, &id); err != nil {
			return fmt.Errorf("data directory %s: %w", path, err)
		}
	case err != nil:
		return fmt.Errorf("data directory %s: whose it is can't be read: %w: if the file is damaged, move it away and start the server; what is there is compared with what the meta servers know", path, err)
	case version.Understood(id.Format) != nil:
		return fmt.Errorf("data directory %s: %w", path, version.Understood(id.Format))
	case id.Cluster != ours.Cluster:
		return fmt.Errorf("data directory %s belongs to cluster %q, this server to %q: change replica.data_dirs or cluster.name", path, id.Cluster, ours.Cluster)
	case id.Name != "" && id.Name == ours.Name && !ours.sameServer(id):
		return fmt.Errorf("data directory %s belongs to the server %s, whose address was %s and is %s: the cluster lets servers move from cluster version %d on (`pegasus meta upgrade-version`); until then give it the address back", path, id.Name, id.Node, ours.Node, version.NamedServers.Since())
	case !ours.sameServer(id):
		return fmt.Errorf("data directory %s belongs to the server known as %s, this one is %s: change replica.data_dirs or replica.listen", path, cmp.Or(id.Name, id.Node), cmp.Or(ours.Name, ours.Node))
	case id.Server != "" && id.Server != ours.Server:
		return fmt.Errorf("data directory %s has the data of another server, %s with the id %s, than the directories before it, with the id %s: correct replica.data_dirs", path, cmp.Or(id.Name, id.Node), id.Server, ours.Server)
	}
	return i.found(path, id, holds)
}

// fresh is what the file of a directory says that is made now, but for its own id.
func (i *identity) fresh() Ident {
	i.mu.Lock()
	defer i.mu.Unlock()
	id := i.is
	if i.made != nil {
		id.Dirs, id.Added, id.Change = i.made.Dirs, i.made.Added, i.made.Change
	}
	return id
}

// settle writes into the data directories that work what they are to say.
func (i *identity) settle(dirs ...*Dir) error {
	i.files.Lock()
	defer i.files.Unlock()
	return settle(i.ident(), dirs...)
}

// settle writes into the data directories that work what they don't say yet. What one says of
// its cluster stays, also while another one lacks it.
func settle(want Ident, dirs ...*Dir) error {
	var err error
	for _, d := range dirs {
		if l := d.Log(); l == nil || l.Failed() != nil {
			continue // when it is opened again
		}
		var is Ident
		want := want
		want.Dir = want.Dirs[d.Tag]
		if e := ReadJSON(IdentName(d.Path), &is); e != nil {
			err = errors.Join(err, e)
			continue
		}
		if want.ID == "" {
			want.ID = is.ID
		}
		if is.ID != "" && is.ID != want.ID {
			err = errors.Join(err, fmt.Errorf("data directory %s belongs to the cluster with the id %s, and this server to %q: correct replica.data_dirs", d.Path, is.ID, want.ID))
		} else if !is.equal(want) {
			err = errors.Join(err, WriteJSON(IdentName(d.Path), &want))
		}
	}
	if err != nil {
		return fmt.Errorf("write of which cluster the data directories are: %w", err)
	}
	return nil
}

// Cluster returns the id of the cluster that the data is of, "" if there is none or if it isn't
// sure, and the version up to which the cluster was raised.
func (s *Set) Cluster() (id string, v version.Version) {
	is := s.identity.ident()
	return is.ID, is.Format
}

// ServerID returns the id of a server's data that its directories say, a new one if none says any.
func ServerID(dirs []Place) string {
	for _, p := range dirs {
		var id Ident
		if err := ReadJSON(IdentName(p.Path), &id); err == nil && id.Server != "" {
			return id.Server
		}
	}
	return newDirID()
}

// ServerID is the random id of the server's data.
func (s *Set) ServerID() string { return s.identity.ident().Server }

// Said tells what a data directory says of its cluster, "" if none says anything; which one that
// is; and one that has replicas and says nothing.
func (s *Set) Said() (id, by, lacks string) {
	i := s.identity
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.said, i.saidBy, i.lacks
}

// Keep makes what Cluster returns durable in all directories that work. When it fails Cluster
// returns what it returned before.
func (s *Set) Keep(id string, v version.Version) error {
	i := s.identity
	i.files.Lock()
	defer i.files.Unlock()
	want := i.ident()
	want.Format, want.ID = v, id
	if err := settle(want, s.All()...); err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.is.Format, i.is.ID = want.Format, id
	i.said, i.saidBy, i.lacks = id, s.All()[0].Path, ""
	return nil
}
