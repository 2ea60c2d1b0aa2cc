package durable

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// A file is whole, or what it was, and nothing else is left.
func TestFile(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "f")
	failed := errors.New("failed")
	for _, s := range []struct {
		text string
		err  error
		want string
	}{{"one", nil, "one"}, {"tw", failed, "one"}, {"two", nil, "two"}} {
		err := File(name, func(w io.Writer) error {
			_, err := io.WriteString(w, s.text)
			return errors.Join(err, s.err)
		})
		b, read := os.ReadFile(name)
		if !errors.Is(err, s.err) || read != nil || string(b) != s.want {
			t.Errorf("%q: %v; it has %q, %v", s.text, err, b, read)
		}
		if list, err := os.ReadDir(dir); err != nil || len(list) != 1 {
			t.Errorf("%v, %v", list, err)
		}
	}
	if err := File(filepath.Join(dir, "none", "f"), func(io.Writer) error { return nil }); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
