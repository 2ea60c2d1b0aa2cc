package compat

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"pegasus/compat_test/cluster"
	"pegasus/internal/repo"
)

// TestPythonClient walks through every operation of PyPI's pypegasus3; python/walk.py has the
// walk.
func TestPythonClient(t *testing.T) {
	root, err := repo.Root()
	if err != nil {
		t.Fatal(err)
	}
	src := filepath.Join(root, "compat_test", "python")
	python := pythonEnv(t, src)
	c := cluster.Start(t, cluster.Options{})
	cmd := exec.CommandContext(runContext(t, 12*time.Minute), python, "-u", "-W", "ignore", filepath.Join(src, "walk.py"))
	cmd.Dir = t.TempDir() // the client writes a log where it runs
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1",
		"PEGASUS_META="+strings.Join(c.Metas(), ","), "PEGASUS_CONTROL="+control(t, c))
	out, err := cmd.CombinedOutput()
	passed, failed := 0, 0
	for s := bufio.NewScanner(bytes.NewReader(out)); s.Scan(); {
		verdict, rest, _ := strings.Cut(s.Text(), " ")
		switch verdict {
		case "INFO":
			t.Log(rest)
		case "PASS":
			passed++
			t.Run(rest, func(*testing.T) {})
		case "FAIL":
			failed++
			name, why, _ := strings.Cut(rest, ": ")
			t.Run(name, func(t *testing.T) { t.Error(why) })
		}
	}
	t.Logf("%d steps passed, %d failed", passed, failed)
	if err != nil || failed > 0 || passed == 0 {
		t.Errorf("walk.py: %v\n%s", err, tail(out, 20000))
	}
}

// pythonEnv returns the interpreter of a virtual environment that has the client. It is kept in
// the user's cache directory: made once, used by every later run.
func pythonEnv(t *testing.T, src string) string {
	t.Helper()
	base, version := "", 0
	for _, name := range []string{os.Getenv("PYTHON"), "python3"} {
		if name == "" {
			continue
		}
		out, err := exec.CommandContext(runContext(t, time.Minute), name, "-c", "import sys; print(sys.version_info[1])").Output()
		if err != nil {
			continue
		}
		if n, err := strconv.Atoi(strings.TrimSpace(string(out))); err == nil && n >= 6 {
			base, version = name, n
			break
		}
	}
	if base == "" {
		lacking(t, "the Python client: there is no python3 of 3.6 or later")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = t.TempDir()
	}
	req, err := os.ReadFile(filepath.Join(src, "requirements.txt"))
	if err != nil {
		t.Fatal(err)
	}
	packages := strings.Fields(string(req))
	if version >= 13 {
		// The client's Twisted imports a module that Python 3.13 no longer has.
		packages = append(packages, "legacy-cgi")
	}
	dir := filepath.Join(cache, "pegasus-compat", "python3."+strconv.Itoa(version))
	python := filepath.Join(dir, "bin", "python")
	mark, want := filepath.Join(dir, "installed"), strings.Join(packages, "\n")
	if b, err := os.ReadFile(mark); err == nil && string(b) == want {
		if err := exec.CommandContext(runContext(t, time.Minute), python, "-W", "ignore", "-c", "import pypegasus").Run(); err == nil {
			return python
		}
	}
	for _, args := range [][]string{
		{base, "-m", "venv", "--clear", dir},
		append([]string{python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"}, packages...),
	} {
		cmd := exec.CommandContext(runContext(t, 8*time.Minute), args[0], args[1:]...)
		if out, err := cmd.CombinedOutput(); err != nil {
			os.RemoveAll(dir)
			lacking(t, "the Python client: %s: %v\n%s", strings.Join(args, " "), err, tail(out, 3000))
		}
	}
	if err := os.WriteFile(mark, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
	return python
}
