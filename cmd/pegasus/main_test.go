package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/sirupsen/logrus"

	"pegasus/base/config"
	"pegasus/client/clienttest"
)

// TestSessions runs the sessions in testdata against an in-process cluster. Each command
// line stands as it would be typed; `stderr` and `exit` lines follow what it printed.
// Addresses and durations that differ from run to run are named.
func TestSessions(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		k := clienttest.Start(t, 3)
		k.SetNow(func() time.Time { return time.Unix(1700000000, 0) })
		t.Setenv("PEGASUS_META", k.Meta)
		dir := t.TempDir()
		names := []string{k.Meta, "META", dir, "DIR"}
		for i, n := range k.Nodes {
			names = append(names, n, fmt.Sprintf("NODE%d", i+1))
		}
		named := strings.NewReplacer(names...)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "file": // file NAME: writes the input to a file in DIR
				if err := os.WriteFile(filepath.Join(dir, d.CmdArgs[0].Key), []byte(d.Input+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
				return ""
			case "run":
			default:
				t.Fatalf("%s: unknown command %s", d.Pos, d.Cmd)
			}
			var all strings.Builder
			for line := range strings.Lines(d.Input) {
				line = strings.ReplaceAll(strings.TrimSuffix(line, "\n"), "DIR", dir)
				args, err := splitLine(line)
				if err != nil || len(args) == 0 || args[0] != "pegasus" {
					t.Fatalf("%s: %q: %v", d.Pos, line, err)
				}
				var out, errw bytes.Buffer
				status := run(context.Background(), args[1:], &out, &errw)
				all.WriteString(out.String())
				for l := range strings.Lines(errw.String()) {
					all.WriteString("stderr " + l)
				}
				if status != 0 {
					fmt.Fprintf(&all, "exit %d\n", status)
				}
			}
			return steady(named.Replace(all.String()))
		})
	})
}

var times = regexp.MustCompile(`\b[0-9.]+(ns|µs|ms|s)\b|"seconds":[0-9.e-]+`)

func steady(s string) string { return times.ReplaceAllString(s, "TIME") }

// splitLine splits as a shell does, with single quotes only.
func splitLine(s string) ([]string, error) {
	var out []string
	var word strings.Builder
	quoted, inWord := false, false
	for _, r := range s {
		switch {
		case r == '\'':
			quoted, inWord = !quoted, true
		case r == ' ' && !quoted:
			if inWord {
				out = append(out, word.String())
			}
			word.Reset()
			inWord = false
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	if quoted {
		return nil, errors.New("a quote is open")
	}
	if inWord {
		out = append(out, word.String())
	}
	return out, nil
}

func serverArgs(t *testing.T) (f serverFlags, cfg config.Config, addr string) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = l.Addr().String()
	l.Close()
	return serverFlags{pidFile: filepath.Join(t.TempDir(), "pid")}, config.Default(), addr
}

func TestServeUntilStopped(t *testing.T) {
	f, cfg, addr := serverArgs(t)
	ctx, cancel := context.WithCancel(context.Background())
	var logged bytes.Buffer
	err := f.serve(ctx, cfg, "replica", addr, func(ctx context.Context, _ config.Config, log *logrus.Entry) error {
		data, err := os.ReadFile(f.pidFile)
		if string(data) != fmt.Sprintf("%d\n", os.Getpid()) {
			t.Errorf("pid file: %q, %v", data, err)
		}
		log.Info("hello")
		log.Debug("not this")
		cancel()
		<-ctx.Done()
		return nil
	}, &logged)
	if err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(f.pidFile); err == nil {
		t.Error("the pid file is left")
	}
	if s := logged.String(); !strings.Contains(s, `msg="starts: pegasus `+version+" (") || !strings.Contains(s, fmt.Sprintf("process %d", os.Getpid())) {
		t.Errorf("which program it is isn't told: %q", s)
	}
	if s := logged.String(); !strings.Contains(s, `level=info msg=hello at="cmd/pegasus/main_test.go:`) || !strings.Contains(s, `server="replica `+addr) || strings.Contains(s, "not this") {
		t.Errorf("logged %q", s)
	}
}

func TestServeErrors(t *testing.T) {
	f, cfg, addr := serverArgs(t)
	fails := func(err error) serverRun {
		return func(context.Context, config.Config, *logrus.Entry) error { return err }
	}
	var log bytes.Buffer
	if err := f.serve(context.Background(), cfg, "meta", addr, fails(errors.New("the disk is gone")), &log); err == nil || err.Error() != "meta server "+addr+": the disk is gone" {
		t.Errorf("got %v", err)
	}
	l, err := net.Listen("tcp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f.config = "f.toml"
	err = f.serve(context.Background(), cfg, "meta", addr, fails(nil), &log)
	want := fmt.Sprintf("f.toml: meta.listen: address %s is in use by another process; stop it (`ss -ltnp 'sport = :", addr)
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	f.listen = addr
	err = f.serve(context.Background(), cfg, "meta", "203.0.113.1:1", fails(nil), &log)
	if err == nil || !strings.HasPrefix(err.Error(), "--listen: can't listen on 203.0.113.1:1: ") {
		t.Errorf("got %v", err)
	}
}

func TestExampleCommand(t *testing.T) {
	var out, errw bytes.Buffer
	if status := run(context.Background(), []string{"config", "example"}, &out, &errw); status != 0 || !bytes.Equal(out.Bytes(), config.Example()) {
		t.Errorf("status %d, %s%s", status, out.String(), errw.String())
	}
}

func TestSplitList(t *testing.T) {
	if got := splitList("a:1,,b:2,"); len(got) != 2 || got[0] != "a:1" || got[1] != "b:2" {
		t.Errorf("got %q", got)
	}
}
