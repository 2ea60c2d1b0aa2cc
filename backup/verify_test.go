package backup

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pegasus/base/config"
	"pegasus/blob"
	"pegasus/blob/local"
	"pegasus/gen/layer2"
	"pegasus/internal/repo"
)

// tree is a backup of ours in a directory, for damage.
type tree struct {
	t    *testing.T
	root string // of the store
	s    *blob.Store
}

func (d tree) path(elements ...string) string {
	return filepath.Join(append([]string{d.root, ourTable.Location.Dir()}, elements...)...)
}

func (d tree) chkpt(elements ...string) string {
	return d.path(append([]string{"a_table_7", "1", "chkpt_host.example_34801"}, elements...)...)
}

func (d tree) read(path string) []byte {
	d.t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		d.t.Fatal(err)
	}
	return b
}

// write changes a file as a damaged disk does: what lies beside it stays.
func (d tree) write(path string, b []byte) {
	d.t.Helper()
	if err := os.WriteFile(path, b, 0o644); err != nil {
		d.t.Fatal(err)
	}
}

// store changes a file, and what lies beside it.
func (d tree) store(path string, b []byte) {
	d.t.Helper()
	d.write(path, b)
	sum := md5.Sum(b)
	d.write(filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".meta"), fmt.Appendf(nil, `{"md5":"%x","size":%d}`, sum, len(b)))
}

// list changes an entry of backup_metadata and our manifest to what a file is.
func (d tree) list(name string) {
	d.t.Helper()
	b := d.read(d.chkpt(name))
	sum := md5.Sum(b)
	for _, doc := range []string{metadataFile, manifestFile} {
		var m map[string]any
		if err := json.Unmarshal(d.read(d.chkpt(doc)), &m); err != nil {
			d.t.Fatal(err)
		}
		total := 0.0
		for _, f := range m["files"].([]any) {
			f := f.(map[string]any)
			if f["name"] == name {
				f["size"], f["md5"] = float64(len(b)), hex.EncodeToString(sum[:])
			}
			total += f["size"].(float64)
		}
		if doc == metadataFile {
			m["checkpoint_total_size"] = total
		}
		out, err := json.Marshal(m)
		if err != nil {
			d.t.Fatal(err)
		}
		d.store(d.chkpt(doc), out)
	}
}

func (d tree) replace(path, old, new string) {
	d.t.Helper()
	b := d.read(path)
	if !bytes.Contains(b, []byte(old)) {
		d.t.Fatalf("%s has no %q: %s", path, old, b)
	}
	d.store(path, bytes.Replace(b, []byte(old), []byte(new), 1))
}

func (d tree) remove(path string) {
	d.t.Helper()
	if err := os.Remove(path); err != nil {
		d.t.Fatal(err)
	}
	os.Remove(filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".meta"))
}

func (d tree) flip(path string, at int) {
	d.t.Helper()
	b := d.read(path)
	if at < 0 {
		at += len(b)
	}
	b[at] ^= 0x10
	d.write(path, b)
}

func (d tree) verify() (Report, error) {
	ctx := context.Background()
	f, _, err := Find(ctx, d.s, "some")
	if err != nil {
		return Report{}, err
	}
	return Verify(ctx, d.s, f, VerifyOptions{Now: Clock(taken)})
}

const sst = "000003.sst"

