package backup

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	files "pegasus/backup"
	"pegasus/base"
	"pegasus/base/version"
	"pegasus/blob"
	wire "pegasus/gen/backup"
	"pegasus/gen/backupadmin"
	"pegasus/meta/state"
)

// A backup of one table is made by secondaries, and is whole; what it is of is as the table was.
func TestOneShot(t *testing.T) {
	w := newWorld(t, 2)
	m := w.lead(nil)
	shop := w.table("shop", 8)
	r := m.begin(shop, "/my/path/")
	if r.Err != base.ErrOK || r.HintMessage != "Backup succeed: metadata of app 1 has been successfully backed up and backup request has been sent to replica servers." {
		t.Fatalf("%+v", r)
	}
	v := m.await(r.BackupId.V)
	w.verify(v, map[string]int{"shop": 8})
	if v.Directory != fmt.Sprintf("my/path/onebox/%d", v.BackupId) || v.Tables[0].PartitionsDone != 8 || v.Tables[0].Bytes == 0 || v.Tables[0].Progress != 1000 {
		t.Errorf("%+v", v)
	}
	info, err := files.ReadTable(context.Background(), w.store, files.Location{Path: "my/path", Cluster: "onebox", ID: v.BackupId}.Table("shop", shop))
	if err != nil || info.PartitionCount != 8 || info.MaxReplicaCount != 3 || len(info.Envs) != 0 {
		t.Errorf("%+v, %v", info, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for a, s := range w.servers {
		for g, n := range s.asked {
			if _, c, _ := w.st.Config(g); c.Primary == a && n > 0 {
				t.Errorf("the primary of %v was asked", g)
			}
		}
	}
}

// Whatever is wrong with a server, another one of the partition makes its backup, the primary if need be.
func TestServersThatDoNot(t *testing.T) {
	code := func(c base.ErrorCode) func(q *wire.BackupRequest) (wire.BackupResponse, error, bool) {
		return func(q *wire.BackupRequest) (wire.BackupResponse, error, bool) {
			return wire.BackupResponse{Err: c, Pid: q.Pid, BackupId: q.BackupId, Reason: base.Some("a reason")}, nil, true
		}
	}
	for name, behave := range map[string]func(q *wire.BackupRequest) (wire.BackupResponse, error, bool){
		"no member":      code(base.ErrInvalidState),
		"no replica":     code(base.ErrObjectNotFound),
		"failure":        code(base.ErrLocalAppFailure),
		"newer backup":   code(base.ErrVersionOutdated),
		"no provider":    code(base.ErrInvalidParameters),
		"waits for ever": code(base.ErrBusy),
		"old program": func(*wire.BackupRequest) (wire.BackupResponse, error, bool) {
			return wire.BackupResponse{}, base.ErrHandlerNotFound, true
		},
		"no answer": func(*wire.BackupRequest) (wire.BackupResponse, error, bool) {
			return wire.BackupResponse{}, base.ErrTimeout, true
		},
		"an old id": func(q *wire.BackupRequest) (wire.BackupResponse, error, bool) {
			return wire.BackupResponse{Err: base.ErrOK, Progress: 1000, Pid: q.Pid, BackupId: q.BackupId - 1}, nil, true
		},
		"another partition": func(q *wire.BackupRequest) (wire.BackupResponse, error, bool) {
			return wire.BackupResponse{Err: base.ErrOK, Progress: 1000, Pid: base.Gpid{AppID: q.Pid.AppID, PartitionIndex: 99}, BackupId: q.BackupId}, nil, true
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 2)
			shop := w.table("shop", 1) // on servers 1, 2, 3
			for _, i := range []int{2, 3} {
				w.server(addr(i), func(s *replicaServer) { s.behave = behave })
			}
			m := w.lead(nil)
			w.verify(m.await(m.mustBegin(shop)), map[string]int{"shop": 1})
			w.server(addr(1), func(s *replicaServer) {
				if len(s.asked) == 0 {
					t.Error("the primary wasn't asked")
				}
			})
		})
	}
}

