package bulkload

import (
	"testing"

	"pegasus/base/tbin"
	"pegasus/gen/bulkload"
)

// FuzzStart reads what somebody posts: what is taken has all that a load needs.
func FuzzStart(f *testing.F) {
	f.Add([]byte(`{"app_name":"t","cluster_name":"c","file_provider_type":"p","remote_root_path":"r","ingest_behind":true,"bytes_per_second":5}`))
	f.Add([]byte(`{"app_name":"t","cluster_name":"c","file_provider_type":"p","remote_root_path":"r","bytes_per_second":-5}`))
	f.Add([]byte(`{"app_name":"t","cluster_name":["c"]}`))
	f.Add([]byte(`{`))
	f.Fuzz(func(t *testing.T, b []byte) {
		q, wrong := parseStart(b)
		if wrong == "" && (q.AppName == "" || q.ClusterName == "" || q.FileProviderType == "" || q.RemoteRootPath == "" || q.BytesPerSecond.V < 0) || wrong != "" && q != nil {
			t.Fatalf("%q is read as %+v, %q", b, q, wrong)
		}
		if q == nil {
			return
		}
		// What arrives by RPC is written and read as it is.
		again, r := &bulkload.StartBulkLoadRequest{}, tbin.NewReader(q.AppendThrift(nil))
		if again.ReadThrift(r); r.Err() != nil || *again != *q {
			t.Fatalf("%+v became %+v, %v", q, again, r.Err())
		}
	})
}
