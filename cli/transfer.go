package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"pegasus/blob"
	"pegasus/blob/stores"
	"pegasus/client"
	"pegasus/rowfile"
	"pegasus/rows"
)

// Transfer moves rows between tables and files.
type Transfer struct {
	*Env
	Set      *blob.Set
	Errs     io.Writer // bad rows and questions
	Progress io.Writer
	In       io.Reader
}

// Encodings are how keys and values are written in JSON lines and CSV.
func Encodings() []string { return []string{"base64", "hex", "raw", "text"} }

func decoding(name string) (rowfile.Bytes, error) {
	switch name {
	case "base64":
		return nil, nil
	case "hex":
		return hex.DecodeString, nil
	case "raw":
		return func(s string) ([]byte, error) { return []byte(s), nil }, nil
	case "text":
		return Unescape, nil
	}
	return nil, fmt.Errorf("unknown encoding %q: give one of %s", name, strings.Join(Encodings(), ", "))
}

func encoding(name, format string) (rowfile.Text, error) {
	if name != "base64" && format == "parquet" {
		return nil, errors.New("a Parquet file holds bytes as they are: leave --encoding out")
	}
	switch name {
	case "base64":
		return nil, nil
	case "hex":
		return hex.EncodeToString, nil
	case "text":
		return Escape, nil
	}
	return nil, fmt.Errorf("encoding %q can't be written: give one of base64, hex, text", name)
}

// splitFile splits the URL of a file into that of its directory and its name.
func splitFile(url string) (store, name string) {
	place, query, _ := strings.Cut(url, "?")
	i := strings.LastIndexByte(place, '/')
	store, name = place[:i], place[i+1:]
	if strings.HasSuffix(store, ":/") || strings.HasSuffix(store, ":") {
		store += "/"
	}
	if query != "" {
		store += "?" + query
	}
	return store, name
}

func isURL(name string) bool { return strings.Contains(name, "://") }

// ImportArgs are the arguments of `import`.
type ImportArgs struct {
	rows.ImportOptions
	Files    []string
	Format   string // empty: by the ends of names
	Encoding string
	Mapping  rowfile.Mapping
	Rejects  string // file of the rows that aren't written; empty: none
	MaxBad   int64  // bad rows with which the import goes on; -1: any number
}

// how names all that decides on the rows that are made of files, but for the present time.
func how(a *ImportArgs) string {
	m := &a.Mapping
	return fmt.Sprintf("format %q, encoding %s, templates %q %q %q, expiry %q, ttl %q, columns %q, delimiter %q",
		a.Format, a.Encoding, m.HashKey, m.SortKey, m.Value, m.Expires, m.TTL, a.Read.Columns, a.Read.Comma)
}

const stdin = "-"

// Import writes the rows of files into a table.
func (x *Transfer) Import(ctx context.Context, table string, a ImportArgs) error {
	o := a.ImportOptions
	var err error
	if o.Read.Text, err = decoding(a.Encoding); err != nil {
		return err
	}
	o.Table, o.Now = table, time.Now()
	if a.Mapping != (rowfile.Mapping{}) {
		a.Mapping.Now = o.Now
		o.Read.Mapping = &a.Mapping
	}
	inputs, closeInputs, err := x.inputs(ctx, a.Files, a.Format, o.State)
	if err != nil {
		return err
	}
	defer closeInputs()
	t, err := x.Client.Table(ctx, table)
	if err != nil {
		return err
	}
	o.ID = t.AppID()
	o.How = how(&a)
	for _, name := range append(slices.Clone(a.Files), o.State) {
		if sameFile(a.Rejects, name) {
			return fmt.Errorf("%s is read, so it can't be the file for rows that can't be written", name)
		}
	}
	bad, err := x.rejects(a.Rejects, o.State, a.MaxBad)
	if err != nil {
		return err
	}
	tell, end := x.progress("import")
	defer end()
	o.Bad, o.Progress = bad.add, tell
	began := time.Now()
	res, err := rows.Import(ctx, t, inputs, o)
	end()
	err = errors.Join(err, bad.close())
	if err != nil && !o.DryRun && res.Read > 0 && isThere(o.State) {
		err = fmt.Errorf("%w; the same command goes on where it was", err)
	}
	text := fmt.Sprintf("%d rows of table %s are written (%.0f a second)", res.Written, Escape([]byte(table)), float64(res.Written)/time.Since(began).Seconds())
	if o.DryRun {
		text = fmt.Sprintf("%d rows could be written into table %s; nothing was", res.Read-res.Bad-res.Expired, Escape([]byte(table)))
	}
	for _, n := range []struct {
		n    int64
		what string
	}{{res.Bad, "can't be"}, {res.Expired, "have expired"}, {res.Before, "were dealt with before"}} {
		if n.n > 0 {
			text += fmt.Sprintf(", %d %s", n.n, n.what)
		}
	}
	if err != nil {
		return fmt.Errorf("%w (%s)", err, text)
	}
	if err := x.print(map[string]any{"table": table, "result": res, "dry_run": o.DryRun, "seconds": time.Since(began).Seconds()}, "%s", text); err != nil {
		return err
	}
	if res.Bad > 0 {
		return &BadRowsError{res.Bad, a.Rejects}
	}
	return nil
}

