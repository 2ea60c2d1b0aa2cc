package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/creack/pty"
)

// asProgram has the test's binary be the program itself.
const asProgram = "PEGASUS_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// terminal is a program that runs at one.
type terminal struct {
	t    *testing.T
	f    *os.File
	cmd  *exec.Cmd
	mu   sync.Mutex
	text bytes.Buffer
	gone chan struct{} // nothing more is written
}

// atTerminal starts the program at a terminal of so many columns and rows.
func atTerminal(t *testing.T, cache string, columns, rows uint16, args ...string) *terminal {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	x := &terminal{t: t, cmd: exec.Command(self, args...), gone: make(chan struct{})}
	x.cmd.Env = append(os.Environ(), asProgram+"=1", "XDG_CACHE_HOME="+cache, "HOME="+cache, "TERM=xterm")
	if x.f, err = pty.StartWithSize(x.cmd, &pty.Winsize{Cols: columns, Rows: rows}); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(x.gone)
		b := make([]byte, 4096)
		for {
			n, err := x.f.Read(b)
			x.mu.Lock()
			x.text.Write(b[:n])
			x.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = x.cmd.Process.Kill()
		_ = x.cmd.Wait()
		x.f.Close()
		<-x.gone
	})
	return x
}

func (x *terminal) shown() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.text.String()
}

// until waits until what was shown since the last call matches, and forgets it up to there.
func (x *terminal) until(want string) string {
	x.t.Helper()
	re := regexp.MustCompile(want)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		x.mu.Lock()
		at := re.FindIndex(x.text.Bytes())
		if at != nil {
			got := string(x.text.Next(at[1]))
			x.mu.Unlock()
			return got
		}
		x.mu.Unlock()
		if time.Now().After(deadline) {
			x.t.Fatalf("%q isn't shown, but %q", want, x.shown())
		}
	}
}

func (x *terminal) press(keys string) {
	x.t.Helper()
	if _, err := x.f.WriteString(keys); err != nil {
		x.t.Fatal(err)
	}
}

// ends waits for the program's end, and returns its status.
func (x *terminal) ends() int {
	x.t.Helper()
	done := make(chan error, 1)
	go func() { done <- x.cmd.Wait() }()
	select {
	case <-done:
	case <-time.After(time.Minute):
		x.t.Fatalf("it doesn't end: %q", x.shown())
	}
	return x.cmd.ProcessState.ExitCode()
}

const (
	ctrlC = "\x03"
	ctrlD = "\x04"
	up    = "\x1b[A"
)

