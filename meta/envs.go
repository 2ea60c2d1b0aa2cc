package meta

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"pegasus/base"
	"pegasus/base/appenv"
	"pegasus/gen/metaadmin"
	"pegasus/gen/metadata"
	"pegasus/meta/service"
	"pegasus/meta/state"
)

// envsOf returns the id and the settings of an available table; id 0 if there is none.
func (ts *tables) envsOf(name string) (id int32, envs []state.Env) {
	ts.s.fsm.read(func(st *state.State) {
		if t := st.TableNamed(name); t != nil {
			id, envs = t.ID, t.Envs
		}
	})
	return id, envs
}

// maxEnvValue is the longest value of a setting, in bytes: each list of tables and each
// configuration sync carries them all.
const maxEnvValue = 64 << 10

func validEnv(key, value string, valid func(key, value string) string) (hint string) {
	if len(value) > maxEnvValue {
		return fmt.Sprintf("the value of a setting has at most %d bytes, this one has %d", maxEnvValue, len(value))
	}
	return valid(key, value)
}

func (ts *tables) updateEnvs(c *service.Call, q *metaadmin.ConfigurationUpdateAppEnvRequest, r *metaadmin.ConfigurationUpdateAppEnvResponse) {
	keys, values := q.Keys.V, q.Values.V
	switch q.Op {
	case metaadmin.APP_ENV_OP_SET:
		if !q.Keys.Set || !q.Values.Set || len(keys) == 0 || len(keys) != len(values) {
			r.Err, r.HintMessage = base.ErrInvalidParameters, fmt.Sprintf("%d keys and %d values: name at least one key, and a value for each", len(keys), len(values))
			return
		}
		cmd := &state.SetEnvs{}
		for i, k := range keys {
			if hint := validEnv(k, values[i], appenv.Validate); hint != "" {
				r.Err, r.HintMessage = base.ErrInvalidParameters, hint
				return
			}
			cmd.Set = append(cmd.Set, state.Env{Key: k, Val: values[i]})
		}
		id, _ := ts.envsOf(q.AppName)
		ts.setEnvs(c, q.AppName, id, cmd, "", r)
	case metaadmin.APP_ENV_OP_DEL:
		if !q.Keys.Set || len(keys) == 0 {
			r.Err, r.HintMessage = base.ErrInvalidParameters, "no keys: name at least one to delete"
			return
		}
		id, envs := ts.envsOf(q.AppName)
		have := map[string]bool{}
		for _, e := range envs {
			have[e.Key] = true
		}
		var del []string
		for _, k := range keys {
			if have[k] {
				del = append(del, k)
				have[k] = false // a key that is named twice goes once
			}
		}
		ts.deleteEnvs(c, q.AppName, id, del, r)
	case metaadmin.APP_ENV_OP_CLEAR:
		if !q.ClearPrefix.Set {
			r.Err, r.HintMessage = base.ErrInvalidParameters, "no prefix: an empty one clears all"
			return
		}
		id, envs := ts.envsOf(q.AppName)
		var del []string
		for _, e := range envs {
			p := q.ClearPrefix.V
			if p == "" || strings.HasPrefix(e.Key, p+".") && len(e.Key) > len(p)+1 {
				del = append(del, e.Key)
			}
		}
		ts.deleteEnvs(c, q.AppName, id, del, r)
	default:
		r.Err, r.HintMessage = base.ErrInvalidParameters, "recv a invalid update_app_env request with op = APP_ENV_OP_INVALID"
	}
}

func (ts *tables) deleteEnvs(c *service.Call, name string, id int32, del []string, r *metaadmin.ConfigurationUpdateAppEnvResponse) {
	if id != 0 && len(del) == 0 {
		r.Err, r.HintMessage = base.ErrOK, "no key needs to be deleted"
		return
	}
	ts.setEnvs(c, name, id, &state.SetEnvs{Del: del}, "deleted keys:\n    "+strings.Join(del, "\n    "), r)
}

func (ts *tables) setEnvs(c *service.Call, name string, id int32, cmd *state.SetEnvs, hint string, r *metaadmin.ConfigurationUpdateAppEnvResponse) {
	if id == 0 {
		r.Err, r.HintMessage = base.ErrAppNotExist, "app cannot be found"
		return
	}
	cmd.ID = id
	_, was := ts.envsOf(name)
	switch r.Err = ts.apply(cmd).Err; r.Err {
	case base.ErrOK:
		r.HintMessage = hint
		ts.envsChanged(c, name, cmd, was)
	case base.ErrAppDropped:
		r.HintMessage = "app has just been dropped"
	}
}

// envsChanged logs a change of settings.
func (ts *tables) envsChanged(c *service.Call, name string, cmd *state.SetEnvs, was []state.Env) {
	text := settingsText(cmd.Set)
	if len(cmd.Del) > 0 {
		text += "; deleted: " + strings.Join(cmd.Del, ", ")
	}
	var before []state.Env
	for _, e := range was {
		if slices.Contains(cmd.Del, e.Key) || slices.ContainsFunc(cmd.Set, func(s state.Env) bool { return s.Key == e.Key }) {
			before = append(before, e)
		}
	}
	if len(before) > 0 {
		text += "; before" + settingsText(before)
	}
	ts.changed(c, "table %q (%d) has other settings%s", name, cmd.ID, text)
}

