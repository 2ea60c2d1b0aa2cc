package compat

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/compat_test/cluster"
	"pegasus/gen/backupadmin"
	gensplit "pegasus/gen/split"
)

// TestBackupThroughSplit: a table is split while it is backed up, and backed up while it is split. Each backup has each row
// once, also once it is restored.
func TestBackupThroughSplit(t *testing.T) {
	w := newRestoreWorld(t, 1, "")
	const rows = 2000
	w.fill("shop", 4, rows, 200)
	want := w.rows("shop")
	a := w.cl.Admin()
	status := func() (q *gensplit.QuerySplitResponse, err error) {
		return a.QuerySplit(runContext(t, time.Minute), "shop")
	}
	check := func(v backupadmin.BackupState, partitions int, as string) {
		t.Helper()
		shop := w.whole(&v)["shop"]
		if shop.Rows != rows || len(shop.Partitions) != partitions {
			t.Errorf("backup %d has %d rows in %d partitions, not %d in %d", v.BackupId, shop.Rows, len(shop.Partitions), rows, partitions)
		}
		w.mustRestore(shop.Table, as)
		equalRows(t, as, w.rows(as), want)
	}

	w.backupRate(50_000)
	first := w.startBackup("shop")
	w.backupUntil(first, time.Minute, "it runs", func(v *backupadmin.BackupState) bool { return v.Tables[0].Progress > 0 })
	ctx := runContext(t, 5*time.Minute)
	if err := a.StartSplit(ctx, "shop", 8); err != nil {
		t.Fatal(err)
	}
	if err := cluster.Poll(time.Minute, func() error {
		q, err := status()
		if err == nil && !strings.Contains(q.HintMsg.V, fmt.Sprintf("backup %d isn't done", first)) {
			err = fmt.Errorf("%d partitions, %s", len(q.Status), q.HintMsg.V)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	// Three wait for longer than the backup.
	for p := range int32(3) {
		if err := a.ControlSplit(ctx, "shop", gensplit.PAUSE, p, 0); err != nil {
			t.Fatal(err)
		}
	}
	w.backupRate(0)
	check(w.backupUntil(first, time.Minute, "it ends", atRest), 4, "first")
	if err := cluster.Poll(time.Minute, func() error {
		q, err := status()
		if err == nil && len(q.Status) != 3 {
			err = fmt.Errorf("%d partitions are to switch", len(q.Status))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	second := w.startBackup("shop")
	v := w.backupUntil(second, time.Minute, "what has switched is there", func(v *backupadmin.BackupState) bool { return v.Tables[0].PartitionsDone == 2 })
	if v = w.backupUntil(second, time.Minute, "it waits", func(v *backupadmin.BackupState) bool { return len(v.Waiting) > 0 }); !strings.Contains(strings.Join(v.Waiting, " "), "is being split") {
		t.Errorf("%+v", v)
	}
	if err := a.ControlSplit(ctx, "shop", gensplit.RESTART, -1, 0); err != nil {
		t.Fatal(err)
	}
	check(w.backupUntil(second, time.Minute, "it ends", atRest), 8, "second")
	if _, err := status(); !errors.Is(err, base.ErrInvalidState) {
		t.Errorf("the split isn't over: %v", err)
	}
	equalRows(t, "split", w.rows("shop"), want)
}
