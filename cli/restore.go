package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"pegasus/backup"
	"pegasus/base"
	"pegasus/base/config"
	"pegasus/blob/stores"
	"pegasus/client"
	"pegasus/gen/restore"
)

// RestoreOptions say how a table is restored.
type RestoreOptions struct {
	As      string // its name; "": that of the table that was backed up
	SkipBad bool
	Wait    bool
	// Blobs are the blob stores of the configuration, by name: a URL is one of them.
	Blobs map[string]config.Blob
	// Progress gets a line that changes, if it is a terminal; nil: nobody looks.
	Progress io.Writer
}

// restorePoll is how often a restore is asked for its progress.
const restorePoll = 300 * time.Millisecond

// RestoreSource reads what a person names: NAME/PATH, where [blob.NAME] is in the servers' configuration, or a URL
// of a file in one of these stores. It ends with the directory of a table in a backup, ID/TABLE_TABLEID.
func RestoreSource(place string, blobs map[string]config.Blob) (client.RestoreSource, error) {
	fail := func(format string, args ...any) (client.RestoreSource, error) {
		return client.RestoreSource{}, fmt.Errorf("%q: %s; write NAME/[PATH/]CLUSTER/ID/TABLE_TABLEID, where [blob.NAME] is in the configuration of the servers", place, fmt.Sprintf(format, args...))
	}
	provider, dir, _ := strings.Cut(place, "/")
	if strings.Contains(place, "://") {
		var err error
		if provider, dir, err = providerOf(place, blobs); err != nil {
			return fail("%v", err)
		}
	}
	dir, table := path.Split(strings.Trim(dir, "/"))
	at, err := backup.ParseLocation(strings.Trim(dir, "/"))
	i := strings.LastIndexByte(table, '_')
	if err != nil || i <= 0 {
		return fail("it isn't the directory of a table in a backup")
	}
	id, err := strconv.ParseInt(table[i+1:], 10, 32)
	if err != nil || id <= 0 {
		return fail("%s doesn't end with the id of a table", table)
	}
	return client.RestoreSource{Provider: provider, Path: at.Path, Cluster: at.Cluster, Policy: at.Policy, ID: at.ID, Table: table[:i], TableID: int32(id)}, nil
}

// providerOf finds the store that a URL is in.
func providerOf(url string, blobs map[string]config.Blob) (name, dir string, err error) {
	want, err := stores.ParseURL(url)
	if err != nil {
		return "", "", err
	}
	best := -1
	for n, b := range blobs {
		root := strings.Trim(b.Path, "/")
		rest, below := strings.CutPrefix(strings.Trim(want.Path, "/")+"/", root+"/")
		if root == "" {
			rest, below = strings.Trim(want.Path, "/"), true
		}
		if b.Type != want.Type || b.Bucket != want.Bucket || !below || len(root) <= best {
			continue
		}
		name, dir, best = n, strings.Trim(rest, "/"), len(root)
	}
	if best < 0 {
		return "", "", errors.New("the servers can read only from stores of their configuration, and none of [blob.*] of --config holds it")
	}
	return name, dir, nil
}

// Restore makes a table of a backup.
func (e ClusterBackups) Restore(ctx context.Context, place string, o RestoreOptions) error {
	from, err := RestoreSource(place, o.Blobs)
	if err != nil {
		return err
	}
	name := o.As
	if name == "" {
		name = from.Table
	}
	id, err := e.Client.Admin().Restore(ctx, from, name, o.SkipBad)
	if err != nil {
		return err
	}
	if !o.Wait {
		return e.print(map[string]any{"table": name, "id": id}, "table %s (id %d) is being restored; `pegasus restore ls` shows the progress", name, id)
	}
	r, err := awaitRestore(ctx, e.Client.Admin(), id, o.Progress)
	if err != nil {
		return err
	}
	if e.JSON {
		return e.json(newRestoreRow(r))
	}
	fmt.Fprintf(e.Out, "table %s (id %d) is restored: %d partitions, in %v\n", r.AppName, r.AppId, r.Partitions, time.Duration(r.EndMs-r.StartMs)*time.Millisecond)
	for _, p := range r.Pending {
		if p.Skipped {
			fmt.Fprintf(e.Out, "partition %d is empty: %s\n", p.Partition, p.Reason)
		}
	}
	return nil
}

// awaitRestore waits until the restore of a table has ended, and its partitions can be written.
func awaitRestore(ctx context.Context, a client.Admin, id int32, progress io.Writer) (*restore.RestoreState, error) {
	shown := false
	defer func() {
		if shown {
			fmt.Fprint(progress, "\r\x1b[K")
		}
	}()
	for {
		list, err := a.Restores(ctx, id)
		if err != nil {
			return nil, err
		}
		if len(list) == 0 {
			return nil, fmt.Errorf("the meta servers don't remember a restore of table %d", id)
		}
		r := &list[0]
		switch r.Status {
		case restore.RESTORE_FAILED:
			return nil, fmt.Errorf("restore table %s: it failed, and there is no such table: %s", r.AppName, r.Reason)
		case restore.RESTORE_COMPLETED:
			if writable(ctx, a, r.AppName) {
				return r, nil
			}
		}
		if isTerminal(progress) {
			fmt.Fprint(progress, "\r\x1b[K"+restoreBar(r))
			shown = true
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for the restore of table %s, which goes on (`pegasus restore ls` shows the progress): %w", r.AppName, ctx.Err())
		case <-time.After(restorePoll):
		}
	}
}