// shownValue is how many bytes of a setting's value are logged.
const shownValue = 100

// settingsText lists settings for the log. Rules are left out: they have the keys of rows.
func settingsText(envs []state.Env) string {
	var b strings.Builder
	sep := ": "
	for _, e := range envs {
		b.WriteString(sep)
		sep = ", "
		switch {
		case e.Key == appenv.UserCompaction:
			fmt.Fprintf(&b, "%s (%d bytes)", e.Key, len(e.Val))
		case len(e.Val) > shownValue:
			fmt.Fprintf(&b, "%s = %q and %d bytes more", e.Key, e.Val[:shownValue], len(e.Val)-shownValue)
		default:
			fmt.Fprintf(&b, "%s = %q", e.Key, e.Val)
		}
	}
	return b.String()
}

// second is what time it is, in Unix seconds, by the clock of most, which the replicas go by.
func (ts *tables) second() int64 {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return ts.nodes.mostly().Unix()
}

// startCompaction asks for one manual compaction by the settings that the replicas act on.
func (ts *tables) startCompaction(c *service.Call, q *metaadmin.StartAppManualCompactRequest, r *metaadmin.StartAppManualCompactResponse) {
	id, envs := ts.envsOf(q.AppName)
	if id == 0 {
		r.Err, r.HintMsg = base.ErrAppNotExist, fmt.Sprintf("app %s is not existed", q.AppName)
		return
	}
	for _, e := range envs {
		if e.Key == "manual_compact.disabled" && e.Val == "true" {
			r.Err, r.HintMsg = base.ErrOperationDisabled, fmt.Sprintf("app %s disable manual compaction", q.AppName)
			return
		}
	}
	level, bottommost, running := q.TargetLevel.Or(-1), "skip", q.MaxRunningCount.Or(0)
	switch {
	case level < -1:
		r.Err, r.HintMsg = base.ErrInvalidParameters, fmt.Sprintf("invalid target_level(%d), should in range of [-1, num_levels]", level)
		return
	case running < 0:
		r.Err, r.HintMsg = base.ErrInvalidParameters, fmt.Sprintf("invalid max_running_count(%d), should be greater than 0", running)
		return
	}
	if q.Bottommost.Or(false) {
		bottommost = "force"
	}
	cmd := &state.SetEnvs{ID: id, Set: []state.Env{
		{Key: "manual_compact.once.trigger_time", Val: strconv.FormatInt(q.TriggerTime.Or(ts.second()), 10)},
		{Key: "manual_compact.once.target_level", Val: strconv.Itoa(int(level))},
		{Key: "manual_compact.once.bottommost_level_compaction", Val: bottommost},
	}}
	if running > 0 {
		cmd.Set = append(cmd.Set, state.Env{Key: "manual_compact.max_concurrent_running_count", Val: strconv.Itoa(int(running))})
	}
	if r.Err = ts.apply(cmd).Err; r.Err == base.ErrOK {
		r.HintMsg = "succeed"
		ts.envsChanged(c, q.AppName, cmd, envs)
	}
}

// compactions are the manual compactions of a node's replicas, as it told last; idle ones are
// left out.
type compactions map[base.Gpid]metadata.ManualCompactionStatus

func compactionsOf(stored []metadata.ReplicaInfo) compactions {
	var c compactions
	for i := range stored {
		if st := stored[i].ManualCompactStatus.Or(metadata.IDLE); st != metadata.IDLE {
			if c == nil {
				c = compactions{}
			}
			c[stored[i].Pid] = st
		}
	}
	return c
}

// progress returns how many percent of a table's replicas have finished their compaction; ok
// is false if all of them are idle.
func (ts *tables) progress(t *state.Table) (percent int32, ok bool) {
	total := int64(len(t.Parts)) * int64(t.MaxReplicas)
	var finished int64
	for i := range t.Parts {
		g := base.Gpid{AppID: t.ID, PartitionIndex: int32(i)}
		p := &t.Parts[i]
		for _, node := range append([]base.RPCAddress{p.Primary}, p.Secondaries...) {
			if st, is := ts.nodes.of(node).compactions[g]; is {
				ok = true
				if st == metadata.FINISHED {
					finished++
				}
			}
		}
	}
	if total == 0 {
		return 0, ok
	}
	return int32(finished * 100 / total), ok
}

// queryCompaction tells how far the manual compaction of a table is.
func (ts *tables) queryCompaction(_ *service.Call, q *metaadmin.QueryAppManualCompactRequest, r *metaadmin.QueryAppManualCompactResponse) {
	r.Err, r.HintMsg = base.ErrAppNotExist, fmt.Sprintf("app %s is not existed", q.AppName)
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.s.fsm.read(func(st *state.State) {
		t := st.TableNamed(q.AppName)
		if t == nil {
			return
		}
		percent, ok := ts.progress(t)
		if !ok {
			r.Err, r.HintMsg = base.ErrInvalidState, fmt.Sprintf("app %s is not manual compaction", q.AppName)
			return
		}
		r.Err, r.HintMsg, r.Progress = base.ErrOK, "succeed", base.Some(percent)
	})
}
