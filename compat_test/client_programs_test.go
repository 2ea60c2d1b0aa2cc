package compat

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pegasus/compat_test/cluster"
	"pegasus/internal/repo"
)

// fencedBlock is a program, or text, that a page of the manual shows: its language and what is in it.
var fencedBlock = regexp.MustCompile("(?ms)^```(\\w+)\n(.*?)^```$")

// program returns the program of a page of docs/clients in a language, with an address in place of the one that it names, and
// the lines that the page says it prints.
func program(t *testing.T, page, language, meta string) (text string, want []string) {
	t.Helper()
	blocks := map[string]string{}
	for _, m := range fencedBlock.FindAllStringSubmatch(pageText(t, "docs/clients/"+page), -1) {
		if blocks[m[1]] != "" {
			t.Fatalf("%s has two blocks of %s", page, m[1])
		}
		blocks[m[1]] = m[2]
	}
	const addr = "127.0.0.1:34601"
	if strings.Count(blocks[language], addr) != 1 || blocks["text"] == "" {
		t.Fatalf("%s: a program in %s that names %s, and what it prints: %q", page, language, addr, blocks)
	}
	return strings.ReplaceAll(blocks[language], addr, meta), strings.Split(strings.TrimSpace(blocks["text"]), "\n")
}

func pageText(t *testing.T, page string) string {
	t.Helper()
	root, err := repo.Root()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(root, page))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestClientPrograms runs the programs of docs/clients, and compares what they print with the page. The published clients of Go and Python are fetched from
// their registries. Those of Java and Node are in none: PEGASUS_CLIENTS names a directory with java/*.jar, the client and what it needs, and
// node_modules/pegasus-nodejs-client.
func TestClientPrograms(t *testing.T) {
	root, err := repo.Root()
	if err != nil {
		t.Fatal(err)
	}
	c := cluster.Start(t, cluster.Options{Tables: "shop:4"})
	meta := c.Metas()[0]
	run := func(t *testing.T, want []string, cmd *exec.Cmd) {
		t.Helper()
		// A program of another language may have been here.
		if out, err := c.CLI(runContext(t, time.Minute), "del-range", "shop", "user1", "--yes", "--meta", meta); err != nil {
			t.Fatalf("del-range: %v: %s", err, out)
		}
		var said, warned strings.Builder
		cmd.Stdout, cmd.Stderr = &said, &warned
		err := cmd.Run()
		if got := strings.Split(strings.TrimSpace(said.String()), "\n"); err != nil || !slices.Equal(got, want) {
			t.Errorf("%v: it prints\n%s\nand not\n%s\n%s", err, &said, strings.Join(want, "\n"), tail([]byte(warned.String()), 4000))
		}
	}
	write := func(t *testing.T, name, text string) string {
		t.Helper()
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	t.Run("go", func(t *testing.T) {
		text, want := program(t, "go.md", "go", meta)
		file := write(t, "main.go", text)
		bin := filepath.Join(filepath.Dir(file), "shop")
		dir := goModule(t)
		if out, err := goTool(t, dir, "build", "-o", bin, file); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		cmd := exec.CommandContext(runContext(t, time.Minute), bin)
		cmd.Dir = filepath.Dir(file)
		run(t, want, cmd)
		// The page has the version that is tried.
		mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err != nil {
			t.Fatal(err)
		}
		version := regexp.MustCompile(regexp.QuoteMeta(goClient) + ` (\S+)`).FindStringSubmatch(string(mod))
		if get := "    go get " + goClient + "@" + version[1] + "\n"; !strings.Contains(pageText(t, "docs/clients/go.md"), get) {
			t.Errorf("go.md lacks%s", get)
		}
	})
	t.Run("python", func(t *testing.T) {
		text, want := program(t, "python.md", "python", meta)
		src := filepath.Join(root, "compat_test", "python")
		file := write(t, "shop.py", text)
		cmd := exec.CommandContext(runContext(t, time.Minute), pythonEnv(t, src), "-W", "ignore", file)
		cmd.Dir = filepath.Dir(file)
		run(t, want, cmd)
		req, err := os.ReadFile(filepath.Join(src, "requirements.txt"))
		if err != nil {
			t.Fatal(err)
		}
		name, _, _ := strings.Cut(strings.TrimSpace(string(req)), "==")
		if install := "    pip install " + name + "\n"; !strings.Contains(pageText(t, "docs/clients/python.md"), install) {
			t.Errorf("python.md lacks%s", install)
		}
	})
	// Programs are looked at even where they can't be run.
	java, javaWant := program(t, "java.md", "java", meta)
	node, nodeWant := program(t, "node.md", "javascript", meta)
	clients := os.Getenv("PEGASUS_CLIENTS")
	if clients == "" {
		return
	}
	t.Run("java", func(t *testing.T) {
		file := write(t, "Shop.java", java)
		dir := filepath.Dir(file)
		path := filepath.Join(clients, "java", "*") + ":" + dir
		javac := exec.CommandContext(runContext(t, 2*time.Minute), "javac", "-cp", path, "-d", dir, file)
		if out, err := javac.CombinedOutput(); err != nil {
			t.Fatalf("javac: %v: %s", err, out)
		}
		cmd := exec.CommandContext(runContext(t, 2*time.Minute), "java", "-cp", path, "Shop")
		cmd.Dir = dir
		run(t, javaWant, cmd)
	})
	t.Run("node", func(t *testing.T) {
		file := write(t, "shop.js", node)
		cmd := exec.CommandContext(runContext(t, 2*time.Minute), "node", file)
		cmd.Dir = filepath.Dir(file)
		cmd.Env = append(os.Environ(), "NODE_PATH="+filepath.Join(clients, "node_modules"))
		run(t, nodeWant, cmd)
	})
}
