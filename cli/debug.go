package cli

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pegasus/base"
	"pegasus/cppdata/plog"
	"pegasus/replica/wal"
	"pegasus/rocks"
	"pegasus/rocks/damage"
	"pegasus/rocks/manifest"
	"pegasus/rocks/pegasus"
	"pegasus/rocks/table"
	"pegasus/rrdb"
)

// Debug tells what is in files of servers, ours and C++ ones. It takes no lock and writes nothing.
type Debug struct {
	*Env
	Rows        bool       // print rows, too
	Limit       int64      // records or rows that are printed; 0: all
	Gpid        *base.Gpid // of logs: only this partition; nil: all
	From, To    int64      // of logs: decrees; 0: no bound
	DataVersion int        // of values of C++ servers
	printed     int64
	damaged     int64
}

// UnreadError says how many places couldn't be read.
type UnreadError struct{ Places int64 }

func (e *UnreadError) Error() string {
	return fmt.Sprintf("%d places can't be read; the rest is told", e.Places)
}

// ExitStatus tells this from a command that failed (1).
func (e *UnreadError) ExitStatus() int { return 2 }

// errEnough ends what has printed as much as was asked for.
var errEnough = errors.New("enough")

func (d *Debug) judged(err error) error {
	if errors.Is(err, errEnough) {
		err = nil
	}
	if err == nil && d.damaged > 0 {
		return &UnreadError{d.damaged}
	}
	return err
}

// tell prints a record.
func (d *Debug) tell(v any, format string, args ...any) error {
	if d.Limit > 0 && d.printed >= d.Limit {
		return errEnough
	}
	d.printed++
	return d.print(v, format, args...)
}

type badPlace struct {
	File   string `json:"file"`
	Damage string `json:"damage"`
}

// bad prints a place that can't be read. It counts against no limit.
func (d *Debug) bad(file string, err error) error {
	d.damaged++
	return d.print(badPlace{file, err.Error()}, "DAMAGED: %v", err)
}

// WAL prints replication logs: files and directories of ours, and of C++ servers.
func (d *Debug) WAL(ctx context.Context, paths []string) error {
	for _, p := range paths {
		info, err := os.Stat(p)
		if err == nil && info.IsDir() {
			err = d.walDir(ctx, p)
		} else if err == nil {
			err = d.walFile(ctx, p)
		}
		if err != nil {
			return d.judged(err)
		}
	}
	return d.judged(nil)
}

func (d *Debug) walDir(ctx context.Context, dir string) error {
	files, _, err := plog.List(dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := d.walFile(ctx, filepath.Join(dir, f.Name)); err != nil {
			return err
		}
	}
	if len(files) > 0 {
		return nil
	}
	names, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err == nil && len(names) == 0 {
		return fmt.Errorf("%s has no log: give the directory wal of a data directory, or plog of a C++ replica", dir)
	}
	return wal.DumpDir(vfs.Default, dir, d.found(ctx))
}

// walFile tells the formats apart by the first bytes. A file that has neither's is taken for one of ours whose header is damaged, but for its name.
func (d *Debug) walFile(ctx context.Context, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	head := make([]byte, 4)
	if _, err := f.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	_, _, named := plog.ParseName(filepath.Base(path))
	if named || string(head) == "\xef\xbe\xad\xde" {
		info, err := f.Stat()
		if err != nil {
			return err
		}
		return d.plog(ctx, path, f, info.Size())
	}
	return wal.Dump(vfs.Default, path, 0, d.found(ctx))
}

type opJSON struct {
	Op      string `json:"op"`
	HashKey string `json:"hash_key,omitempty"`
	SortKey string `json:"sort_key,omitempty"`
	Value   string `json:"value,omitempty"`
	Expires string `json:"expires,omitempty"`
	Timetag string `json:"timetag,omitempty"`
	Text    string `json:"text,omitempty"`
}

