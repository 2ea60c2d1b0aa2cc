package cli

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode"

	"pegasus/base"
	"pegasus/client"
)

func TestEscape(t *testing.T) {
	for _, tc := range []struct{ raw, escaped string }{
		{"plain text 123", "plain text 123"},
		{"a\\b", `a\\b`},
		{"tab\tline\ncr\r", `tab\tline\ncr\r`},
		{"\x00\x1b\x7f\xff", `\x00\x1b\x7f\xff`},
		{"日本 ä", "日本 ä"},
		{"half \xe6\x97", `half \xe6\x97`},
		{"\u200b\u202e", `\xe2\x80\x8b\xe2\x80\xae`}, // invisible, and turning the line around
		{"\ufffd", "\ufffd"},
		{`say "x"`, `say "x"`},
	} {
		if got := Escape([]byte(tc.raw)); got != tc.escaped {
			t.Errorf("Escape(%q) = %s, want %s", tc.raw, got, tc.escaped)
		}
	}
	if got := Quote([]byte(`say "x"`)); got != `"say \"x\""` {
		t.Errorf("Quote: %s", got)
	}
}

func TestUnescape(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{`plain`, "plain"},
		{`\\\"\'\a\b\f\n\r\t\v`, "\\\"'\a\b\f\n\r\t\v"},
		{`\x41\xFF\x4g`, "A\xff\x04g"},
		{`\0\101\3778`, "\x00A\xff8"},
	} {
		got, err := Unescape(tc.in)
		if err != nil || string(got) != tc.want {
			t.Errorf("Unescape(%s) = %q, %v", tc.in, got, err)
		}
	}
	for _, tc := range []struct{ in, want string }{
		{`end\`, "single backslash"},
		{`\xg`, "must be followed by hexadecimal digits"},
		{`\x`, "must be followed by hexadecimal digits"},
		{`ab\777`, `\777 at byte 2 exceeds one byte`},
		{`a\q`, "unknown escape at byte 1"},
	} {
		if _, err := Unescape(tc.in); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("Unescape(%s): %v", tc.in, err)
		}
	}
}

func FuzzEscape(f *testing.F) {
	for _, s := range []string{"", "abc", `\x41`, "\xff\x00", `\777`, "日本", `"'`, `\`, "\u200b"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, text := range []string{Escape(raw), strings.TrimSuffix(strings.TrimPrefix(Quote(raw), `"`), `"`)} {
			for _, r := range text {
				if !unicode.IsPrint(r) {
					t.Fatalf("%q isn't printable: %q", r, text)
				}
			}
			if back, err := Unescape(text); err != nil || !bytes.Equal(back, raw) {
				t.Fatalf("%q became %q became %q, %v", raw, text, back, err)
			}
		}
		// Whatever stands in an argument: an error, or bytes that are no more than it had.
		if b, err := Unescape(string(raw)); err == nil && len(b) > len(raw) {
			t.Fatalf("%q became %q", raw, b)
		}
	})
}

func TestExplain(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want string
	}{
		{errors.New("two\nlines"), "two lines"},
		{&client.Error{Op: "RPC_RRDB_RRDB_PUT", Table: "t", Attempts: 3, Err: base.ErrNotEnoughMember}, "; too few live replicas to accept a write: see pegasus nodes and pegasus table show t"},
		{&client.Error{Op: "RPC_RRDB_RRDB_PUT", Table: "t", Unknown: true, Err: base.ErrTimeout}, "may or may not have been applied: ERR_TIMEOUT; check the servers"},
		{&client.Error{Err: base.ErrBusy}, "throttle"},
		{&client.Error{Err: fmt.Errorf("x: %w", base.ErrInvalidData)}, "max_allowed_write_size"},
		{&client.AdminError{Op: "create table \"x\"", Code: base.ErrAppExist}, "the table exists"},
		// Servers accept any name of 1 to 256 bytes, and say what is wrong themselves.
		{&client.AdminError{Op: "create table \"x\"", Code: base.ErrInvalidParameters}, "a name of 1 to 256 bytes"},
		{&client.StoreError{Op: "get", Code: 5}, "get: I/O error (code 5)"},
		{fmt.Errorf("raise: RPC to 10.0.0.1:34601: %w", base.ErrHandlerNotFound), "older program"},
		{&client.StoreError{Op: "get", Code: 77}, "storage error 77"},
	} {
		if got := Explain(tc.err); !strings.Contains(got, tc.want) || strings.Contains(got, "\n") {
			t.Errorf("%v: %q", tc.err, got)
		}
	}
	if got := Explain(&client.AdminError{Op: "create table \"x\"", Code: base.ErrInvalidParameters, Hint: "too many"}); strings.Contains(got, "a-z") || strings.Contains(got, "give at least") {
		t.Errorf("what the meta says is drowned: %q", got)
	}
	if Explain(nil) != "" {
		t.Error("nil is explained")
	}
}

func TestGrid(t *testing.T) {
	g := newGrid("name", "#n", "note")
	g.add("ä", 5, "")
	g.add("longer", 12345, "x")
	var b strings.Builder
	if err := g.print(&b); err != nil {
		t.Fatal(err)
	}
	want := "NAME        N  NOTE\nä           5\nlonger  12345  x\n"
	if b.String() != want {
		t.Errorf("got\n%s", b.String())
	}
}
