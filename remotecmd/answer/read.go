package answer

import (
	"encoding/json"
	"fmt"
)

// Read reads what a server answered to a remote command that answers JSON.
func Read[T any](server, command, text string) (v T, err error) {
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return v, fmt.Errorf("%s answers %q to %s: %w", server, text, command, err)
	}
	return v, nil
}