func (o opJSON) String() string {
	s := "  " + o.Op
	if o.Text != "" {
		return s + " " + o.Text
	}
	s += " " + `"` + o.HashKey + `" : "` + o.SortKey + `"`
	if o.Op == "put" {
		s += ` => "` + o.Value + `"`
	}
	if o.Expires != "" {
		s += " (until " + o.Expires + ")"
	}
	if o.Timetag != "" {
		s += " (" + o.Timetag + ")"
	}
	return s
}

type logJSON struct {
	File      string   `json:"file"`
	Offset    int64    `json:"offset"`
	Size      int64    `json:"size,omitempty"`
	Kind      string   `json:"kind"`
	Gpid      string   `json:"partition,omitempty"`
	Ballot    int64    `json:"ballot,omitempty"`
	Decree    int64    `json:"decree,omitempty"`
	Committed int64    `json:"committed,omitempty"`
	Time      string   `json:"time,omitempty"`
	Bytes     int      `json:"payload_bytes,omitempty"`
	Ops       []opJSON `json:"ops,omitempty"`
	Text      string   `json:"text,omitempty"`
}

func (l *logJSON) String() string {
	s := fmt.Sprintf("%s %d: %s", l.File, l.Offset, l.Kind)
	if l.Gpid != "" {
		s += fmt.Sprintf(" %s decree %d", l.Gpid, l.Decree)
	}
	if l.Kind == string(wal.FoundMutation) {
		s += fmt.Sprintf(" ballot %d committed %d at %s, %d bytes", l.Ballot, l.Committed, l.Time, l.Bytes)
	}
	if l.Text != "" {
		s += ": " + l.Text
	}
	for _, o := range l.Ops {
		s += "\n" + o.String()
	}
	return s
}

func microTime(us int64) string {
	return time.UnixMicro(us).UTC().Format("2006-01-02T15:04:05.000000Z")
}

// chosen tells whether a record of a log is asked for.
func (d *Debug) chosen(g base.Gpid, decree int64) bool {
	return (d.Gpid == nil || *d.Gpid == g) && decree >= d.From && (d.To == 0 || decree <= d.To)
}

// found prints what is found in a log of ours.
func (d *Debug) found(ctx context.Context) func(*wal.Found) error {
	return func(x *wal.Found) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		l := &logJSON{File: x.File, Offset: x.Offset, Size: x.Size, Kind: string(x.Kind), Text: x.Text}
		switch x.Kind {
		case wal.FoundDamage:
			return d.bad(x.File, fmt.Errorf("%s offset %d, %d bytes: %s", x.File, x.Offset, x.Size, x.Text))
		case wal.FoundMutation, wal.FoundTruncate, wal.FoundReset, wal.FoundDrop:
			if !d.chosen(x.Gpid, x.Decree) {
				return nil
			}
			l.Gpid, l.Decree, l.Ballot, l.Committed, l.Bytes = x.Gpid.String(), x.Decree, x.Ballot, x.Committed, len(x.Payload)
			if x.Kind == wal.FoundMutation {
				l.Time = microTime(x.Timestamp)
				if d.Rows {
					l.Ops = opsOf(x.Payload, x.Timestamp)
				}
			}
		case wal.FoundTable:
			if d.Gpid != nil || d.From > 0 || d.To > 0 {
				return nil
			}
			l.Text = fmt.Sprintf("%d replicas", len(x.States))
			if d.Rows {
				for _, s := range x.States {
					l.Ops = append(l.Ops, opJSON{Op: "replica", Text: fmt.Sprintf("%s: decrees up to %d, committed %d, ballot %d, not needed up to %d", s.Gpid, s.Last, s.Committed, s.MaxBallot, s.Retention)})
				}
			}
		case wal.FoundMark:
			if !d.Rows || d.Gpid != nil || d.From > 0 || d.To > 0 {
				return nil // one stands before each batch
			}
		}
		return d.tell(l, "%s", l)
	}
}

