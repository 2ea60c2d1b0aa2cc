package meta

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"pegasus/base"
	"pegasus/base/appenv"
	"pegasus/gen/metaadmin"
	"pegasus/meta/state"
)

// envsOf returns the id and the settings of an available table; id 0 if there is none.
func (l *leader) envsOf(name string) (id int32, envs []state.Env) {
	l.s.fsm.read(func(st *state.State) {
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

func (c *call) updateEnvs(q *metaadmin.ConfigurationUpdateAppEnvRequest, r *metaadmin.ConfigurationUpdateAppEnvResponse) {
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
		id, _ := c.envsOf(q.AppName)
		c.setEnvs(id, cmd, "", r)
	case metaadmin.APP_ENV_OP_DEL:
		if !q.Keys.Set || len(keys) == 0 {
			r.Err, r.HintMessage = base.ErrInvalidParameters, "no keys: name at least one to delete"
			return
		}
		id, envs := c.envsOf(q.AppName)
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
		c.deleteEnvs(id, del, r)
	case metaadmin.APP_ENV_OP_CLEAR:
		if !q.ClearPrefix.Set {
			r.Err, r.HintMessage = base.ErrInvalidParameters, "no prefix: an empty one clears all"
			return
		}
		id, envs := c.envsOf(q.AppName)
		var del []string
		for _, e := range envs {
			p := q.ClearPrefix.V
			if p == "" || strings.HasPrefix(e.Key, p+".") && len(e.Key) > len(p)+1 {
				del = append(del, e.Key)
			}
		}
		c.deleteEnvs(id, del, r)
	default:
		r.Err, r.HintMessage = base.ErrInvalidParameters, "recv a invalid update_app_env request with op = APP_ENV_OP_INVALID"
	}
}

func (c *call) deleteEnvs(id int32, del []string, r *metaadmin.ConfigurationUpdateAppEnvResponse) {
	if id != 0 && len(del) == 0 {
		r.Err, r.HintMessage = base.ErrOK, "no key needs to be deleted"
		return
	}
	c.setEnvs(id, &state.SetEnvs{Del: del}, "deleted keys:\n    "+strings.Join(del, "\n    "), r)
}

func (c *call) setEnvs(id int32, cmd *state.SetEnvs, hint string, r *metaadmin.ConfigurationUpdateAppEnvResponse) {
	if id == 0 {
		r.Err, r.HintMessage = base.ErrAppNotExist, "app cannot be found"
		return
	}
	cmd.ID = id
	switch r.Err = c.apply(cmd).Err; r.Err {
	case base.ErrOK:
		r.HintMessage = hint
	case base.ErrAppDropped:
		r.HintMessage = "app has just been dropped"
	}
}

// startCompaction asks for one manual compaction by the settings that the replicas act on.
func (c *call) startCompaction(q *metaadmin.StartAppManualCompactRequest, r *metaadmin.StartAppManualCompactResponse) {
	id, envs := c.envsOf(q.AppName)
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
		{Key: "manual_compact.once.trigger_time", Val: strconv.FormatInt(q.TriggerTime.Or(time.Now().Unix()), 10)},
		{Key: "manual_compact.once.target_level", Val: strconv.Itoa(int(level))},
		{Key: "manual_compact.once.bottommost_level_compaction", Val: bottommost},
	}}
	if running > 0 {
		cmd.Set = append(cmd.Set, state.Env{Key: "manual_compact.max_concurrent_running_count", Val: strconv.Itoa(int(running))})
	}
	if r.Err = c.apply(cmd).Err; r.Err == base.ErrOK {
		r.HintMsg = "succeed"
	}
}
