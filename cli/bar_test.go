package cli

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestBar(t *testing.T) {
	var out bytes.Buffer
	at := time.Unix(0, 0)
	columns := 80
	b := newBar(&out, "verify", func() int { return columns }, func() time.Time { return at })
	step := func(d time.Duration, done, all int64) string {
		at = at.Add(d)
		out.Reset()
		b.Bytes(done, all)
		return out.String()
	}
	if s := step(time.Millisecond, 1, 100); s != "" {
		t.Errorf("too early: %q", s)
	}
	if s := step(2*time.Second, 50<<20, 100<<20); s != "\r\x1b[Kverify  50 % [############.............]  50 MiB of 100 MiB  24 MiB/s  2s left" {
		t.Errorf("%q", s)
	}
	if s := step(time.Millisecond, 51<<20, 100<<20); s != "" {
		t.Errorf("too often: %q", s)
	}
	columns = 20
	if s := strings.TrimPrefix(step(time.Second, 80<<20, 100<<20), "\r\x1b[K"); utf8.RuneCountInString(s) != 19 || !strings.HasPrefix(s, "verify  80 %") {
		t.Errorf("%q", s)
	}
	columns = 0
	if s := step(time.Second, 200, 100); !strings.HasPrefix(s, "\r\x1b[Kverify 100 %  200 B of 100 B") {
		t.Errorf("%q", s)
	}
	out.Reset()
	b.End()
	b.End()
	if out.String() != "\r\x1b[K" {
		t.Errorf("%q", out.String())
	}
	none := NewBar(&out, "x")
	none.Bytes(1, 2)
	none.Permille(1, "")
	none.End()
	f, err := os.Create(t.TempDir() + "/file")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if none != nil || NewBar(f, "x") != nil {
		t.Error("a bar that isn't on a terminal")
	}
}
