package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"pegasus/backup"
	"pegasus/base"
	"pegasus/base/durable"
	"pegasus/blob"
	"pegasus/blob/stores"
	"pegasus/rocks/pegasus"
	"pegasus/rowfile"
)

// DamagedError: a backup isn't complete, or not whole.
type DamagedError struct{ text string }

func (e *DamagedError) Error() string { return e.text }

// ExitStatus tells a backup that is bad (2) from a command that failed (1).
func (e *DamagedError) ExitStatus() int { return 2 }

// Backups are backups that are read without a cluster.
type Backups struct {
	*Env
	Set      *blob.Set
	Progress io.Writer // where a bar is shown if it is a terminal; nil: nowhere
	Now      time.Time // rows that have expired by then aren't live
}

// IsPlace tells whether an argument names a place with backups: a URL or NAME/PATH. Anything else is a backup of a cluster.
func IsPlace(arg string) bool { return strings.Contains(arg, "/") }

// splitPlace splits what names a place into the name of a store (or a URL) and a path in it. Where a URL names a backup, the
// store is the directory above.
func splitPlace(arg string) (store, path string) {
	if !strings.Contains(arg, "://") {
		store, path, _ = strings.Cut(arg, "/")
		return store, path
	}
	place, query, _ := strings.Cut(arg, "?")
	place = strings.TrimRight(place, "/")
	if dir, rest, ok := backup.CutID(place); ok {
		i := strings.LastIndexByte(dir, '/')
		path = blob.Join(dir[i+1:], rest)
		place = dir[:i]
	}
	if strings.HasSuffix(place, ":/") || strings.HasSuffix(place, ":") {
		place += "/"
	}
	if query != "" {
		place += "?" + query
	}
	return place, path
}

// openPlace opens the store of a place.
func openPlace(ctx context.Context, set *blob.Set, arg string) (s *blob.Store, path string, end func(), err error) {
	name, path := splitPlace(arg)
	if rest, ok := strings.CutPrefix(name, "file://"); ok { // else it would be waited for, as for a mount that is slow
		dir, _, _ := strings.Cut(rest, "?")
		if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
			return nil, "", nil, fmt.Errorf("there is no directory %s: check the URL %s, and whether the disk is mounted: %w", dir, arg, os.ErrNotExist)
		}
	}
	s, end, err = stores.Find(ctx, set, name)
	return s, path, end, err
}

// with opens a backup.
func (b *Backups) with(ctx context.Context, place string, do func(s *blob.Store, f backup.Found, table string) error) error {
	s, path, end, err := openPlace(ctx, b.Set, place)
	if err != nil {
		return err
	}
	defer end()
	f, table, err := backup.Find(ctx, s, path)
	if err != nil {
		return err
	}
	return do(s, f, table)
}

// table is a table of a backup that is read.
type openTable struct {
	s *blob.Store
	backup.Table
	partitions int32
}

// withTable opens a table; name may be empty if there is only one.
func (b *Backups) withTable(ctx context.Context, place, name string, do func(openTable) error) error {
	return b.with(ctx, place, func(s *blob.Store, f backup.Found, named string) error {
		if name == "" {
			name = named
		}
		t, err := f.Table(s, name)
		if err != nil {
			return err
		}
		info, err := backup.ReadTable(ctx, s, t)
		if err != nil {
			return err
		}
		return do(openTable{s, t, info.PartitionCount})
	})
}

// foundJSON is a backup of a listing.
type foundJSON struct {
	Path     string   `json:"path"` // in the store
	ID       int64    `json:"id"`
	Started  string   `json:"started"` // RFC 3339
	Ended    string   `json:"ended,omitempty"`
	Complete bool     `json:"complete"`
	Tables   []string `json:"tables"`
	Error    string   `json:"error,omitempty"`
}

func milli(ms int64) string {
	if ms <= 0 {
		return ""
	}
	return time.UnixMilli(ms).UTC().Format(time.RFC3339)
}

func newFound(f backup.Found) foundJSON {
	j := foundJSON{Path: f.Location.Dir(), ID: f.ID, Started: milli(f.ID), Ended: milli(f.Info.End), Complete: f.Complete, Tables: []string{}}
	for _, t := range f.Tables {
		j.Tables = append(j.Tables, t.Name)
	}
	if f.Bad != nil {
		j.Error = f.Bad.Error()
	}
	return j
}

func (j foundJSON) state() string {
	switch {
	case j.Error != "":
		return "damaged"
	case j.Complete:
		return "complete"
	}
	return "incomplete"
}

