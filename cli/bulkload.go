package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"pegasus/base"
	"pegasus/gen/bulkload"
)

// BulkLoad are the arguments of `bulkload start`.
type BulkLoad struct {
	Table, From, Cluster string
	Behind               bool
	Rate                 int64         // bytes per second of each server; 0: as they are configured
	Wait                 time.Duration // for its end; 0: don't
}

type bulkLoadJSON struct {
	Name    string `json:"name"`
	Status  string `json:"status"` // none, reading, pausing, paused, taking, done, failed, canceled
	Loading bool   `json:"loading"`
	// Percent is how much of the files is read; Ready and Taken are partitions.
	Percent    int32 `json:"percent"`
	Partitions int   `json:"partitions"`
	Ready      int   `json:"ready"`
	Taken      int   `json:"taken"`
	// Of all members, while they read.
	BytesRead   int64  `json:"bytes_read,omitempty"`
	BytesTotal  int64  `json:"bytes_total,omitempty"`
	SecondsLeft *int64 `json:"seconds_left,omitempty"` // as far as that can be told
	Error       string `json:"error,omitempty"`
	Why         string `json:"why,omitempty"`
}

var bulkLoadWords = map[bulkload.BulkLoadStatus]string{bulkload.BLS_INVALID: "none", bulkload.BLS_DOWNLOADING: "reading", bulkload.BLS_DOWNLOADED: "reading", bulkload.BLS_INGESTING: "taking",
	bulkload.BLS_SUCCEED: "done", bulkload.BLS_FAILED: "failed", bulkload.BLS_PAUSING: "pausing", bulkload.BLS_PAUSED: "paused", bulkload.BLS_CANCELED: "canceled"}

func (s *bulkLoadJSON) text() string {
	name, why := Escape([]byte(s.Name)), ""
	if s.Why != "" {
		why = ": " + s.Why
	}
	switch s.Status {
	case "none":
		return fmt.Sprintf("no files are being loaded into table %s, and none were", name)
	case "reading":
		much := ""
		if s.BytesTotal > 0 {
			much = fmt.Sprintf(" (%d of %d MiB by all servers)", s.BytesRead>>20, s.BytesTotal>>20)
		}
		if s.SecondsLeft != nil {
			much += fmt.Sprintf(", about %v more", time.Duration(*s.SecondsLeft)*time.Second)
		}
		return fmt.Sprintf("the files for table %s are being read: %d %%%s, %d of %d partitions are ready%s", name, s.Percent, much, s.Ready, s.Partitions, why)
	case "taking":
		return fmt.Sprintf("table %s takes the rows: %d of %d partitions have them%s", name, s.Taken, s.Partitions, why)
	case "done":
		if s.Loading {
			return fmt.Sprintf("table %s has the rows of the files; the servers remove what they made of them", name)
		}
		return fmt.Sprintf("table %s has the rows of the files", name)
	case "failed":
		if s.Error == "" { // it isn't told before all is removed
			return fmt.Sprintf("the load of table %s has failed, the servers remove what they made%s", name, why)
		}
		return fmt.Sprintf("the load of table %s failed with %s%s", name, s.Error, why)
	}
	return fmt.Sprintf("the load of table %s is %s%s", name, s.Status, why)
}

// bulkLoadState asks how far a load is.
func bulkLoadState(ctx context.Context, e *Env, name string) (*bulkLoadJSON, error) {
	q, err := e.Client.Admin().QueryBulkLoad(ctx, name)
	if err != nil {
		return nil, err
	}
	return bulkLoadOf(name, q), nil
}

// bulkLoadOf is what a person is shown of an answer.
func bulkLoadOf(name string, q *bulkload.QueryBulkLoadResponse) *bulkLoadJSON {
	s := &bulkLoadJSON{Name: name, Status: bulkLoadWords[q.AppStatus], Loading: q.IsBulkLoading.V, Partitions: len(q.PartitionsStatus)}
	if q.AppStatus == bulkload.BLS_FAILED && !s.Loading {
		s.Error = string(q.Err)
	}
	_, s.Why, _ = strings.Cut(q.HintMsg.V, "return last time result: ")
	if s.Loading {
		s.Why = q.HintMsg.V
	}
	s.BytesRead, s.BytesTotal = q.BytesRead.V, q.BytesTotal.V
	if q.SecondsLeft.Set {
		s.SecondsLeft = &q.SecondsLeft.V
	}
	sum, of := int32(0), int32(0)
	for p, is := range q.PartitionsStatus {
		switch is {
		case bulkload.BLS_DOWNLOADED:
			s.Ready++
		case bulkload.BLS_SUCCEED:
			s.Taken++
		}
		if p < len(q.BulkLoadStates) {
			for _, m := range q.BulkLoadStates[p] {
				sum += m.Val.DownloadProgress.V
			}
		}
		of += max(q.MaxReplicaCount, 1)
	}
	if s.Percent = sum / max(of, 1); s.Status == "taking" || s.Status == "done" {
		s.Percent = 100
	}
	return s
}

// BulkLoads are the commands about loads.
type BulkLoads struct{ *Env }

// Start begins to load files into a table.
func (e BulkLoads) Start(ctx context.Context, a BulkLoad) error {
	store, root := splitPlace(a.From)
	if strings.Contains(a.From, "://") {
		return errors.New("--from is NAME/ROOT: the servers read the files from the store [blob.NAME] of their configurations")
	}
	q := &bulkload.StartBulkLoadRequest{AppName: a.Table, ClusterName: a.Cluster, FileProviderType: store, RemoteRootPath: root, IngestBehind: a.Behind, BytesPerSecond: base.NonZero(a.Rate)}
	if err := e.Client.Admin().StartBulkLoad(ctx, q); err != nil {
		return err
	}
	return e.wait(ctx, a.Table, a.Wait)
}

// wait shows how far a load is until it ends, if it is to be waited for.
func (e BulkLoads) wait(ctx context.Context, table string, wait time.Duration) error {
	is, err := bulkLoadState(ctx, e.Env, table)
	if err == nil && wait > 0 {
		line := ""
		err = e.watch(ctx, wait, fmt.Sprintf("the load goes on; see `pegasus bulkload status %s`", table), func() (string, bool, error) {
			now, err := bulkLoadState(ctx, e.Env, table)
			if err != nil {
				return "", false, err
			}
			if is = now; now.Loading && now.Status != "failed" && now.Status != "canceled" { // what comes of it is told below, once
				line = e.meter(int64(now.Percent), 100) + now.text()
			}
			return line, !now.Loading, nil
		})
		if err == nil && is.Status != "done" {
			return errors.New(is.text())
		}
	}
	if err != nil {
		return err
	}
	return e.print(is, "%s", is.text())
}

// Status shows how far a load is, or what came of the last one.
func (e BulkLoads) Status(ctx context.Context, table string, wait time.Duration) error {
	return e.wait(ctx, table, wait)
}

// Control does something with a load that is under way.
func (e BulkLoads) Control(ctx context.Context, table string, do bulkload.BulkLoadControlType) error {
	if err := e.Client.Admin().ControlBulkLoad(ctx, table, do); err != nil {
		return err
	}
	return e.wait(ctx, table, 0)
}

// Clear forgets what came of the last load of a table.
func (e BulkLoads) Clear(ctx context.Context, table string) error {
	if err := e.Client.Admin().ClearBulkLoad(ctx, table); err != nil {
		return err
	}
	return e.wait(ctx, table, 0)
}
