package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"pegasus/blob"
	"pegasus/bulkload"
	"pegasus/bulkload/build"
)

// Loads are files of bulk loads that are written and read without a cluster.
type Loads struct {
	*Env
	Set  *blob.Set
	Errs io.Writer // rows that can't be loaded are told there
}

// LoadPlace is what a person says of the place of a load.
type LoadPlace struct {
	Where          string // NAME/PATH, or a URL
	Cluster, Table string
}

func (l *Loads) open(ctx context.Context, p LoadPlace) (*blob.Store, bulkload.Place, func(), error) {
	s, root, end, err := openPlace(ctx, l.Set, p.Where)
	return s, bulkload.Place{Root: root, Cluster: p.Cluster, Table: p.Table}, end, err
}

// toldRows is how many rows that can't be loaded are told one by one.
const toldRows = 100

// Build makes the files of a load out of rows.
func (l *Loads) Build(ctx context.Context, p LoadPlace, text bool, o build.Options) error {
	s, place, end, err := l.open(ctx, p)
	if err != nil {
		return err
	}
	defer end()
	o.Place, o.Now = place, time.Now()
	if text {
		o.Text = Unescape
	}
	told := 0
	o.Bad = func(p build.Problem) {
		if told++; told <= toldRows {
			fmt.Fprintln(l.Errs, p)
		}
	}
	res, err := build.Run(ctx, s, o)
	if told > toldRows {
		fmt.Fprintf(l.Errs, "and %d rows more\n", told-toldRows)
	}
	if err != nil {
		return err
	}
	left := ""
	for _, n := range []struct {
		n    int64
		what string
	}{{res.Bad, "can't be loaded"}, {res.Replaced, "have the keys of a later one"}, {res.Expired, "have expired"}} {
		if n.n > 0 {
			left += fmt.Sprintf(", %d %s", n.n, n.what)
		}
	}
	if left != "" {
		left = "; left out" + left[1:]
	}
	return l.print(map[string]any{"table": p.Table, "rows": res.Rows, "files": res.Files, "bytes": res.Bytes, "read": res.Read, "bad": res.Bad, "replaced": res.Replaced,
		"expired": res.Expired, "path": place.Dir()},
		"%d rows for table %s are in %s: %d files, %d bytes%s", res.Rows, Escape([]byte(p.Table)), place.Dir(), res.Files, res.Bytes, left)
}

// Verify reads all files of a load.
func (l *Loads) Verify(ctx context.Context, p LoadPlace) error {
	s, place, end, err := l.open(ctx, p)
	if err != nil {
		return err
	}
	defer end()
	info, err := bulkload.ReadInfo(ctx, s, place)
	if err != nil {
		return loadError(err)
	}
	var rows, bytes int64
	files := 0
	for i := range info.Partitions {
		n, m, err := verifyPartition(ctx, s, place, i, info.Partitions)
		if err != nil {
			return loadError(err)
		}
		rows += n
		bytes += m.Bytes
		files += len(m.Files)
	}
	return l.print(map[string]any{"table": info.AppName, "app_id": info.AppID, "partitions": info.Partitions, "rows": rows, "files": files, "bytes": bytes},
		"%d rows for table %s with id %d and %d partitions: %d files, %d bytes, all whole", rows, Escape([]byte(info.AppName)), info.AppID, info.Partitions, files, bytes)
}

func verifyPartition(ctx context.Context, s *blob.Store, place bulkload.Place, index, count int32) (rows int64, m bulkload.Metadata, err error) {
	p, err := bulkload.OpenPartition(ctx, s, place, index, count)
	if err != nil {
		return 0, m, err
	}
	it, err := p.Rows(ctx, nil)
	if err != nil {
		return 0, m, err
	}
	for it.Next() {
		rows++
	}
	return rows, p.Metadata, it.Close()
}

// loadError tells files that are bad from an attempt that failed.
func loadError(err error) error {
	if bulkload.Bad(err) {
		return &DamagedError{err.Error()}
	}
	return err
}
