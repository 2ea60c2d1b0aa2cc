package rows

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"pegasus/base/durable"
)

const stateFormat = 1

// readState reads a state file into to; false: there is none.
func readState(name string, to any) (bool, error) {
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		var head struct {
			Format int `json:"format"`
		}
		if err = json.Unmarshal(b, &head); err == nil && head.Format != stateFormat {
			err = fmt.Errorf("it has format %d, this program reads %d", head.Format, stateFormat)
		}
	}
	if err == nil {
		err = json.Unmarshal(b, to)
	}
	if err != nil {
		return false, fmt.Errorf("read the state file %s: %w; give another name, or remove it to begin anew", name, err)
	}
	return true, nil
}

// writeState writes a state file, which is there whole or as it was.
func writeState(name string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	err = durable.File(name, func(w io.Writer) error {
		_, err := w.Write(append(b, '\n'))
		return err
	})
	if err != nil {
		return fmt.Errorf("write the state file %s: %w", name, err)
	}
	return nil
}
