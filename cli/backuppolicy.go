package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"pegasus/base"
	"pegasus/gen/backup"
	"pegasus/gen/backupadmin"
	"pegasus/gen/layer2"
)

// BackupPolicy are the arguments of `backup policy add` and `set`. Zero fields aren't changed by set.
type BackupPolicy struct {
	Name, Provider      string
	Tables, Add, Remove []string
	Every               time.Duration
	At                  string
	Keep                int32
}

// leastEvery is the shortest time between two backups of a policy.
const leastEvery = 24 * time.Hour

type policyJSON struct {
	Name     string            `json:"name"`
	Provider string            `json:"provider"`
	Tables   []policyTableJSON `json:"tables"`
	Every    string            `json:"every"`
	At       string            `json:"at"` // hh:mm; 24:00 is any time
	Keep     int32             `json:"keep"`
	Enabled  bool              `json:"enabled"`
	Backups  []policyRunJSON   `json:"backups,omitempty"`
}

type policyTableJSON struct {
	ID   int32  `json:"id"`
	Name string `json:"name"` // "": the table was dropped
}

type policyRunJSON struct {
	ID      int64  `json:"id"`
	Started string `json:"started"`
	Ended   string `json:"ended,omitempty"`
}

func (j *policyJSON) names() string {
	var l []string
	for _, t := range j.Tables {
		if t.Name == "" {
			l = append(l, fmt.Sprintf("(dropped %d)", t.ID))
			continue
		}
		l = append(l, Escape([]byte(t.Name)))
	}
	return strings.Join(l, " ")
}

func (j *policyJSON) at() string {
	if j.At == "24:00" {
		return "any time"
	}
	return j.At
}

// days writes a time without the zeros that a duration has.
func days(d time.Duration) string {
	if d%(24*time.Hour) == 0 {
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
	return strings.TrimSuffix(strings.TrimSuffix(d.String(), "0s"), "0m")
}

// policies returns policies, all if no name is given.
func (e ClusterBackups) policies(ctx context.Context, count int32, names ...string) ([]policyJSON, error) {
	list, infos, err := e.Client.Admin().BackupPolicies(ctx, count, names...)
	if err != nil {
		return nil, err
	}
	tables, err := e.Client.Admin().ListTables(ctx, layer2.AS_AVAILABLE)
	if err != nil {
		return nil, err
	}
	name := map[int32]string{}
	for i := range tables {
		name[tables[i].AppId] = tables[i].AppName
	}
	out := []policyJSON{}
	for i := range list {
		p := &list[i]
		seconds, _ := strconv.ParseInt(p.BackupIntervalSeconds, 10, 64)
		j := policyJSON{Name: p.PolicyName, Provider: p.BackupProviderType, Every: days(time.Duration(seconds) * time.Second), At: p.StartTime,
			Keep: p.BackupHistoryCountToKeep, Enabled: !p.IsDisable, Tables: []policyTableJSON{}}
		for _, id := range p.AppIds {
			j.Tables = append(j.Tables, policyTableJSON{id, name[id]})
		}
		if i < len(infos) {
			for _, b := range infos[i] {
				j.Backups = append(j.Backups, policyRunJSON{b.BackupId, milli(b.StartTimeMs), milli(b.EndTimeMs)})
			}
		}
		out = append(out, j)
	}
	return out, nil
}

func noPolicy(name string) error {
	return fmt.Errorf("there is no backup policy %s: `pegasus backup policy ls` lists the policies", Escape([]byte(name)))
}

// PolicyAdd makes a policy.
func (e ClusterBackups) PolicyAdd(ctx context.Context, a BackupPolicy) error {
	if err := e.backupsServed(ctx, a.Name); err != nil {
		return err
	}
	ids, err := e.tableIDs(ctx, a.Tables)
	if err != nil {
		return err
	}
	err = e.Client.Admin().AddBackupPolicy(ctx, backup.ConfigurationAddBackupPolicyRequest{PolicyName: a.Name, BackupProviderType: a.Provider, AppIds: ids,
		BackupIntervalSeconds: int64(a.Every / time.Second), BackupHistoryCountToKeep: a.Keep, StartTime: a.At})
	if err != nil {
		return err
	}
	return e.showPolicy(ctx, a.Name, " is added")
}

// backupsServed says why the metas have no backups, if so: the requests that upstream has too are answered with
// an error that everybody takes for that of a meta which doesn't lead.
func (e ClusterBackups) backupsServed(ctx context.Context, policy string) error {
	_, err := e.Client.Admin().ListBackups(ctx, backupadmin.ListBackupsRequest{Policy: base.NonZero(policy)})
	return err
}

// PolicySet changes a policy.
func (e ClusterBackups) PolicySet(ctx context.Context, a BackupPolicy) error {
	if a.Every > 0 && a.Every < leastEvery {
		return fmt.Errorf("--every %v is too short: the shortest time between two backups is %v", a.Every, leastEvery)
	}
	if err := e.backupsServed(ctx, a.Name); err != nil {
		return err
	}
	q := backup.ConfigurationModifyBackupPolicyRequest{PolicyName: a.Name, NewBackupIntervalSec: base.NonZero(int64(a.Every / time.Second)),
		BackupHistoryCountToKeep: base.NonZero(a.Keep), StartTime: base.NonZero(a.At)}
	if len(a.Add) > 0 {
		ids, err := e.tableIDs(ctx, a.Add)
		if err != nil {
			return err
		}
		q.AddAppids = base.Some(ids)
	}
	if len(a.Remove) > 0 {
		ids, err := e.policyTables(ctx, a.Name, a.Remove)
		if err != nil {
			return err
		}
		q.RemovalAppids = base.Some(ids)
	}
	return e.modifyPolicy(ctx, q, " is changed")
}

// policyTables returns the ids of tables of a policy by name, or by id if they were dropped.
func (e ClusterBackups) policyTables(ctx context.Context, policy string, names []string) (ids []int32, err error) {
	list, err := e.policies(ctx, 0, policy)
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		found := int32(0)
		for _, t := range list[0].Tables {
			if t.Name == n || t.Name == "" && strconv.Itoa(int(t.ID)) == n {
				found = t.ID
			}
		}
		if found == 0 {
			return nil, fmt.Errorf("policy %s hasn't table %s, it has: %s", policy, Escape([]byte(n)), list[0].names())
		}
		ids = append(ids, found)
	}
	return ids, nil
}

