package meta

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"pegasus/remotecmd"
)

// httpHandler serves the pages that need no cluster.
func (s *Server) httpHandler() http.Handler {
	mux := http.NewServeMux()
	page := func(path string, body any) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			b, err := json.Marshal(body)
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			w.Header().Set("Content-Type", "text/plain")
			w.Write(append(b, '\n'))
		})
	}
	page("/{$}", map[string]string{"/": "", "/version": "", "/recentStartTime": ""})
	page("/version", struct{ Version, GitCommit string }{remotecmd.Version, remotecmd.Revision()})
	page("/recentStartTime", struct{ RecentStartTime string }{s.started.Format(time.DateTime)})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprintf(w, "service not found for %q", r.URL.Path)
	})
	return mux
}
