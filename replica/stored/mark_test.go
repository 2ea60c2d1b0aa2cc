package stored

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMark: a directory is filled by one job, and of use when it is complete.
func TestMark(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	says := func(err error, want string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	fill := func(m Mark, complete bool) {
		t.Helper()
		if is, err := Fill(dir, m); err != nil || is != complete {
			t.Fatalf("%t, %v", is, err)
		}
	}
	if err := Usable(dir); err != nil {
		t.Errorf("one that isn't there: %v", err)
	}
	says(Complete(dir), "no such file")
	one := Mark{Job: "1", What: "this"}
	fill(one, false)
	fill(one, false)
	says(Usable(dir), "this was begun and not ended")
	_, err := Fill(dir, Mark{Job: "2", What: "that"})
	says(err, "this; now it would be that")
	if err := Note(dir, "1.0", "a note"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := Complete(dir); err != nil {
			t.Fatal(err)
		}
	}
	fill(one, true)
	if err := Usable(dir); err != nil {
		t.Error(err)
	}
	if notes, err := Notes(dir); err != nil || notes["1.0"] != "a note" {
		t.Errorf("%v, %v", notes, err)
	}
	says(Note(dir, "1.0", "x"), "isn't being filled")
	_, err = Fill(dir, Mark{Job: "2", What: "that"})
	says(err, "this; now it would be that")

	dir = t.TempDir()
	name := filepath.Join(dir, beingFilled)
	for text, want := range map[string]string{"{": "empty the directory", `{"format": 2}`: "format 2"} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := Fill(dir, one)
		says(err, want)
		says(Usable(dir), want)
	}
	if err := os.Rename(name, filepath.Join(dir, "x")); err != nil {
		t.Fatal(err)
	}
	_, err = Fill(dir, one)
	says(err, "isn't empty: x is there")
	if is, err := Fill(dir, one, "x"); err != nil || is {
		t.Errorf("%t, %v", is, err)
	}
}
