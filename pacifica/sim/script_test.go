package sim

import (
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// TestScripts runs the cases in testdata. After
//
//	go test ./pacifica/sim -run Scripts -rewrite
//
// the files hold what happens now.
func TestScripts(t *testing.T) {
	cases := 0
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		if strings.HasSuffix(path, ".md") {
			return
		}
		var s *Script
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "case":
				s = NewScript()
				cases++
			case "then":
			default:
				d.Fatalf(t, "unknown directive %s", d.Cmd)
			}
			var out strings.Builder
			for _, line := range strings.Split(d.Input, "\n") {
				got := s.Do(line)
				if got != "" && !strings.HasPrefix(line, "state") && !strings.HasPrefix(line, "trace") {
					out.WriteString(line + ": ")
				}
				out.WriteString(got)
			}
			if strings.Contains(out.String(), "VIOLATION") {
				t.Errorf("%s: %s", d.Pos, out.String())
			}
			if out.Len() == 0 {
				return "ok\n"
			}
			return out.String()
		})
	})
	if cases < 52 {
		t.Errorf("%d cases", cases)
	}
}
