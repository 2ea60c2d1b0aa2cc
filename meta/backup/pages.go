package backup

import (
	"encoding/json"
	"net/http"
	"strconv"

	"pegasus/base"
	wire "pegasus/gen/backup"
	"pegasus/httpapi"
	"pegasus/meta/service"
	"pegasus/meta/state"
	"pegasus/metrics"
)

var (
	recentDuration = metrics.Define(metrics.Policy, "backup_recent_duration_ms", metrics.Gauge, "ms", "Duration of the policy's backup that runs, else of the last one that was completed.").
			Worry("Longer than the policy's interval.")
	recentFailed = metrics.Define(metrics.Policy, "backup_recent_failed", metrics.Gauge, "", "1 if the last backup of the policy that ended failed or was cancelled.").
			Worry("1: `pegasus backup policy ls` says why.")
	overdue = metrics.Define(metrics.Policy, "backup_overdue", metrics.Gauge, "", "1 if a backup of the policy is due and can't begin.").
		Worry("1 for longer than an hour.")
)

// Collect gathers the metrics of policies.
func (s *Service) Collect(sn *metrics.Snapshot) {
	var policies []state.BackupPolicy
	var backups []state.Backup
	s.leader.Read(func(st *state.State) { policies, backups = st.BackupPolicies(), st.Backups() })
	s.mu.Lock()
	waits := s.waits
	s.mu.Unlock()
	now := s.nowMS()
	for i := range policies {
		p := &policies[i]
		ms, failed, known := int64(0), int64(0), false
		for k := range backups {
			switch b := &backups[k]; {
			case b.Policy != p.Name:
			case b.Running():
				ms, known = max(now-b.Began, 0), true
			default:
				failed = 1
				if b.Status == state.BackupCompleted {
					failed = 0
					if !known {
						ms = b.Ended - b.Began
					}
				}
			}
		}
		e := sn.Entity(metrics.Policy, p.Name, "policy_name", p.Name)
		e.Set(recentDuration, ms)
		e.Set(recentFailed, failed)
		e.SetBool(overdue, waits[p.Name] != "")
	}
}

// page shows policies as upstream does.
func (s *Service) page(_ *service.Call, q *httpapi.Request) httpapi.Response {
	if s.o.Disabled {
		return httpapi.Text(http.StatusNotFound, "cold_backup_disabled")
	}
	if !q.Only("name") {
		return httpapi.Text(http.StatusBadRequest, "Invalid parameter")
	}
	req := &wire.ConfigurationQueryBackupPolicyRequest{}
	for _, a := range q.Args {
		req.PolicyNames = append(req.PolicyNames, a.Value)
	}
	var r wire.ConfigurationQueryBackupPolicyResponse
	if s.queryPolicies(nil, req, &r); r.Err != base.ErrOK && r.Err != base.ErrInvalidParameters {
		return httpapi.Text(http.StatusInternalServerError, string(r.Err))
	}
	list := httpapi.Object{}
	for _, p := range r.Policys {
		status := "enabled"
		if p.IsDisable {
			status = "disabled"
		}
		ids, _ := json.Marshal(p.AppIds) // numbers
		list.Add(p.PolicyName, httpapi.Object{{Name: "name", Value: p.PolicyName}, {Name: "backup_provider_type", Value: p.BackupProviderType},
			{Name: "backup_interval", Value: p.BackupIntervalSeconds}, {Name: "app_ids", Value: string(ids)}, {Name: "start_time", Value: p.StartTime},
			{Name: "status", Value: status}, {Name: "backup_history_count", Value: strconv.Itoa(int(p.BackupHistoryCountToKeep))}})
	}
	return httpapi.JSON(list)
}
