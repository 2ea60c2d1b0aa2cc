package remotecmd

import (
	"encoding/json"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
)

func table(t *testing.T) (*Table, *logrus.Logger) {
	t.Helper()
	var flag atomic.Bool
	var num atomic.Int64
	num.Store(65)
	log := logrus.New()
	log.SetOutput(io.Discard)
	return New(Options{Started: time.Date(2026, 11, 23, 0, 13, 13, 0, time.Local), Log: log, Dump: func() (string, error) { return "[cluster]\n", nil }},
		Bool("x.flag", "a flag", &flag),
		Int("meta.live_percentage", "node live percentage threshold for update", &num, func(n int64) bool { return n >= 0 && n <= 100 })), log
}

// TestAnswers compares with what the C++ server was recorded to answer.
func TestAnswers(t *testing.T) {
	tab, log := table(t)
	for _, c := range []struct{ line, want string }{
		{"nosuch.command 1 2", "unknown command 'nosuch.command'"},
		{"help nosuch", "cannot find command 'nosuch'"},
		{"h meta.live_percentage", "meta.live_percentage - node live percentage threshold for update\nmeta.live_percentage [num | DEFAULT]\n"},
		{"meta.live_percentage", "{\n  \"error\": \"ok\",\n  \"meta.live_percentage\": \"65\"\n}"},
		{"meta.live_percentage 70", "{\n  \"error\": \"ok\"\n}"},
		{"meta.live_percentage", "{\n  \"error\": \"ok\",\n  \"meta.live_percentage\": \"70\"\n}"},
		{"meta.live_percentage abc", "{\n  \"error\": \"ERR: invalid argument 'abc', the value is not acceptable\"\n}"},
		{"meta.live_percentage 101", "{\n  \"error\": \"ERR: invalid argument '101', the value is not acceptable\"\n}"},
		{"meta.live_percentage 1 2", "{\n  \"error\": \"ERR: invalid arguments '1 2', only one argument is acceptable\"\n}"},
		{"meta.live_percentage DEFAULT", "{\n  \"error\": \"ok\",\n  \"meta.live_percentage\": 65\n}"},
		{"x.flag", "{\n  \"error\": \"ok\",\n  \"x.flag\": \"false\"\n}"},
		{"x.flag TRUE", "{\n  \"error\": \"ok\"\n}"},
		{"x.flag", "{\n  \"error\": \"ok\",\n  \"x.flag\": \"true\"\n}"},
		{"x.flag off", "{\n  \"error\": \"ERR: invalid arguments, 'off' is not a boolean\"\n}"},
		{"x.flag true false", "{\n  \"error\": \"ERR: invalid arguments, only one boolean argument is acceptable\"\n}"},
		{"flush-log", "Flush done."},
		{"config-dump", "[cluster]\n"},
		{"config-dump file", "ERR: a server doesn't write files by remote command; leave the argument out"},
		{"reset-log-start-level nosuch", "ERROR: invalid level 'nosuch'"},
		{"reset-log-start-level DEBUG", "OK, current level is LOG_LEVEL_DEBUG"},
	} {
		f := strings.Fields(c.line)
		if got := tab.Run(f[0], f[1:]); got != c.want {
			t.Errorf("%s: %q, want %q", c.line, got, c.want)
		}
	}
	if log.GetLevel() != logrus.DebugLevel {
		t.Errorf("the level is %v", log.GetLevel())
	}
	if got, want := tab.Run("server-info", nil), `"start_time":"2026-11-23 00:13:13","version":"2.6.0-go"}`; !strings.HasSuffix(got, want) {
		t.Errorf("server-info: %s, want %s at its end", got, want)
	}
}

// Counters are found by their names, and by parts of them; what reads them goes by names and values.
func TestCounters(t *testing.T) {
	there := []Counter{{"replica*app.pegasus*disk.storage.sst(MB)@1.0", Number, 12.5}, {"replica*app.pegasus*disk.storage.sst(MB)@1.10", Number, 0}}
	for _, c := range []struct {
		line string
		want int
	}{
		{"perf-counters", 2}, {"perf-counters " + there[1].Name, 1}, {"perf-counters disk", 0},
		{"perf-counters-by-substr disk.storage.sst(MB)", 2}, {"perf-counters-by-substr nosuch", 0}, {"perf-counters-by-substr nosuch @1.1", 1},
		{"perf-counters-by-prefix replica*app", 2}, {"perf-counters-by-prefix app", 0}, {"perf-counters-by-postfix .0", 1}, {"perf-counters-by-postfix replica", 0},
	} {
		for _, of := range []func() []Counter{func() []Counter { return there }, nil} {
			var got struct {
				Result   string
				Counters []Counter
			}
			f := strings.Fields(c.line)
			text := New(Options{Counters: of}).Run(f[0], f[1:])
			if err := json.Unmarshal([]byte(text), &got); err != nil || got.Result != "OK" || got.Counters == nil {
				t.Fatalf("%s: %v, %s", c.line, err, text)
			}
			if want := c.want; of == nil && len(got.Counters) > 0 || of != nil && len(got.Counters) != want {
				t.Errorf("%s: %s, want %d", c.line, text, want)
			}
			for _, x := range got.Counters {
				if !slices.Contains(there, x) {
					t.Errorf("%s: %+v", c.line, x)
				}
			}
		}
	}
}

func TestHelp(t *testing.T) {
	tab, _ := table(t)
	lines := strings.Split(tab.Run("help", nil), "\n")
	if len(lines) != len(tab.list)+1 || lines[0] != "help|h|H|Help - Display help information" {
		t.Errorf("help: %q", lines)
	}
	for _, l := range lines[:len(lines)-1] {
		if name, help, ok := strings.Cut(l, " - "); !ok || name == "" || help == "" {
			t.Errorf("line %q", l)
		}
	}
}

// What the Makefile builds knows its revision, also without a repository around it.
func TestRevision(t *testing.T) {
	file, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`-X pegasus/remotecmd\.(\w+)=\$\(REVISION\)`).FindSubmatch(file)
	if len(m) == 0 || string(m[1]) != "revision" {
		t.Fatalf("the Makefile sets %q, not revision", m)
	}
	revision = "0123456789abcdef"
	defer func() { revision = "" }()
	if got := New(Options{Started: time.Now()}).Run("server-info", nil); !strings.Contains(got, `"git_SHA":"0123456789abcdef"`) {
		t.Errorf("server-info: %s", got)
	}
}

// What may change something is logged with who asked, what only shows something isn't.
func TestCommandsAreLogged(t *testing.T) {
	tab, log := table(t)
	var lines strings.Builder
	log.SetOutput(&lines)
	for _, c := range []struct {
		line string
		want bool
	}{
		{"meta.live_percentage 70", true}, {"meta.live_percentage", false}, {"x.flag true", true}, {"x.flag", false},
		{"reset-log-start-level INFO", true}, {"help", false}, {"server-info", false}, {"config-dump", false}, {"perf-counters x", false}, {"nosuch 1", false},
	} {
		lines.Reset()
		f := strings.Fields(c.line)
		tab.note(f[0], f[1:], "10.0.0.9:5555")
		if got := lines.String(); strings.Contains(got, c.line) != c.want || c.want && !strings.Contains(got, "asked by 10.0.0.9:5555") {
			t.Errorf("%s: logged %q", c.line, got)
		}
	}
}
