package build

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"pegasus/base"
	"pegasus/blob"
	"pegasus/bulkload"
	"pegasus/rocks/pegasus"
	"pegasus/rowfile"
)

// Options say what is made of what.
type Options struct {
	bulkload.WriterOptions
	From   []string      // files with rows
	Format string        // of all of them; empty: by the ends of their names
	Text   rowfile.Bytes // how keys and values are written in JSON lines and CSV
	Skip   bool          // rows that can't be loaded are left out, and of rows with the same keys the last one is taken
	Memory int           // bytes for sorting; 0 for 256 MiB
	Temp   string        // directory for files of sorted rows; empty: the system's
	Now    time.Time
	// Bad hears of each row that can't be loaded or that another one replaces; nil: nobody does.
	Bad func(Problem)
	// Progress hears now and then how many rows were read, and written; nil: nobody does.
	Progress func(read, written int64)
}

const (
	defaultMemory = 256 << 20
	minMemory     = 256 << 10
)

// Problem is a row that isn't loaded.
type Problem struct {
	File string
	Line int64 // of Parquet the number of the row; from 1 on
	Err  error
}

func (p Problem) String() string { return fmt.Sprintf("%s:%d: %v", p.File, p.Line, p.Err) }

// Result is what became of the rows.
type Result struct {
	Read     int64 // with all that follow
	Bad      int64 // can't be loaded
	Replaced int64 // a later row has the same keys
	Expired  int64 // by Options.Now; they are left out
	bulkload.Written
}

// BadRowsError says that nothing was written, because of rows.
type BadRowsError struct{ Bad, Replaced, Read int64 }

func (e *BadRowsError) Error() string {
	what := fmt.Sprintf("%d of %d rows can't be loaded", e.Bad, e.Read)
	if e.Bad == 0 {
		what = fmt.Sprintf("%d of %d rows have the keys of a later one", e.Replaced, e.Read)
	}
	return what + ", so nothing was written; correct them, or skip them (--skip)"
}

// Run reads the rows, sorts them, and writes the files. After an error nothing is left at the place.
func Run(ctx context.Context, s *blob.Store, o Options) (Result, error) {
	if o.Memory <= 0 {
		o.Memory = defaultMemory
	}
	o.Memory = max(o.Memory, minMemory)
	if len(o.From) == 0 {
		return Result{}, errors.New("no files with rows were given")
	}
	// Before hours of sorting: it says whether the files can be written at all.
	w, err := bulkload.Create(ctx, s, o.WriterOptions)
	if err != nil {
		return Result{}, err
	}
	b := &builder{ctx: ctx, o: &o}
	res, err := b.run(w)
	if err != nil {
		// It must not stay, also if the command was interrupted.
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		if left := w.Abort(clean); left != nil {
			err = errors.Join(err, fmt.Errorf("remove what was written of %s by hand: %w", o.Place.Dir(), left))
		}
		return res, err
	}
	return res, nil
}

type builder struct {
	ctx context.Context
	o   *Options
	s   sorter
	res Result
}

func (b *builder) run(w *bulkload.Writer) (Result, error) {
	dir, err := os.MkdirTemp(b.o.Temp, "pegasus-build-")
	if err != nil {
		return b.res, fmt.Errorf("make a directory for files of sorted rows: %w", err)
	}
	defer os.RemoveAll(dir)
	b.s = sorter{dir: dir, memory: b.o.Memory, fanIn: defaultFanIn}
	for i := range b.o.From {
		if err := b.read(int32(i)); err != nil {
			return b.res, err
		}
	}
	if b.res.Bad > 0 && !b.o.Skip {
		return b.res, &BadRowsError{b.res.Bad, 0, b.res.Read}
	}
	m, err := b.s.sorted()
	if err != nil {
		return b.res, err
	}
	defer m.close()
	if err := b.write(m, w); err != nil {
		return b.res, err
	}
	if b.res.Replaced > 0 && !b.o.Skip {
		return b.res, &BadRowsError{0, b.res.Replaced, b.res.Read}
	}
	b.res.Written, err = w.Close()
	return b.res, err
}