// PolicyEnable enables or disables a policy; force: also while a backup of it runs, which goes on.
func (e ClusterBackups) PolicyEnable(ctx context.Context, name string, on, force bool) error {
	if err := e.backupsServed(ctx, name); err != nil {
		return err
	}
	q := backup.ConfigurationModifyBackupPolicyRequest{PolicyName: name, IsDisable: base.Some(!on)}
	if force {
		q.ForceDisable = base.Some(true)
	}
	what := " is enabled"
	if !on {
		what = " is disabled"
	}
	err := e.modifyPolicy(ctx, q, what)
	if base.CodeOf(err) == base.ErrBusy {
		return fmt.Errorf("a backup of policy %s runs: wait for its end, or use --force to disable the policy while the backup goes on: %w", name, err)
	}
	return err
}

func (e ClusterBackups) modifyPolicy(ctx context.Context, q backup.ConfigurationModifyBackupPolicyRequest, what string) error {
	hint, err := e.Client.Admin().ModifyBackupPolicy(ctx, q)
	if base.CodeOf(err) == base.ErrInvalidParameters {
		if _, qerr := e.policies(ctx, 0, q.PolicyName); base.CodeOf(qerr) == base.ErrInvalidParameters {
			return noPolicy(q.PolicyName)
		}
	}
	if err != nil {
		return err
	}
	if hint != "" && !e.JSON {
		fmt.Fprintln(e.Out, hint)
	}
	return e.showPolicy(ctx, q.PolicyName, what)
}

// showPolicy shows a policy that was changed.
func (e ClusterBackups) showPolicy(ctx context.Context, name, what string) error {
	list, err := e.policies(ctx, 0, name)
	if err != nil {
		return err
	}
	j := &list[0]
	state := ""
	if !j.Enabled && what != " is disabled" {
		state = ", disabled"
	}
	return e.print(j, "policy %s%s: %s to %s every %s at %s, %d kept%s", j.Name, what, j.names(), Escape([]byte(j.Provider)), j.Every, j.at(), j.Keep, state)
}

// PolicyList lists the policies.
func (e ClusterBackups) PolicyList(ctx context.Context) error {
	if err := e.backupsServed(ctx, ""); err != nil {
		return err
	}
	list, err := e.policies(ctx, 1)
	if err != nil {
		return err
	}
	if e.JSON {
		return e.json(list)
	}
	g := newGrid("name", "state", "provider", "every", "at", "#keep", "last backup", "tables")
	for i := range list {
		j := &list[i]
		state, last := "enabled", "-"
		if !j.Enabled {
			state = "disabled"
		}
		if len(j.Backups) > 0 {
			last = j.Backups[0].Started
		}
		g.add(j.Name, state, Escape([]byte(j.Provider)), j.Every, j.at(), j.Keep, last, j.names())
	}
	return g.print(e.Out)
}

// mostShown is how many backups of a policy are shown.
const mostShown = 100

// PolicyShow shows a policy with its backups.
func (e ClusterBackups) PolicyShow(ctx context.Context, name string) error {
	if err := e.backupsServed(ctx, name); err != nil {
		return err
	}
	list, err := e.policies(ctx, mostShown, name)
	if base.CodeOf(err) == base.ErrInvalidParameters {
		return noPolicy(name)
	}
	if err != nil {
		return err
	}
	if e.JSON {
		return e.json(list[0])
	}
	if err := e.showPolicy(ctx, name, ""); err != nil {
		return err
	}
	return e.List(ctx, "", name)
}

// PolicyRemove forgets a policy; its backups stay.
func (e ClusterBackups) PolicyRemove(ctx context.Context, name string) error {
	if e.DryRun {
		list, err := e.policies(ctx, 1, name)
		if base.CodeOf(err) == base.ErrInvalidParameters {
			return noPolicy(name)
		}
		if err != nil {
			return err
		}
		return e.would(map[string]any{"name": name, "tables": list[0].names()}, "policy %s (tables %s) is removed; its backups stay", Escape([]byte(name)), list[0].names())
	}
	switch err := e.Client.Admin().RemoveBackupPolicy(ctx, name); {
	case base.CodeOf(err) == base.ErrObjectNotFound:
		return noPolicy(name)
	case err != nil:
		return err
	}
	return e.print(map[string]any{"name": name, "removed": true}, "policy %s is removed; its backups stay: `pegasus backup ls --policy %s`", Escape([]byte(name)), Escape([]byte(name)))
}
