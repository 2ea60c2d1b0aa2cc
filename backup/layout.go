package backup

import (
	"fmt"
	"strconv"
	"strings"

	"pegasus/blob"
)

// Names of files.
const (
	infoFile     = "backup_info"
	metaDir      = "meta"
	tableFile    = "app_metadata"
	statusFile   = "app_backup_status"
	currentFile  = "current_checkpoint"
	metadataFile = "backup_metadata"
	manifestFile = "pegasus_manifest.json"
)

// Location is where a backup lies in a store.
type Location struct {
	Path    string // what a request calls backup_path or restore_path; may be empty
	Cluster string // cold_backup_root of the cluster that wrote it
	Policy  string // releases that nobody runs any more had a directory for each policy; else empty
	ID      int64  // start of the backup, Unix milliseconds
}

// Dir returns the directory of the backup.
func (l Location) Dir() string {
	return blob.Join(l.Path, l.Cluster, l.Policy, strconv.FormatInt(l.ID, 10))
}

// Parent returns the directory above that of the backup.
func (l Location) Parent() string { return blob.Join(l.Path, l.Cluster, l.Policy) }

// Check tells whether the parts can be names in a store.
func (l Location) Check() error {
	if l.ID <= 0 {
		return blob.Failf(blob.ErrInvalid, "the id of a backup is %d", l.ID)
	}
	for _, part := range []struct{ what, name string }{{"path", l.Path}, {"cluster name", l.Cluster}, {"policy name", l.Policy}} {
		if part.name == "" {
			continue
		}
		if err := blob.CheckName(strings.Trim(part.name, "/")); err != nil {
			return fmt.Errorf("%s of a backup: %w", part.what, err)
		}
	}
	return nil
}

// InfoFile returns the file that a complete backup has.
func (l Location) InfoFile() string { return blob.Join(l.Dir(), infoFile) }

// Table returns where a table lies.
func (l Location) Table(name string, id int32) Table { return Table{l, name, id} }

func (l Location) String() string { return l.Dir() }

// ParseLocation reads the directory of a backup. Which of its elements are the path, cluster and policy can't be told: the
// one before the id counts as the cluster.
func ParseLocation(dir string) (Location, error) {
	parent, last := cutLast(blob.Join(dir))
	id, ok := parseID(last)
	if !ok {
		return Location{}, blob.Failf(blob.ErrInvalid, "%q doesn't end with the id of a backup", dir)
	}
	l := Location{ID: id}
	l.Path, l.Cluster = cutLast(parent)
	return l, nil
}

// cutLast splits the last element off a name.
func cutLast(name string) (parent, last string) {
	i := strings.LastIndexByte(name, '/')
	if i < 0 {
		return "", name
	}
	return name[:i], name[i+1:]
}

// parseID reads what Location.Dir writes.
func parseID(s string) (int64, bool) {
	id, err := strconv.ParseInt(s, 10, 64)
	return id, err == nil && id > 0 && strconv.FormatInt(id, 10) == s
}

// Table is where a table lies.
type Table struct {
	Location
	Name  string // of the table when it was backed up
	AppID int32
}

// Dir returns the directory of the table.
func (t Table) Dir() string {
	return blob.Join(t.Location.Dir(), fmt.Sprintf("%s_%d", t.Name, t.AppID))
}

func (t Table) String() string { return t.Dir() }

// Check tells whether a table can be in a backup: whether its name can be that of a directory, and leads nowhere else.
func (t Table) Check() error {
	if err := t.Location.Check(); err != nil {
		return err
	}
	if err := checkTable(t.AppID, t.Name); err != nil {
		return blob.Fail(blob.ErrInvalid, err)
	}
	return blob.CheckName(t.Dir())
}

// MetadataFile returns the file that describes the table.
func (t Table) MetadataFile() string { return blob.Join(t.Dir(), metaDir, tableFile) }

// StatusFile returns the file that a complete table has. One-shot backups of upstream lack it.
func (t Table) StatusFile() string { return blob.Join(t.Dir(), metaDir, statusFile) }

// ManifestFile returns our file of the table.
func (t Table) ManifestFile() string { return blob.Join(t.Dir(), metaDir, manifestFile) }

// Partition returns the directory of a partition.
func (t Table) Partition(index int32) string { return blob.Join(t.Dir(), strconv.Itoa(int(index))) }

// parseTable reads the last element of Table.Dir.
func parseTable(l Location, element string) (Table, bool) {
	i := strings.LastIndexByte(element, '_')
	if i <= 0 {
		return Table{}, false
	}
	id, err := strconv.ParseInt(element[i+1:], 10, 32)
	if err != nil || id <= 0 || strconv.FormatInt(id, 10) != element[i+1:] {
		return Table{}, false
	}
	return Table{l, element[:i], int32(id)}, true
}

// CheckpointName returns the name of the directory that a server writes a partition to. Releases up to 2.5 put the address in
// place of the host's name; readers take any.
func CheckpointName(host string, port int) string { return fmt.Sprintf("chkpt_%s_%d", host, port) }

func checkTable(id int32, name string) error {
	if id <= 0 {
		return fmt.Errorf("table %q has id %d", name, id)
	}
	if err := checkPlain(name); err != nil {
		return fmt.Errorf("table %d: %w", id, err)
	}
	return nil
}

// checkPlain refuses the name of a file or directory that leads elsewhere.
func checkPlain(name string) error {
	if strings.ContainsAny(name, "/\\") {
		return fmt.Errorf("%q is no plain name", name)
	}
	return blob.CheckName(name)
}