// often is how many rows there are between looks at the context.
const often = 4096

func (b *builder) tell(written int64) error {
	if b.o.Progress != nil {
		b.o.Progress(b.res.Read, written)
	}
	return context.Cause(b.ctx)
}

func (b *builder) bad(file int32, line int64, err error) {
	if b.o.Bad != nil {
		b.o.Bad(Problem{b.o.From[file], line, err})
	}
}

// read reads an input into the sorter.
func (b *builder) read(file int32) error {
	in, end, err := rowfile.Open(b.o.From[file], rowfile.ReadOptions{Format: b.o.Format, Text: b.o.Text})
	if err != nil {
		return err
	}
	defer end.Close()
	var row rowfile.Row
	var rec record
	for {
		if b.res.Read%often == 0 {
			if err := b.tell(0); err != nil {
				return err
			}
		}
		line, err := in.Next(&row)
		var wrong *rowfile.BadRow
		switch {
		case err == io.EOF:
			return nil
		case errors.As(err, &wrong):
			err = wrong.Err
		case err != nil:
			return fmt.Errorf("%s:%d: %w", b.o.From[file], line, err)
		default:
			err = b.take(&row, &rec)
		}
		b.res.Read++
		switch {
		case err == errExpired:
			b.res.Expired++
			continue
		case err != nil:
			b.res.Bad++
			b.bad(file, line, err)
			continue
		}
		rec.file, rec.line = file, line
		if err := b.s.add(&rec); err != nil {
			return err
		}
	}
}

var errExpired = errors.New("expired")

// take turns a row into a record.
func (b *builder) take(row *rowfile.Row, rec *record) error {
	if err := base.CheckHashKey(row.HashKey); err != nil {
		return err
	}
	if n := len(row.HashKey) + len(row.SortKey) + len(row.Value); n > rowfile.MostRow-64 {
		return rowfile.ErrLong
	}
	v := pegasus.Value{Data: row.Value}
	var gone bool
	var err error
	if v.ExpireTS, gone, err = row.ExpireTS(b.o.Now); err != nil {
		return err
	}
	if gone {
		return errExpired
	}
	written := row.Written
	if written == 0 {
		written = b.o.Now.UnixMicro()
	}
	if written < 0 || written >= 1<<56 {
		return fmt.Errorf("it was written at %d: give Unix microseconds", row.Written)
	}
	v.Timetag = uint64(written) << 8
	rec.key = base.AppendKey(rec.key[:0], row.HashKey, row.SortKey)
	rec.value = pegasus.AppendValue(rec.value[:0], v)
	rec.partition = int32(base.HashOf(row.HashKey, row.SortKey) % uint64(b.o.Partitions))
	return nil
}

// write hands the records to the writer, the last of those with the same keys. When a row is replaced and that isn't wanted, what follows
// is only told.
func (b *builder) write(m *merge, w *bulkload.Writer) error {
	var held record // may be replaced by the next
	var have bool
	var n int64
	flush := func() error {
		if !have || b.res.Replaced > 0 && !b.o.Skip {
			return nil
		}
		v, err := pegasus.ParseValue(pegasus.MaxDataVersion, held.value)
		if err != nil {
			return err
		}
		return w.Add(held.partition, held.key, v)
	}
	for {
		if n%often == 0 {
			if err := b.tell(n); err != nil {
				return err
			}
		}
		r, err := m.next()
		if err == io.EOF {
			return flush()
		}
		if err != nil {
			return err
		}
		n++
		if have && r.partition == held.partition && bytes.Equal(r.key, held.key) {
			b.res.Replaced++
			b.bad(held.file, held.line, fmt.Errorf("%s:%d has the same keys", b.o.From[r.file], r.line))
		} else if err := flush(); err != nil {
			return err
		}
		held, have = record{r.partition, r.file, r.line, append(held.key[:0], r.key...), append(held.value[:0], r.value...)}, true
	}
}
