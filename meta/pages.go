package meta

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"time"

	"pegasus/base"
	"pegasus/httpapi"
)

var badRequest = httpapi.Text(http.StatusBadRequest, "")

// nameOf returns the argument that names a table, or why it can't be answered.
func nameOf(q *httpapi.Request) (string, *httpapi.Response) {
	if n := q.Get("name"); n != "" {
		return n, nil
	}
	r := httpapi.Text(http.StatusBadRequest, "app name shouldn't be empty")
	return "", &r
}

// at writes a second as upstream's lists do; "-" for none.
func at(sec int64) string {
	if sec <= 0 {
		return "-"
	}
	return time.Unix(sec, 0).Format("2006-01-02 15:04:05.000")
}

func itoa(n int32) string { return strconv.Itoa(int(n)) }

// maxPost is the longest body of a request that changes something.
const maxPost = 64 << 10

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