// BadRowsError says that all but some rows were imported.
type BadRowsError struct {
	Rows int64
	File string // that lists them; may be empty
}

func (e *BadRowsError) Error() string {
	s := fmt.Sprintf("%d rows were left out", e.Rows)
	if e.File != "" {
		s += ": see " + e.File
	}
	return s
}

// ExitStatus tells a script that the rest is there.
func (e *BadRowsError) ExitStatus() int { return 2 }

// lineEvery is how often progress is told where there is no terminal.
const lineEvery = 10 * time.Second

// inputs opens what the names say.
func (x *Transfer) inputs(ctx context.Context, names []string, format, state string) (list []rows.Input, end func(), err error) {
	var ends []func()
	endAll := func() {
		for _, f := range ends {
			f()
		}
	}
	defer func() {
		if err != nil {
			endAll()
		}
	}()
	for _, name := range names {
		in := rows.Input{Name: name, Format: format}
		file := name
		switch {
		case name == stdin && format == "":
			return nil, nil, errors.New("standard input has no name that tells its format: give --format")
		case name == stdin && state != "":
			return nil, nil, errors.New("standard input can't be read again: leave --state out, or give files")
		case name == stdin:
			in.Open = func(ctx context.Context) (io.ReadCloser, int64, error) {
				return spool(endable(ctx, func() (io.ReadCloser, error) { return io.NopCloser(x.In), nil }), -1, in.Format)
			}
		case isURL(name):
			where, n := splitFile(name)
			s, done, err := stores.Find(ctx, x.Set, where)
			if err != nil {
				return nil, nil, err
			}
			ends = append(ends, done)
			file = n
			in.Open = func(ctx context.Context) (io.ReadCloser, int64, error) {
				r, err := s.Open(ctx, n)
				if err != nil {
					return nil, 0, err
				}
				return spool(r, r.Info().Size, in.Format)
			}
		default:
			info, err := os.Stat(name)
			switch {
			case err != nil:
				return nil, nil, err // before anything is written
			case info.IsDir():
				return nil, nil, fmt.Errorf("%s is a directory: give its files", name)
			case state != "" && !info.Mode().IsRegular():
				return nil, nil, fmt.Errorf("%s can't be read again: leave --state out, or give files", name)
			}
			in.Open = func(ctx context.Context) (io.ReadCloser, int64, error) {
				if !info.Mode().IsRegular() { // a pipe may have nobody who writes
					return spool(endable(ctx, func() (io.ReadCloser, error) { return os.Open(name) }), -1, in.Format)
				}
				f, err := os.Open(name)
				if err != nil {
					return nil, 0, err
				}
				size := int64(-1)
				if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
					size = info.Size()
				}
				return f, size, nil
			}
		}
		if in.Format == "" {
			if in.Format, err = rowfile.FormatOf(file); err != nil {
				return nil, nil, err
			}
		} else if !slices.Contains(rowfile.Formats(), in.Format) {
			return nil, nil, fmt.Errorf("unknown format %q: give one of %s", in.Format, strings.Join(rowfile.Formats(), ", "))
		}
		list = append(list, in)
	}
	return list, endAll, nil
}