// List lists the backups below a place.
func (b *Backups) List(ctx context.Context, place string) error {
	s, path, end, err := openPlace(ctx, b.Set, place)
	if err != nil {
		return err
	}
	defer end()
	var list []backup.Found
	if _, _, one := backup.CutID(path); one {
		f, _, err := backup.Find(ctx, s, path)
		if err != nil {
			return err
		}
		list = append(list, f)
	} else if list, err = backup.List(ctx, s, blob.Join(path)); err != nil {
		return err
	}
	out := []foundJSON{}
	for _, f := range list {
		out = append(out, newFound(f))
	}
	if b.JSON {
		return b.json(out)
	}
	g := newGrid("path", "started", "ended", "state", "tables")
	for _, f := range out {
		g.add(Escape([]byte(f.Path)), f.Started, dash(f.Ended), f.state(), Escape([]byte(strings.Join(f.Tables, " "))))
	}
	return g.print(b.Out)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// backedPartitionJSON is a partition of a backup.
type backedPartitionJSON struct {
	Partition  int32  `json:"partition"`
	Checkpoint string `json:"checkpoint,omitempty"`
	Decree     int64  `json:"decree"`
	Taken      string `json:"taken,omitempty"` // RFC 3339
	Files      int    `json:"files"`
	Bytes      int64  `json:"bytes"`
	Rows       int64  `json:"rows"` // -1: no manifest says it
	Digest     string `json:"digest,omitempty"`
	Error      string `json:"error,omitempty"`
}

type backedTableJSON struct {
	Table      string                `json:"table"`
	AppID      int32                 `json:"app_id"`
	Bytes      int64                 `json:"bytes"`
	Rows       int64                 `json:"rows"` // -1: no manifest says it
	Partitions []backedPartitionJSON `json:"partitions"`
	Error      string                `json:"error,omitempty"`
}

// Show tells what a backup says of itself. It reads no rows.
func (b *Backups) Show(ctx context.Context, place, table string) error {
	return b.with(ctx, place, func(s *blob.Store, f backup.Found, named string) error {
		if table == "" {
			table = named
		}
		out := struct {
			foundJSON
			Content []backedTableJSON `json:"content"`
		}{foundJSON: newFound(f)}
		for _, t := range f.Tables {
			if table != "" && t.Name != table {
				continue
			}
			j, err := showTable(ctx, s, t)
			if err != nil {
				return err
			}
			out.Content = append(out.Content, j)
		}
		if table != "" && len(out.Content) == 0 {
			_, err := f.Table(s, table)
			return err
		}
		if b.JSON {
			return b.json(out)
		}
		fmt.Fprintf(b.Out, "backup %d in %s: %s, started %s, ended %s\n", f.ID, Escape([]byte(s.String())), out.state(), out.Started, dash(out.Ended))
		if out.Error != "" {
			fmt.Fprintln(b.Out, out.Error)
		}
		for _, t := range out.Content {
			fmt.Fprintf(b.Out, "table %s: id %d, %d partitions, %s, %s rows\n", Escape([]byte(t.Table)), t.AppID, len(t.Partitions), size(t.Bytes), unknown(t.Rows))
			if t.Error != "" {
				fmt.Fprintln(b.Out, t.Error)
				continue
			}
			g := newGrid("#partition", "#decree", "taken", "#files", "#bytes", "#rows", "digest", "directory")
			for _, p := range t.Partitions {
				if p.Error != "" {
					g.add(p.Partition, "-", "-", "-", "-", "-", "-", p.Error)
					continue
				}
				g.add(p.Partition, p.Decree, p.Taken, p.Files, p.Bytes, unknown(p.Rows), dash(p.Digest), Escape([]byte(p.Checkpoint)))
			}
			if err := g.print(b.Out); err != nil {
				return err
			}
		}
		return nil
	})
}

func unknown(rows int64) string {
	if rows < 0 {
		return "?"
	}
	return strconv.FormatInt(rows, 10)
}

// showTable tells what a table says of itself. The error is one of the place.
func showTable(ctx context.Context, s *blob.Store, t backup.Table) (backedTableJSON, error) {
	j := backedTableJSON{Table: t.Name, AppID: t.AppID, Partitions: []backedPartitionJSON{}}
	info, err := backup.ReadTable(ctx, s, t)
	if err != nil {
		if backup.Damaged(err) {
			j.Error, err = err.Error(), nil
		}
		return j, err
	}
	for i := range info.PartitionCount {
		p := backedPartitionJSON{Partition: i, Rows: -1}
		if err := showPartition(ctx, s, t.Partition(i), &p); err != nil {
			if !backup.Damaged(err) {
				return j, err
			}
			p.Error = err.Error()
		}
		j.Bytes += p.Bytes
		if p.Rows < 0 || j.Rows < 0 {
			j.Rows = -1
		} else {
			j.Rows += p.Rows
		}
		j.Partitions = append(j.Partitions, p)
	}
	return j, nil
}

func showPartition(ctx context.Context, s *blob.Store, dir string, p *backedPartitionJSON) error {
	var err error
	if p.Checkpoint, err = backup.Current(ctx, s, dir); err != nil {
		return err
	}
	if p.Checkpoint == "" {
		p.Error = "incomplete"
		return nil
	}
	m, err := backup.ReadMetadata(ctx, s, dir, p.Checkpoint)
	if err != nil {
		return err
	}
	p.Decree, p.Taken, p.Files, p.Bytes = m.Decree, milli(m.Taken), len(m.Files), m.Bytes
	ours, err := backup.ReadManifest(ctx, s, dir, p.Checkpoint)
	if err == nil && ours != nil {
		p.Rows, p.Digest = ours.Rows, ours.Digest
	}
	return err
}

// Verify reads all of a backup, and names each file that is wrong. Where one is, the error is a *DamagedError.
func (b *Backups) Verify(ctx context.Context, place, table string) error {
	return b.with(ctx, place, func(s *blob.Store, f backup.Found, named string) error {
		if table == "" {
			table = named
		}
		bar := NewBar(b.Progress, "verify")
		r, err := backup.Verify(ctx, s, f, backup.VerifyOptions{Table: table, Now: backup.Clock(b.Now), Progress: bar.Bytes})
		bar.End()
		if err != nil {
			return err
		}
		return b.report(s, r)
	})
}

type problemJSON struct {
	File  string `json:"file"`
	Error string `json:"error"`
}

type verifiedJSON struct {
	Table      string                  `json:"table"`
	AppID      int32                   `json:"app_id"`
	Manifest   bool                    `json:"manifest"` // it has our manifest
	Rows       int64                   `json:"rows"`
	Live       int64                   `json:"live_rows"`
	Files      int                     `json:"files"`
	Bytes      int64                   `json:"bytes"`
	Partitions []verifiedPartitionJSON `json:"partitions"`
}

type verifiedPartitionJSON struct {
	Partition int32  `json:"partition"`
	Decree    int64  `json:"decree"`
	Rows      int64  `json:"rows"`
	Clock     uint32 `json:"clock"` // of the digest, as replica.digest takes it: seconds since 2016
	Digest    string `json:"digest"`
	OK        bool   `json:"ok"`
}

func (b *Backups) report(s *blob.Store, r backup.Report) error {
	out := struct {
		Path     string         `json:"path"`
		OK       bool           `json:"ok"`
		Tables   []verifiedJSON `json:"tables"`
		Problems []problemJSON  `json:"problems"`
	}{r.Location.Dir(), len(r.Problems) == 0, []verifiedJSON{}, []problemJSON{}}
	for _, t := range r.Tables {
		j := verifiedJSON{t.Name, t.AppID, t.Manifest, t.Rows, t.Rows - t.Expired, t.Files, t.Bytes, nil}
		for _, p := range t.Partitions {
			j.Partitions = append(j.Partitions, verifiedPartitionJSON{p.Index, p.Decree, p.Rows, p.Clock, p.Digest.Hex(), p.Whole})
		}
		out.Tables = append(out.Tables, j)
	}
	for _, p := range r.Problems {
		out.Problems = append(out.Problems, problemJSON{p.File, p.Err.Error()})
	}
	var err error
	if b.JSON {
		err = b.json(out)
	} else {
		for _, t := range out.Tables {
			compared := "compared with its manifest"
			if !t.Manifest {
				compared = "it has no manifest: compared with its own sizes and checksums"
			}
			fmt.Fprintf(b.Out, "table %s: %d partitions, %d files, %s, %d rows, %d of them live; %s\n", Escape([]byte(t.Table)), len(t.Partitions), t.Files, size(t.Bytes), t.Rows, t.Live, compared)
		}
		for _, p := range out.Problems {
			fmt.Fprintln(b.Out, Escape([]byte(p.Error)))
		}
		if len(out.Problems) == 0 {
			fmt.Fprintf(b.Out, "backup %d in %s is complete and whole\n", r.ID, Escape([]byte(s.String())))
		}
	}
	if err == nil && !out.OK {
		err = &DamagedError{fmt.Sprintf("%d files of backup %d are missing or wrong: take another backup, or restore it without the bad partitions (pegasus restore --skip-bad)", len(out.Problems), r.ID)}
	}
	return err
}

// ExportOptions say what is exported, and how.
type ExportOptions struct {
	Table   string // may be empty if there is only one
	Format  string // of package rowfile
	Text    bool   // keys and values as text with escapes
	Expired bool   // rows that have expired, too
	To      string // a file; empty: standard output
}

// Export writes the rows of a table to a file, which appears when it is whole, or to the output.
func (b *Backups) Export(ctx context.Context, place string, o ExportOptions) error {
	if _, err := rowfile.NewWriter(o.Format, io.Discard, nil); err != nil {
		return err
	}
	if o.Text && o.Format == "parquet" {
		return fmt.Errorf("a Parquet file holds bytes as they are: leave --text out")
	}
	return b.withTable(ctx, place, o.Table, func(t openTable) error {
		if o.To == "" {
			_, err := b.export(ctx, t, o, b.Out)
			return err
		}
		var rows int64
		err := durable.File(o.To, func(w io.Writer) (err error) {
			rows, err = b.export(ctx, t, o, w)
			return err
		})
		if err != nil {
			return err
		}
		return b.print(map[string]any{"table": t.Name, "rows": rows, "file": o.To}, "%d rows of table %s are in %s", rows, Escape([]byte(t.Name)), o.To)
	})
}

func (b *Backups) export(ctx context.Context, t openTable, o ExportOptions, out io.Writer) (rows int64, err error) {
	var text rowfile.Text
	if o.Text {
		text = Escape
	}
	w, err := rowfile.NewWriter(o.Format, out, text)
	if err != nil {
		return 0, err
	}
	bar := NewBar(b.Progress, "export")
	defer bar.End()
	now := backup.Clock(b.Now)
	err = backup.Scan(ctx, t.s, t.Table, t.partitions, bar.Bytes, func(partition int32, row pegasus.Row) error {
		if row.Expired(now) && !o.Expired {
			return nil
		}
		rows++
		return w.Write(partition, row)
	})
	if err == nil {
		err = w.Close()
	}
	return rows, err
}

// Count counts the rows of a table.
func (b *Backups) Count(ctx context.Context, place, table string) error {
	return b.withTable(ctx, place, table, func(t openTable) error {
		type partition struct {
			Partition int32 `json:"partition"`
			Live      int64 `json:"live_rows"`
			Expired   int64 `json:"expired_rows"`
			Bytes     int64 `json:"row_bytes"` // of keys and values of live rows
		}
		parts := make([]partition, t.partitions)
		bar := NewBar(b.Progress, "count")
		now := backup.Clock(b.Now)
		err := backup.Scan(ctx, t.s, t.Table, t.partitions, bar.Bytes, func(i int32, row pegasus.Row) error {
			if row.Expired(now) {
				parts[i].Expired++
			} else {
				parts[i].Live++
				parts[i].Bytes += int64(len(row.HashKey) + len(row.SortKey) + len(row.Data))
			}
			return nil
		})
		bar.End()
		if err != nil {
			return err
		}
		all := partition{}
		for i := range parts {
			p := &parts[i]
			p.Partition = int32(i)
			all.Live += p.Live
			all.Expired += p.Expired
			all.Bytes += p.Bytes
		}
		if b.JSON {
			return b.json(map[string]any{"table": t.Name, "live_rows": all.Live, "expired_rows": all.Expired, "row_bytes": all.Bytes, "partitions": parts})
		}
		g := newGrid("partition", "#live rows", "#expired rows", "#bytes of live rows")
		for _, p := range parts {
			g.add(p.Partition, p.Live, p.Expired, p.Bytes)
		}
		g.add("all", all.Live, all.Expired, all.Bytes)
		return g.print(b.Out)
	})
}

type backedRowJSON struct {
	rowJSON
	Expired bool `json:"expired,omitempty"`
}

// Get prints the row of a hash key and a sort key, or all rows of the hash key if all is set; expired ones, too. No row is
// an error.
func (b *Backups) Get(ctx context.Context, place, table, hashKey, sortKey string, all bool) error {
	keys, err := b.manyBytes(hashKey, sortKey)
	if err != nil {
		return err
	}
	if all {
		keys[1] = nil
	}
	return b.withTable(ctx, place, table, func(t openTable) error {
		rows, err := backup.Lookup(ctx, t.s, t.Table, t.partitions, keys[0], keys[1])
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			if all {
				return fmt.Errorf("table %s of the backup has no row of hash key %s", Escape([]byte(t.Name)), Quote(keys[0]))
			}
			return missing(t.Name+" of the backup", keys[0], keys[1])
		}
		now := backup.Clock(b.Now)
		for _, row := range rows {
			value := Escape(row.Data)
			j := backedRowJSON{rowJSON{HashKey: Escape(row.HashKey), SortKey: Escape(row.SortKey), Value: &value}, row.Expired(now)}
			if row.ExpireTS > 0 {
				j.Expires = moment(base.EpochBegin + int64(row.ExpireTS))
			}
			if b.JSON {
				err = b.json(j)
			} else {
				line := fmt.Sprintf("%s : %s => %s", Quote(row.HashKey), Quote(row.SortKey), Quote(row.Data))
				switch {
				case j.Expired:
					line += " (expired " + j.Expires + ")"
				case j.Expires != "":
					line += " (until " + j.Expires + ")"
				}
				_, err = fmt.Fprintln(b.Out, line)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}