// TestDamage: whatever is wrong with a backup is found, named, and told from a place that fails.
func TestDamage(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(d tree)
		kind error
		want []string // the problems: a file, a space, a part of the message
	}{
		{"nothing", func(tree) {}, nil, nil},
		{"a table is truncated", func(d tree) { d.write(d.chkpt(sst), d.read(d.chkpt(sst))[:5000]) }, ErrDamaged,
			[]string{"a_table_7/1/chkpt_host.example_34801/000003.sst 5000 bytes"}},
		{"a truncated table was stored", func(d tree) { d.store(d.chkpt(sst), d.read(d.chkpt(sst))[:5000]) }, ErrDamaged,
			[]string{"000003.sst it has 5000 bytes, backup_metadata says"}},
		{"a truncated table is listed", func(d tree) { d.store(d.chkpt(sst), d.read(d.chkpt(sst))[:5000]); d.list(sst) }, ErrDamaged,
			[]string{"000003.sst it has 5000 bytes, MANIFEST-000001 says"}},
		{"another table was stored", func(d tree) { d.store(d.chkpt(sst), bytes.Repeat([]byte{7}, len(d.read(d.chkpt(sst))))) }, ErrDamaged,
			[]string{"000003.sst it was stored with MD5"}},
		{"a block is flipped", func(d tree) { d.flip(d.chkpt(sst), 9000) }, ErrDamaged, []string{"000003.sst damaged at offset"}},
		{"a footer is flipped", func(d tree) { d.flip(d.chkpt(sst), -3) }, ErrDamaged, []string{"000003.sst footer"}},
		{"two tables are flipped", func(d tree) { d.flip(d.chkpt(sst), 9000); d.flip(d.chkpt("000004.sst"), 100) }, ErrDamaged,
			[]string{"000003.sst damaged at offset", "000004.sst MD5"}},
		{"OPTIONS is flipped", func(d tree) { d.flip(d.chkpt("OPTIONS-000002"), 20) }, ErrDamaged, []string{"OPTIONS-000002 MD5"}},
		{"MANIFEST is flipped", func(d tree) { d.flip(d.chkpt("MANIFEST-000001"), 20) }, ErrDamaged, []string{"MANIFEST-000001 damaged"}},
		{"a table has gone", func(d tree) { d.remove(d.chkpt(sst)) }, ErrDamaged, []string{"000003.sst not found"}},
		{"MANIFEST names a table that backup_metadata lacks", func(d tree) {
			for _, doc := range []string{metadataFile, manifestFile} {
				var m map[string]any
				if err := json.Unmarshal(d.read(d.chkpt(doc)), &m); err != nil {
					t.Fatal(err)
				}
				var files []any
				total := 0.0
				for _, f := range m["files"].([]any) {
					if f := f.(map[string]any); f["name"] != sst {
						files = append(files, f)
						total += f["size"].(float64)
					}
				}
				m["files"] = files
				if doc == metadataFile {
					m["checkpoint_total_size"] = total
				}
				b, err := json.Marshal(m)
				if err != nil {
					t.Fatal(err)
				}
				d.store(d.chkpt(doc), b)
			}
		}, ErrDamaged, []string{"000003.sst MANIFEST-000001 names it"}},
		{"the manifest has other files", func(d tree) { d.replace(d.chkpt(metadataFile), "CURRENT", "CURREN2") }, ErrDamaged,
			[]string{"pegasus_manifest.json other files than backup_metadata", "CURREN2 not found"}},
		{"a table of an unknown format", func(d tree) {
			b := d.read(d.chkpt(sst))
			b[len(b)-12] = 99 // the version in the footer
			d.store(d.chkpt(sst), b)
			d.list(sst)
		}, ErrFormat, []string{"000003.sst version 99"}},
		{"a manifest of an unknown format", func(d tree) { d.replace(d.chkpt(manifestFile), `"format":1`, `"format":2`) }, ErrFormat,
			[]string{"1/chkpt_host.example_34801/pegasus_manifest.json format 2, known are 1 to 1"}},
		{"a table manifest of an unknown format", func(d tree) { d.replace(d.path("a_table_7/meta", manifestFile), `"format":1`, `"format":0`) }, ErrFormat,
			[]string{"a_table_7/meta/pegasus_manifest.json format 0"}},
		{"another number of rows", func(d tree) {
			d.replace(d.chkpt(manifestFile), `"rows":`, `"rows":1`)
			d.remove(d.path("a_table_7/meta", manifestFile))
		}, ErrDamaged, []string{"1/chkpt_host.example_34801/pegasus_manifest.json rows are there, it says"}},
		{"another digest", func(d tree) {
			d.replace(d.chkpt(manifestFile), `"taken_ms":`, `"digest":"0123456789abcdef","taken_ms":`)
			d.replace(d.chkpt(manifestFile), `"digest":"`+string(d.read(d.chkpt(manifestFile))[bytes.LastIndex(d.read(d.chkpt(manifestFile)), []byte(`"digest":"`))+10:][:16]), `"digest":"0123456789abcdef`)
			d.remove(d.path("a_table_7/meta", manifestFile))
		}, ErrDamaged, []string{"1/chkpt_host.example_34801/pegasus_manifest.json the digest of the rows is"}},
		{"the manifest of another partition", func(d tree) { d.replace(d.chkpt(manifestFile), `"partition":1`, `"partition":0`) }, ErrDamaged,
			[]string{"pegasus_manifest.json it is of partition 0"}},
		{"a partition of another backup", func(d tree) { d.replace(d.path("a_table_7/meta", manifestFile), `"decree":77`, `"decree":76`) }, ErrDamaged,
			[]string{"a_table_7/meta/pegasus_manifest.json partition 0"}},
		{"a manifest that has gone", func(d tree) { d.remove(d.chkpt(manifestFile)) }, ErrDamaged, []string{"pegasus_manifest.json it isn't there"}},
		{"backup_metadata has gone", func(d tree) { d.remove(d.chkpt(metadataFile)) }, ErrDamaged, []string{"backup_metadata not found"}},
		{"backup_metadata is no JSON", func(d tree) { d.store(d.chkpt(metadataFile), []byte("{")) }, ErrDamaged, []string{"backup_metadata no JSON"}},
		{"backup_metadata leads elsewhere", func(d tree) { d.replace(d.chkpt(metadataFile), "CURRENT", "../../0/CURRENT") }, ErrDamaged, []string{"backup_metadata no plain name"}},
		{"current_checkpoint leads elsewhere", func(d tree) { d.store(d.path("a_table_7/1", currentFile), []byte("../0/chkpt_host.example_34801")) }, ErrDamaged,
			[]string{"1/current_checkpoint no plain name"}},
		{"current_checkpoint leads nowhere", func(d tree) { d.store(d.path("a_table_7/1", currentFile), []byte("chkpt_other_34801")) }, ErrDamaged,
			[]string{"1/chkpt_other_34801/backup_metadata not found"}},
		{"current_checkpoint has gone", func(d tree) { d.remove(d.path("a_table_7/1", currentFile)) }, ErrIncomplete, []string{"1/current_checkpoint it isn't there"}},
		{"a partition has gone", func(d tree) {
			if err := os.RemoveAll(d.path("a_table_7/1")); err != nil {
				t.Fatal(err)
			}
		}, ErrIncomplete, []string{"1/current_checkpoint it isn't there"}},
		{"a table has gone", func(d tree) {
			if err := os.RemoveAll(d.path("a_table_7")); err != nil {
				t.Fatal(err)
			}
		}, ErrDamaged, []string{"a_table_7 backup_info names this table"}},
		{"app_metadata has gone", func(d tree) { d.remove(d.path("a_table_7/meta", tableFile)) }, ErrDamaged, []string{"meta/app_metadata it isn't there: without it the table can't be restored"}},
		{"app_metadata is of another table", func(d tree) { d.replace(d.path("a_table_7/meta", tableFile), `"a_table"`, `"b_table"`) }, ErrDamaged,
			[]string{"meta/app_metadata it is of table b_table"}},
		{"app_metadata has another number of partitions", func(d tree) {
			d.replace(d.path("a_table_7/meta", tableFile), `"partition_count":2`, `"partition_count":3`)
		}, ErrDamaged, []string{"a_table_7/meta/pegasus_manifest.json 2 partitions, app_metadata says 3", "2/current_checkpoint it isn't there"}},
		{"app_metadata has more partitions than can be", func(d tree) {
			d.replace(d.path("a_table_7/meta", tableFile), `"partition_count":2`, `"partition_count":2147483647`)
		}, ErrDamaged, []string{"a_table_7/meta/app_metadata partition_count is 2147483647"}},
		{"app_metadata has a type that can't be", func(d tree) {
			d.replace(d.path("a_table_7/meta", tableFile), `"pegasus"`, `"`+strings.Repeat("p", 5000)+`"`)
		}, ErrDamaged, []string{"a_table_7/meta/app_metadata app_type has 5000 bytes"}},
		{"app_backup_status is of another table", func(d tree) { d.store(d.path("a_table_7/meta", statusFile), []byte(`{"total_checkpoint_size":1}`)) }, ErrDamaged,
			[]string{"meta/app_backup_status says that the table has 1 bytes"}},
		{"backup_info has gone", func(d tree) { d.remove(d.path(infoFile)) }, ErrIncomplete, []string{"backup_info not found"}},
		{"backup_info is of another backup", func(d tree) { d.replace(d.path(infoFile), "1796000000000", "1796000000001") }, ErrDamaged, []string{"backup_info it is of backup 1796000000001"}},
		{"backup_info is empty", func(d tree) { d.store(d.path(infoFile), nil) }, ErrDamaged, []string{"backup_info no JSON"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := tree{t: t, root: t.TempDir()}
			d.s = openStore(t, d.root)
			writeTable(t, d.s, 2, 30_000)
			c.do(d)
			r, err := d.verify()
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range r.Problems {
				if !Damaged(p.Err) || !strings.Contains(p.Err.Error(), p.File) || !strings.Contains(p.Err.Error(), "; ") {
					t.Errorf("%+v", p)
				}
			}
			if len(c.want) == 0 {
				if len(r.Problems) > 0 || len(r.Tables) != 1 {
					t.Fatalf("%+v", r)
				}
				got := r.Tables[0]
				if !got.Manifest || got.Rows != r.Tables[0].Partitions[0].Rows*2 || got.Rows < 50_000 || got.Files < 10 || !got.Partitions[1].Whole || got.Partitions[1].Decree != 77 {
					t.Fatalf("%+v", got)
				}
				return
			}
			if len(r.Problems) != len(c.want) || !slices.ContainsFunc(r.Problems, func(p Problem) bool { return errors.Is(p.Err, c.kind) }) {
				t.Errorf("%d problems, want %q of kind %v: %v", len(r.Problems), c.want, c.kind, r.Problems)
			}
			for _, w := range c.want {
				file, text, _ := strings.Cut(w, " ")
				if !slices.ContainsFunc(r.Problems, func(p Problem) bool { return strings.HasSuffix(p.File, file) && strings.Contains(p.Err.Error(), text) }) {
					t.Errorf("no problem with %s that says %q: %v", file, text, r.Problems)
				}
			}
		})
	}
}

