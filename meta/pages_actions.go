package meta

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"pegasus/base"
	"pegasus/gen/metaadmin"
	"pegasus/httpapi"
)

// maxPost is the longest body of a request that changes something.
const maxPost = 64 << 10

// absentPage answers for a feature that this server doesn't have, as upstream answers
// where it is switched off.
func absentPage(*call, *httpapi.Request) httpapi.Response {
	return httpapi.Text(http.StatusNotFound, "this server doesn't have this feature")
}

func (c *call) backupPage(q *httpapi.Request) httpapi.Response {
	if !q.Only("name") {
		return badRequest
	}
	return httpapi.Text(http.StatusNotFound, "cold_backup_disabled")
}

func (c *call) duplicationPage(q *httpapi.Request) httpapi.Response {
	if !q.Only("name") {
		return badRequest
	}
	name, bad := nameOf(q)
	switch {
	case bad != nil:
		return *bad
	case c.tableID(name) == 0:
		return httpapi.Text(http.StatusNotFound, string(base.ErrAppNotExist))
	}
	return httpapi.Text(http.StatusNotFound, "duplication is not enabled [duplication_enabled=false]")
}

func (c *call) bulkLoadPage(q *httpapi.Request) httpapi.Response {
	if !q.Only("name") {
		return badRequest
	}
	name, bad := nameOf(q)
	switch {
	case bad != nil:
		return *bad
	case c.tableID(name) == 0:
		return httpapi.JSON(httpapi.Object{{Name: "error", Value: string(base.ErrAppNotExist)}, {Name: "app_status", Value: ""}})
	}
	return httpapi.JSON(httpapi.Object{{Name: "error", Value: string(base.ErrOK)}, {Name: "app_status", Value: "BLS_INVALID"}})
}

// body reads a JSON object of a request, or says why it can't be.
func body(q *httpapi.Request, v any) *httpapi.Response {
	b, err := io.ReadAll(io.LimitReader(q.Body, maxPost))
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		r := httpapi.Text(http.StatusBadRequest, "invalid request structure: "+err.Error())
		return &r
	}
	return nil
}

func outcome(err base.ErrorCode, hint string) httpapi.Response {
	return httpapi.JSON(httpapi.Object{{Name: "error", Value: string(err)}, {Name: "hint_message", Value: hint}})
}

// setEnvPage carries out a page that sets envs.
func (c *call) setEnvPage(name string, pairs ...string) httpapi.Response {
	q := &metaadmin.ConfigurationUpdateAppEnvRequest{AppName: name, Op: metaadmin.APP_ENV_OP_SET}
	var keys, values []string
	for i := 0; i+1 < len(pairs); i += 2 {
		keys, values = append(keys, pairs[i]), append(values, pairs[i+1])
	}
	q.Keys, q.Values = base.Some(keys), base.Some(values)
	var r metaadmin.ConfigurationUpdateAppEnvResponse
	c.updateEnvs(q, &r)
	return outcome(r.Err, r.HintMessage)
}

func (c *call) scenarioPage(q *httpapi.Request) httpapi.Response {
	var a struct {
		App      string `json:"app_name"`
		Scenario string `json:"scenario"`
	}
	if bad := body(q, &a); bad != nil {
		return *bad
	}
	if a.Scenario != "bulk_load" && a.Scenario != "normal" {
		return outcome(base.ErrInvalidParameters, "scenario should ony be 'normal' or 'bulk_load'")
	}
	return c.setEnvPage(a.App, "rocksdb.usage_scenario", a.Scenario)
}

func (c *call) compactionPage(q *httpapi.Request) httpapi.Response {
	a := struct {
		App         string `json:"app_name"`
		Type        string `json:"type"`
		Level       int    `json:"target_level"`
		Bottommost  string `json:"bottommost_level_compaction"`
		Running     int    `json:"max_concurrent_running_count"`
		TriggerTime string `json:"trigger_time"`
	}{Level: -1, Bottommost: "skip"}
	if bad := body(q, &a); bad != nil {
		return *bad
	}
	switch {
	case a.Type != "once" && a.Type != "periodic":
		return outcome(base.ErrInvalidParameters, fmt.Sprintf("type '%s' should ony be 'once' or 'periodic'", a.Type))
	case a.Level < -1:
		return outcome(base.ErrInvalidParameters, "target_level should be >= -1")
	case a.Bottommost != "" && a.Bottommost != "skip" && a.Bottommost != "force":
		return outcome(base.ErrInvalidParameters, "bottommost_level_compaction should ony be 'skip' or 'force'")
	case a.Running < 0:
		return outcome(base.ErrInvalidParameters, "max_running_count should be >= 0")
	}
	prefix := "manual_compact." + a.Type + "."
	if a.TriggerTime == "" && a.Type == "once" {
		a.TriggerTime = strconv.FormatInt(time.Now().Unix(), 10)
	}
	pairs := []string{prefix + "trigger_time", a.TriggerTime, prefix + "target_level", strconv.Itoa(a.Level), prefix + "bottommost_level_compaction", a.Bottommost}
	if a.Running > 0 {
		pairs = append(pairs, "manual_compact.max_concurrent_running_count", strconv.Itoa(a.Running))
	}
	return c.setEnvPage(a.App, pairs...)
}
