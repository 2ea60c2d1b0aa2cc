package wire

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"pegasus/internal/repo"
)

// TestRecordedFrames takes every frame of the recorded client sessions apart and puts it
// together again.
func TestRecordedFrames(t *testing.T) {
	dir := repo.Golden(t)
	files, err := filepath.Glob(filepath.Join(dir, "frames-*", "*.bin"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatalf("no recorded frames in %s", dir)
	}
	n := 0
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.HasPrefix(b, []byte("GET ")) || bytes.HasPrefix(b, []byte("POST")) || bytes.HasPrefix(b, []byte("HTTP/")) {
			continue
		}
		f, err := Parse(b)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		n++
		// A THFT response isn't something a test sends; checksums aren't written.
		if f.Response && f.Framing != RDSN || f.Framing == RDSN && !bytes.Equal(b[12:16], make([]byte, 4)) {
			continue
		}
		if got := f.Encode(); !bytes.Equal(got, b) {
			t.Errorf("%s (%s) encodes to\n%x, was\n%x", file, f.Code, got, b)
		}
	}
	t.Logf("%d frames", n)
}