// TestVerifyRecorded: backups of upstream have no manifest of ours, and are read to the last row.
func TestVerifyRecorded(t *testing.T) {
	g := repo.Golden(t)
	ctx := context.Background()
	for _, c := range []struct {
		tree, path, table string
		rows              int64 // live ones, of all tables
	}{
		{"cold-backup", "", "", 1900},
		{"cold-backup", "onebox/1795388400586/mig_1", "mig", 1900},
		{"backup-policy/tree-onebox", "1795393398250", "", 4},
		{"backup-policy/tree-onebox", "1795393458022", "", 11},
	} {
		s := openStore(t, filepath.Join(g, c.tree))
		f, table, err := Find(ctx, s, c.path)
		if err != nil || table != c.table || !f.Complete {
			t.Fatalf("%s: %+v, %q, %v", c.path, f, table, err)
		}
		var done, all int64
		r, err := Verify(ctx, s, f, VerifyOptions{Table: table, Now: Clock(recordedAt), Progress: func(d, a int64) { done, all = d, a }})
		if err != nil || len(r.Problems) > 0 {
			t.Fatalf("%s: %+v, %v", c.path, r, err)
		}
		live, bytes := int64(0), int64(0)
		for _, t := range r.Tables {
			live += t.Rows - t.Expired
			bytes += t.Bytes
		}
		if live != c.rows || done != all || done != bytes {
			t.Errorf("%s: %d live rows, want %d; read %d of %d bytes", c.path, live, c.rows, done, all)
		}
	}
}

