package replica

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"pegasus/httpapi"
)

func itoa(n int32) string { return strconv.Itoa(int(n)) }

// appID reads an argument that is a table's id.
func appID(q *httpapi.Request, name string) (int32, *httpapi.Response) {
	v := q.Get(name)
	n, err := strconv.ParseInt(v, 10, 32)
	bad := func(why string) *httpapi.Response {
		r := httpapi.Text(http.StatusBadRequest, why)
		return &r
	}
	switch {
	case !q.Has(name):
		return 0, bad(name + " should not be empty")
	case err != nil || n < 0:
		return 0, bad(fmt.Sprintf("invalid %s=%s", name, v))
	}
	return int32(n), nil
}

// compact is JSON without a newline, as these pages end upstream.
func compact(v any) httpapi.Response {
	b, err := json.Marshal(v)
	if err != nil {
		return httpapi.Text(http.StatusInternalServerError, err.Error())
	}
	return httpapi.Response{Body: b}
}