// opsOf decodes a payload of ours, as far as it can be.
func opsOf(payload []byte, timestampUS int64) (ops []opJSON) {
	r := rrdb.NewOpReader(payload)
	var op rrdb.Op
	for r.Next(&op) {
		o := opJSON{Op: "put"}
		if op.Delete {
			o.Op = "remove"
		}
		if text, ok := rrdb.DescribeRecord(op.Key, op.Value); ok {
			o.Text = text
		} else {
			h, s, _ := base.SplitKey(op.Key)
			o.HashKey, o.SortKey = Escape(h), Escape(s)
			tag := uint64(0)
			if op.Timetag != 0 {
				tag = r.Timetag(&op, timestampUS)
			}
			o.fill(op.ExpireTS, tag, op.Value)
		}
		ops = append(ops, o)
	}
	if r.Err() != nil {
		ops = append(ops, opJSON{Op: "unreadable", Text: r.Err().Error()})
	}
	return ops
}

func timetagText(t uint64) string {
	us, cluster, deleted := rrdb.SplitTimetag(t)
	s := fmt.Sprintf("written at %s in cluster %d", microTime(us), cluster)
	if deleted {
		s += ", a remove"
	}
	return s
}

// plog prints a private log of a C++ server. Its checksums are chained: nothing behind a place that can't be read can be told.
func (d *Debug) plog(ctx context.Context, path string, f io.ReaderAt, size int64) error {
	name := filepath.Base(path)
	r, err := plog.NewReader(name, f, size)
	if err != nil {
		return d.bad(name, err)
	}
	h := r.Header()
	l := &logJSON{File: name, Kind: "header", Text: fmt.Sprintf("version %d, begins at %d of the log, %d partitions", h.Version, h.Start, len(h.Previous))}
	if err := d.tell(l, "%s", l); err != nil {
		return err
	}
	for r.Next() {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		m := r.Mutation()
		if !d.chosen(m.Gpid, m.Decree) {
			continue
		}
		l := &logJSON{File: name, Offset: r.Block().Offset, Size: r.Block().Length, Kind: string(wal.FoundMutation), Gpid: m.Gpid.String(), Decree: m.Decree, Ballot: m.Ballot,
			Committed: m.Committed, Time: microTime(m.TimestampUS)}
		for _, u := range m.Updates {
			l.Bytes += len(u.Data)
			if d.Rows {
				l.Ops = append(l.Ops, opJSON{Op: u.Code, Text: fmt.Sprintf("%d bytes: %s", len(u.Data), Escape(u.Data))})
			}
		}
		if err := d.tell(l, "%s", l); err != nil {
			return err
		}
	}
	if err := r.Err(); err != nil {
		return d.bad(name, err)
	}
	if t := r.Torn(); t != nil {
		l := &logJSON{File: name, Offset: t.Offset, Kind: string(wal.FoundRest), Text: t.Error()}
		return d.tell(l, "%s", l)
	}
	return nil
}

type entryJSON struct {
	File     string `json:"file"`
	Block    uint64 `json:"block"`
	Sequence uint64 `json:"sequence"`
	opJSON
}

// SST prints table files: of stores of ours, and of RocksDB.
func (d *Debug) SST(ctx context.Context, paths []string) error {
	for _, p := range paths {
		if err := d.sst(ctx, p); err != nil {
			return d.judged(err)
		}
	}
	return d.judged(nil)
}

// rocksMagic are the last bytes of RocksDB's tables.
const rocksMagic = "\xf7\xcf\xf4\x85\xb7\x41\xe2\x88"

