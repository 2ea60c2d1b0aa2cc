package backup

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/blob"
	wire "pegasus/gen/backup"
	"pegasus/gen/backupadmin"
	"pegasus/httpapi"
	"pegasus/meta/state"
	"pegasus/metrics"
)

func policyRequest(name string, tables ...int32) *wire.ConfigurationAddBackupPolicyRequest {
	return &wire.ConfigurationAddBackupPolicyRequest{PolicyName: name, BackupProviderType: "local_service", AppIds: tables, BackupIntervalSeconds: 86400,
		BackupHistoryCountToKeep: 3, StartTime: "24:0"}
}

func (m *meta) add(q *wire.ConfigurationAddBackupPolicyRequest) (r wire.ConfigurationAddBackupPolicyResponse) {
	m.s.addPolicy(asker, q, &r)
	return r
}

func (m *meta) modify(q wire.ConfigurationModifyBackupPolicyRequest) (r wire.ConfigurationModifyBackupPolicyResponse) {
	m.s.modifyPolicy(asker, &q, &r)
	return r
}

func (m *meta) query(count int32, names ...string) (r wire.ConfigurationQueryBackupPolicyResponse) {
	m.s.queryPolicies(asker, &wire.ConfigurationQueryBackupPolicyRequest{PolicyNames: names, BackupInfoCount: count}, &r)
	return r
}

// completed waits until that many backups of a policy are complete, and returns them, the newest first.
func (m *meta) completed(policy string, n int) (list []backupadmin.BackupState) {
	m.w.t.Helper()
	until(m.w.t, fmt.Sprintf("policy %s has %d backups", policy, n), func() bool {
		var r backupadmin.ListBackupsResponse
		m.s.list(asker, &backupadmin.ListBackupsRequest{Policy: base.Some(policy)}, &r)
		list = r.Backups
		return len(list) == n && !slices.ContainsFunc(list, func(v backupadmin.BackupState) bool { return v.Status != backupadmin.BACKUP_COMPLETED })
	})
	return list
}

