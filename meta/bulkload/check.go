package bulkload

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"pegasus/base"
	"pegasus/blob"
	files "pegasus/bulkload"
	"pegasus/gen/bulkload"
)

const (
	// checkTime bounds the look at the files, while somebody waits for the answer. Tools wait for 10 s and more.
	checkTime = 7 * time.Second
	// readers is how many partitions are looked at at a time.
	readers = 8
)

// codeOf is the code of an error of the files, or of their place.
func codeOf(err error) base.ErrorCode {
	switch {
	case errors.Is(err, files.ErrOther):
		return base.ErrInconsistentState
	case errors.Is(err, files.ErrMissing), errors.Is(err, blob.ErrNotFound):
		return base.ErrObjectNotFound
	case errors.Is(err, files.ErrDamaged), errors.Is(err, blob.ErrCorrupt):
		return base.ErrCorruption
	case errors.Is(err, files.ErrFormat):
		return base.ErrInvalidData
	case errors.Is(err, blob.ErrInvalid):
		return base.ErrInvalidParameters
	case errors.Is(err, context.DeadlineExceeded):
		return base.ErrTimeout
	}
	return base.ErrFileOperationFailed
}

// hintOf is what an error says, without its code.
func hintOf(err error) string {
	text, code := err.Error(), ": "+string(base.CodeOf(err))
	return strings.TrimSuffix(text, code)
}

// check looks at the files of a load: whether they are there, for that table, of sizes and of a form that can be read. It reads none to its
// end. Partitions that it doesn't come to in time are left to the members, which look at all files before any of them takes a row. A
// hint begins with upstream's words.
func (s *Service) check(q *bulkload.StartBulkLoadRequest, table, partitions int32) (place files.Place, code base.ErrorCode, hint string) {
	refuse := func(code base.ErrorCode, words string, err error) (files.Place, base.ErrorCode, string) {
		return place, code, words + ": " + hintOf(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), checkTime)
	defer cancel()
	store, err := s.o.Blobs.Get(ctx, q.FileProviderType)
	switch {
	case errors.Is(err, blob.ErrNotFound): // there is no such place
		return refuse(base.ErrInvalidParameters, "invalid file_provider", err)
	case err != nil:
		return refuse(codeOf(err), "file_provider error", err)
	}
	place = files.Place{Root: strings.Trim(q.RemoteRootPath, "/"), Cluster: q.ClusterName, Table: q.AppName}
	if err := place.Check(); err != nil {
		return refuse(base.ErrInvalidParameters, "invalid remote_root_path, cluster_name or app_name", err)
	}
	info, err := files.ReadInfo(ctx, store, place)
	switch {
	case errors.Is(err, files.ErrDamaged):
		return refuse(base.ErrCorruption, "bulk_load_info damaged", err)
	case err != nil:
		return refuse(codeOf(err), "read bulk_load_info failed", err)
	}
	if err := info.CheckTable(store, place, table, partitions); err != nil {
		return refuse(base.ErrInconsistentState, "app_id or partition_count is inconsistent", err)
	}
	if info.AppName != "" && info.AppName != q.AppName {
		return refuse(base.ErrInconsistentState, "app_name is inconsistent", fmt.Errorf("%s says that the files are for table %.*q, not %.*q; make the files again, for this table",
			place.InfoFile(), base.MaxTableName, info.AppName, base.MaxTableName, q.AppName))
	}
	seen, first, err := look(ctx, store, place, partitions)
	switch {
	case err != nil:
		return refuse(codeOf(err), fmt.Sprintf("check partition %d failed", first), err)
	case seen == 0:
		return refuse(base.ErrTimeout, "file_provider error", fmt.Errorf("no partition's files could be looked at within %v; check that %v is up and can be reached", checkTime, store))
	case seen < partitions:
		s.Log().Infof("load files into table %q: %d of %d partitions were looked at within %v, the servers look at the others", q.AppName, seen, partitions, checkTime)
	}
	return place, base.ErrOK, ""
}

// look looks at the files of the partitions, as long as ctx goes on. It returns how many it has seen; and the first partition of which something
// is wrong, and what.
func look(ctx context.Context, store *blob.Store, place files.Place, partitions int32) (seen, first int32, bad error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	next := int32(0)
	for range min(readers, partitions) {
		wg.Go(func() {
			for {
				mu.Lock()
				p := next
				next++
				mu.Unlock()
				if p >= partitions || ctx.Err() != nil {
					return
				}
				err := lookAt(ctx, store, place, p, partitions)
				mu.Lock()
				switch {
				case err == nil:
					seen++
				case ctx.Err() != nil && !files.Bad(err): // it was too late, or another one is bad
				case bad == nil || p < first:
					first, bad = p, err
					cancel()
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return seen, first, bad
}

func lookAt(ctx context.Context, store *blob.Store, place files.Place, partition, count int32) error {
	p, err := files.OpenPartition(ctx, store, place, partition, count)
	if err != nil {
		return err
	}
	rows, err := p.Rows(ctx, nil)
	if err != nil {
		return err
	}
	return rows.Close()
}