// A server that dies in the middle is replaced by another, and one that lives on but is said to be dead is told to
// end.
func TestServerDies(t *testing.T) {
	w := newWorld(t, 2)
	shop := w.table("shop", 1)
	var once sync.Once
	begun := make(chan base.RPCAddress, 1)
	for _, i := range []int{2, 3} {
		w.server(addr(i), func(s *replicaServer) {
			s.behave = func(q *wire.BackupRequest) (wire.BackupResponse, error, bool) {
				mine := false
				once.Do(func() { mine = true; begun <- s.addr })
				return wire.BackupResponse{Err: base.ErrBusy, Progress: 300, Pid: q.Pid, BackupId: q.BackupId}, nil, mine || s.asked[q.Pid] > 1
			}
		})
	}
	m := w.lead(func(_ *meta, o *Options) { o.Stall = maxWait })
	id := m.mustBegin(shop)
	a := <-begun
	until(t, "its progress is told", func() bool { v, _ := m.show(id); return v.Tables[0].Progress == 300 })
	for _, i := range []int{2, 3} {
		w.server(addr(i), func(s *replicaServer) { s.behave = nil })
	}
	w.server(a, func(s *replicaServer) { s.dead = true })
	w.verify(m.await(id), map[string]int{"shop": 1})
}

// Where no server can make the backup it fails, says why, and leaves nothing.
func TestBackupFails(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(w *world)
		want  string
	}{
		"no space": {func(w *world) {
			w.place.fail(func(op, name string) error {
				if op == "put" && strings.HasSuffix(name, ".sst") {
					return blob.ErrNoSpace
				}
				return nil
			})
		}, "no space left"},
		"metas can't write": {func(w *world) {
			w.place.fail(func(op, name string) error {
				if op == "put" && strings.HasSuffix(name, "app_backup_status") {
					return blob.ErrDenied
				}
				return nil
			})
		}, "access denied"},
		"servers write elsewhere": {func(w *world) {
			for _, s := range w.servers {
				s.behave = func(q *wire.BackupRequest) (wire.BackupResponse, error, bool) {
					return wire.BackupResponse{Err: base.ErrOK, Progress: 1000, Pid: q.Pid, BackupId: q.BackupId}, nil, true
				}
			}
		}, "has to be the same place on all servers"},
		"nobody lives": {func(w *world) {
			for _, s := range w.servers {
				s.dead = true
			}
		}, "no living member"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 2)
			shop := w.table("shop", 2)
			c.spoil(w)
			m := w.lead(func(_ *meta, o *Options) { o.Patience = 3 * time.Second })
			id := m.mustBegin(shop)
			v := m.await(id)
			if v.Status != backupadmin.BACKUP_FAILED || !strings.Contains(v.Reason, c.want) {
				t.Errorf("%v: %s", v.Status, v.Reason)
			}
			if left := w.place.names(""); len(left) > 0 {
				t.Errorf("it left %v", left)
			}
			var r wire.QueryBackupStatusResponse
			m.s.queryStatus(asker, &wire.QueryBackupStatusRequest{AppId: shop}, &r)
			if r.Err != base.ErrOK || len(r.BackupItems.V) != 1 || !r.BackupItems.V[0].IsBackupFailed || r.BackupItems.V[0].EndTimeMs == 0 {
				t.Errorf("%+v", r)
			}
			// The table is free for another one.
			w.place.fail(nil)
			w.mu.Lock()
			for _, s := range w.servers {
				s.dead, s.behave = false, nil
			}
			w.mu.Unlock()
			w.verify(m.await(m.mustBegin(shop)), map[string]int{"shop": 2})
		})
	}
}

// A place that is away for a while delays a backup; and what it waits for is told.
func TestPlaceIsAway(t *testing.T) {
	w := newWorld(t, 2)
	shop := w.table("shop", 2)
	m := w.lead(nil)
	away := true
	var mu sync.Mutex
	w.place.fail(func(op, name string) error {
		mu.Lock()
		defer mu.Unlock()
		if away && op == "put" && strings.HasSuffix(name, "backup_info") {
			return blob.Fail(blob.ErrUnavailable, errors.New("the cable is out"))
		}
		return nil
	})
	id := m.mustBegin(shop)
	until(t, "it is told what it waits for", func() bool {
		v, _ := m.show(id)
		return len(v.Waiting) > 0 && strings.Contains(v.Waiting[0], "the cable is out")
	})
	mu.Lock()
	away = false
	mu.Unlock()
	w.verify(m.await(id), map[string]int{"shop": 2})
}

