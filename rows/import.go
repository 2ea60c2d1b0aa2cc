package rows

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"

	"pegasus/base"
	"pegasus/rowfile"
)

// Input is a file of an import.
type Input struct {
	Name   string
	Format string // of rowfile.Formats
	// Open opens it from its beginning. size is in bytes, -1 if nobody knows. For Parquet it must be an *os.File.
	Open func(context.Context) (r io.ReadCloser, size int64, err error)
}

// ImportOptions say what is imported, and how.
type ImportOptions struct {
	Pace
	Read   rowfile.ReadOptions // but for Format
	Table  string              // for the state file
	ID     int32               // of the table, likewise: one that was made anew has none of the rows
	How    string              // what else decides on the rows that are made of the files, likewise
	State  string              // file that says how far it is; empty: none. If it is there, the import goes on from there
	DryRun bool                // rows are read and checked, and not written
	Now    time.Time
	// Bad is told of each row that can't be read or written. An error ends the import. It is called by one goroutine at a time.
	Bad func(BadRow) error
	// Progress is told now and then, by one goroutine at a time; nil: nobody is.
	Progress func(Progress)
}

// BadRow is a row that isn't written.
type BadRow struct {
	File    string
	Line    int64 // of Parquet the number of the row; from 1 on
	Err     error
	HashKey []byte // with SortKey, if they are known
	SortKey []byte
}

func (b BadRow) String() string { return fmt.Sprintf("%s:%d: %v", b.File, b.Line, b.Err) }

// Progress is how far something is.
type Progress struct {
	Read, Written, Bad, Expired int64
	Bytes, All                  int64 // of the files; All is 0 if nobody knows
	Partitions, Done            int   // of a table that is read; an import has none
}

// Result is what became of the rows.
type Result struct {
	Read    int64 `json:"read"`
	Written int64 `json:"written"` // without those of which a later row has the keys
	Bad     int64 `json:"bad"`
	Expired int64 `json:"expired"` // they are left out
	Before  int64 `json:"before"`  // rows that an earlier run has dealt with
}

// importState says up to which row all is written.
type importState struct {
	Format int      `json:"format"`
	Table  string   `json:"table"`
	ID     int32    `json:"table_id"`
	How    string   `json:"how,omitempty"`
	Files  []string `json:"files"`
	File   int      `json:"file"`             // index
	Rows   int64    `json:"rows"`             // of that file, bad ones too
	Digest string   `json:"digest,omitempty"` // of those rows: the file may be another one when the import goes on
	Read   int64    `json:"read"`             // rows of all files
	Done   bool     `json:"done"`
}

const (
	windowRows  = 2000
	windowBytes = 2 << 20
	roomBytes   = 64 << 10
	stateEvery  = time.Second
	// mostRow bounds a row that is sent at all: a server ends the connection of a request of more than 64 MiB, which fails as often as it
	// is tried. What a server takes is less, and it says so.
	mostRow = 63 << 20
)

type importer struct {
	o    *ImportOptions
	sink *sink

	mu      sync.Mutex
	windows []*window // in the order of the files; the first isn't complete
	state   importState
	result  Result

	saved time.Time // the state file was written; the reader's
}

// window is a number of rows that are written together.
type window struct {
	changes  []change
	size     int
	file     int
	rows     int64 // of the file, when it ends
	digest   uint64
	sums     Result
	complete bool
	room     []byte // for keys and values
}