// writable tells whether each partition of a table has as many members as a write needs.
func writable(ctx context.Context, a client.Admin, table string) bool {
	c, err := a.QueryConfig(ctx, table)
	if err != nil {
		return false
	}
	for i := range c.Partitions {
		p := &c.Partitions[i]
		if p.Primary == 0 || 1+len(p.Secondaries) < base.MinMembers(p.MaxReplicaCount, 0) {
			return false
		}
	}
	return true
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}

// restoreBar is a line that shows how far a restore is.
func restoreBar(r *restore.RestoreState) string {
	const width = 40
	n := int(r.Progress) * width / 1000
	return fmt.Sprintf("%s [%s%s] %3d %%, %d of %d partitions", r.AppName, strings.Repeat("#", n), strings.Repeat(".", width-n), r.Progress/10, r.PartitionsDone, r.Partitions)
}

// restoreRow is a restore as it is printed.
type restoreRow struct {
	Table      string           `json:"table"`
	ID         int32            `json:"id"`
	Status     string           `json:"status"`
	Reason     string           `json:"reason,omitempty"`
	Progress   float64          `json:"percent"`
	Partitions int32            `json:"partitions"`
	Done       int32            `json:"partitions_done"`
	Start      string           `json:"start"`         // RFC 3339
	End        string           `json:"end,omitempty"` // likewise
	From       string           `json:"from"`
	Pending    []restorePending `json:"pending,omitempty"`
}

// restorePending is a partition that isn't restored yet, or is left empty.
type restorePending struct {
	Partition int32   `json:"partition"`
	Progress  float64 `json:"percent"`
	Node      string  `json:"node,omitempty"`
	Reason    string  `json:"reason,omitempty"`
	Skipped   bool    `json:"skipped,omitempty"`
}

var restoreWords = map[restore.RestoreStatus]string{restore.RESTORE_RUNNING: "running", restore.RESTORE_COMPLETED: "completed", restore.RESTORE_FAILED: "failed"}

func newRestoreRow(r *restore.RestoreState) restoreRow {
	at := func(ms int64) string {
		if ms == 0 {
			return ""
		}
		return time.UnixMilli(ms).UTC().Format(time.RFC3339)
	}
	row := restoreRow{Table: r.AppName, ID: r.AppId, Status: restoreWords[r.Status], Reason: r.Reason, Progress: float64(r.Progress) / 10, Partitions: r.Partitions,
		Done: r.PartitionsDone, Start: at(r.StartMs), End: at(r.EndMs), From: r.Provider + "/" + r.Directory}
	for _, p := range r.Pending {
		k := restorePending{Partition: p.Partition, Progress: float64(p.Progress) / 10, Reason: p.Reason, Skipped: p.Skipped}
		if p.Node != 0 {
			k.Node = p.Node.String()
		}
		row.Pending = append(row.Pending, k)
	}
	return row
}

// RestoreList lists the restores that the meta servers remember; of one table, if it isn't "", with its partitions.
func (e ClusterBackups) RestoreList(ctx context.Context, table string) error {
	list, err := e.Client.Admin().Restores(ctx, 0)
	if err != nil {
		return err
	}
	rows := []restoreRow{}
	for i := range list {
		if table == "" || list[i].AppName == table || strconv.Itoa(int(list[i].AppId)) == table {
			rows = append(rows, newRestoreRow(&list[i]))
		}
	}
	if len(rows) == 0 && table != "" {
		return fmt.Errorf("the meta servers remember no restore of table %s; `pegasus restore ls` lists those that they do", table)
	}
	if e.JSON {
		return e.json(rows)
	}
	g := newGrid("table", "#id", "status", "#done", "#partitions", "start", "end", "from")
	for _, r := range rows {
		end := r.End
		if end == "" {
			end = "-"
		}
		g.add(Escape([]byte(r.Table)), r.ID, r.Status, fmt.Sprintf("%.1f %%", r.Progress), fmt.Sprintf("%d/%d", r.Done, r.Partitions), r.Start, end, Escape([]byte(r.From)))
	}
	if err := g.print(e.Out); err != nil {
		return err
	}
	for _, r := range rows {
		if r.Reason != "" {
			fmt.Fprintf(e.Out, "table %s (id %d): %s\n", Escape([]byte(r.Table)), r.ID, Escape([]byte(r.Reason)))
		}
		for _, p := range r.Pending {
			if table != "" || p.Skipped {
				fmt.Fprintf(e.Out, "table %s (id %d), partition %d: %s\n", Escape([]byte(r.Table)), r.ID, p.Partition, p.text())
			}
		}
	}
	return nil
}

func (p *restorePending) text() string {
	switch {
	case p.Skipped:
		return "left empty: " + Escape([]byte(p.Reason))
	case p.Node != "":
		return fmt.Sprintf("%.1f %% at %s", p.Progress, p.Node)
	case p.Reason != "":
		return "waits to be tried again: " + Escape([]byte(p.Reason))
	}
	return "waits"
}