func (d *Debug) sst(ctx context.Context, path string) error {
	name := filepath.Base(path)
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.IsDir() {
		return fmt.Errorf("%s is a directory: give table files", path)
	}
	tail := make([]byte, 8)
	if info.Size() >= 8 {
		if _, err := f.ReadAt(tail, info.Size()-8); err != nil {
			return err
		}
	}
	if string(tail) != rocksMagic {
		return d.ourTable(ctx, path)
	}
	r, err := table.Open(ctx, fileAt{f}, info.Size(), table.Options{Name: name})
	if err != nil {
		return d.bad(name, err)
	}
	p := r.Properties()
	if err := d.tell(map[string]any{"file": name, "format": fmt.Sprintf("RocksDB, version %d", p.FormatVersion), "properties": p},
		"%s: RocksDB table, format version %d, checksums %v, compression %s, column family %q\n  %d entries, %d of them removes, in %d blocks; keys %d bytes, values %d bytes",
		name, p.FormatVersion, p.Checksum, p.Compression, p.ColumnFamily, p.Entries, p.Deletions, p.DataBlocks, p.RawKeySize, p.RawValueSize); err != nil {
		return err
	}
	return r.Dump(ctx, func(e table.Entry) error {
		if !d.Rows {
			return nil // it was read all the same, so damage is told
		}
		o := opJSON{Op: e.Key.Type.String()}
		h, s, ok := base.SplitKey(e.Key.User)
		if !ok || p.ColumnFamily != "" && p.ColumnFamily != "default" || len(e.Key.User) == 0 {
			o.Text = fmt.Sprintf("key %s, value %s", Quote(e.Key.User), Quote(e.Value))
		} else if o.HashKey, o.SortKey = Escape(h), Escape(s); e.Key.Type == table.Value {
			v, err := pegasus.ParseValue(d.DataVersion, e.Value)
			if err != nil {
				o.Text = fmt.Sprintf("key %s: %v", Quote(e.Key.User), err)
			}
			o.fill(v.ExpireTS, v.Timetag, v.Data)
		}
		x := entryJSON{name, e.Block, e.Key.Sequence, o}
		return d.tell(x, "%s %d@%d:%s", name, e.Block, e.Key.Sequence, o)
	}, func(err error) error { return d.bad(name, err) })
}

// fill adds what a stored value has.
func (o *opJSON) fill(expireTS uint32, timetag uint64, data []byte) {
	o.Value = Escape(data)
	if expireTS > 0 {
		o.Expires = moment(int64(expireTS) + base.EpochBegin)
	}
	if timetag != 0 {
		o.Timetag = timetagText(timetag)
	}
}

func (d *Debug) ourTable(ctx context.Context, path string) error {
	name := filepath.Base(path)
	t, err := rrdb.OpenTableFile(vfs.Default, path)
	if err != nil {
		if errors.Is(err, rrdb.ErrCorrupt) {
			return d.bad(name, err)
		}
		return err
	}
	defer t.Close()
	p := t.Properties
	if err := d.tell(map[string]any{"file": name, "format": p.Format, "properties": p},
		"%s: table of a store, format %s, order %s, compression %s\n  %d entries, %d of them removes, in %d blocks; keys %d bytes, values %d bytes, %d values in files of their own",
		name, p.Format, p.Comparer, p.Compression, p.Entries, p.Removes, p.DataBlocks, p.KeyBytes, p.ValueBytes, p.ValuesOutside); err != nil {
		return err
	}
	return t.Dump(ctx, func(e rrdb.TableEntry) error {
		if !d.Rows {
			return nil
		}
		o := opJSON{Op: e.Kind}
		h, s, ok := base.SplitKey(e.Key)
		if text, is := rrdb.DescribeRecord(e.Key, e.Value); is {
			o.Text = text
		} else if !ok {
			o.Text = fmt.Sprintf("key %s, value %s", Quote(e.Key), Quote(e.Value))
		} else if o.HashKey, o.SortKey = Escape(h), Escape(s); e.Outside {
			o.Value = string(e.Value)
		} else if e.Kind == "put" {
			expire, timetag, data, ok := rrdb.SplitValue(e.Value)
			if !ok {
				data = e.Value
			}
			o.fill(expire, timetag, data)
		}
		x := entryJSON{name, e.Block, e.Sequence, o}
		return d.tell(x, "%s %d@%d:%s", name, e.Block, e.Sequence, o)
	}, func(err error) error { return d.bad(name, err) })
}