// endable reads what open opens, and ends with ctx, also while there is nothing to read. What is opened stays so until its Read returns.
func endable(ctx context.Context, open func() (io.ReadCloser, error)) io.ReadCloser {
	r, w := io.Pipe()
	stop := context.AfterFunc(ctx, func() { w.CloseWithError(context.Cause(ctx)) })
	go func() {
		defer stop()
		from, err := open()
		if err == nil {
			_, err = io.Copy(w, from)
			err = errors.Join(err, from.Close())
		}
		w.CloseWithError(err)
	}()
	return r
}

// spool makes a file of a stream if the format needs one.
func spool(r io.ReadCloser, size int64, format string) (io.ReadCloser, int64, error) {
	if format != "parquet" {
		return r, size, nil
	}
	defer r.Close()
	f, err := os.CreateTemp("", "pegasus-import-*.parquet")
	if err != nil {
		return nil, 0, fmt.Errorf("make a file of the stream, as Parquet needs one: %w", err)
	}
	// On every system that we run on a file lives on while it is open.
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, 0, err
	}
	size, err = io.Copy(f, r)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, 0, fmt.Errorf("make a file of the stream, as Parquet needs one: %w", err)
	}
	return f, size, nil
}

func isThere(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// rejected tells bad rows, and writes them to a file.
type rejected struct {
	errs io.Writer
	f    *os.File
	e    *json.Encoder
	n    int64
	most int64
	old  map[uint64]bool // rows that the file had before, by their hashes
}

func (x *Transfer) rejects(name, state string, most int64) (*rejected, error) {
	r := &rejected{errs: x.Errs, most: most}
	if name == "" {
		return r, nil
	}
	flags := os.O_CREATE | os.O_WRONLY | os.O_TRUNC
	info, err := os.Stat(name)
	goesOn := isThere(state) && err == nil && info.Mode().IsRegular()
	if goesOn {
		flags = os.O_RDWR
	}
	f, err := os.OpenFile(name, flags, 0o644)
	if err == nil && goesOn {
		if err = r.goOn(f); err != nil {
			f.Close()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("the file for rows that can't be written: %w", err)
	}
	r.f, r.e = f, json.NewEncoder(f)
	r.e.SetEscapeHTML(false)
	return r, nil
}

// goOn reads what an earlier run wrote, so that no row is there twice. Its last line may not be whole.
func (r *rejected) goOn(f *os.File) error {
	r.old = map[uint64]bool{}
	in := bufio.NewReaderSize(f, 256<<10)
	var whole int64
	for {
		line, err := in.ReadBytes('\n')
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		whole += int64(len(line))
		var row rejectedRow
		if json.Unmarshal(line, &row) == nil {
			r.old[row.hash()] = true
		}
	}
	if err := f.Truncate(whole); err != nil {
		return err
	}
	_, err := f.Seek(whole, io.SeekStart)
	return err
}

// sameFile tells whether two names are of one file that is there.
func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && x.Mode().IsRegular() && os.SameFile(x, y)
}

type rejectedRow struct {
	File    string  `json:"file"`
	Line    int64   `json:"line,omitempty"`
	Error   string  `json:"error"`
	HashKey *string `json:"hash_key,omitempty"` // base64
	SortKey *string `json:"sort_key,omitempty"`
}

// hash tells rows apart.
func (r *rejectedRow) hash() uint64 {
	text := func(s *string) string {
		if s == nil {
			return "-"
		}
		return *s
	}
	return xxhash.Sum64String(fmt.Sprintf("%q %d %s %s", r.File, r.Line, text(r.HashKey), text(r.SortKey)))
}

func (r *rejected) add(b rows.BadRow) error {
	r.n++
	if r.n <= toldRows {
		fmt.Fprintln(r.errs, b)
	} else if r.n == toldRows+1 {
		fmt.Fprintln(r.errs, "more aren't told here")
	}
	if r.e != nil {
		row := rejectedRow{File: b.File, Line: b.Line, Error: b.Err.Error()}
		if b.HashKey != nil || b.SortKey != nil {
			h, s := base64.StdEncoding.EncodeToString(b.HashKey), base64.StdEncoding.EncodeToString(b.SortKey)
			row.HashKey, row.SortKey = &h, &s
		}
		if r.old[row.hash()] {
			return r.enough(b)
		}
		if err := r.e.Encode(row); err != nil {
			return fmt.Errorf("write the row that can't be imported (%s) to %s: %w", b, r.f.Name(), err)
		}
	}
	return r.enough(b)
}

// enough is an error if there are too many.
func (r *rejected) enough(b rows.BadRow) error {
	if r.most >= 0 && r.n > r.most {
		return fmt.Errorf("%s; %d bad rows are more than --max-bad %d allows (-1: any number)", b, r.n, r.most)
	}
	return nil
}

func (r *rejected) close() error {
	if r.f == nil {
		return nil
	}
	var err error
	if info, no := r.f.Stat(); no != nil || info.Mode().IsRegular() { // a device or a pipe can't be synced
		err = r.f.Sync()
	}
	if err := errors.Join(err, r.f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", r.f.Name(), err)
	}
	return nil
}

// ChoiceArgs say which rows are read.
type ChoiceArgs struct {
	HashFilter, SortFilter string // as ParseFilter has it
	Parallel               int
}

func (x *Transfer) choice(a ChoiceArgs) (c rows.Choice, err error) {
	c.Parallel = a.Parallel
	if c.HashFilter, err = x.ParseFilter(a.HashFilter); err != nil {
		return c, err
	}
	c.SortFilter, err = x.ParseFilter(a.SortFilter)
	return c, err
}

func (a ChoiceArgs) all() bool { return a.HashFilter == "" && a.SortFilter == "" }

// ExportArgs are the arguments of `export`.
type ExportArgs struct {
	ChoiceArgs
	Format, Encoding string
	Split            bool
	To               string // a file, a directory with Split, a URL of either, or - for standard output
}

// stream is an Output that writes to standard output.
type stream struct{ w io.Writer }

func (s stream) Write(_ context.Context, _ string, write func(io.Writer) error) error {
	return write(s.w)
}
func (stream) Read(context.Context, string) ([]byte, bool, error) { return nil, false, nil }
func (stream) Has(context.Context, string) (bool, error)          { return false, nil }

// Export writes the rows of a table into files.
func (x *Transfer) Export(ctx context.Context, table string, a ExportArgs) error {
	o := rows.ExportOptions{Format: a.Format, Split: a.Split, Table: table}
	var err error
	if o.Choice, err = x.choice(a.ChoiceArgs); err != nil {
		return err
	}
	var to rows.Output = rows.Files{}
	o.Name = a.To
	switch {
	case a.To == stdin && a.Split:
		return errors.New("a file for each partition can't be written to standard output: give a directory")
	case a.To == stdin:
		to = stream{x.Out}
	case isURL(a.To):
		where, name := splitFile(a.To)
		s, end, err := stores.Find(ctx, x.Set, where)
		if err != nil {
			return err
		}
		defer end()
		to, o.Name = rows.Blobs{Store: s}, name
	}
	if o.Name == "" {
		return fmt.Errorf("%s names no file", a.To)
	}
	if o.Format == "" {
		switch {
		case a.Split || a.To == stdin:
			o.Format = "jsonl"
		default:
			if o.Format, err = rowfile.FormatOf(o.Name); err != nil {
				return err
			}
		}
	}
	if o.Text, err = encoding(a.Encoding, o.Format); err != nil {
		return err
	}
	t, err := x.Client.Table(ctx, table)
	if err != nil {
		return err
	}
	o.AppID, o.Encoding = t.AppID(), a.Encoding
	if o.Format == "parquet" {
		o.Encoding = "" // it has none
	}
	tell, done := x.progress("export")
	defer done()
	o.Progress = tell
	res, err := rows.Export(ctx, rows.Of(t), to, o)
	done()
	if err != nil {
		if a.Split {
			err = fmt.Errorf("%w; the same command goes on with the partitions that are missing", err)
		}
		return err
	}
	if a.To == stdin {
		return nil
	}
	text := fmt.Sprintf("%d rows of table %s are in %s", res.Rows, Escape([]byte(table)), a.To)
	if a.Split {
		text += fmt.Sprintf(": %d files", res.Files)
	}
	if res.Kept > 0 {
		text += fmt.Sprintf(", and %d that were there", res.Kept)
	}
	return x.print(map[string]any{"table": table, "to": a.To, "result": res}, "%s", text)
}

// progress shows how far something is: on a terminal by a bar, which end takes away, elsewhere by a line now and then.
func (x *Transfer) progress(word string) (tell func(rows.Progress), end func()) {
	bar, last := NewBar(x.Progress, word), time.Now()
	return func(p rows.Progress) {
		switch {
		case bar != nil && p.Partitions > 0:
			bar.Permille(int64(p.Done)*1000/int64(p.Partitions), fmt.Sprintf("%d rows, %d of %d partitions", p.Read, p.Done, p.Partitions))
		case bar != nil:
			bar.Bytes(p.Bytes, p.All)
		case x.Progress != nil && time.Since(last) > lineEvery:
			last = time.Now()
			text := fmt.Sprintf("%d rows read", p.Read)
			if p.Written > 0 || p.Bad > 0 {
				text += fmt.Sprintf(", %d written, %d bad", p.Written, p.Bad)
			}
			if p.Partitions > 0 {
				text += fmt.Sprintf(", %d of %d partitions done", p.Done, p.Partitions)
			}
			fmt.Fprintln(x.Progress, text)
		}
	}, bar.End
}

// CopyArgs are the arguments of `copy` and `clear`.
type CopyArgs struct {
	ChoiceArgs
	rows.Pace
	State   string
	Rejects string
	MaxBad  int64
	All     bool // clear: all rows of the table
}

// Copy writes the rows of a table into another one, which may be of another cluster.
func (x *Transfer) Copy(ctx context.Context, from string, there *client.Client, to string, a CopyArgs) error {
	t, err := there.Table(ctx, to)
	if err != nil {
		return err
	}
	src, err := x.Client.Table(ctx, from)
	if err != nil {
		return err
	}
	if there == x.Client && src.AppID() == t.AppID() {
		return fmt.Errorf("table %s can't be copied into itself", Escape([]byte(from)))
	}
	if x.DryRun {
		return x.wouldTouch(ctx, src, a, "written into table "+Escape([]byte(to)))
	}
	return x.transfer(ctx, "copy", src, t, a, rows.Copy, "copied")
}

// Clear removes rows of a table.
func (x *Transfer) Clear(ctx context.Context, table string, a CopyArgs) error {
	if a.ChoiceArgs.all() != a.All {
		return errors.New("say which rows are to be removed: --hash-filter, --sort-filter, or --all")
	}
	t, err := x.Client.Table(ctx, table)
	if err != nil {
		return err
	}
	if x.DryRun {
		return x.wouldTouch(ctx, t, a, "removed")
	}
	return x.transfer(ctx, "clear", t, t, a, rows.Clear, "removed")
}

// wouldTouch counts the rows that something would be done with.
func (x *Transfer) wouldTouch(ctx context.Context, t *client.Table, a CopyArgs, what string) error {
	var o rows.StatsOptions
	var err error
	if o.Choice, err = x.choice(a.ChoiceArgs); err != nil {
		return err
	}
	tell, end := x.progress("count")
	defer end()
	o.Progress = tell
	st, err := rows.Look(ctx, rows.Of(t), o)
	end()
	if err != nil {
		return err
	}
	return x.would(map[string]any{"table": t.Name(), "rows": st.Rows}, "%d rows of table %s are %s", st.Rows, Escape([]byte(t.Name())), what)
}

// readLine reads a line byte by byte, as what follows isn't its business.
func readLine(r io.Reader) string {
	var b bytes.Buffer
	for one := make([]byte, 1); b.Len() < 4096; {
		if n, err := r.Read(one); n == 1 && one[0] != '\n' {
			b.WriteByte(one[0])
		} else if n == 1 || err != nil {
			break
		}
	}
	return strings.TrimSuffix(b.String(), "\r")
}

func (x *Transfer) transfer(ctx context.Context, word string, from, to *client.Table, a CopyArgs,
	run func(context.Context, rows.Source, rows.Target, rows.CopyOptions) (rows.Result, error), done string) error {
	o := rows.CopyOptions{Pace: a.Pace, From: from.Name(), To: to.Name(), FromID: from.AppID(), ToID: to.AppID(), State: a.State}
	var err error
	if o.Choice, err = x.choice(a.ChoiceArgs); err != nil {
		return err
	}
	bad, err := x.rejects(a.Rejects, a.State, a.MaxBad)
	if err != nil {
		return err
	}
	tell, end := x.progress(word)
	defer end()
	o.Bad, o.Progress = bad.add, tell
	res, err := run(ctx, rows.Of(from), to, o)
	end()
	text := fmt.Sprintf("%d rows of table %s are %s", res.Written, Escape([]byte(from.Name())), done)
	if err = errors.Join(err, bad.close()); err != nil {
		if res.Read > 0 && isThere(o.State) {
			err = fmt.Errorf("%w; the same command goes on where it was", err)
		}
		return fmt.Errorf("%w (so far %s)", err, text)
	}
	if err := x.print(map[string]any{"table": from.Name(), "to": to.Name(), "result": res}, "%s", text); err != nil {
		return err
	}
	if res.Bad > 0 {
		return &BadRowsError{res.Bad, a.Rejects}
	}
	return nil
}

// Stats reads all rows of a table, and prints what they sum up to.
func (x *Transfer) Stats(ctx context.Context, table string, a ChoiceArgs, top int) error {
	o := rows.StatsOptions{Top: top}
	var err error
	if o.Choice, err = x.choice(a); err != nil {
		return err
	}
	t, err := x.Client.Table(ctx, table)
	if err != nil {
		return err
	}
	tell, done := x.progress("count")
	defer done()
	o.Progress = tell
	st, err := rows.Look(ctx, rows.Of(t), o)
	done()
	if err != nil {
		return err
	}
	type large struct {
		HashKey string `json:"hash_key"`
		SortKey string `json:"sort_key"`
		Bytes   int64  `json:"bytes"`
	}
	list := make([]large, len(st.Top))
	for i, l := range st.Top {
		list[i] = large{Escape(l.HashKey), Escape(l.SortKey), l.Bytes}
	}
	if x.JSON {
		return x.json(map[string]any{"table": table, "rows": st.Rows, "hash_keys": st.HashKeys, "expiring": st.Expiring,
			"hash_key_bytes": st.HashKeyBytes, "sort_key_bytes": st.SortKeyBytes, "value_bytes": st.Value, "max_hash_key_bytes": st.MaxHashKey,
			"max_sort_key_bytes": st.MaxSortKey, "max_value_bytes": st.MaxValue, "max_rows_of_a_hash_key": st.MaxRowsOfHashKey, "max_bytes_of_a_hash_key": st.MaxBytesOfHashKey, "top": list})
	}
	mean := func(n int64) string { return fmt.Sprintf("%.1f", float64(n)/float64(max(st.Rows, 1))) }
	fmt.Fprintf(x.Out, "rows %d, hash keys %d, rows that expire %d\n", st.Rows, st.HashKeys, st.Expiring)
	g := newGrid("", "#bytes", "#mean", "#largest")
	g.add("hash keys", st.HashKeyBytes, mean(st.HashKeyBytes), st.MaxHashKey)
	g.add("sort keys", st.SortKeyBytes, mean(st.SortKeyBytes), st.MaxSortKey)
	g.add("values", st.Value, mean(st.Value), st.MaxValue)
	if err := g.print(x.Out); err != nil {
		return err
	}
	fmt.Fprintf(x.Out, "largest hash key: %d rows, %d bytes\n", st.MaxRowsOfHashKey, st.MaxBytesOfHashKey)
	if len(list) == 0 {
		return nil
	}
	g = newGrid("largest rows", "sort key", "#bytes")
	for _, l := range list {
		g.add(l.HashKey, l.SortKey, l.Bytes)
	}
	return g.print(x.Out)
}

// ScanTo has Scan print into a file, which appears when it is whole.
func (x *Transfer) ScanTo(ctx context.Context, table string, a Scan, name string) error {
	return rows.Files{}.Write(ctx, filepath.Clean(name), func(w io.Writer) error {
		e := *x.Env
		e.Out = w
		return e.Scan(ctx, table, a)
	})
}