// Import writes the rows of files into a table.
func Import(ctx context.Context, to Target, inputs []Input, o ImportOptions) (Result, error) {
	im := &importer{o: &o}
	im.state = importState{Format: stateFormat, Table: o.Table, ID: o.ID, How: o.How}
	for _, in := range inputs {
		im.state.Files = append(im.state.Files, in.Name)
	}
	if o.State != "" && !o.DryRun {
		var old importState
		there, err := readState(o.State, &old)
		if err != nil {
			return Result{}, err
		}
		if there {
			if old.Table != o.Table || old.ID != o.ID || old.How != o.How || !slices.Equal(old.Files, im.state.Files) || old.File < 0 || old.Rows < 0 {
				return Result{}, fmt.Errorf("the state file %s is of an import of %q into table %s with id %d (%s): give another name, or remove it to begin anew", o.State, old.Files, old.Table, old.ID, old.How)
			}
			// One that was done is looked at too: the last file may be another one since.
			im.state, im.result.Before = old, old.Read
			im.state.Done = false
		}
	}
	if err := im.save(); err != nil { // before anything is written
		return Result{}, err
	}
	id := to.AppID()
	im.sink = newSink(ctx, to, o.Pace, im.refuse, im.wrote)
	defer im.sink.stop(context.Canceled)
	err := im.run(inputs)
	if err == nil {
		err = im.sink.flush()
	}
	if err == nil {
		err = same(ctx, to, id)
	}
	im.mu.Lock()
	if err == nil {
		im.state.Done = true
	}
	im.mu.Unlock()
	err = errors.Join(err, im.save())
	im.mu.Lock()
	defer im.mu.Unlock()
	return im.result, err
}

// save writes the state file, if there is to be one.
func (im *importer) save() error {
	if im.o.State == "" || im.o.DryRun {
		return nil
	}
	im.saved = time.Now()
	im.mu.Lock()
	st := im.state
	im.mu.Unlock()
	return writeState(im.o.State, st)
}

func (im *importer) run(inputs []Input) error {
	from := im.state.File
	for i := range inputs {
		if i < from {
			continue
		}
		skip, digest := int64(0), ""
		if i == from {
			skip, digest = im.state.Rows, im.state.Digest
		}
		if err := im.file(i, &inputs[i], skip, digest); err != nil {
			return err
		}
	}
	return nil
}

// counted counts what is read.
type counted struct {
	io.Reader
	n int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	return n, err
}

// digest adds a row to a digest. Its expiry may go by the time at which it is read.
func digest(d *xxhash.Digest, row *rowfile.Row, bad bool) {
	if bad {
		_, _ = d.WriteString("bad")
		return
	}
	var n [3 * 8]byte
	for i, b := range [][]byte{row.HashKey, row.SortKey, row.Value} {
		binary.LittleEndian.PutUint64(n[8*i:], uint64(len(b)))
	}
	for _, b := range [][]byte{n[:], row.HashKey, row.SortKey, row.Value} {
		_, _ = d.Write(b) // never fails
	}
}

func digestText(d uint64) string { return fmt.Sprintf("%016x", d) }

// file imports a file, but for the first rows, which are to have a digest; empty: nobody knows.
func (im *importer) file(index int, in *Input, skip int64, was string) error {
	f, size, err := in.Open(im.sink.ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", in.Name, err)
	}
	defer f.Close()
	o := im.o.Read
	o.Format = in.Format
	var from io.Reader = f
	through := &counted{Reader: f}
	if _, ok := f.(*os.File); !ok || in.Format != "parquet" {
		from = through
	}
	r, err := rowfile.NewReader(from, o)
	if im.sink.ctx.Err() != nil {
		return im.sink.cause() // an input that is a stream ends with it
	}
	if err != nil {
		return fmt.Errorf("%s: %w", in.Name, err)
	}
	w := &window{file: index, rows: skip}
	sum := xxhash.New()
	var row rowfile.Row
	for n := int64(1); ; n++ {
		line, err := r.Next(&row)
		if err == io.EOF {
			if n <= skip {
				return fmt.Errorf("%s has %d rows, and %d were read of it before: it isn't the file any more of which the state file tells", in.Name, n-1, skip)
			}
			break
		}
		if err != nil && im.sink.ctx.Err() != nil {
			return im.sink.cause() // as above
		}
		var wrong *rowfile.BadRow
		if err != nil && !errors.As(err, &wrong) {
			return fmt.Errorf("%s:%d: %w", in.Name, line, err)
		}
		digest(sum, &row, wrong != nil)
		if n == skip && was != "" && digestText(sum.Sum64()) != was {
			return fmt.Errorf("%s isn't the file any more of which the state file tells: its first %d rows, which were read before, are others. Give the former file, or remove the state file to begin anew", in.Name, skip)
		}
		if n <= skip {
			w.digest = sum.Sum64()
			continue
		}
		w.rows, w.digest = n, sum.Sum64()
		w.sums.Read++
		if err := im.take(w, place{in.Name, line}, &row, wrong); err != nil {
			return err
		}
		if len(w.changes) >= windowRows || w.size >= windowBytes || w.sums.Read >= 10*windowRows {
			if err := im.hand(w, through.n, size); err != nil {
				return err
			}
			w = &window{file: index, rows: n, digest: w.digest}
		}
	}
	return im.hand(w, through.n, size)
}