// TestFind: a person needs to name only what isn't clear.
func TestFind(t *testing.T) {
	g := repo.Golden(t)
	ctx := context.Background()
	policy := openStore(t, filepath.Join(g, "backup-policy/tree-onebox"))
	cold := openStore(t, filepath.Join(g, "cold-backup"))
	for _, c := range []struct {
		s              *blob.Store
		path           string
		id             int64
		tables, errors string
	}{
		{cold, "", 1795388400586, "mig_1", ""},
		{cold, "/onebox/", 1795388400586, "mig_1", ""},
		{cold, "onebox/1795388400586", 1795388400586, "mig_1", ""},
		{cold, "onebox/1795388400586/mig_1/3", 1795388400586, "mig_1", ""},
		{cold, "onebox/1795388400586/mig_2", 0, "", "mig_2 is no table of backup 1795388400586; `pegasus backup ls`"},
		{cold, "onebox/1795388400587", 0, "", "onebox/1795388400587: not found"},
		{cold, "nothing", 0, "", "nothing: not found"},
		{policy, "", 0, "", "2 backups lie there, name one: 1795393398250, 1795393458022"},
		{policy, "1795393458022", 1795393458022, "adm_2 badenv_3", ""},
	} {
		f, _, err := Find(ctx, c.s, c.path)
		var names []string
		for _, t := range f.Tables {
			_, last := cutLast(t.Dir())
			names = append(names, last)
		}
		if c.errors != "" {
			if err == nil || !strings.Contains(err.Error(), c.errors) || !errors.Is(err, ErrNone) {
				t.Errorf("%s: %v, want %q", c.path, err, c.errors)
			}
			continue
		}
		if err != nil || f.ID != c.id || strings.Join(names, " ") != c.tables {
			t.Errorf("%s: %+v, %v", c.path, f, err)
		}
	}
	empty := openStore(t, t.TempDir())
	if _, _, err := Find(ctx, empty, ""); !errors.Is(err, ErrNone) || !strings.Contains(err.Error(), "no backup lies there") {
		t.Error(err)
	}
	away := openStore(t, filepath.Join(t.TempDir(), "away"))
	if _, _, err := Find(ctx, away, "x"); err == nil || Damaged(err) {
		t.Errorf("a place that is away: %v", err)
	}
}

