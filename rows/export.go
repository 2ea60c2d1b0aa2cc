package rows

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"pegasus/base"
	"pegasus/client"
	"pegasus/gen/rrdb"
	"pegasus/rocks/pegasus"
	"pegasus/rowfile"
)

// Source is a table that is read.
type Source interface {
	Partitions() int
	// Scan walks over a partition in the order of the keys.
	Scan(partition int, o client.ScanOptions) Rows
	// Still is an error if the table isn't the one any more that it was, or has other partitions: then rows may have been passed over.
	Still(ctx context.Context) error
}

// Rows is a walk; see client.Scanner.
type Rows interface {
	Next(ctx context.Context) bool
	Row() client.Row
	Err() error
	Close()
}

type table struct {
	*client.Table
	id         int32
	partitions int
}

// Partitions implements Source: as many as there were at first.
func (t table) Partitions() int { return t.partitions }

// Still implements Source.
func (t table) Still(ctx context.Context) error { return t.Table.Still(ctx, t.id, t.partitions) }

// Scan implements Source.
func (t table) Scan(partition int, o client.ScanOptions) Rows { return t.ScanAll(o, partition) }

// Of makes a Source of a table of a cluster.
func Of(t *client.Table) Source { return table{t, t.AppID(), t.Partitions()} }

// Choice says which rows are read.
type Choice struct {
	HashFilter, SortFilter client.Filter
	Parallel               int // partitions at a time; 0: 4
}

const (
	// batchBytes bounds the rows of a partition that wait for their turn, with those of a page that is read.
	batchBytes   = 1 << 20
	defaultWalks = 4
	pageRows     = 1000
)

func (c Choice) walks() int {
	if c.Parallel <= 0 {
		return defaultWalks
	}
	return c.Parallel
}

// String names the rows that are chosen, for files that say how far something is.
func (c Choice) String() string {
	var list []string
	for _, f := range []struct {
		name string
		f    client.Filter
	}{{"hash keys", c.HashFilter}, {"sort keys", c.SortFilter}} {
		if f.f.Type != rrdb.FT_NO_FILTER {
			list = append(list, fmt.Sprintf("%s %v %q", f.name, f.f.Type, f.f.Pattern))
		}
	}
	return strings.Join(list, ", ")
}

func (c Choice) scan(noValue bool) client.ScanOptions {
	return client.ScanOptions{Batch: pageRows, HashFilter: c.HashFilter, SortFilter: c.SortFilter, ExpireTS: true, NoValue: noValue}
}

// Output is where an export goes.
type Output interface {
	// Write makes a file of what write writes. It is there when it is whole, or not at all.
	Write(ctx context.Context, name string, write func(io.Writer) error) error
	// Read returns a small file; false: there is none.
	Read(ctx context.Context, name string) (b []byte, there bool, err error)
	// Has tells whether there is a file.
	Has(ctx context.Context, name string) (bool, error)
}

// ExportOptions say what is exported, and how.
type ExportOptions struct {
	Choice
	Format   string       // of rowfile.Formats
	Text     rowfile.Text // how keys and values are written in JSON lines and CSV; nil: base64
	Encoding string       // names Text, for a directory
	Name     string       // of the file, or of the directory if Split
	Split    bool         // a file for each partition. Those that are there are kept, if they are of the same table and format
	Table    string       // with Cluster and AppID, for a directory
	AppID    int32
	Progress func(Progress) // nil: nobody is told
}

// Exported is what was written.
type Exported struct {
	Rows  int64 `json:"rows"`
	Files int   `json:"files"`
	Kept  int   `json:"kept"` // files that were there
}

// exportInfo says what the files of a directory are.
type exportInfo struct {
	Format     int    `json:"format"`
	Table      string `json:"table"`
	AppID      int32  `json:"app_id"`
	Partitions int    `json:"partitions"`
	Rows       string `json:"rows"` // their format
	Encoding   string `json:"encoding,omitempty"`
	Chosen     string `json:"chosen,omitempty"` // rows; empty: all
}

func (i *exportInfo) how() (s string) {
	if i.Encoding != "" {
		s = " in " + i.Encoding
	}
	if i.Chosen != "" {
		s += ", of " + i.Chosen
	}
	return s
}

const infoName = "export.json"

type exporter struct {
	src Source
	o   *ExportOptions

	mu   sync.Mutex
	rows int64
	done int
}