// fileAt is a file as rocks/table wants one.
type fileAt struct{ f *os.File }

func (f fileAt) ReadAt(_ context.Context, p []byte, off int64) (int, error) {
	return f.f.ReadAt(p, off)
}

type editJSON struct {
	File   string         `json:"file"`
	Offset int64          `json:"offset"`
	Edit   *manifest.Edit `json:"edit"`
}

// Manifest prints the edits of manifests, of RocksDB and of stores of ours, which have the same form but for some fields.
func (d *Debug) Manifest(ctx context.Context, paths []string) error {
	for _, p := range paths {
		if err := d.manifest(ctx, p); err != nil {
			return d.judged(err)
		}
	}
	return d.judged(nil)
}

func (d *Debug) manifest(ctx context.Context, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	name := filepath.Base(path)
	return manifest.Scan(name, f, func(at int64, rec []byte, err error) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return d.bad(name, err)
		}
		e, err := manifest.DecodeEdit(rec)
		if err := d.tell(editJSON{name, at, e}, "%s %d:%s", name, at, editText(e)); err != nil {
			return err
		}
		if err != nil {
			return d.bad(name, fmt.Errorf("%s offset %d, edit of %d bytes: %w", name, at, len(rec), err))
		}
		return nil
	})
}

func editText(e *manifest.Edit) (s string) {
	number := func(what string, v *uint64) {
		if v != nil {
			s += fmt.Sprintf(" %s %d", what, *v)
		}
	}
	if e.Comparator != nil {
		s += fmt.Sprintf(" order %q", *e.Comparator)
	}
	if e.Family != 0 {
		s += fmt.Sprintf(" column family %d", e.Family)
	}
	if e.AddFamily != nil {
		s += fmt.Sprintf(" is new, %q", *e.AddFamily)
	}
	if e.DropFamily {
		s += " is dropped"
	}
	number("log", e.LogNumber)
	number("next file", e.NextFile)
	number("last sequence", e.LastSequence)
	for _, x := range e.Deleted {
		s += fmt.Sprintf("\n  - level %d table %06d", x.Level, x.Number)
	}
	for _, x := range e.Added {
		s += fmt.Sprintf("\n  + level %d table %06d, %d bytes, %s@%d to %s@%d", x.Level, x.Number, x.Size,
			Quote(x.Smallest.User), x.Smallest.Sequence, Quote(x.Largest.User), x.Largest.Sequence)
	}
	return s
}

// Store prints what a store holds, as it lies there: of ours the directory store.N of a replica, or data/rdb of a C++ one. With a hash key it prints a row.
func (d *Debug) Store(ctx context.Context, dir string, hashKey, sortKey *string) error {
	key, err := d.storedKey(hashKey, sortKey)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, "CURRENT")); err == nil {
		return d.judged(d.rocksStore(ctx, dir, key))
	}
	return d.judged(d.ourStore(ctx, dir, key))
}

func (d *Debug) storedKey(hashKey, sortKey *string) ([]byte, error) {
	if hashKey == nil {
		return nil, nil
	}
	args := []string{*hashKey, ""}
	if sortKey != nil {
		args[1] = *sortKey
	}
	b, err := d.manyBytes(args...)
	if err != nil {
		return nil, err
	}
	if err := base.CheckHashKey(b[0]); err != nil {
		return nil, err
	}
	return base.AppendKey(nil, b[0], b[1]), nil
}

func (d *Debug) row(key []byte, expireTS uint32, timetag uint64, data []byte) error {
	h, s, _ := base.SplitKey(key)
	o := opJSON{Op: "put", HashKey: Escape(h), SortKey: Escape(s)}
	o.fill(expireTS, timetag, data)
	return d.tell(o, "%s", o)
}