// What is wrong with a new policy is told in upstream's words where it has some.
func TestBadPolicies(t *testing.T) {
	w := newWorld(t, 2)
	shop := w.table("shop", 1)
	m := w.lead(nil)
	if r := m.add(policyRequest("taken", shop)); r.Err != base.ErrOK || r.HintMessage != "" {
		t.Fatalf("%+v", r)
	}
	const match = "policy name should match regex '[a-zA-Z_:][a-zA-Z0-9_:]*' when act as a metric name in prometheus"
	for name, c := range map[string]struct {
		change func(q *wire.ConfigurationAddBackupPolicyRequest)
		want   string
	}{
		"name is taken":    {func(q *wire.ConfigurationAddBackupPolicyRequest) { q.PolicyName = "taken" }, "invalid policy name: 'taken', policy name is already exist"},
		"dash":             {func(q *wire.ConfigurationAddBackupPolicyRequest) { q.PolicyName = "bad-name" }, "invalid policy name: 'bad-name', " + match},
		"no name":          {func(q *wire.ConfigurationAddBackupPolicyRequest) { q.PolicyName = "" }, "invalid policy name: '', " + match},
		"colon":            {func(q *wire.ConfigurationAddBackupPolicyRequest) { q.PolicyName = "a:b" }, "invalid policy name: 'a:b', it has a colon"},
		"reserved":         {func(q *wire.ConfigurationAddBackupPolicyRequest) { q.PolicyName = "my_backup_info" }, "it contains backup_info"},
		"long name":        {func(q *wire.ConfigurationAddBackupPolicyRequest) { q.PolicyName = strings.Repeat("x", 5000) }, "more than 200 bytes"},
		"five minutes":     {func(q *wire.ConfigurationAddBackupPolicyRequest) { q.BackupIntervalSeconds = 300 }, "backup interval must be larger than cold_backup_checkpoint_reserve_minutes=10"},
		"an hour":          {func(q *wire.ConfigurationAddBackupPolicyRequest) { q.BackupIntervalSeconds = 3600 }, "the shortest is a day"},
		"for ever":         {func(q *wire.ConfigurationAddBackupPolicyRequest) { q.BackupIntervalSeconds = 1 << 60 }, "the longest is"},
		"unknown table":    {func(q *wire.ConfigurationAddBackupPolicyRequest) { q.AppIds = []int32{shop, 99} }, "invalid app 99"},
		"negative table":   {func(q *wire.ConfigurationAddBackupPolicyRequest) { q.AppIds = []int32{-1} }, "invalid app -1"},
		"no table":         {func(q *wire.ConfigurationAddBackupPolicyRequest) { q.AppIds = nil }, "1 to 10000 tables"},
		"unknown provider": {func(q *wire.ConfigurationAddBackupPolicyRequest) { q.BackupProviderType = "nosuch" }, "invalid backup_provider_type: nosuch"},
		"bad hour":         {func(q *wire.ConfigurationAddBackupPolicyRequest) { q.StartTime = "77:99" }, "there is no time of day 77:99"},
		"no time":          {func(q *wire.ConfigurationAddBackupPolicyRequest) { q.StartTime = "soon" }, `the start time "soon" isn't hour:minute`},
		"keeps none":       {func(q *wire.ConfigurationAddBackupPolicyRequest) { q.BackupHistoryCountToKeep = 0 }, "keeps at least one"},
		"keeps fewer":      {func(q *wire.ConfigurationAddBackupPolicyRequest) { q.BackupHistoryCountToKeep = -5 }, "keeps at least one"},
	} {
		q := policyRequest("fresh", shop)
		c.change(q)
		if r := m.add(q); r.Err != base.ErrInvalidParameters || !strings.Contains(r.HintMessage, c.want) {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if r := m.query(1); len(r.Policys) != 1 {
		t.Errorf("%+v", r)
	}
}

func TestModifyPolicy(t *testing.T) {
	w := newWorld(t, 2)
	shop, other := w.table("shop", 1), w.table("other", 1)
	w.setClock(time.Date(2026, 5, 5, 12, 0, 0, 0, time.UTC))
	m := w.lead(nil)
	q := policyRequest("daily", shop)
	q.StartTime = "23:00" // nothing begins
	m.add(q)
	type modify = wire.ConfigurationModifyBackupPolicyRequest
	entry := func() string {
		r := m.query(1, "daily")
		if r.Err != base.ErrOK || len(r.Policys) != 1 {
			t.Fatalf("%+v", r)
		}
		p := r.Policys[0]
		return fmt.Sprintf("%v %s %d %s %v", p.AppIds, p.BackupIntervalSeconds, p.BackupHistoryCountToKeep, p.StartTime, p.IsDisable)
	}
	for _, c := range []struct {
		q    modify
		code base.ErrorCode
		hint string
		want string
	}{
		{modify{PolicyName: "nosuch", NewBackupIntervalSec: base.Some[int64](86400)}, base.ErrInvalidParameters, "", "[1] 86400 3 23:00 false"},
		{modify{NewBackupIntervalSec: base.Some[int64](172800), BackupHistoryCountToKeep: base.Some[int32](5)}, base.ErrOK, "", "[1] 172800 5 23:00 false"},
		{modify{AddAppids: base.Some([]int32{other, shop})}, base.ErrOK, "", "[1 2] 172800 5 23:00 false"},
		{modify{RemovalAppids: base.Some([]int32{other, 77})}, base.ErrOK, "", "[1] 172800 5 23:00 false"},
		{modify{RemovalAppids: base.Some([]int32{shop})}, base.ErrInvalidParameters, "without a table", "[1] 172800 5 23:00 false"},
		{modify{AddAppids: base.Some([]int32{99, other}), NewBackupIntervalSec: base.Some[int64](5)}, base.ErrOK, "not changed: there is no table 99; backup interval must be larger", "[1 2] 172800 5 23:00 false"},
		{modify{StartTime: base.Some("7:30")}, base.ErrOK, "", "[1 2] 172800 5 07:30 false"},
		{modify{StartTime: base.Some("77:30"), BackupHistoryCountToKeep: base.Some[int32](9)}, base.ErrInvalidParameters, "no time of day", "[1 2] 172800 5 07:30 false"},
		{modify{BackupHistoryCountToKeep: base.Some[int32](-1)}, base.ErrInvalidParameters, "at least one", "[1 2] 172800 5 07:30 false"},
		{modify{IsDisable: base.Some(true)}, base.ErrOK, "", "[1 2] 172800 5 07:30 true"},
		{modify{IsDisable: base.Some(true)}, base.ErrOK, "", "[1 2] 172800 5 07:30 true"},
		{modify{IsDisable: base.Some(false)}, base.ErrOK, "", "[1 2] 172800 5 07:30 false"},
		{modify{IsDisable: base.Some(false)}, base.ErrOK, "policy is already enabled", "[1 2] 172800 5 07:30 false"},
	} {
		if c.q.PolicyName == "" {
			c.q.PolicyName = "daily"
		}
		r := m.modify(c.q)
		if r.Err != c.code || !strings.Contains(r.HintMessage, c.hint) || c.hint == "" && r.HintMessage != "" || entry() != c.want {
			t.Errorf("%+v: %+v, now %s, want %s", c.q, r, entry(), c.want)
		}
	}
	w.mu.Lock()
	sets := 0
	for _, c := range w.applied {
		if _, ok := c.(*state.SetBackupPolicy); ok {
			sets++
		}
	}
	w.mu.Unlock()
	if sets != 8 { // the new one, and seven that changed it
		t.Errorf("%d commands", sets)
	}
	for _, c := range []struct {
		name string
		code base.ErrorCode
	}{{"nosuch", base.ErrObjectNotFound}, {"daily", base.ErrOK}, {"daily", base.ErrObjectNotFound}} {
		var r backupadmin.RemoveBackupPolicyResponse
		if m.s.removePolicy(asker, &backupadmin.RemoveBackupPolicyRequest{PolicyName: c.name}, &r); r.Err != c.code {
			t.Errorf("remove %s: %+v", c.name, r)
		}
	}
}

// A policy begins by itself, keeps so many backups, and goes by the clock, also when that jumps.
func TestPolicyRuns(t *testing.T) {
	w := newWorld(t, 2)
	shop, other := w.table("shop", 2), w.table("other", 1)
	noon := time.Date(2026, 5, 5, 12, 0, 0, 0, time.UTC)
	w.setClock(noon)
	m := w.lead(nil)
	q := policyRequest("daily", shop, other)
	q.BackupHistoryCountToKeep = 2
	m.add(q)
	first := m.completed("daily", 1)[0]
	w.verify(first, map[string]int{"shop": 2, "other": 1})
	if first.BackupId != noon.UnixMilli() || first.BackupPath != "" || first.Directory != fmt.Sprintf("onebox/%d", first.BackupId) {
		t.Errorf("%+v", first)
	}
	w.setClock(noon.Add(24*time.Hour - time.Second))
	w.setClock(noon.Add(24 * time.Hour))
	m.completed("daily", 2)
	// The clock goes back by years: that counts as never, and the id goes up all the same.
	w.setClock(noon.Add(-5 * 365 * 24 * time.Hour))
	var l []backupadmin.BackupState
	until(t, "there is a backup of the clock that went back, and the first one is gone", func() bool {
		l = m.completed("daily", 2)
		return l[1].BackupId != first.BackupId
	})
	if l[0].BackupId != noon.Add(24*time.Hour).UnixMilli()+1 || l[1].BackupId != noon.Add(24*time.Hour).UnixMilli() {
		t.Errorf("%d and %d", l[0].BackupId, l[1].BackupId)
	}
	until(t, "its files are gone", func() bool { return len(w.place.names(first.Directory)) == 0 })
	r := m.query(5, "daily", "nosuch")
	if r.Err != base.ErrOK || r.HintMsg.V != "invalid policy_name nosuch" || len(r.BackupInfos[0]) != 2 || r.BackupInfos[0][0].BackupId != l[0].BackupId || len(r.BackupInfos[0][0].AppIds) != 2 {
		t.Errorf("%+v", r)
	}
	if r := m.query(1); r.HintMsg.Set || len(r.BackupInfos[0]) != 1 {
		t.Errorf("%+v", r)
	}
	if r := m.query(0, "nosuch"); r.Err != base.ErrInvalidParameters || r.HintMsg.V != "invalid policy_name nosuch" {
		t.Errorf("%+v", r)
	}
	// A restore reads the oldest: it stays, though there are more than two.
	res := w.apply(&state.StartRestore{Table: state.CreateTable{Name: "again", Partitions: 2, MaxReplicas: 3},
		From: state.Restoration{Provider: "local_service", Cluster: "onebox", BackupID: l[1].BackupId, App: "shop", AppID: shop}})
	if res.Err != base.ErrOK {
		t.Fatal(res.Err)
	}
	if d := m.delete(l[1].BackupId); d.Err != base.ErrInvalidState || !strings.Contains(d.HintMessage, fmt.Sprintf("table %d is being restored", res.TableID)) {
		t.Errorf("delete what is read: %+v", d)
	}
	w.setClock(noon.Add(48 * time.Hour))
	m.completed("daily", 3)
	w.apply(&state.EndRestore{ID: res.TableID, Now: 5})
	if l = m.completed("daily", 2); l[1].BackupId != noon.Add(24*time.Hour).UnixMilli()+1 {
		t.Errorf("%d is the oldest", l[1].BackupId)
	}
}

func (m *meta) delete(id int64) (r backupadmin.DeleteBackupResponse) {
	m.s.delete(asker, &backupadmin.DeleteBackupRequest{BackupId: id}, &r)
	return r
}

func (m *meta) cancel(id int64) (r backupadmin.CancelBackupResponse) {
	m.s.cancel(asker, &backupadmin.CancelBackupRequest{BackupId: id}, &r)
	return r
}

// hold keeps servers from beginning with partitions of a table until release is called.
func (w *world) hold(table int32) (release func()) {
	held := make(chan struct{})
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.servers {
		s.behave = func(q *wire.BackupRequest) (wire.BackupResponse, error, bool) {
			if q.Pid.AppID != table {
				return wire.BackupResponse{}, nil, false
			}
			select {
			case <-held:
				return wire.BackupResponse{}, nil, false
			default:
				return wire.BackupResponse{Err: base.ErrBusy, Pid: q.Pid, BackupId: q.BackupId, Reason: base.Some("it waits for its turn")}, nil, true
			}
		}
	}
	return sync.OnceFunc(func() { close(held) })
}

// A table is in one backup at a time: a second one is refused, one of a policy waits.
func TestTwoAtOnce(t *testing.T) {
	w := newWorld(t, 2)
	shop, other := w.table("shop", 2), w.table("other", 1)
	release := w.hold(shop)
	m := w.lead(func(_ *meta, o *Options) { o.Stall = maxWait })
	id := m.mustBegin(shop)
	if r := m.begin(shop, "elsewhere"); r.Err != base.ErrInvalidState || r.HintMessage != "Backup failed: app 1 is actively being backed up." {
		t.Errorf("%+v", r)
	}
	w.verify(m.await(m.mustBegin(other)), map[string]int{"other": 1})
	m.add(policyRequest("daily", shop, other))
	until(t, "the policy waits", func() bool {
		m.s.mu.Lock()
		defer m.s.mu.Unlock()
		return m.s.waits["daily"] == "table 1 is in another backup"
	})
	m.wantMetric("backup_overdue", 1)
	v, _ := m.show(id)
	if v.Status != backupadmin.BACKUP_RUNNING || len(v.Waiting) != 2 || v.Waiting[0] != "partition 0 of table shop: it waits for its turn" {
		t.Errorf("%+v", v)
	}
	release()
	w.verify(m.await(id), map[string]int{"shop": 2})
	w.verify(m.completed("daily", 1)[0], map[string]int{"shop": 2, "other": 1})
}

// While a backup of it runs a policy is changed, is disabled only by force, and not removed; the backup goes on as it began.
func TestPolicyChangesWhileItRuns(t *testing.T) {
	w := newWorld(t, 2)
	shop, other := w.table("shop", 2), w.table("other", 1)
	release := w.hold(shop)
	m := w.lead(func(_ *meta, o *Options) { o.Stall = maxWait })
	m.add(policyRequest("daily", shop))
	var id int64
	until(t, "it runs", func() bool {
		r := m.query(1, "daily")
		if len(r.BackupInfos[0]) == 1 {
			id = r.BackupInfos[0][0].BackupId
		}
		return id != 0
	})
	type modify = wire.ConfigurationModifyBackupPolicyRequest
	if r := m.modify(modify{PolicyName: "daily", IsDisable: base.Some(true)}); r.Err != base.ErrBusy || r.HintMessage != "" {
		t.Errorf("disable: %+v", r)
	}
	var rm backupadmin.RemoveBackupPolicyResponse
	if m.s.removePolicy(asker, &backupadmin.RemoveBackupPolicyRequest{PolicyName: "daily"}, &rm); rm.Err != base.ErrBusy {
		t.Errorf("remove: %+v", rm)
	}
	if r := m.modify(modify{PolicyName: "daily", AddAppids: base.Some([]int32{other}), RemovalAppids: base.Some([]int32{shop})}); r.Err != base.ErrOK {
		t.Errorf("other tables: %+v", r)
	}
	if r := m.modify(modify{PolicyName: "daily", IsDisable: base.Some(true), ForceDisable: base.Some(true)}); r.Err != base.ErrOK {
		t.Errorf("disable by force: %+v", r)
	}
	if d := m.delete(id); d.Err != base.ErrBusy {
		t.Errorf("delete: %+v", d)
	}
	release()
	w.verify(m.await(id), map[string]int{"shop": 2})
	v, _ := m.show(id)
	m.wantMetric("backup_recent_duration_ms", v.EndMs-v.StartMs)
	m.wantMetric("backup_recent_failed", 0)
	m.wantMetric("backup_overdue", 0)
}

// wantMetric demands a metric of the policy daily.
func (m *meta) wantMetric(name string, want int64) {
	m.w.t.Helper()
	sn := &metrics.Snapshot{}
	m.s.Collect(sn)
	got := string(sn.JSON(&metrics.Filter{}))
	if !strings.Contains(got, `"id": "backup_policy@daily"`) || !strings.Contains(got, `"policy_name": "daily"`) {
		m.w.t.Error(got)
	}
	_, rest, _ := strings.Cut(got, `"name": "`+name+`"`)
	_, rest, _ = strings.Cut(rest, `"value": `)
	var is int64
	if _, err := fmt.Sscan(rest, &is); err != nil || is != want {
		m.w.t.Errorf("%s is %d, want %d (%v) in\n%s", name, is, want, err, got)
	}
}

// A backup that is cancelled leaves nothing, though a server goes on writing for a while.
func TestCancel(t *testing.T) {
	w := newWorld(t, 2)
	shop := w.table("shop", 3)
	release := w.hold(shop)
	m := w.lead(func(_ *meta, o *Options) { o.Stall = maxWait })
	id := m.mustBegin(shop)
	until(t, "its first file is there", func() bool { return len(w.place.names("")) > 0 })
	late := 0
	w.place.fail(func(op, name string) error {
		if op == "delete tree" && strings.HasSuffix(name, fmt.Sprint(id)) && late < 3 {
			late++
			go func() {
				w.place.mu.Lock()
				defer w.place.mu.Unlock()
				w.place.files[name+"/shop_1/0/chkpt_x/000001.sst"] = []byte("late")
			}()
		}
		return nil
	})
	if r := m.cancel(id); r.Err != base.ErrOK {
		t.Fatalf("%+v", r)
	}
	v := m.await(id)
	if v.Status != backupadmin.BACKUP_CANCELLED || v.Reason != "cancelled by a test" {
		t.Errorf("%+v", v)
	}
	if left := w.place.names(""); len(left) > 0 {
		t.Errorf("left %v", left)
	}
	w.mu.Lock()
	clears := 0
	for _, s := range w.servers {
		for _, n := range s.clears {
			clears += n
		}
	}
	w.mu.Unlock()
	if clears == 0 {
		t.Error("no server was told")
	}
	if r := m.cancel(id); r.Err != base.ErrInvalidState || !strings.Contains(r.HintMessage, "has ended") {
		t.Errorf("again: %+v", r)
	}
	if r := m.cancel(5); r.Err != base.ErrObjectNotFound {
		t.Errorf("what isn't there: %+v", r)
	}
	if r := m.delete(id); r.Err != base.ErrOK {
		t.Errorf("delete the record: %+v", r)
	}
	until(t, "the record goes", func() bool { _, ok := m.show(id); return !ok })
	release()
	w.verify(m.await(m.mustBegin(shop)), map[string]int{"shop": 3})
}

// A backup that is deleted goes with its files; while the place is away that waits, and says so.
func TestDelete(t *testing.T) {
	w := newWorld(t, 2)
	shop := w.table("shop", 2)
	m := w.lead(nil)
	keep, id := m.mustBegin(shop), int64(0)
	m.await(keep)
	id = m.mustBegin(shop)
	m.await(id)
	w.place.fail(func(op, name string) error {
		if op == "delete tree" {
			return blob.ErrDenied
		}
		return nil
	})
	if r := m.delete(id); r.Err != base.ErrOK {
		t.Fatalf("%+v", r)
	}
	until(t, "it says why it is still there", func() bool {
		v, _ := m.show(id)
		return v.Status == backupadmin.BACKUP_DELETING && len(v.Waiting) == 1 && strings.Contains(v.Waiting[0], "access denied")
	})
	w.place.fail(nil)
	until(t, "it is gone", func() bool { _, ok := m.show(id); return !ok })
	for _, n := range w.place.names("") {
		if strings.Contains(n, fmt.Sprint(id)) {
			t.Errorf("left %s", n)
		}
	}
	v, _ := m.show(keep)
	w.verify(v, map[string]int{"shop": 2})
	if r := m.delete(id); r.Err != base.ErrObjectNotFound {
		t.Errorf("again: %+v", r)
	}
}

// What can't begin is told at once.
func TestBadBegin(t *testing.T) {
	w := newWorld(t, 2)
	shop := w.table("shop", 1)
	dropped := w.table("dropped", 1)
	w.apply(&state.DropTable{ID: dropped, Now: 5, Expire: 500})
	m := w.lead(nil)
	for _, c := range []struct {
		table          int32
		provider, path string
		code           base.ErrorCode
		hint           string
	}{
		{99, "local_service", "", base.ErrAppNotExist, ""},
		{shop, "nosuch", "", base.ErrInvalidParameters, "Backup failed: invalid backup_provider_type nosuch."},
		{dropped, "local_service", "", base.ErrInvalidState, "Backup failed: app 2 is not available."},
		{shop, "local_service", "a/../b", base.ErrInvalidParameters, "begins with a dot"},
		{shop, "local_service", "a//b", base.ErrInvalidParameters, "empty element"},
	} {
		var r wire.StartBackupAppResponse
		q := &wire.StartBackupAppRequest{BackupProviderType: c.provider, AppId: c.table}
		if c.path != "" {
			q.BackupPath = base.Some(c.path)
		}
		if m.s.startBackup(asker, q, &r); r.Err != c.code || !strings.Contains(r.HintMessage, c.hint) || r.BackupId.Set {
			t.Errorf("%+v: %+v", c, r)
		}
	}
	w.place.fail(func(op, name string) error {
		if op == "put" {
			return blob.ErrDenied
		}
		return nil
	})
	if r := m.begin(shop, ""); r.Err != base.ErrFsInternal || !strings.Contains(r.HintMessage, "access denied") || !strings.Contains(r.HintMessage, "app_metadata") {
		t.Errorf("%+v", r)
	}
	var r wire.QueryBackupStatusResponse
	for _, c := range []struct {
		table int32
		id    int64
		code  base.ErrorCode
	}{{99, 0, base.ErrAppNotExist}, {dropped, 0, base.ErrInvalidParameters}, {shop, 1, base.ErrInvalidParameters}, {shop, 0, base.ErrOK}} {
		q := &wire.QueryBackupStatusRequest{AppId: c.table, BackupId: base.NonZero(c.id)}
		if r = (wire.QueryBackupStatusResponse{}); true {
			m.s.queryStatus(asker, q, &r)
		}
		if r.Err != c.code || c.code == base.ErrInvalidParameters && r.HintMessage != "Backup not found, please check app_id or backup_id." {
			t.Errorf("%+v: %+v", c, r)
		}
	}
	if r.HintMessage != "There are 1 available backups for app 1." || !r.BackupItems.V[0].IsBackupFailed {
		t.Errorf("%+v", r)
	}
}

// A table whose name leads out of a backup's directory, or can't be that of a directory, isn't backed up: alone it is refused, and a policy goes
// on without it. Nothing is written or removed elsewhere.
func TestBadTableName(t *testing.T) {
	for _, name := range []string{"../1/shop", "a/b", ".hidden", strings.Repeat("n", 500)} {
		w := newWorld(t, 2)
		bad, good := w.table(name, 1), w.table("good", 1)
		elsewhere := "onebox/1/shop_1/meta/app_metadata"
		w.place.files[elsewhere] = []byte("{}")
		w.apply(&state.SetBackupPolicy{New: true, Policy: state.BackupPolicy{Name: "daily", Provider: "local_service", Tables: []int32{bad, good}, Interval: 86400, Keep: 3, Start: state.AnyTime}})
		m := w.lead(nil)
		list := m.completed("daily", 1)
		w.verify(list[0], map[string]int{"good": 1})
		if !strings.Contains(list[0].Tables[0].Skipped, "can't be in a backup") {
			t.Errorf("%+v", list[0])
		}
		var r wire.StartBackupAppResponse
		m.s.startBackup(asker, &wire.StartBackupAppRequest{BackupProviderType: "local_service", AppId: bad}, &r)
		if r.Err != base.ErrInvalidParameters || !strings.Contains(r.HintMessage, "rename it") || r.BackupId.Set {
			t.Errorf("%+v", r)
		}
		for _, f := range w.place.names("") {
			if f != elsewhere && !strings.HasPrefix(f, list[0].Directory+"/") {
				t.Errorf("%q: there is %s", name, f)
			}
		}
		if string(w.place.files[elsewhere]) != "{}" {
			t.Errorf("%q: another backup was changed", name)
		}
	}
}

// Where backups are switched off, not understood by all, or the state may be old, nothing begins, and it is said why.
func TestNoBackups(t *testing.T) {
	for name, c := range map[string]struct {
		version int
		off     bool
		frozen  string
		code    base.ErrorCode
		want    string
	}{
		"switched off": {2, true, "", base.ErrServiceNotActive, "meta.cold_backup_disabled"},
		"old cluster":  {1, false, "", base.ErrInvalidState, "pegasus meta upgrade-version"},
		"old state":    {2, false, "it may be old", base.ErrInvalidState, "it may be old"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 2)
			if c.version == 1 {
				w.st = state.New()
				w.apply(&state.Init{Cluster: "onebox", Quorum: "q"})
			}
			shop := w.table("shop", 1)
			if c.frozen != "" {
				w.apply(&state.SetBackupPolicy{New: true, Policy: state.BackupPolicy{Name: "daily", Provider: "local_service", Tables: []int32{shop}, Interval: 86400, Keep: 1, Start: state.AnyTime}})
			}
			w.frozen = c.frozen
			m := w.lead(func(_ *meta, o *Options) { o.Disabled = c.off })
			if r := m.begin(shop, ""); r.Err != c.code || !strings.Contains(r.HintMessage, c.want) {
				t.Errorf("%+v", r)
			}
			if r := m.add(policyRequest("fresh", shop)); r.Err != c.code || !strings.Contains(r.HintMessage, c.want) {
				t.Errorf("%+v", r)
			}
			want := c.code
			if c.off { // or every client would take it for the answer of a meta that doesn't lead
				want = base.ErrOperationDisabled
			}
			if r := m.cancel(1); r.Err != want || !strings.Contains(r.HintMessage, c.want) {
				t.Errorf("%+v", r)
			}
			if r := m.query(1); c.off != (r.Err == base.ErrServiceNotActive) {
				t.Errorf("%+v", r)
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			if len(w.applied) > 0 {
				t.Errorf("%T", w.applied[0])
			}
		})
	}
}

func TestPage(t *testing.T) {
	w := newWorld(t, 2)
	shop, other := w.table("shop", 1), w.table("other", 1)
	m := w.lead(nil)
	get := func(args ...httpapi.Arg) httpapi.Response {
		return m.s.page(asker, &httpapi.Request{Request: &http.Request{}, Path: "meta/backup_policy", Args: args})
	}
	if p := get(); p.Status != 0 || string(p.Body) != "{}\n" {
		t.Errorf("%d %s", p.Status, p.Body)
	}
	m.add(policyRequest("pol1", shop, other))
	q := policyRequest("pol2", shop)
	q.StartTime = "1:5"
	m.add(q)
	one := `"pol1":{"name":"pol1","backup_provider_type":"local_service","backup_interval":"86400","app_ids":"[1,2]","start_time":"24:00","status":"enabled","backup_history_count":"3"}`
	two := `"pol2":{"name":"pol2","backup_provider_type":"local_service","backup_interval":"86400","app_ids":"[1]","start_time":"01:05","status":"enabled","backup_history_count":"3"}`
	for _, c := range []struct {
		args []httpapi.Arg
		want string
	}{
		{nil, "{" + one + "," + two + "}\n"},
		{[]httpapi.Arg{{Name: "name", Value: "pol2"}}, "{" + two + "}\n"},
		{[]httpapi.Arg{{Name: "name", Value: "nosuch"}}, "{}\n"},
	} {
		if p := get(c.args...); p.Status != 0 || string(p.Body) != c.want {
			t.Errorf("%v: %d %s", c.args, p.Status, p.Body)
		}
	}
	if p := get(httpapi.Arg{Name: "x"}); p.Status != http.StatusBadRequest {
		t.Errorf("%d", p.Status)
	}
	m = w.lead(func(_ *meta, o *Options) { o.Disabled = true })
	if p := get(); p.Status != http.StatusNotFound || string(p.Body) != "cold_backup_disabled" {
		t.Errorf("%d %s", p.Status, p.Body)
	}
}