// Export writes the rows of a table into a file, or into one for each partition. It isn't a snapshot: of rows that are written meanwhile
// the old or the new one is there.
func Export(ctx context.Context, src Source, to Output, o ExportOptions) (Exported, error) {
	if _, err := rowfile.NewWriter(o.Format, io.Discard, nil); err != nil {
		return Exported{}, err
	}
	e := &exporter{src: src, o: &o}
	if o.Split {
		return e.split(ctx, to)
	}
	err := to.Write(ctx, o.Name, func(w io.Writer) error {
		out, err := rowfile.NewWriter(o.Format, w, o.Text)
		if err != nil {
			return err
		}
		if err := e.all(ctx, func(ctx context.Context, p int) error { return e.partition(ctx, p, out, &e.mu) }); err != nil {
			return err
		}
		return out.Close()
	})
	return Exported{Rows: e.rows, Files: 1}, err
}

func (e *exporter) all(parent context.Context, one func(context.Context, int) error) error {
	g, ctx := errgroup.WithContext(parent)
	g.SetLimit(e.o.walks())
	for p := range e.src.Partitions() {
		g.Go(func() error { return one(ctx, p) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return e.src.Still(parent)
}

func (e *exporter) split(ctx context.Context, to Output) (Exported, error) {
	info := exportInfo{Format: stateFormat, Table: e.o.Table, AppID: e.o.AppID, Partitions: e.src.Partitions(), Rows: e.o.Format, Encoding: e.o.Encoding, Chosen: e.o.Choice.String()}
	name := path.Join(e.o.Name, infoName)
	b, there, err := to.Read(ctx, name)
	if err != nil {
		return Exported{}, err
	}
	if there {
		var old exportInfo
		if err := json.Unmarshal(b, &old); err != nil || old != info {
			return Exported{}, fmt.Errorf("%s is of another export (table %s with id %d and %d partitions, as %s%s): choose another directory, or remove this one", name, old.Table, old.AppID, old.Partitions, old.Rows, old.how())
		}
	} else {
		doc, err := json.Marshal(info)
		if err != nil {
			return Exported{}, err
		}
		if err := to.Write(ctx, name, func(w io.Writer) error { _, err := w.Write(append(doc, '\n')); return err }); err != nil {
			return Exported{}, err
		}
	}
	var res Exported
	err = e.all(ctx, func(ctx context.Context, p int) error {
		name := path.Join(e.o.Name, fmt.Sprintf("part-%05d.%s", p, e.o.Format))
		has, err := to.Has(ctx, name)
		if err != nil {
			return err
		}
		if !has {
			var mine sync.Mutex
			err = to.Write(ctx, name, func(w io.Writer) error {
				out, err := rowfile.NewWriter(e.o.Format, w, e.o.Text)
				if err != nil {
					return err
				}
				return errors.Join(e.partition(ctx, p, out, &mine), out.Close())
			})
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		if has {
			res.Kept++
			e.done++
		} else if err == nil {
			res.Files++
		}
		return err
	})
	res.Rows = e.rows
	return res, err
}

// batchRows is how many rows are written before another partition's turn.
const batchRows = 200

// partition writes the rows of a partition. mu is held while out is used.
func (e *exporter) partition(ctx context.Context, p int, out rowfile.Writer, mu *sync.Mutex) error {
	s := e.src.Scan(p, e.o.scan(false))
	defer s.Close()
	var batch []client.Row
	var size int
	flush := func() error {
		mu.Lock()
		for _, r := range batch {
			row := pegasus.Row{HashKey: r.HashKey, SortKey: r.SortKey, Value: pegasus.Value{Data: r.Value, ExpireTS: r.ExpireTS}}
			if err := out.Write(int32(p), row); err != nil {
				mu.Unlock()
				return err
			}
		}
		mu.Unlock()
		e.tell(len(batch), 0)
		clear(batch)
		batch, size = batch[:0], 0
		return nil
	}
	for s.Next(ctx) {
		r := s.Row()
		batch = append(batch, r)
		if size += len(r.HashKey) + len(r.SortKey) + len(r.Value); len(batch) == batchRows || size >= batchBytes {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if err := s.Err(); err != nil {
		return fmt.Errorf("read partition %d: %w", p, err)
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if err := flush(); err != nil {
		return err
	}
	e.tell(0, 1)
	return nil
}

func (e *exporter) tell(rows, done int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.rows += int64(rows)
	e.done += done
	if e.o.Progress != nil {
		e.o.Progress(Progress{Read: e.rows, Partitions: e.src.Partitions(), Done: e.done})
	}
}

// key is the row key of a row.
func key(r *client.Row) []byte { return base.AppendKey(nil, r.HashKey, r.SortKey) }