// A leader may die before or after each thing that it does: the next one goes on, and comes to a whole backup.
func TestLeaderDies(t *testing.T) {
	for at := 1; ; at++ {
		w := newWorld(t, 2)
		shop, other := w.table("shop", 2), w.table("other", 1)
		w.apply(&state.SetBackupPolicy{New: true, Policy: state.BackupPolicy{Name: "daily", Provider: "local_service", Tables: []int32{shop, other}, Interval: 86400, Keep: 3, Start: state.AnyTime}})
		var mu sync.Mutex
		steps, died := 0, ""
		first := w.lead(func(m *meta, _ *Options) {
			m.step = func(what string) {
				mu.Lock()
				steps++
				now := steps == at
				if now {
					died = what
				}
				mu.Unlock()
				if now {
					m.depose()
				}
			}
		})
		var id int64
		until(t, "the first leader is dead or has done all", func() bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			list := w.st.Backups()
			return first.deposed || len(list) == 1 && !list[0].Running()
		})
		first.end()
		m := w.lead(nil)
		until(t, "there is a backup", func() bool {
			m.Read(func(st *state.State) {
				if l := st.Backups(); len(l) > 0 {
					id = l[0].ID
				}
			})
			return id != 0
		})
		w.verify(m.await(id), map[string]int{"shop": 2, "other": 1})
		m.Read(func(st *state.State) {
			if n := len(st.Backups()); n != 1 {
				t.Errorf("%d backups", n)
			}
		})
		m.end()
		if t.Failed() || died == "" {
			if at < 15 {
				t.Fatalf("after %d steps, at %q", at, died)
			}
			t.Logf("%d steps", at-1)
			return
		}
	}
}

// The same for a cancelled one, of which nothing is left.
func TestLeaderDiesAtCancel(t *testing.T) {
	for at := 1; ; at++ {
		w := newWorld(t, 2)
		shop := w.table("shop", 2)
		w.apply(&state.StartBackup{ID: 7, Provider: "local_service", Root: "onebox", Tables: []int32{shop}, Now: 7})
		w.store.PutBytes(context.Background(), "onebox/7/shop_1/0/half", []byte("x"))
		w.apply(&state.EndBackup{ID: 7, Status: state.BackupCancelled, Now: 8, Why: "x"})
		var mu sync.Mutex
		steps, died := 0, false
		first := w.lead(func(m *meta, _ *Options) {
			m.step = func(what string) {
				mu.Lock()
				steps++
				now := steps == at
				died = died || now
				mu.Unlock()
				if now {
					m.depose()
				}
			}
		})
		until(t, "the first leader is dead or has done all", func() bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			return first.deposed || !w.st.Backups()[0].Cleaning
		})
		first.end()
		m := w.lead(nil)
		if v := m.await(7); v.Status != backupadmin.BACKUP_CANCELLED || len(w.place.names("")) > 0 {
			t.Errorf("%v, left %v", v.Status, w.place.names(""))
		}
		m.end()
		if !died || t.Failed() {
			if at < 3 {
				t.Fatalf("after %d steps", at)
			}
			return
		}
	}
}

