package backup

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"pegasus/base"
	"pegasus/gen/layer2"
	"pegasus/rocks/remote"
)

// Info is the file backup_info. Upstream's one-shot backups have AppID and AppName, those of policies AppIDs and
// AppNames; we write all that applies. pegasus-spark needs AppNames.
type Info struct {
	ID       int64            `json:"backup_id"`
	Start    int64            `json:"start_time_ms"` // Unix milliseconds
	End      int64            `json:"end_time_ms"`   // likewise; upstream's one-shot backups have 0
	AppIDs   []int32          `json:"app_ids,omitempty"`
	AppNames map[int32]string `json:"app_names,omitempty"`
	AppID    int32            `json:"app_id,omitempty"`   // of the only table
	AppName  string           `json:"app_name,omitempty"` // likewise
	Status   int              `json:"info_status,omitempty"`
}

// infoAlive is the status that upstream's policies write.
const infoAlive = 1

// NewInfo describes a backup of tables, names by id.
func NewInfo(id, start, end int64, tables map[int32]string) Info {
	i := Info{ID: id, Start: start, End: end, AppIDs: slices.Sorted(maps.Keys(tables)), AppNames: tables, Status: infoAlive}
	if len(tables) == 1 {
		i.AppID = i.AppIDs[0]
		i.AppName = tables[i.AppID]
	}
	return i
}

// Tables returns the tables of the backup, names by id.
func (i *Info) Tables() map[int32]string {
	if len(i.AppIDs) == 0 && i.AppID > 0 {
		return map[int32]string{i.AppID: i.AppName}
	}
	m := map[int32]string{}
	for _, id := range i.AppIDs {
		m[id] = i.AppNames[id]
	}
	return m
}

// ParseInfo reads backup_info.
func ParseInfo(b []byte) (Info, error) {
	var i Info
	if err := parse(b, &i); err != nil {
		return Info{}, err
	}
	if i.ID <= 0 || i.Start < 0 || i.End < 0 {
		return Info{}, fmt.Errorf("backup %d from %d to %d", i.ID, i.Start, i.End)
	}
	tables := i.Tables()
	if len(tables) == 0 {
		return Info{}, fmt.Errorf("it names no table")
	}
	for id, name := range tables {
		if err := checkTable(id, name); err != nil {
			return Info{}, err
		}
	}
	return i, nil
}

// parse reads a JSON object, and nothing behind it.
func parse(b []byte, v any) error {
	if err := json.Unmarshal(bytes.TrimRight(b, "\x00\n "), v); err != nil {
		return fmt.Errorf("it is no JSON of its form: %w", err)
	}
	return nil
}

// Status is the file app_backup_status.
type Status struct {
	Bytes int64 `json:"total_checkpoint_size"`
}

// ParseStatus reads app_backup_status.
func ParseStatus(b []byte) (Status, error) {
	var s Status
	err := parse(b, &s)
	if err == nil && s.Bytes < 0 {
		err = fmt.Errorf("total_checkpoint_size is %d", s.Bytes)
	}
	return s, err
}

// File is a file of a partition.
type File = remote.File

// Metadata is the file backup_metadata.
type Metadata struct {
	Decree int64  `json:"checkpoint_decree"`    // the rows are those as of it
	Taken  int64  `json:"checkpoint_timestamp"` // Unix milliseconds
	Files  []File `json:"files"`
	Bytes  int64  `json:"checkpoint_total_size"` // of all files
}

// ParseMetadata reads backup_metadata.
func ParseMetadata(b []byte) (Metadata, error) {
	var m Metadata
	if err := parse(b, &m); err != nil {
		return Metadata{}, err
	}
	if m.Decree < 0 {
		return Metadata{}, fmt.Errorf("checkpoint_decree is %d", m.Decree)
	}
	total, err := checkFiles(m.Files)
	if err != nil {
		return Metadata{}, err
	}
	if total != m.Bytes {
		return Metadata{}, fmt.Errorf("checkpoint_total_size is %d, the files have %d bytes", m.Bytes, total)
	}
	return m, nil
}

// checkFiles checks a list of files, and returns their size.
func checkFiles(files []File) (total int64, err error) {
	if len(files) == 0 {
		return 0, fmt.Errorf("it names no files")
	}
	seen := map[string]bool{}
	for i := range files {
		f := &files[i]
		if err := checkPlain(f.Name); err != nil {
			return 0, fmt.Errorf("file %d: %w", i, err)
		}
		if seen[f.Name] {
			return 0, fmt.Errorf("file %s is there twice", f.Name)
		}
		seen[f.Name] = true
		if f.Size < 0 || total+f.Size < total {
			return 0, fmt.Errorf("file %s has %d bytes", f.Name, f.Size)
		}
		total += f.Size
		f.MD5 = strings.ToLower(f.MD5)
		if sum, err := hex.DecodeString(f.MD5); err != nil || len(sum) != 0 && len(sum) != 16 {
			return 0, fmt.Errorf("file %s has MD5 %q", f.Name, f.MD5)
		}
	}
	return total, nil
}