func (d *Debug) rocksStore(ctx context.Context, dir string, key []byte) error {
	r, err := pegasus.Open(ctx, rocks.Local(dir), rocks.Options{})
	if err != nil {
		return d.unread(dir, err)
	}
	bounds := rocks.Bounds{}
	if key != nil {
		bounds = rocks.Bounds{Lower: key, Upper: append(slices.Clone(key), 0)}
	} else {
		m, tables := r.Meta(), r.DB().Tables(pegasus.DataFamily)
		if err := d.tell(map[string]any{"store": dir, "kind": "RocksDB", "meta": m, "tables": tables}, "%s: RocksDB of a C++ server, %s names %d tables; %+v", dir, r.DB().Manifest(), len(tables), m); err != nil {
			return err
		}
		if !d.Rows {
			return nil
		}
	}
	it, err := r.Rows(ctx, bounds)
	if err != nil {
		return d.unread(dir, err)
	}
	defer it.Close()
	n := 0
	for it.Next() {
		x := it.Row()
		n++
		if err := d.row(base.AppendKey(nil, x.HashKey, x.SortKey), x.ExpireTS, x.Timetag, x.Data); err != nil {
			return err
		}
	}
	if err := it.Err(); err != nil {
		return d.unread(dir, err)
	}
	return d.noRow(key, n)
}

// unread tells that a store can't be read on, and what can be done.
func (d *Debug) unread(dir string, err error) error {
	if !errors.Is(err, rrdb.ErrCorrupt) && !errors.As(err, new(*damage.Error)) && !errors.As(err, new(*damage.Unsupported)) {
		return err
	}
	return d.bad(dir, fmt.Errorf("%w; rows that can be read are told by `pegasus debug sst --rows` of its tables. A server that uses the store removes files meanwhile: look at a copy then", err))
}

func (d *Debug) noRow(key []byte, n int) error {
	if key == nil || n > 0 {
		return nil
	}
	h, s, _ := base.SplitKey(key)
	return fmt.Errorf("there is no row %s : %s", Quote(h), Quote(s))
}

func (d *Debug) ourStore(ctx context.Context, dir string, key []byte) error {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return errors.Join(err, fmt.Errorf("%s is no directory of a store", dir))
	}
	c, err := rrdb.OpenCopy(rrdb.CopyOptions{Dir: dir, FS: readOnly{vfs.Default}})
	if err != nil {
		return d.unread(dir, err)
	}
	defer c.Close()
	if err := d.checkManifest(dir); err != nil {
		return err
	}
	if key == nil {
		cut := c.Cut()
		size, err := c.Bytes()
		if err != nil {
			return d.unread(dir, err)
		}
		at := microTime(c.Timestamp())
		if err := d.tell(map[string]any{"store": dir, "kind": "ours", "decree": c.Decree(), "time": at, "row_bytes": size, "cut": cut},
			"%s: store of ours, all up to decree %d, of %s, is in its tables; keys and values about %d bytes", dir, c.Decree(), at, size); err != nil {
			return err
		}
		if !d.Rows {
			return nil
		}
	}
	it, err := c.All(ctx, rrdb.ExpiryTime(time.Now()))
	if err != nil {
		return d.unread(dir, err)
	}
	defer it.Close()
	n := 0
	for it.Next() {
		x := it.Row()
		if key != nil && !slices.Equal(x.Key, key) {
			continue
		}
		n++
		if err := d.row(x.Key, x.ExpireTS, x.Timetag, x.Data); err != nil {
			return err
		}
	}
	if err := it.Err(); err != nil {
		return d.unread(dir, err)
	}
	return d.noRow(key, n)
}

// checkManifest tells where the present manifest can't be read. Pebble takes one that is damaged or cut off for one that ends there, so tables would be left
// out silently.
func (d *Debug) checkManifest(dir string) error {
	markers, err := filepath.Glob(filepath.Join(dir, "marker.manifest.*.*"))
	if err != nil || len(markers) == 0 {
		return err
	}
	slices.Sort(markers) // the last one counts
	parts := strings.SplitN(filepath.Base(markers[len(markers)-1]), ".", 4)
	f, err := os.Open(filepath.Join(dir, parts[3]))
	if err != nil {
		return err
	}
	defer f.Close()
	return manifest.Scan(parts[3], f, func(_ int64, _ []byte, err error) error {
		if err != nil {
			return d.bad(parts[3], fmt.Errorf("%w; tables that are named from there on aren't told", err))
		}
		return nil
	})
}