// The shell and top at a terminal, as a person uses them.
func TestTerminal(t *testing.T) {
	addrs := startServers(t)
	t.Setenv("PEGASUS_META", addrs[0])
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		var out bytes.Buffer
		if run(t.Context(), []string{"node", "ls", "--timeout", "2s"}, &out, &out); strings.Count(out.String(), " alive ") == 3 {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("the servers don't come: %s", out.String())
		}
	}
	for _, name := range []string{"temp", "other"} {
		var out bytes.Buffer
		if run(t.Context(), []string{"table", "create", name, "-p", "2", "-r", "2"}, &out, &out) != 0 {
			t.Fatal(out.String())
		}
	}
	cache := t.TempDir()
	const prompt, tempPrompt = `pegasus> `, `pegasus temp> `

	t.Run("shell", func(t *testing.T) {
		x := atTerminal(t, cache, 80, 24, "shell")
		x.until(prompt)
		x.press("tab\t")
		x.until(`table `)
		x.press("ren\t")
		x.until(`rename `)
		x.press(ctrlC) // clears the line
		x.press("use te\t\r")
		x.until(`use temp `)
		x.until(tempPrompt)
		x.press("set h s 'a value'\r")
		x.until(`OK\r\n`)
		x.until(tempPrompt)
		x.press("get h s\r")
		x.until(`a value\r\n`)
		x.until(tempPrompt)
		x.press(up + "\r") // again
		x.until(`a value\r\n`)
		x.until(tempPrompt)
		x.press(up + up + "\r") // the set
		x.until(`OK\r\n`)
		x.until(tempPrompt)
		x.press("del-range h\r") // a question
		x.until(`to go on: `)
		x.press("no\r")
		x.until(`nothing is removed or changed`)
		x.until(tempPrompt)
		x.press("del-range h\r")
		x.until(`to go on: `)
		x.press("yes\r")
		x.until(`1 rows are removed`)
		x.until(tempPrompt)
		x.press("table drop other\r")
		x.until(`Drop table other\? Write other to go on: `)
		x.press(ctrlC)
		x.until(`interrupted`)
		x.until(tempPrompt)
		x.press("top --every 50ms\r")
		x.until("\x1b\\[H\x1b\\[2J")
		x.press(ctrlC) // ends top, not the shell
		x.until(tempPrompt)
		x.press("table s\t") // several: they are listed
		x.until(`show  split  stats`)
		if err := pty.Setsize(x.f, &pty.Winsize{Cols: 30, Rows: 10}); err != nil {
			t.Fatal(err)
		}
		x.until("\x1b\\[K" + tempPrompt + `table s`) // it is drawn anew
		x.press(ctrlC + "# a line that is longer than thirty columns are\r")
		x.until(`a line that is\r\n longer than`) // it is wrapped at the new width
		x.until(tempPrompt)
		x.press("nonsense\r")
		x.until(`unknown command`)
		x.until(tempPrompt)
		x.press(ctrlD)
		if status := x.ends(); status != 0 {
			t.Errorf("Ctrl-D: status %d", status)
		}
	})
	t.Run("history", func(t *testing.T) {
		x := atTerminal(t, cache, 80, 24, "shell")
		x.until(prompt)
		x.press(up + up + up) // nonsense, the comment, top
		x.until(`top --every 50ms`)
		x.press(ctrlC + "exit\r")
		if status := x.ends(); status != 0 {
			t.Errorf("exit: status %d", status)
		}
		if i, err := os.Stat(filepath.Join(cache, "pegasus", "history")); err != nil || i.Mode().Perm() != 0o600 {
			t.Errorf("the file: %v, %v", i, err)
		}
	})
	t.Run("top", func(t *testing.T) {
		x := atTerminal(t, cache, 40, 8, "top", "--every", "50ms")
		x.until("\x1b\\[H\x1b\\[2J")
		check := func(columns, rows int) {
			t.Helper()
			page := strings.TrimSuffix(x.until("\x1b\\[H\x1b\\[2J"), "\x1b[H\x1b[2J")
			lines := strings.Split(strings.TrimSuffix(page, "\r\n"), "\r\n")
			if len(lines) >= rows || !strings.Contains(page, "SERVER") {
				t.Errorf("%d lines at a terminal with %d: %q", len(lines), rows, page)
			}
			for _, l := range lines {
				if utf8.RuneCountInString(l) >= columns {
					t.Errorf("a line of %d columns at a terminal with %d: %q", utf8.RuneCountInString(l), columns, l)
				}
			}
		}
		check(40, 8)
		if err := pty.Setsize(x.f, &pty.Winsize{Cols: 120, Rows: 40}); err != nil {
			t.Fatal(err)
		}
		x.until("temp +2 ") // it has room for the tables now
		x.until("\x1b\\[H\x1b\\[2J")
		check(120, 40)
		x.press(ctrlC)
		if status := x.ends(); status != 0 {
			t.Errorf("Ctrl-C: status %d", status)
		}
	})
	t.Run("progress", func(t *testing.T) {
		x := atTerminal(t, cache, 100, 24, "node", "drain", addrs[3])
		x.until(`Move all replicas away from .*\? Write yes to go on: `)
		x.press("yes\r")
		x.until("\r\x1b\\[K(\\[[#.]{20}\\] )?\\d+ primaries and \\d+ replicas") // in place
		x.until(`is empty and can be stopped`)
		if status := x.ends(); status != 0 {
			t.Errorf("status %d", status)
		}
		var out bytes.Buffer
		if run(t.Context(), []string{"node", "back", addrs[3]}, &out, &out) != 0 {
			t.Error(out.String())
		}
	})
	t.Run("question", func(t *testing.T) {
		x := atTerminal(t, cache, 100, 24, "table", "drop", "other", "-y")
		if x.until(`table other is dropped`); x.ends() != 0 {
			t.Error("with -y it isn't dropped")
		}
		x = atTerminal(t, cache, 100, 24, "table", "drop", "temp")
		x.until(`Write temp to go on: `)
		x.press("y\r")
		x.until(`nothing is removed or changed`)
		if status := x.ends(); status == 0 {
			t.Error("y drops a table")
		}
	})
}

// Without a terminal top writes page after page, without escapes.
func TestTopWithoutTerminal(t *testing.T) {
	addrs := startServers(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out []byte
	for deadline := time.Now().Add(time.Minute); ; {
		c := exec.Command("sh", "-c", `"$0" top --every 10ms | head -n 12`, self)
		c.Env = append(os.Environ(), asProgram+"=1", "PEGASUS_META="+addrs[0])
		if out, err = c.CombinedOutput(); err == nil && strings.Count(string(out), "SERVER ") >= 2 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v: %s", err, out)
		}
	}
	if strings.ContainsRune(string(out), '\x1b') {
		t.Errorf("escapes: %q", out)
	}
}