// ParseCurrent reads current_checkpoint: the name of a directory.
func ParseCurrent(b []byte) (string, error) {
	name := strings.TrimRight(string(b), "\x00\r\n ")
	return name, checkPlain(name)
}

// tableJSON is app_metadata: upstream's app_info in its form of JSON. Older releases lack the last fields.
type tableJSON struct {
	Status             string            `json:"status"`
	AppType            string            `json:"app_type"`
	AppName            string            `json:"app_name"`
	AppID              int32             `json:"app_id"`
	PartitionCount     int32             `json:"partition_count"`
	Envs               map[string]string `json:"envs"`
	IsStateful         flag              `json:"is_stateful"`
	MaxReplicaCount    int32             `json:"max_replica_count"`
	ExpireSecond       int64             `json:"expire_second"`
	CreateSecond       int64             `json:"create_second"`
	DropSecond         int64             `json:"drop_second"`
	Duplicating        flag              `json:"duplicating"`
	InitPartitionCount int32             `json:"init_partition_count"`
	IsBulkLoading      flag              `json:"is_bulk_loading"`
	AtomicIdempotent   flag              `json:"atomic_idempotent"`
}

// flag is a truth value that upstream writes as a number.
type flag bool

func (f flag) MarshalJSON() ([]byte, error) {
	if f {
		return []byte("1"), nil
	}
	return []byte("0"), nil
}

func (f *flag) UnmarshalJSON(b []byte) error {
	switch string(b) {
	case "0", "false":
		*f = false
	case "1", "true":
		*f = true
	default:
		return fmt.Errorf("%.20s is no truth value", b)
	}
	return nil
}

// maxPartitions is more than any table has: what looks at each of them ends.
const maxPartitions = 1 << 20

const statusPrefix = "app_status::"

// ParseTable reads app_metadata.
func ParseTable(b []byte) (layer2.AppInfo, error) {
	j := tableJSON{IsStateful: true, InitPartitionCount: -1}
	if err := parse(b, &j); err != nil {
		return layer2.AppInfo{}, err
	}
	if err := checkTable(j.AppID, j.AppName); err != nil {
		return layer2.AppInfo{}, err
	}
	if j.PartitionCount <= 0 || j.PartitionCount > maxPartitions {
		return layer2.AppInfo{}, fmt.Errorf("partition_count is %d", j.PartitionCount)
	}
	if len(j.AppType) > base.MaxTableName {
		return layer2.AppInfo{}, fmt.Errorf("app_type has %d bytes", len(j.AppType))
	}
	info := layer2.NewAppInfo()
	known := false
	for s := layer2.AS_INVALID; s <= layer2.AS_RECALLING && !known; s++ {
		if statusPrefix+s.String() == j.Status {
			info.Status, known = s, true
		}
	}
	if !known {
		return layer2.AppInfo{}, fmt.Errorf("status is %.40q", j.Status)
	}
	info.AppType, info.AppName, info.AppId, info.PartitionCount = j.AppType, j.AppName, j.AppID, j.PartitionCount
	for _, k := range slices.Sorted(maps.Keys(j.Envs)) {
		info.Envs = append(info.Envs, base.Pair[string, string]{Key: k, Val: j.Envs[k]})
	}
	info.IsStateful, info.MaxReplicaCount = bool(j.IsStateful), j.MaxReplicaCount
	info.ExpireSecond, info.CreateSecond, info.DropSecond = j.ExpireSecond, j.CreateSecond, j.DropSecond
	info.Duplicating, info.InitPartitionCount = base.Some(bool(j.Duplicating)), j.InitPartitionCount
	info.IsBulkLoading, info.AtomicIdempotent = base.Some(bool(j.IsBulkLoading)), base.Some(bool(j.AtomicIdempotent))
	return info, nil
}

// EncodeTable returns app_metadata, in one line.
func EncodeTable(info *layer2.AppInfo) ([]byte, error) {
	j := tableJSON{
		Status: statusPrefix + info.Status.String(), AppType: info.AppType, AppName: info.AppName, AppID: info.AppId,
		PartitionCount: info.PartitionCount, Envs: map[string]string{}, IsStateful: flag(info.IsStateful), MaxReplicaCount: info.MaxReplicaCount,
		ExpireSecond: info.ExpireSecond, CreateSecond: info.CreateSecond, DropSecond: info.DropSecond,
		Duplicating: flag(info.Duplicating.Or(false)), InitPartitionCount: info.InitPartitionCount,
		IsBulkLoading: flag(info.IsBulkLoading.Or(false)), AtomicIdempotent: flag(info.AtomicIdempotent.Or(false)),
	}
	for _, p := range info.Envs {
		j.Envs[p.Key] = p.Val
	}
	return encode(j)
}

// encode is json.Marshal without its escapes for HTML.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}
