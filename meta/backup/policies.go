package backup

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"pegasus/base"
	"pegasus/blob"
	wire "pegasus/gen/backup"
	"pegasus/meta/service"
	"pegasus/meta/state"
)

// A policy's name is the name of a metric in upstream, and the value of a label.
var (
	metricName = regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:]*$`)
	labelName  = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)
)

const (
	metricHint = `policy name should match regex '[a-zA-Z_:][a-zA-Z0-9_:]*' when act as a metric name in prometheus`
	reserved   = "backup_info"
	mostName   = 200 // bytes
)

func badName(name, why string) string { return fmt.Sprintf("invalid policy name: '%s', %s", name, why) }

// checkName says why a policy can't have a name, "" if it can.
func checkName(name string) string {
	switch {
	case len(name) > mostName:
		return badName(name[:mostName], fmt.Sprintf("it has more than %d bytes", mostName))
	case strings.Contains(name, reserved):
		return badName(name, "it contains "+reserved)
	case !metricName.MatchString(name):
		return badName(name, metricHint)
	case !labelName.MatchString(name):
		return badName(name, "it has a colon, which the labels of metrics can't have")
	}
	return ""
}

// checkInterval says why backups can't be so many seconds apart, "" if they can.
func checkInterval(seconds int64) string {
	switch {
	case seconds <= 600:
		return "backup interval must be larger than cold_backup_checkpoint_reserve_minutes=10"
	case seconds < minInterval:
		return fmt.Sprintf("a backup interval of %d seconds is too short: the shortest is a day, %d", seconds, minInterval)
	case seconds > mostInterval*minInterval:
		return fmt.Sprintf("a backup interval of %d seconds is too long: the longest is %d days", seconds, mostInterval)
	}
	return ""
}

func checkKeep(n int32) string {
	if n < 1 {
		return fmt.Sprintf("a policy keeps at least one backup, not %d", n)
	}
	return ""
}

func (s *Service) addPolicy(c *service.Call, q *wire.ConfigurationAddBackupPolicyRequest, r *wire.ConfigurationAddBackupPolicyResponse) {
	if r.Err, r.HintMessage = s.refusal(); r.Err != base.ErrOK {
		return
	}
	p := state.BackupPolicy{Name: q.PolicyName, Provider: q.BackupProviderType, Interval: q.BackupIntervalSeconds, Keep: q.BackupHistoryCountToKeep}
	p.Tables = slices.Compact(slices.Sorted(slices.Values(q.AppIds)))
	var known bool
	var unknown []int32
	count := 0
	s.leader.Read(func(st *state.State) {
		_, known = st.BackupPolicy(p.Name)
		count = len(st.BackupPolicies())
		for _, id := range p.Tables {
			if st.Table(id) == nil {
				unknown = append(unknown, id)
			}
		}
	})
	start, err := parseStart(q.StartTime)
	p.Start = start
	hint := checkInterval(p.Interval)
	switch {
	case hint != "":
	case len(unknown) > 0:
		hint = fmt.Sprintf("invalid app %d", unknown[0])
	case len(p.Tables) == 0 || len(p.Tables) > mostTables:
		hint = fmt.Sprintf("a policy has 1 to %d tables, not %d", mostTables, len(p.Tables))
	case checkName(p.Name) != "":
		hint = checkName(p.Name)
	case known:
		hint = badName(p.Name, "policy name is already exist")
	case count >= mostPolicies:
		hint = fmt.Sprintf("there are %d policies already", count)
	case err != nil:
		hint = err.Error()
	default:
		if hint = s.checkProvider(c, p.Provider); hint != "" {
			hint = "invalid backup_provider_type: " + hint
			break
		}
		hint = checkKeep(p.Keep)
	}
	if hint != "" {
		r.Err, r.HintMessage = base.ErrInvalidParameters, hint
		return
	}
	switch r.Err = s.leader.Apply(&state.SetBackupPolicy{Policy: p, New: true}).Err; r.Err {
	case base.ErrOK:
		s.changed(c, "backup policy %s is added: tables %v to %s every %v at %s, %d kept", p.Name, p.Tables, p.Provider, time.Duration(p.Interval)*time.Second, startText(p.Start), p.Keep)
		s.wake()
	case base.ErrInvalidParameters:
		r.HintMessage = badName(p.Name, "policy name is already exist")
	}
}

// checkProvider says which provider isn't one, "" if it is.
func (s *Service) checkProvider(c *service.Call, name string) string {
	ctx, cancel := startContext(c)
	defer cancel()
	_, err := s.o.Stores.Get(ctx, name)
	if errors.Is(err, blob.ErrNotFound) || errors.Is(err, blob.ErrInvalid) {
		s.leader.Log().WithError(err).Warnf("a request of %s names the provider %.100q", c.From, name)
		return name
	}
	return ""
}

func (s *Service) modifyPolicy(c *service.Call, q *wire.ConfigurationModifyBackupPolicyRequest, r *wire.ConfigurationModifyBackupPolicyResponse) {
	if r.Err, r.HintMessage = s.refusal(); r.Err != base.ErrOK {
		return
	}
	s.modifying.Lock() // what is read is what is changed
	defer s.modifying.Unlock()
	var p state.BackupPolicy
	var known, running bool
	var ignored []string
	there := map[int32]bool{}
	s.leader.Read(func(st *state.State) {
		p, known = st.BackupPolicy(q.PolicyName)
		for _, b := range st.Backups() {
			running = running || b.Running() && b.Policy == q.PolicyName
		}
		for _, id := range q.AddAppids.Or(nil) {
			there[id] = st.Table(id) != nil
		}
	})
	if !known {
		r.Err = base.ErrInvalidParameters
		return
	}
	was := fmt.Sprintf("%+v", p)
	tables := slices.Clone(p.Tables)
	for _, id := range q.AddAppids.Or(nil) {
		if !there[id] {
			ignored = append(ignored, fmt.Sprintf("there is no table %d", id))
			continue
		}
		tables = append(tables, id)
	}
	slices.Sort(tables)
	p.Tables = slices.DeleteFunc(slices.Compact(tables), func(id int32) bool { return slices.Contains(q.RemovalAppids.Or(nil), id) })
	if len(p.Tables) == 0 {
		r.Err, r.HintMessage = base.ErrInvalidParameters, "the policy would be without a table: disable or remove it"
		return
	}
	if q.NewBackupIntervalSec.Set {
		if why := checkInterval(q.NewBackupIntervalSec.V); why != "" {
			ignored = append(ignored, why)
		} else {
			p.Interval = q.NewBackupIntervalSec.V
		}
	}
	// Upstream's shell sends 0 for what isn't to be changed.
	if n := q.BackupHistoryCountToKeep.Or(0); n != 0 {
		if r.HintMessage = checkKeep(n); r.HintMessage != "" {
			r.Err = base.ErrInvalidParameters
			return
		}
		p.Keep = n
	}
	if q.StartTime.Or("") != "" {
		start, err := parseStart(q.StartTime.V)
		if err != nil {
			r.Err, r.HintMessage = base.ErrInvalidParameters, err.Error()
			return
		}
		p.Start = start
	}
	if q.IsDisable.Set {
		switch {
		case q.IsDisable.V && !p.Disabled && running && !q.ForceDisable.Or(false):
			r.Err = base.ErrBusy
			return
		case !q.IsDisable.V && !p.Disabled:
			r.HintMessage = "policy is already enabled"
		}
		p.Disabled = q.IsDisable.V
	}
	if len(ignored) > 0 {
		r.HintMessage = "not changed: " + strings.Join(ignored, "; ")
	}
	if fmt.Sprintf("%+v", p) == was {
		return
	}
	if r.Err = s.leader.Apply(&state.SetBackupPolicy{Policy: p}).Err; r.Err == base.ErrOK {
		s.changed(c, "backup policy %s is changed: it was %s, and is %+v", p.Name, was, p)
		s.wake()
	}
}

// entry is a policy as upstream shows it.
func entry(p *state.BackupPolicy) wire.PolicyEntry {
	return wire.PolicyEntry{PolicyName: p.Name, BackupProviderType: p.Provider, BackupIntervalSeconds: strconv.FormatInt(p.Interval, 10), AppIds: p.Tables,
		BackupHistoryCountToKeep: p.Keep, StartTime: startText(p.Start), IsDisable: p.Disabled}
}

func (s *Service) queryPolicies(_ *service.Call, q *wire.ConfigurationQueryBackupPolicyRequest, r *wire.ConfigurationQueryBackupPolicyResponse) {
	if s.o.Disabled {
		r.Err = base.ErrServiceNotActive
		return
	}
	r.Err = base.ErrOK
	var policies []state.BackupPolicy
	var backups []state.Backup
	s.leader.Read(func(st *state.State) { policies, backups = st.BackupPolicies(), st.Backups() })
	var unknown []string
	if len(q.PolicyNames) > 0 {
		all := policies
		policies = nil
		for _, name := range q.PolicyNames {
			i := slices.IndexFunc(all, func(p state.BackupPolicy) bool { return p.Name == name })
			if i < 0 {
				unknown = append(unknown, name)
				continue
			}
			policies = append(policies, all[i])
		}
	}
	for i := range policies {
		p := &policies[i]
		r.Policys = append(r.Policys, entry(p))
		var infos []wire.BackupEntry
		for k := len(backups) - 1; k >= 0 && len(infos) < int(q.BackupInfoCount); k-- {
			if b := &backups[k]; b.Policy == p.Name && (b.Running() || b.Status == state.BackupCompleted) && !b.Deleting {
				e := wire.BackupEntry{BackupId: b.ID, StartTimeMs: b.Began, EndTimeMs: b.Ended}
				for _, t := range b.Tables {
					e.AppIds = append(e.AppIds, t.ID)
				}
				infos = append(infos, e)
			}
		}
		r.BackupInfos = append(r.BackupInfos, infos)
	}
	if len(unknown) > 0 {
		r.HintMsg = base.Some("invalid policy_name " + strings.Join(unknown, ","))
		if len(policies) == 0 {
			r.Err = base.ErrInvalidParameters
		}
	}
}