// readOnly is a file system in which nothing can be changed, and no lock is taken: a server may use the files.
type readOnly struct{ vfs.FS }

type noLock struct{}

func (noLock) Close() error { return nil }

func refuse(what, name string) error {
	return fmt.Errorf("%s %s: files are only looked at", what, name)
}

func (readOnly) Lock(string) (io.Closer, error) { return noLock{}, nil }
func (readOnly) Create(name string, _ vfs.DiskWriteCategory) (vfs.File, error) {
	return nil, refuse("create", name)
}
func (readOnly) OpenReadWrite(name string, _ vfs.DiskWriteCategory, _ ...vfs.OpenOption) (vfs.File, error) {
	return nil, refuse("write", name)
}
func (readOnly) ReuseForWrite(name, _ string, _ vfs.DiskWriteCategory) (vfs.File, error) {
	return nil, refuse("write", name)
}
func (readOnly) Link(_, name string) error                 { return refuse("link", name) }
func (readOnly) Remove(name string) error                  { return refuse("remove", name) }
func (readOnly) RemoveAll(name string) error               { return refuse("remove", name) }
func (readOnly) Rename(name, _ string) error               { return refuse("rename", name) }
func (readOnly) MkdirAll(name string, _ os.FileMode) error { return refuse("make", name) }

// Key prints a stored key: of a hash key and a sort key, or of hexadecimal digits.
func (d *Debug) Key(args []string, isHex bool, partitions int32) error {
	var key []byte
	if isHex {
		var err error
		if key, err = hex.DecodeString(args[0]); err != nil {
			return fmt.Errorf("the key %q: %w", args[0], err)
		}
	} else {
		var sort *string
		if len(args) > 1 {
			sort = &args[1]
		}
		var err error
		if key, err = d.storedKey(&args[0], sort); err != nil {
			return err
		}
	}
	h, s, ok := base.SplitKey(key)
	if !ok {
		return fmt.Errorf("%x is no stored key: its first two bytes are the length of the hash key, and %d bytes follow", key, max(len(key)-2, 0))
	}
	hash := base.HashOfKey(key)
	v := map[string]any{"hex": hex.EncodeToString(key), "hash_key": Escape(h), "sort_key": Escape(s), "hash": strconv.FormatUint(hash, 10)}
	text := fmt.Sprintf("stored key %x\nhash key   %s\nsort key   %s\nhash       %d (%#x)", key, Quote(h), Quote(s), hash, hash)
	if partitions > 0 {
		p := hash % uint64(partitions)
		v["partition"], v["partitions"] = p, partitions
		text += fmt.Sprintf("\npartition  %d of %d", p, partitions)
	}
	return d.print(v, "%s", text)
}

// Value prints the parts of a stored value that is given in hexadecimal digits.
func (d *Debug) Value(text string) error {
	b, err := hex.DecodeString(text)
	if err != nil {
		return fmt.Errorf("the value %q: %w", text, err)
	}
	v, err := pegasus.ParseValue(d.DataVersion, b)
	if err != nil {
		return err
	}
	o := opJSON{Op: "put"}
	o.fill(v.ExpireTS, v.Timetag, v.Data)
	expires := "never"
	if o.Expires != "" {
		expires = o.Expires
	}
	return d.print(map[string]any{"expires": o.Expires, "expire_ts": v.ExpireTS, "timetag": strconv.FormatUint(v.Timetag, 10), "written": o.Timetag, "value": o.Value},
		"value   %s\nexpires %s\ntimetag %d %s", Quote(v.Data), expires, v.Timetag, o.Timetag)
}