// A table that is dropped meanwhile fails a backup of it alone; one that is renamed keeps the name in the
// backup.
func TestTablesChange(t *testing.T) {
	split := []state.Command{&state.StartSplit{Table: 1, Count: 4}, &state.OrderSwitch{Table: 1, Parent: 1}}
	for name, c := range map[string]struct {
		change []state.Command
		want   backupadmin.BackupStatus
		why    string
	}{
		"dropped":  {[]state.Command{&state.DropTable{ID: 1, Now: 5, Expire: 500}}, backupadmin.BACKUP_FAILED, "table shop (1) was dropped"},
		"renamed":  {[]state.Command{&state.RenameTable{ID: 1, Name: "new"}}, backupadmin.BACKUP_COMPLETED, ""},
		"split":    {split[:1], backupadmin.BACKUP_COMPLETED, ""}, // which waits
		"switches": {split, backupadmin.BACKUP_FAILED, "table shop (1) had 2 partitions, and has 4"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, version.Splits.Since())
			shop := w.table("shop", 2)
			hold := make(chan struct{})
			for _, s := range w.servers {
				s.behave = func(q *wire.BackupRequest) (wire.BackupResponse, error, bool) {
					select {
					case <-hold:
						return wire.BackupResponse{}, nil, false
					default:
						return wire.BackupResponse{Err: base.ErrBusy, Pid: q.Pid, BackupId: q.BackupId}, nil, true
					}
				}
			}
			m := w.lead(func(_ *meta, o *Options) { o.Stall = maxWait })
			id := m.mustBegin(shop)
			for _, c := range c.change {
				if res := w.apply(c); res.Err != base.ErrOK {
					t.Fatal(res.Err)
				}
			}
			m.Read(func(st *state.State) {
				if st.BackedUp(1, 2) != id || st.BackedUp(1, 4) != 0 {
					t.Error("the table isn't known to be backed up")
				}
			})
			close(hold)
			v := m.await(id)
			if v.Status != c.want {
				t.Fatalf("%v: %s", v.Status, v.Reason)
			}
			if c.want == backupadmin.BACKUP_COMPLETED {
				w.verify(v, map[string]int{"shop": 2})
			} else if !strings.Contains(v.Reason, c.why) || len(w.place.names("")) > 0 {
				t.Errorf("%s, left %v", v.Reason, w.place.names(""))
			}
		})
	}
}

// A backup of a table that is being split takes partitions once they have switched: before, one would have the rows of two.
func TestTableIsBeingSplit(t *testing.T) {
	w := newWorld(t, version.Splits.Since())
	shop := w.table("shop", 2)
	must := func(c state.Command) {
		t.Helper()
		if res := w.apply(c); res.Err != base.ErrOK {
			t.Fatal(res.Err)
		}
	}
	switches := func(p int32) {
		t.Helper()
		must(&state.OrderSwitch{Table: shop, Parent: p})
		g := base.Gpid{AppID: shop, PartitionIndex: p}
		w.mu.Lock()
		_, c, _ := w.st.Config(g)
		w.mu.Unlock()
		c.Ballot++
		must(&state.RegisterChild{Parent: g, Config: c})
	}
	must(&state.StartSplit{Table: shop, Count: 4})
	switches(1)
	m := w.lead(nil)
	id := m.mustBegin(shop)
	var v backupadmin.BackupState
	until(t, "the others wait", func() bool {
		v, _ = m.show(id)
		return v.Tables[0].PartitionsDone == 2 && len(v.Waiting) == 2
	})
	for _, why := range v.Waiting {
		if !strings.Contains(why, "is being split") {
			t.Error(why)
		}
	}
	switches(0)
	w.verify(m.await(id), map[string]int{"shop": 4})
}

// A backup of a policy goes on without a table that was dropped, and nothing of that is left in it.
func TestPolicyLosesTable(t *testing.T) {
	w := newWorld(t, 2)
	shop, other := w.table("shop", 2), w.table("other", 2)
	hold := make(chan struct{})
	for _, s := range w.servers {
		s.behave = func(q *wire.BackupRequest) (wire.BackupResponse, error, bool) {
			if q.Pid.AppID != other || q.Pid.PartitionIndex != 1 {
				return wire.BackupResponse{}, nil, false
			}
			select {
			case <-hold:
				return wire.BackupResponse{}, nil, false
			default:
				return wire.BackupResponse{Err: base.ErrBusy, Pid: q.Pid, BackupId: q.BackupId}, nil, true
			}
		}
	}
	w.apply(&state.SetBackupPolicy{New: true, Policy: state.BackupPolicy{Name: "daily", Provider: "local_service", Tables: []int32{shop, other}, Interval: 86400, Keep: 3, Start: state.AnyTime}})
	m := w.lead(func(_ *meta, o *Options) { o.Stall = maxWait })
	var v backupadmin.BackupState
	until(t, "one table is there, and half of the other", func() bool {
		var r backupadmin.ListBackupsResponse
		m.s.list(asker, &backupadmin.ListBackupsRequest{Policy: base.Some("daily")}, &r)
		if len(r.Backups) == 0 {
			return false
		}
		v = r.Backups[0]
		return v.Tables[0].Progress == 1000 && v.Tables[1].PartitionsDone == 1
	})
	w.apply(&state.DropTable{ID: other, Now: 5, Expire: 500})
	close(hold)
	v = m.await(v.BackupId)
	w.verify(v, map[string]int{"shop": 2})
	if !strings.Contains(v.Tables[1].Skipped, "dropped") || len(w.place.names(v.Directory+"/other")) > 0 {
		t.Errorf("%+v, left %v", v, w.place.names(""))
	}
}