// take adds a row to the window.
func (im *importer) take(w *window, at place, row *rowfile.Row, wrong *rowfile.BadRow) error {
	if wrong != nil {
		w.sums.Bad++
		return im.tell(BadRow{File: at.file, Line: at.line, Err: wrong.Err})
	}
	ts, gone, err := row.ExpireTS(im.o.Now)
	if err == nil {
		err = base.CheckHashKey(row.HashKey)
	}
	if size := len(row.HashKey) + len(row.SortKey) + len(row.Value); err == nil && size > mostRow {
		err = fmt.Errorf("the row has %d bytes, the most that can be sent is %d", size, mostRow)
	}
	switch {
	case err != nil:
		w.sums.Bad++
		return im.tell(BadRow{at.file, at.line, err, bytes.Clone(row.HashKey), bytes.Clone(row.SortKey)})
	case gone:
		w.sums.Expired++
		return nil
	}
	c := change{hashKey: w.keep(row.HashKey), sortKey: w.keep(row.SortKey), value: w.keep(row.Value), expireTS: ts, where: at}
	w.changes = append(w.changes, c)
	w.size += c.size()
	return nil
}

// keep copies what the reader uses again.
func (w *window) keep(b []byte) []byte {
	if len(b) > cap(w.room)-len(w.room) {
		w.room = make([]byte, 0, max(len(b), roomBytes))
	}
	at := len(w.room)
	w.room = append(w.room, b...)
	return w.room[at:len(w.room):len(w.room)]
}

func (im *importer) tell(b BadRow) error {
	im.mu.Lock()
	defer im.mu.Unlock()
	return im.o.Bad(b)
}

// refuse hears of a row that the table doesn't take.
func (im *importer) refuse(c *change, err error) error {
	im.mu.Lock()
	defer im.mu.Unlock()
	im.result.Bad++
	return im.o.Bad(BadRow{c.where.file, c.where.line, c.refused(err), c.hashKey, c.sortKey})
}

func (im *importer) wrote(n int64) {
	im.mu.Lock()
	im.result.Written += n
	im.mu.Unlock()
}

// hand has a window written.
func (im *importer) hand(w *window, read, size int64) error {
	im.mu.Lock()
	im.windows = append(im.windows, w)
	im.result.Read += w.sums.Read
	im.result.Bad += w.sums.Bad
	im.result.Expired += w.sums.Expired
	if im.o.Progress != nil {
		im.o.Progress(Progress{Read: im.result.Read, Written: im.result.Written, Bad: im.result.Bad, Expired: im.result.Expired, Bytes: read, All: max(size, 0)})
	}
	im.mu.Unlock()
	if im.o.DryRun {
		im.complete(w)
		return nil
	}
	if err := im.sink.write(w.changes, func() { im.complete(w) }); err != nil {
		return err
	}
	if time.Since(im.saved) < stateEvery {
		return nil
	}
	return im.save()
}

// complete hears that all of a window is written, or was refused. After a stop that isn't certain, and nothing is noted.
func (im *importer) complete(w *window) {
	im.mu.Lock()
	defer im.mu.Unlock()
	if im.sink.ctx.Err() != nil {
		return
	}
	w.complete, w.changes, w.room = true, nil, nil
	for len(im.windows) > 0 && im.windows[0].complete {
		d := im.windows[0]
		im.windows = im.windows[1:]
		im.state.File, im.state.Rows, im.state.Digest = d.file, d.rows, digestText(d.digest)
		im.state.Read += d.sums.Read
	}
}
