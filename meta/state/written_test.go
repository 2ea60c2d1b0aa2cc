package state

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pegasus/base"
)

// testdata/written has, by the commit whose program wrote it, entries of the log and the
// snapshots between them. What such a program wrote is read, and comes to the same State; and as
// long as nobody raises the cluster's version every byte is written as that program writes it,
// so that it reads what we write.
func TestWritten(t *testing.T) {
	files, err := filepath.Glob("testdata/written/*.txt")
	if err != nil || len(files) < 2 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			s, snapshots := New(), 0
			for line := range strings.Lines(string(b)) {
				what, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
				data, err := hex.DecodeString(rest)
				if what != "reborn" && err != nil {
					t.Fatal(err)
				}
				switch what {
				case "entry":
					c, err := Decode(data)
					if err != nil {
						t.Fatalf("%s: %v", rest, err)
					}
					if again := Encode(c); !bytes.Equal(again, data) {
						t.Errorf("%+v is written as %x, and was written as %x", c, again, data)
					}
					if res, err := s.Apply(data); err != nil || res.Err != base.ErrOK {
						t.Fatalf("%+v: %v, %v", c, res.Err, err)
					}
				case "reborn":
					s.BeginQuorum(rest, true)
				case "snapshot":
					snapshots++
					if again := s.AppendSnapshot(nil); !bytes.Equal(again, data) {
						t.Errorf("the State is written as %x, and was written as %x", again, data)
					}
					back, err := Restore(data)
					if err != nil {
						t.Fatal(err)
					}
					if show(back) != show(s) {
						t.Errorf("restored:\n%s\nwas:\n%s", show(back), show(s))
					}
				default:
					t.Fatalf("line %q", line)
				}
			}
			if snapshots < 5 {
				t.Errorf("%d snapshots", snapshots)
			}
		})
	}
}