// stuck is a place that deletes no directories.
type stuck struct{ blob.Driver }

func (stuck) DeleteTree(context.Context, string) error {
	return blob.Failf(blob.ErrUnavailable, "out of order")
}

// TestDelete: a backup that is half deleted doesn't seem complete.
func TestDelete(t *testing.T) {
	ctx := context.Background()
	d := tree{t: t, root: t.TempDir()}
	d.s = openStore(t, d.root)
	writeTable(t, d.s, 2, 1000)
	list, err := List(ctx, d.s, "")
	if err != nil || len(list) != 1 || !list[0].Complete || list[0].Dir() != ourTable.Location.Dir() || list[0].Info.AppName != "a_table" {
		t.Fatalf("%+v, %v", list, err)
	}
	// A place that fails: deletion ends behind its beginning.
	c := config.DefaultBlob()
	c.Path = d.root
	driver, err := local.Open(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	if err := Delete(ctx, blob.NewStore("s", stuck{driver}, blob.Options{}), ourTable.Location); !errors.Is(err, blob.ErrUnavailable) {
		t.Fatalf("deleted what can't be deleted: %v", err)
	}
	if list, err = List(ctx, d.s, ""); err != nil || len(list) != 1 || list[0].Complete || list[0].Bad != nil {
		t.Fatalf("%+v, %v", list, err)
	}
	if _, err := ReadTable(ctx, d.s, ourTable); !errors.Is(err, ErrNone) {
		t.Errorf("a table that is being deleted seems to lack files: %v", err)
	}
	for range 2 {
		if err := Delete(ctx, d.s, ourTable.Location); err != nil {
			t.Fatal(err)
		}
		if list, err = List(ctx, d.s, ""); err != nil || len(list) != 0 {
			t.Fatalf("%+v, %v", list, err)
		}
	}
	if err := Delete(ctx, d.s, Location{Cluster: "some"}); err == nil {
		t.Error("what is no backup is deleted")
	}
}

// TestLeftover: what is left of a table that a complete backup doesn't name is none of its tables.
func TestLeftover(t *testing.T) {
	d := tree{t: t, root: t.TempDir()}
	d.s = openStore(t, d.root)
	writeTable(t, d.s, 1, 100)
	o := options(0)
	o.Table = ourTable.Location.Table("dropped", 8)
	if _, err := WritePartition(t.Context(), d.s, &made{n: 10}, o); err != nil {
		t.Fatal(err)
	}
	r, err := d.verify()
	if err != nil || len(r.Problems) != 0 || len(r.Tables) != 1 || r.Tables[0].Name != ourTable.Name {
		t.Errorf("%+v, %v", r, err)
	}
	f, _, err := Find(t.Context(), d.s, "some")
	if err != nil || len(f.Tables) != 1 {
		t.Fatalf("%+v, %v", f, err)
	}
	if _, err := f.Table(d.s, "dropped"); !errors.Is(err, ErrNone) {
		t.Errorf("%v", err)
	}
}

// TestFinish: a table or backup isn't complete before all of it is.
func TestFinish(t *testing.T) {
	ctx := context.Background()
	s := openStore(t, t.TempDir())
	info := NewInfo(ourTable.ID, ourTable.ID, ourTable.ID, map[int32]string{7: ourTable.Name})
	if _, err := WritePartition(ctx, s, &made{n: 10}, options(0)); err != nil {
		t.Fatal(err)
	}
	if _, err := FinishTable(ctx, s, ourTable, 2); !errors.Is(err, ErrIncomplete) {
		t.Error(err)
	}
	if err := Finish(ctx, s, ourTable.Location, info); !errors.Is(err, ErrIncomplete) {
		t.Error(err)
	}
	if _, err := WritePartition(ctx, s, &made{n: 0}, options(1)); err != nil {
		t.Fatal(err)
	}
	m, err := FinishTable(ctx, s, ourTable, 2)
	if err != nil || m.Rows != 10 || len(m.Partitions) != 2 || m.Partitions[1].Rows != 0 {
		t.Errorf("%+v, %v", m, err)
	}
	if err := Finish(ctx, s, ourTable.Location, info); err != nil {
		t.Error(err)
	}
	again, err := ReadTableManifest(ctx, s, ourTable)
	if err != nil || fmt.Sprint(*again) != fmt.Sprint(m) {
		t.Errorf("%+v, %v", again, err)
	}
	i, err := ReadInfo(ctx, s, ourTable.Location)
	if err != nil || i.AppID != 7 || i.AppNames[7] != "a_table" || len(i.AppIDs) != 1 {
		t.Errorf("%+v, %v", i, err)
	}
}

// TestTableDocument: nothing of a table is lost.
func TestTableDocument(t *testing.T) {
	ctx := context.Background()
	s := openStore(t, t.TempDir())
	info := layer2.NewAppInfo()
	info.Status, info.AppName, info.AppId, info.AppType, info.PartitionCount = layer2.AS_AVAILABLE, "t<1>", 3, "pegasus", 16
	info.CreateSecond, info.ExpireSecond, info.MaxReplicaCount, info.InitPartitionCount = time.Now().Unix(), 4, 3, 8
	info.Envs = append(info.Envs, struct{ Key, Val string }{"a", "<b>\n"})
	info.AtomicIdempotent.V, info.AtomicIdempotent.Set = true, true
	l := Location{Cluster: "c", ID: 1796000000000}
	if err := WriteTable(ctx, s, l, &info); err != nil {
		t.Fatal(err)
	}
	b, err := s.Get(ctx, l.Table("t<1>", 3).MetadataFile(), 1<<20)
	if err != nil || bytes.ContainsRune(b, '\n') {
		t.Fatalf("%s, %v", b, err) // pegasus-spark reads a line
	}
	got, err := ReadTable(ctx, s, l.Table("t<1>", 3))
	info.Duplicating.Set, info.IsBulkLoading.Set = true, true
	if err != nil || fmt.Sprint(got) != fmt.Sprint(info) {
		t.Errorf("%+v, want %+v, %v", got, info, err)
	}
}
