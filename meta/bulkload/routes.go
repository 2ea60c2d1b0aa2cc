package bulkload

import (
	"encoding/json"
	"io"
	"net/http"

	"pegasus/base"
	"pegasus/gen/bulkload"
	"pegasus/httpapi"
	"pegasus/meta/service"
)

// maxPost bounds the body of a page.
const maxPost = 1 << 20

// Register implements service.Service.
func (*Service) Register(r *service.Routes) {
	service.Handle(r, base.RPCStartBulkLoad, service.Slow, (*Service).start)
	service.Handle(r, base.RPCControlBulkLoad, service.Slow, (*Service).control)
	service.Handle(r, base.RPCQueryBulkLoadStatus, service.Fast, (*Service).query)
	service.Handle(r, base.RPCClearBulkLoad, service.Slow, (*Service).clear)
	service.Handle(r, base.RPCLoadsEnded, service.Fast, (*Service).ended)
	service.Page(r, "meta/app/query_bulk_load", "name=<table>: show the bulk load of a table.", (*Service).queryPage)
	service.Page(r, "meta/app/start_bulk_load", "Load files into a table (POST).", (*Service).startPage)
}

// queryPage shows a load, as upstream does, with the hint beside it.
func (s *Service) queryPage(c *service.Call, q *httpapi.Request) httpapi.Response {
	if !q.Only("name") {
		return httpapi.Text(http.StatusBadRequest, "")
	}
	name := q.Get("name")
	if name == "" {
		return httpapi.Text(http.StatusBadRequest, "name should not be empty")
	}
	var r bulkload.QueryBulkLoadResponse
	s.query(c, &bulkload.QueryBulkLoadRequest{AppName: name}, &r)
	status := r.AppStatus.String()
	if r.Err == base.ErrAppNotExist {
		status = ""
	}
	page := httpapi.Object{{Name: "error", Value: string(r.Err)}, {Name: "app_status", Value: status}}
	if r.AppStatus != bulkload.BLS_INVALID && r.HintMsg.V != "" {
		page.Add("hint_msg", r.HintMsg.V)
	}
	return httpapi.JSON(page)
}

// startPage begins a load.
func (s *Service) startPage(c *service.Call, q *httpapi.Request) httpapi.Response {
	b, err := io.ReadAll(io.LimitReader(q.Body, maxPost))
	if err != nil {
		return httpapi.Text(http.StatusBadRequest, "invalid request structure")
	}
	start, wrong := parseStart(b)
	if wrong != "" {
		return httpapi.Text(http.StatusBadRequest, wrong)
	}
	var r bulkload.StartBulkLoadResponse
	s.start(c, start, &r)
	return httpapi.JSON(httpapi.Object{{Name: "error", Value: string(r.Err)}, {Name: "hint_msg", Value: r.HintMsg}})
}

// parseStart reads the body of a page that begins a load. wrong says why it can't be one, in upstream's words.
func parseStart(body []byte) (q *bulkload.StartBulkLoadRequest, wrong string) {
	var a struct {
		App      string `json:"app_name"`
		Cluster  string `json:"cluster_name"`
		Provider string `json:"file_provider_type"`
		Root     string `json:"remote_root_path"`
		Behind   bool   `json:"ingest_behind"`
		Rate     int64  `json:"bytes_per_second"`
	}
	if json.Unmarshal(body, &a) != nil || a.Rate < 0 {
		return nil, "invalid request structure"
	}
	for _, f := range []struct{ name, is string }{{"app_name", a.App}, {"cluster_name", a.Cluster}, {"file_provider_type", a.Provider}, {"remote_root_path", a.Root}} {
		if f.is == "" {
			return nil, f.name + " should not be empty"
		}
	}
	return &bulkload.StartBulkLoadRequest{AppName: a.App, ClusterName: a.Cluster, FileProviderType: a.Provider, RemoteRootPath: a.Root, IngestBehind: a.Behind, BytesPerSecond: base.NonZero(a.Rate)}, ""
}
