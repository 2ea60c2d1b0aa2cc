package send

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"pegasus/base"
	"pegasus/httpapi"
	"pegasus/pacifica"
	"pegasus/remotecmd"
	"pegasus/replica/part"
)

// Register implements part.Part.
func (s *Sender) Register(rt *part.Routes) {
	rt.Page("replica/duplication", "appid=<app_id>: the duplications of the primaries of a table that are here.", s.page)
	rt.Command(remotecmd.Command{Name: "replica.sync-duplications", Shows: remotecmd.Always, Help: "Tell the meta now what other clusters have confirmed", Run: func([]string) string {
		s.syncSoon()
		return "OK"
	}})
}

// page shows how far each stream of a table is, as upstream does, and why it stands there.
func (s *Sender) page(q *httpapi.Request) httpapi.Response {
	text := q.Get("appid")
	if text == "" {
		return httpapi.Text(http.StatusBadRequest, "appid should not be empty")
	}
	app, err := strconv.ParseInt(text, 10, 32)
	if err != nil || app < 0 {
		return httpapi.Text(http.StatusBadRequest, "invalid appid="+text)
	}
	primary := slices.ContainsFunc(s.host.Replicas(), func(r part.Replica) bool {
		return r.Gpid().AppID == int32(app) && r.View().Role == pacifica.Primary
	})
	if !primary {
		return httpapi.Text(http.StatusNotFound, fmt.Sprintf("no primary for app [appid=%d]", app))
	}
	type shown struct {
		key
		fields httpapi.Object
	}
	var list []shown
	for _, st := range s.all(nil) {
		if st.gpid.AppID != int32(app) {
			continue
		}
		st.mu.Lock()
		v := st.core.Status()
		if st.leads {
			list = append(list, shown{st.key, httpapi.Object{
				{Name: "duplicating", Value: st.active()}, {Name: "fail_mode", Value: st.told.FailMode.V.String()},
				{Name: "not_confirmed_mutations_num", Value: v.Committed - max(v.Persisted, 0)}, {Name: "not_duplicated_mutations_num", Value: v.Committed - max(v.Acked, 0)},
				{Name: "remote_app_name", Value: st.told.RemoteAppName.V}, {Name: "why", Value: st.why(v)}}})
		}
		st.mu.Unlock()
	}
	if len(list) == 0 {
		return httpapi.Text(http.StatusNotFound, fmt.Sprintf("no duplication assigned for app [appid=%d]", app))
	}
	slices.SortFunc(list, func(a, b shown) int { return cmp.Or(cmp.Compare(a.dup, b.dup), compareGpid(a.gpid, b.gpid)) })
	var o httpapi.Object
	for i := 0; i < len(list); {
		var of httpapi.Object
		dup := list[i].dup
		for ; i < len(list) && list[i].dup == dup; i++ {
			of.Add(list[i].gpid.String(), list[i].fields)
		}
		o.Add(strconv.Itoa(int(dup)), of)
	}
	return httpapi.JSON(o)
}

func compareGpid(a, b base.Gpid) int {
	return cmp.Or(cmp.Compare(a.AppID, b.AppID), cmp.Compare(a.PartitionIndex, b.PartitionIndex))
}
