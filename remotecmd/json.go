package remotecmd

import (
	"encoding/json"
	"strconv"
)

// JSON is what a command answers that shows v as JSON; an error is an object with the one field
// "error".
func JSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return `{"error":` + strconv.Quote(err.Error()) + `}`
	}
	return string(b)
}
