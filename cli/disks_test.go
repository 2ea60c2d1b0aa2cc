package cli

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"pegasus/remotecmd/answer"
)

func TestAnswered(t *testing.T) {
	for text, want := range map[string]string{
		"{\n  \"error\": \"ok\"\n}":    "",
		`{"error":"ERR: it works"}`:    "it works",
		`unknown command 'x'`:          "unknown answer",
		`{"something":"else"}`:         "unknown answer",
		`{"error":"ERR: ERR: \u001b"}`: "ERR: ",
	} {
		err := answered(text)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestPrintDisks(t *testing.T) {
	holds := slices.Repeat([]answer.LogHold{{Replica: "1.7", Holder: "dup\n", Decree: 42}}, shownHolds+3)
	var out bytes.Buffer
	err := printDisks(&Env{Out: &out}, []diskJSON{
		{Server: "10.0.0.1:34801", Disk: answer.Disk{Tag: "ssd1", Path: "/data/1", State: "NORMAL", Replicas: 12, Total: 100 << 30, Available: 50 << 30, Holds: holds,
			Moves: []answer.DiskMove{{Replica: "2.3", From: "ssd1", To: "ssd\n", State: "MOVING", Bytes: 4 << 30, Done: 1 << 30, Seconds: 12.3}}}},
		{Server: "10.0.0.1:34801", Disk: answer.Disk{Tag: "ssd2", Path: "/data/2", State: "IO_ERROR", Replicas: 3, Broken: 3, Error: "write: input/output\nerror", Next: "tried again", Retry: 12.4}},
		{Server: "10.0.0.2:34801", Disk: answer.Disk{Tag: "ssd1", Path: "/data/1", State: "IO_ERROR", Next: "left alone"}},
	}, []string{"10.0.0.3:34801"})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"SERVER", "50 GiB", "IO_ERROR", "tried again in 12s", "left alone", `10.0.0.1:34801 ssd2: write: input/output\nerror`,
		`ssd1: the log keeps what follows decree 42 of replica 1.7 for dup\n`, "ssd1: and 3 others", `ssd1: replica 2.3 moves to ssd\n: 1024 MiB of 4096 MiB copied in 12s`, "not asked, because they are dead: 10.0.0.3:34801\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q isn't in\n%s", want, out.String())
		}
	}
}