// Partitions are given to servers evenly, and no server has more than a few at a time.
func TestServersShare(t *testing.T) {
	w := newWorld(t, 2)
	big := w.table("big", 64)
	m := w.lead(func(_ *meta, o *Options) { o.Stall = maxWait }) // a slow machine isn't a server that stalls
	var mu sync.Mutex
	made, most := map[base.RPCAddress]map[base.Gpid]bool{}, 0
	for i := 1; i <= 4; i++ {
		w.server(addr(i), func(s *replicaServer) {
			made[s.addr] = map[base.Gpid]bool{}
			s.behave = func(q *wire.BackupRequest) (wire.BackupResponse, error, bool) {
				mu.Lock()
				defer mu.Unlock()
				made[s.addr][q.Pid] = true
				m.s.mu.Lock()
				defer m.s.mu.Unlock()
				most = max(most, m.s.server(s.addr).asked)
				return wire.BackupResponse{}, nil, false
			}
		})
	}
	w.verify(m.await(m.mustBegin(big)), map[string]int{"big": 64})
	mu.Lock()
	defer mu.Unlock()
	if most != perServer {
		t.Errorf("a server had %d at a time", most)
	}
	for a, l := range made {
		if len(l) < 8 || len(l) > 24 {
			t.Errorf("server %v made %d of 64", a, len(l))
		}
	}
	m.s.mu.Lock()
	defer m.s.mu.Unlock()
	for a, s := range m.s.servers {
		if s.asked != 0 {
			t.Errorf("server %v counts as asked for %d partitions", a, s.asked)
		}
	}
}

// What a table is is written once, by whom a backup begins, and stays as it is: nobody who reads it meanwhile finds it replaced.
func TestTableIsWrittenOnce(t *testing.T) {
	w := newWorld(t, 2)
	m := w.lead(nil)
	shop := w.table("shop", 1)
	var mu sync.Mutex
	writes := 0
	w.place.fail(func(op, name string) error {
		if op != "put" || !strings.HasSuffix(name, "/app_metadata") {
			return nil
		}
		mu.Lock()
		writes++
		mu.Unlock()
		<-time.After(20 * time.Millisecond) // some rounds, in which another one could begin to drive it
		return nil
	})
	for range 5 {
		m.await(m.mustBegin(shop))
	}
	mu.Lock()
	defer mu.Unlock()
	if writes != 5 {
		t.Errorf("%d writes for 5 backups", writes)
	}
}

// A split that is paused keeps its own table out of the backups of a policy, and no other one.
func TestPolicyDoesNotWaitForSplit(t *testing.T) {
	w := newWorld(t, version.Splits.Since())
	shop, other := w.table("shop", 2), w.table("other", 2)
	for _, c := range []state.Command{&state.StartSplit{Table: other, Count: 4}, &state.ControlSplit{Table: other, Do: state.SplitPause, Parent: -1},
		&state.SetBackupPolicy{New: true, Policy: state.BackupPolicy{Name: "daily", Provider: "local_service", Tables: []int32{shop, other}, Interval: 86400, Keep: 3, Start: state.AnyTime}}} {
		if res := w.apply(c); res.Err != base.ErrOK {
			t.Fatal(res.Err)
		}
	}
	m := w.lead(func(_ *meta, o *Options) { o.Patience = 4 * time.Second })
	var id int64
	until(t, "the policy begins", func() bool {
		m.Read(func(st *state.State) { id = st.LastBackup() })
		return id != 0
	})
	v := m.await(id)
	if v.Status != backupadmin.BACKUP_COMPLETED {
		t.Fatalf("%v, %s", v.Status, v.Reason)
	}
	w.verify(v, map[string]int{"shop": 2})
	if !strings.Contains(v.Tables[1].Skipped, "is being split") || len(w.place.names(v.Directory+"/other")) > 0 {
		t.Errorf("%+v, left %v", v, w.place.names(""))
	}
}
