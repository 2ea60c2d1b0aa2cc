package compat

import (
	"bufio"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"pegasus/base/appenv"
	"pegasus/base/config"
	"pegasus/client"
	"pegasus/compat_test/cluster"
	"pegasus/cppdata/cppdatatest"
	"pegasus/internal/repo"
)

// A snippet is a command that a document prints, with the output that it prints below it.
type snippet struct {
	where  string // file:line
	inline bool   // in a sentence
	table  bool   // in a table
	text   string // without prompt, directory of the program, and comment
	output []string
}

var (
	codeSpan    = regexp.MustCompile("`([^`]+)`")
	commentTail = regexp.MustCompile(`\s{2,}#.*$`)
)

// commandOf takes prompt, the program's directory and a comment off, and says whether the rest runs pegasus.
func commandOf(s string) (string, bool) {
	s = commentTail.ReplaceAllString(strings.TrimSpace(s), "")
	s = strings.TrimPrefix(strings.TrimPrefix(s, "$ "), "bin/")
	return s, strings.HasPrefix(s, "pegasus ")
}

// snippets returns the commands of a Markdown file: those in indented blocks and code spans
// (examples), and the names that the first column of a table lists (names).
func snippets(t *testing.T, file string) (examples []snippet, names []string) {
	t.Helper()
	root, err := repo.Root()
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	in := bufio.NewScanner(f)
	fenced := false   // a program, which TestClientPrograms runs
	var open *snippet // whose output may follow
	var paragraph []string
	began := ""
	// A code span may go on in the next line.
	endParagraph := func() {
		for _, span := range codeSpan.FindAllStringSubmatch(strings.Join(paragraph, " "), -1) {
			if c, ok := commandOf(span[1]); ok {
				examples = append(examples, snippet{where: began, text: c, inline: true, table: strings.HasPrefix(paragraph[0], "|")})
			}
		}
		paragraph = nil
	}
	for n := 1; in.Scan(); n++ {
		line, where := in.Text(), fmt.Sprintf("%s:%d", file, n)
		if strings.HasPrefix(line, "```") || fenced {
			endParagraph()
			fenced = fenced != strings.HasPrefix(line, "```")
			continue
		}
		if strings.HasPrefix(line, "    ") {
			endParagraph()
			if c, ok := commandOf(line); ok {
				examples = append(examples, snippet{where: where, text: c})
				open = nil
				if strings.HasPrefix(line, "    $ ") {
					open = &examples[len(examples)-1]
				}
			} else if open != nil {
				open.output = append(open.output, strings.TrimPrefix(line, "    "))
			}
			continue
		}
		open = nil
		if first, _, ok := strings.Cut(strings.TrimPrefix(line, "| "), " |"); ok && strings.HasPrefix(line, "| `pegasus ") {
			endParagraph()
			last := ""
			for _, span := range codeSpan.FindAllStringSubmatch(first, -1) {
				words := strings.Fields(span[1])
				if words[0] != "pegasus" {
					// It takes the place of the last word of the one before.
					words = append(strings.Fields(last)[:len(strings.Fields(last))-1], words[0])
				}
				last = strings.Join(words, " ")
				names = append(names, last)
			}
			continue
		}
		if line == "" || strings.HasPrefix(line, "|") || strings.HasPrefix(line, "- ") {
			endParagraph()
		}
		if len(paragraph) == 0 {
			began = where
		}
		paragraph = append(paragraph, strings.TrimSpace(line))
	}
	endParagraph()
	if err := in.Err(); err != nil {
		t.Fatal(err)
	}
	return examples, names
}

var (
	shellWord = regexp.MustCompile(`^(\$ )?([A-Z_]+=\S+ +)*(make|kill|sh|bash|mv|cp|rm|ln|mkdir|go|ssh|curl|systemctl|docker|mount|umount|export|pip|npm) `)
	elsewhere = regexp.MustCompile(`^(SELECT |val |config\.|new )`) // statements for DuckDB and Spark, which aren't here
	setting   = regexp.MustCompile(`^([a-z_]+)\.([a-z_.]+) = (.+)$`)
)

// rest returns what a Markdown file prints that isn't a command of pegasus nor its output: other commands
// (shell), settings in sentences, and indented blocks of configuration. Another kind of line is an error.
func rest(t *testing.T, file string) (shell, settings, blocks []string) {
	t.Helper()
	root, err := repo.Root()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range strings.Split(fencedBlock.ReplaceAllString(string(text), ""), "\n\n") {
		if !strings.HasPrefix(part, "    ") {
			for _, span := range codeSpan.FindAllStringSubmatch(strings.ReplaceAll(part, "\n", " "), -1) {
				switch c := strings.TrimSpace(span[1]); {
				case shellWord.MatchString(c):
					shell = append(shell, c)
				case setting.MatchString(c):
					settings = append(settings, c)
				}
			}
			continue
		}
		lines := strings.Split(strings.TrimRight(part, "\n"), "\n")
		if first := strings.TrimSpace(lines[0]); strings.HasPrefix(first, "[") || strings.HasPrefix(first, "#") {
			blocks = append(blocks, strings.Join(lines, "\n"))
			continue
		}
		output := false
		for _, l := range lines {
			if _, ok := commandOf(l); ok {
				output = strings.HasPrefix(l, "    $ ")
			} else if c := commentTail.ReplaceAllString(strings.TrimSpace(l), ""); shellWord.MatchString(c) {
				shell, output = append(shell, c), false
			} else if !output && !elsewhere.MatchString(c) {
				t.Errorf("%s prints %q, which no test knows", file, l)
			}
		}
	}
	return shell, settings, blocks
}

// masked is a line of output without what differs from run to run.
func masked(line string) string {
	line = regexp.MustCompile(`\d+\.\d+\.\d+\.\d+:\d+`).ReplaceAllString(line, "ADDR")
	line = regexp.MustCompile(`^(\s+\d+\s+)\d+(\s+ADDR)`).ReplaceAllString(line, "${1}N$2") // a ballot
	return strings.TrimRight(regexp.MustCompile(`\s+`).ReplaceAllString(line, " "), " ")
}

// TestReadme runs the quick start as README.md prints it, and compares what it prints.
func TestReadme(t *testing.T) {
	examples, names := snippets(t, "README.md")
	c := cluster.Start(t, cluster.Options{})
	run := func(args ...string) (string, error) {
		return c.CLI(runContext(t, time.Minute), append(args, "--meta", strings.Join(c.Metas(), ","))...)
	}
	for _, e := range examples {
		args := strings.Fields(e.text)[1:]
		switch args[0] {
		case "table", "set", "get", "scan":
		case "meta", "replica", "config": // below
			continue
		default:
			t.Errorf("%s: no test runs %q", e.where, e.text)
			continue
		}
		if args[0] == "table" && args[1] == "show" {
			if err := c.WaitHealthy(args[2], time.Minute); err != nil {
				t.Fatal(err)
			}
		}
		out, err := run(args...)
		if err != nil {
			t.Errorf("%s: %s: %v", e.where, e.text, err)
			continue
		}
		if e.output == nil {
			continue
		}
		var got, want []string
		for _, l := range strings.Split(strings.TrimSpace(out), "\n") {
			got = append(got, masked(l))
		}
		for _, l := range e.output {
			want = append(want, masked(l))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %s prints\n%s\nand not\n%s", e.where, e.text, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	shell, _, _ := rest(t, "README.md")
	root, err := repo.Root()
	if err != nil {
		t.Fatal(err)
	}
	// What a killed server costs, and the file that starts it again.
	const kill, again = "kill -9 $(cat onebox-data/replica1/pid)", "sh onebox-data/replica1/cmd"
	dir := t.TempDir()
	if err := os.Symlink(c.Dir, filepath.Join(dir, "onebox-data")); err != nil {
		t.Fatal(err)
	}
	for _, line := range shell {
		switch f := strings.Fields(line); {
		case line == kill || line == again:
		case f[0] == "make" && len(f) == 2:
			// It has such a target; `make onebox` is what TestOneboxCommand runs.
			cmd := exec.CommandContext(runContext(t, time.Minute), "make", "-n", f[1])
			cmd.Dir = root
			if out, err := cmd.CombinedOutput(); err != nil || f[1] == "onebox" && !strings.Contains(string(out), "bin/pegasus onebox") {
				t.Errorf("README.md: %s: %v: %s", line, err, out)
			}
		default:
			t.Errorf("README.md: no test runs %q", line)
		}
	}
	if !slices.Contains(shell, kill) || !slices.Contains(shell, again) || !slices.Contains(shell, "make onebox") {
		t.Errorf("README.md prints other commands: %q", shell)
	}
	if out, err := exec.CommandContext(runContext(t, time.Minute), "sh", "-c", "cd "+dir+" && "+kill).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", kill, err, out)
	}
	if err := cluster.Poll(time.Minute, func() error {
		if c.Alive("replica1") {
			return fmt.Errorf("%s doesn't kill it", kill)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	sh := exec.Command(strings.Fields(again)[0], strings.Fields(again)[1:]...)
	sh.Dir = dir
	if err := sh.Start(); err != nil {
		t.Fatal(err)
	}
	// The script becomes the server.
	if err := cluster.Poll(time.Minute, func() error {
		pid, err := os.ReadFile(filepath.Join(c.Dir, "replica1", "pid"))
		if err == nil && strings.TrimSpace(string(pid)) != strconv.Itoa(sh.Process.Pid) {
			err = fmt.Errorf("the pid file has %q, not %d", pid, sh.Process.Pid)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
	if err := c.WaitHealthy("shop", time.Minute); err != nil {
		t.Error(err)
	}
	_ = sh.Process.Signal(syscall.SIGTERM)
	if err := sh.Wait(); err != nil {
		t.Errorf("the server that cmd started: %v", err)
	}
	for _, n := range names {
		// "check FILE": the capitals are arguments.
		args := slices.DeleteFunc(strings.Fields(n)[1:], func(w string) bool { return strings.ToUpper(w) == w })
		out, err := c.CLI(runContext(t, time.Minute), append(args, "--help")...)
		if usage := "pegasus " + strings.Join(args, " "); err != nil || !strings.Contains(out, "Usage:") || !strings.Contains(out, usage) {
			t.Errorf("README.md: %s --help: %v: %s", n, err, out)
		}
	}
}

// TestReadmeCluster starts the servers of "A real cluster" with the file that README.md prints, on
// addresses and in directories that are there.
func TestReadmeCluster(t *testing.T) {
	root, err := repo.Root()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, block, ok := strings.Cut(string(text), "    # pegasus.toml\n")
	block, rest, ok2 := strings.Cut(block, "    pegasus config check")
	if !ok || !ok2 {
		t.Fatal("README.md has no pegasus.toml before `pegasus config check`")
	}
	lines, _, _ := strings.Cut("    pegasus config check"+rest, "\n\n")
	dir := t.TempDir()
	file := filepath.Join(dir, "pegasus.toml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(block, "    ", "")), 0o644); err != nil {
		t.Fatal(err)
	}
	bin := cluster.Binary(t)
	port := cluster.FreePort(t, 1, 1)
	metaAddr, replicaAddr := fmt.Sprintf("127.0.0.1:%d", port), fmt.Sprintf("127.0.0.1:%d", port+200)
	metaDir, replicaDir := filepath.Join(dir, "meta"), filepath.Join(dir, "replica")
	for _, d := range []string{metaDir, replicaDir} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	started := 0
	for _, l := range strings.Split(lines, "\n") {
		l, ok := commandOf(l)
		if !ok {
			t.Errorf("README.md: %q is no command", l)
			continue
		}
		args := strings.Fields(l)[1:]
		for i, a := range args {
			switch {
			case a == "pegasus.toml":
				args[i] = file
			case a == "10.0.0.1:34601":
				args[i] = metaAddr
			case a == "10.0.0.4:34801":
				args[i] = replicaAddr
			case a == "/data1/meta":
				args[i] = metaDir
			}
		}
		switch args[0] {
		case "config":
			if out, err := exec.CommandContext(runContext(t, time.Minute), bin, args...).CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %s", l, err, out)
			}
		case "replica":
			args = append(args, "--data-dirs", replicaDir)
			fallthrough
		case "meta":
			started++
			args = append(args, "--meta-servers", metaAddr)
			cmd := exec.Command(bin, args...)
			cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
			log, err := os.Create(filepath.Join(dir, args[0]+".log"))
			if err != nil {
				t.Fatal(err)
			}
			cmd.Stdout, cmd.Stderr = log, log
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() {
				_ = cmd.Process.Signal(syscall.SIGTERM)
				if err := cmd.Wait(); err != nil {
					b, _ := os.ReadFile(log.Name())
					t.Errorf("%s: %v: %s", l, err, tail(b, 2000))
				}
				log.Close()
			}()
		}
	}
	if started != 2 {
		t.Fatalf("README.md starts %d servers", started)
	}
	if err := cluster.Poll(time.Minute, func() error {
		out, err := exec.CommandContext(runContext(t, 10*time.Second), bin, "nodes", "--meta", metaAddr).CombinedOutput()
		if err != nil || !strings.Contains(string(out), replicaAddr) || !strings.Contains(string(out), "alive") {
			return fmt.Errorf("nodes: %v: %s", err, out)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// otherPages have other tests (commands, metrics, compatibility, and migrating, which is TestManualMigrating), or are for those who change the program.
var otherPages = []string{"docs/cli.md", "docs/metrics.md", "docs/compatibility.md", "docs/migrating.md", "docs/architecture.md", "docs/decisions.md", "docs/deadlines.md", "docs/testing.md", "docs/performance.md"}

// manualPages returns the pages of the manual, below the repository's root.
func manualPages(t *testing.T) []string {
	t.Helper()
	root, err := repo.Root()
	if err != nil {
		t.Fatal(err)
	}
	var pages []string
	for _, dir := range []string{"docs", "docs/operate", "docs/clients"} {
		list, err := filepath.Glob(filepath.Join(root, dir, "*.md"))
		if err != nil || len(list) < 5 {
			t.Fatalf("pages: %q, %v", list, err)
		}
		for _, p := range list {
			if p := dir + "/" + filepath.Base(p); !slices.Contains(otherPages, p) {
				pages = append(pages, p)
			}
		}
	}
	return pages
}

// manual plays the commands of the manual's pages on a cluster.
type manual struct {
	t      *testing.T
	c      *cluster.Cluster
	played map[string]bool // by the text in the document

	blobDir string // of the blob store "backups"
}

// cli runs a command, or what stands for it: the words of doc after pegasus, with the arguments that
// replace placeholders.
func (m *manual) cli(doc string, replace ...string) (string, error) {
	m.t.Helper()
	m.played[doc] = true
	text := strings.NewReplacer(append(replace, "[", "", "]", "")...).Replace(doc)
	var args []string
	for _, w := range strings.Fields(text)[1:] {
		args = append(args, strings.ReplaceAll(w, "\x00", " "))
	}
	offline := args[0] == "config" || slices.Contains(args, "recover-quorum") || args[0] == "meta" && args[1] == "restore" || args[0] == "blob" || args[0] == "bulkload" && (args[1] == "build" || args[1] == "verify") || slices.Contains(args, "--to") && args[1] != "transfer" || args[0] == "debug" || args[0] == "migrate" && args[1] == "dirs"
	// Backups that are read without a cluster.
	offline = offline || args[0] == "backup" && (slices.Contains(args, "--config") || strings.Contains(text, "file://"))
	if !offline {
		args = append(args, "--meta", strings.Join(m.c.Metas(), ","), "--timeout", "60s")
	}
	return m.c.CLI(runContext(m.t, 3*time.Minute), args...)
}

// must runs a command that has to succeed, and whose output matches want.
func (m *manual) must(want, doc string, replace ...string) {
	m.t.Helper()
	out, err := m.cli(doc, replace...)
	if err != nil || !regexp.MustCompile(want).MatchString(out) {
		m.t.Fatalf("%s: %v: %s\nwant %q", doc, err, out, want)
	}
}

// refused runs a command that has nothing to do here, and says so.
func (m *manual) refused(want, doc string, replace ...string) {
	m.t.Helper()
	out, err := m.cli(doc, replace...)
	if err == nil || !regexp.MustCompile(want).MatchString(err.Error()) {
		m.t.Fatalf("%s: %v: %s\nwant an error like %q", doc, err, out, want)
	}
}

// either runs a command that may have nothing to do here, and then says so.
func (m *manual) either(want, doc string, replace ...string) {
	m.t.Helper()
	out, err := m.cli(doc, replace...)
	if err != nil {
		out = err.Error()
	}
	if !regexp.MustCompile(want).MatchString(out) {
		m.t.Fatalf("%s: %s, want %q", doc, out, want)
	}
}

// do is for what must succeed beside the commands.
func (m *manual) do(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

// restarts restarts servers that ask for it by a file in dir, as a `node restart` command does.
func (m *manual) restarts(ctx context.Context, dir string) {
	for ctx.Err() == nil {
		asks, _ := filepath.Glob(filepath.Join(dir, "*.ask"))
		for _, ask := range asks {
			name := m.c.Name(strings.TrimSuffix(filepath.Base(ask), ".ask"))
			if err := m.c.Terminate(name); err != nil {
				m.t.Error(err)
			}
			if err := m.c.Restart(name); err != nil {
				m.t.Error(err)
			}
			_ = os.Rename(ask, strings.TrimSuffix(ask, ".ask")+".done")
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// join gives a meta server an empty directory and starts it anew, with --join.
func (m *manual) join(name string) {
	m.t.Helper()
	m.empty(name)
	m.do(m.c.SetArgs(name, "--join"))
	m.do(m.c.Restart(name))
}

// empty removes what is in the data directory of a meta server that doesn't run.
func (m *manual) empty(name string) {
	m.t.Helper()
	dir := filepath.Join(m.c.Dir, name, "data")
	m.do(os.RemoveAll(dir))
	m.do(os.Mkdir(dir, 0o755))
}

// lost stops a meta server as a lost machine does.
func (m *manual) lost(names ...string) {
	m.t.Helper()
	for _, n := range names {
		if m.c.Alive(n) {
			m.do(m.c.Kill(n))
		}
	}
}

func (m *manual) config(name string) string { return filepath.Join(m.c.Dir, name, "config.toml") }

// names looks for the settings and remote commands that a document names, and counts them.
func (m *manual) names(file string) (found int) {
	m.t.Helper()
	root, err := repo.Root()
	m.do(err)
	text, err := os.ReadFile(filepath.Join(root, file))
	m.do(err)
	known := map[string]bool{}
	section := ""
	for _, l := range strings.Split(string(config.Example()), "\n") {
		l = strings.TrimPrefix(strings.TrimPrefix(l, "#"), " ")
		if strings.HasPrefix(l, "[") {
			section = strings.Trim(l, "[]")
		} else if key, _, ok := strings.Cut(l, " = "); ok {
			known[section+"."+key] = true
		}
	}
	k := client.New(m.c.Metas(), client.Options{})
	defer k.Close()
	for _, server := range []string{m.c.Addr("meta1"), m.c.Addr("replica1")} {
		help, err := k.Admin().RemoteCommand(runContext(m.t, time.Minute), server, "help")
		m.do(err)
		for _, name := range regexp.MustCompile(`[a-z]+(\.[a-z_-]+)+`).FindAllString(help, -1) {
			known[name] = true
		}
	}
	for _, f := range regexp.MustCompile("`((?:cluster|meta|replica|rpc|wal|storage|failure_detector|logging|fd|nfs)\\.[a-z_.-]+)[ `]").FindAllStringSubmatch(string(text), -1) {
		if _, ofTable := appenv.Describe(f[1]); !ofTable && !known[f[1]] {
			m.t.Errorf("%s names %q, which is neither a setting nor a remote command", file, f[1])
		}
		found++
	}
	return found
}

// rest tries what a document prints beside commands of pegasus.
func (m *manual) rest(file string) {
	m.t.Helper()
	shell, settings, blocks := rest(m.t, file)
	root, err := repo.Root()
	m.do(err)
	conf := filepath.Join(m.t.TempDir(), "conf.toml")
	load := func(what, text string) {
		m.do(os.WriteFile(conf, []byte(text), 0o644))
		if _, err := config.Load(conf); err != nil {
			m.t.Errorf("%s: %s: %v", file, what, err)
		}
	}
	for _, s := range settings {
		if f := setting.FindStringSubmatch(s); slices.Contains([]string{"cluster", "meta", "replica", "rpc", "wal", "storage", "failure_detector", "logging"}, f[1]) {
			load(s, fmt.Sprintf("[%s]\n%s = %s\n", f[1], f[2], f[3]))
		}
	}
	for _, b := range blocks {
		load("the block", b)
		for _, name := range regexp.MustCompile(`\[blob\.([a-z_]+)\]`).FindAllStringSubmatch(b, -1) {
			if out, err := m.c.CLI(runContext(m.t, time.Minute), "blob", "ls", "--config", conf); err != nil || !strings.Contains(out, name[1]) {
				m.t.Errorf("%s: blob ls: %v: %s", file, err, out)
			}
		}
	}
	for _, line := range shell {
		dir, name := "", ""
		if f := regexp.MustCompile(`go test (\./\S+) .*-run (\w+)`).FindStringSubmatch(line); f != nil {
			dir, name = f[1], f[2]
		}
		switch {
		case name != "": // it takes long
			sources, err := filepath.Glob(filepath.Join(root, dir, "*_test.go"))
			m.do(err)
			if !slices.ContainsFunc(sources, func(s string) bool {
				b, err := os.ReadFile(s)
				return err == nil && strings.Contains(string(b), "func "+name+"(")
			}) {
				m.t.Errorf("%s: %s: there is no such test", file, line)
			}
		case strings.HasPrefix(file, "docs/clients/"): // TestClientPrograms
		case line == "mv DIR/.trash/2.0.1795909314999000.unused DIR/reps/2.0.pegasus":
			m.fromTrash(line)
		default:
			m.t.Errorf("%s: no test runs %q", file, line)
		}
	}
}

// fromTrash brings a replica back that its server moved aside.
func (m *manual) fromTrash(line string) {
	m.t.Helper()
	server, found := "", ""
	m.do(cluster.Poll(2*time.Minute, func() error {
		list, err := filepath.Glob(filepath.Join(m.c.Dir, "replica*", "data", ".trash", "*.unused"))
		for _, dir := range list {
			replicas := filepath.Dir(filepath.Dir(dir))
			// In any directory of the server: a replica may have been moved since.
			if there, err := filepath.Glob(filepath.Join(filepath.Dir(replicas), "*", "reps", gpidOf(dir)+".pegasus")); err == nil && len(there) == 0 {
				server, found = filepath.Base(filepath.Dir(replicas)), dir
				return nil
			}
		}
		return fmt.Errorf("nothing was moved aside: %v, %v", list, err)
	}))
	m.do(m.c.Terminate(server))
	data, gpid := filepath.Dir(filepath.Dir(found)), gpidOf(found)
	cmd := strings.NewReplacer("DIR/.trash/2.0.1795909314999000.unused", found, "DIR/reps/2.0.pegasus", filepath.Join(data, "reps", gpid+".pegasus")).Replace(line)
	if out, err := exec.CommandContext(runContext(m.t, time.Minute), "sh", "-c", cmd).CombinedOutput(); err != nil {
		m.t.Fatalf("%s: %v: %s", cmd, err, out)
	}
	m.do(m.c.Restart(server))
	m.do(m.c.WaitHealthy("T", time.Minute))
	// The server has opened it: it says what it has, or that nobody needs it, and then it is moved aside again.
	m.do(cluster.Poll(time.Minute, func() error {
		log := m.c.Log(server)
		if i := strings.LastIndex(log, "starts: pegasus"); i >= 0 && strings.Contains(log[i:], "replica="+gpid+" ") {
			return nil
		}
		return fmt.Errorf("%s says nothing of %s since its start", server, gpid)
	}))
	if _, err := os.Stat(filepath.Join(data, "reps", gpid+".err")); err == nil {
		m.t.Errorf("%s counts as damaged", gpid)
	}
}

// rows moves rows between tables and files.
func (m *manual) rows() {
	m.t.Helper()
	dir := m.t.TempDir()
	at := func(names ...string) (replace []string) {
		for _, n := range names {
			replace = append(replace, n, filepath.Join(dir, n))
		}
		return replace
	}
	m.do(os.WriteFile(filepath.Join(dir, "people.csv"), []byte("id,country,seconds\n1,DE,60\n"), 0o644))
	m.must("rows of table T are in", "pegasus export T rows.jsonl", at("rows.jsonl")...)
	m.must("rows of table T are in", "pegasus export T rows.csv --encoding text --hash-filter prefix:user", at("rows.csv")...)
	m.must("4 files", "pegasus export T DIR --split --format parquet", "DIR", filepath.Join(dir, "split"))
	m.must("rows of table T are written", "pegasus import rows.jsonl T", at("rows.jsonl")...)
	m.must("rows of table T are written", "pegasus import rows.csv T --encoding text --state rows.state --rejects rows.bad", at("rows.csv", "rows.state", "rows.bad")...)
	m.must("1 rows could be written", "pegasus import people.csv T --hash-key user:{id} --sort-key {country} --value {*} --ttl seconds --dry-run", at("people.csv")...)
	m.must("are copied", "pegasus copy T TABLE --state copy.state", at("copy.state")...)
	m.must("hash keys", "pegasus count T --stats")
	m.must("are removed", "pegasus clear TABLE --sort-filter prefix:2024", "2024", "2024 --yes")
}

// migrateDirs makes a table of a C++ server's directory.
func (m *manual) migrateDirs() {
	m.t.Helper()
	data, state := cppdatatest.Copy(m.t, "data-plog-only"), filepath.Join(m.t.TempDir(), "move")
	at := []string{"/data/a/ssd1 /data/b/ssd1 /data/c/ssd1", data, "METAS", strings.Join(m.c.Metas(), ","), "/var/tmp/move", state}
	m.must("4 replicas found", "pegasus migrate dirs /data/a/ssd1 /data/b/ssd1 /data/c/ssd1 --dry-run", at...)
	m.must("table mig .*: done: ", "pegasus migrate dirs /data/a/ssd1 /data/b/ssd1 /data/c/ssd1 --to METAS --state /var/tmp/move", at...)
	m.must("was done before", "pegasus migrate dirs DIR... --to METAS --state DIR", append(at, "DIR...", data, "--state DIR", "--state "+state)...)
	config, ours := filepath.Join(m.c.Dir, "replica1", "config.toml"), m.t.TempDir()
	m.must("table mig .*: done: 4 partitions of 3 replicas", "pegasus migrate dirs /data/a/ssd1 /data/b/ssd1 /data/c/ssd1 --in-place --config pegasus.toml --server 10.0.0.1:34801=/data/a/pegasus --server 10.0.0.2:34801=/data/b/pegasus --server 10.0.0.3:34801=/data/c/pegasus",
		append(at, "pegasus.toml", config, "/data/a/pegasus", ours+"/a", "/data/b/pegasus", ours+"/b", "/data/c/pegasus", ours+"/c")...)
}

// debug looks into files: those of a server that runs, and some of RocksDB.
func (m *manual) debug() {
	m.t.Helper()
	root, err := repo.Root()
	m.do(err)
	find := func(name string) (path string) {
		m.do(filepath.WalkDir(m.c.Dir, func(p string, e fs.DirEntry, err error) error {
			if err == nil && e.IsDir() && strings.HasPrefix(e.Name(), name) {
				path = p
				return fs.SkipAll
			}
			return nil // what goes meanwhile isn't it
		}))
		if path == "" {
			m.t.Fatalf("no directory %s in %s", name, m.c.Dir)
		}
		return path
	}
	rocks := filepath.Join(root, "rocks", "testdata", "mixed")
	// The server writes meanwhile, and may remove what is looked at.
	m.either("header: log |no such file", "pegasus debug wal DIR/wal --rows --limit 1000", "DIR/wal", find("wal"))
	m.either("store of ours|DAMAGED|no such file", "pegasus debug store DIR/store.1 --rows", "DIR/store.1", find("store."))
	m.must("RocksDB table", "pegasus debug sst 000018.sst --rows", "000018.sst", filepath.Join(rocks, "000018.sst"))
	m.must("level ", "pegasus debug manifest MANIFEST-000005", "MANIFEST-000005", filepath.Join(rocks, "MANIFEST-000005"))
	m.must("partition  . of 8", "pegasus debug key HASHKEY SORTKEY --partitions 8")
	m.must(`hash key   "ab"`, "pegasus debug key --hex 0002616263")
	m.must(`value   "abc"`, "pegasus debug value 000000640000000000000000616263")
	m.must("partition  . of 8", "pegasus debug hash HASHKEY --partitions 8")
}

// watch runs the commands that alerts and symptoms lead to.
func (m *manual) watch() {
	m.t.Helper()
	m.must("^healthy", "pegasus status")
	m.must("steady", "pegasus meta level")
	m.must("steady", "pegasus meta level steady")
	m.must("TABLE", "pegasus top", "top", "top --once")
	m.must("", "pegasus table stats TABLE")
	m.must("", "pegasus table usage TABLE")
	m.must("TABLE", "pegasus table availability")
	m.must("", "pegasus table hotkeys TABLE")
	m.must("TABLE", "pegasus table ls --all")
	m.refused("has no row", "pegasus ttl TABLE HASHKEY SORTKEY")
	m.either("compact", "pegasus table compact TABLE")
	m.either("is not duplicated", "pegasus dup show TABLE --why")
	m.either("is not duplicated", "pegasus dup remove TABLE")
	m.must("healthy", "pegasus table show TABLE --why")
}

// configure runs the commands of docs/configure.md and docs/start.md.
func (m *manual) configure() {
	m.t.Helper()
	node := []string{"HOST:PORT", m.c.Addr("replica1")}
	m.must("data_dirs", "pegasus config example")
	m.must("", "pegasus config check pegasus.toml", "pegasus.toml", m.config("replica1"))
	m.must("logging.level", "pegasus server config ls HOST:PORT --mutable", node...)
	m.must("info", "pegasus server config get --all logging.level")
	m.must("", "pegasus server config set --all logging.level debug")
	m.must("", "pegasus server config set --all logging.level debug", "debug", "info")
	m.must("server-info", "pegasus server command HOST:PORT help", node...)
	m.must("default_ttl", "pegasus table env help")
	m.must("1 settings set", "pegasus table env set TABLE default_ttl=86400")
	m.must("86400", "pegasus table env ls TABLE")
	m.must("", "pegasus table env del TABLE default_ttl")
	m.must("", "pegasus table env del TABLE replica.deny_client_request")
	m.must("table shop: id", "pegasus table create shop -p 4")
	m.do(m.c.WaitHealthy("shop", time.Minute))
	m.must("OK", "pegasus set shop user1 name Alice")
	m.must("Alice", "pegasus get shop user1 name")
	m.played["pegasus onebox --dir /tmp/onebox"] = true // TestStartPage
}

// gpidOf is the partition of what lies in .trash: <table id>.<partition>.<microseconds>.unused.
func gpidOf(dir string) string { return strings.Join(strings.Split(filepath.Base(dir), ".")[:2], ".") }

// TestManual runs each command of the manual, as it is printed there but for placeholders.
func TestManual(t *testing.T) {
	m := &manual{t: t, played: map[string]bool{}, blobDir: t.TempDir()}
	m.c = cluster.Start(t, cluster.Options{Metas: 3, Replicas: 4, Tables: "T:4,TABLE:2", Config: "[blob.backups]\npath = " + strconv.Quote(m.blobDir) + "\n"})
	c, first, tag := m.c, m.c.Addr("replica1"), "1"
	m.write()
	out, err := m.cli("pegasus disk ls")
	m.do(err)
	if f := regexp.MustCompile(regexp.QuoteMeta(first) + `\s+(\S+)`).FindStringSubmatch(out); f != nil {
		tag = f[1]
	} else {
		t.Fatalf("disk ls: %s", out)
	}
	node := []string{"HOST:PORT", first}

	m.must("", "pegasus rebalance --dry-run")
	m.must("", "pegasus rebalance")
	m.must("", "pegasus rebalance --table T --primaries-only")
	m.must("", "pegasus rebalance --status")
	m.either("no rebalanc|stopped", "pegasus rebalance --stop")

	m.refused(tag, "pegasus disk retry HOST:PORT TAG", "HOST:PORT", first, "TAG", tag)
	m.refused(tag, "pegasus disk abandon HOST:PORT TAG", "HOST:PORT", first, "TAG", tag)

	m.refused(tag, "pegasus disk retry", "retry", "retry "+first+" "+tag)
	m.must("", "pegasus disk add HOST:PORT TAG PATH", "HOST:PORT", first, "TAG", "more", "PATH", filepath.Join(c.Dir, "replica1", "more"))
	if out, err := m.cli("pegasus disk ls"); err != nil || !strings.Contains(out, filepath.Join("replica1", "more")) {
		t.Errorf("disk ls after disk add: %s: %v", out, err)
	}
	m.refused("isn't here", "pegasus disk move HOST:PORT APP_ID.PARTITION --from TAG --to TAG", "HOST:PORT", first, "APP_ID.PARTITION", "99.0", "--from TAG", "--from "+tag, "--to TAG", "--to more")
	m.must("more", "pegasus disk balance --dry-run")
	m.either("replicas moved", "pegasus disk balance --server HOST:PORT", "HOST:PORT", first)
	m.either("replicas moved", "pegasus disk balance")

	m.must("info", "pegasus server log-level HOST:PORT", node...)
	m.must("requests", "pegasus server command HOST:PORT replica.slow 5", node...)
	m.must("OK", "pegasus set T HASHKEY SORTKEY VALUE --trace")
	traced, err := m.cli("pegasus server traces --slowest")
	m.do(err)
	id := regexp.MustCompile(`trace ([0-9a-f]+), (.|\n)*committed`).FindStringSubmatch(traced)
	if id == nil {
		t.Fatalf("server traces: %s", traced)
	}
	m.must("primary", "pegasus server traces --id ID", "ID", id[1])
	if out, err := c.CLI(runContext(t, time.Minute), "del", "T", "HASHKEY", "SORTKEY", "--meta", strings.Join(c.Metas(), ",")); err != nil { // backups count T's rows
		t.Fatalf("%v: %s", err, out)
	}
	leads, err := c.Leader()
	m.do(err)
	m.must("asked by ", "pegasus server command HOST:PORT meta.events 20", "HOST:PORT", c.Addr(leads), "20", "1000")
	m.must("replica/wal=debug rpc=error", "pegasus server log-level --all replica/wal=debug rpc=error")
	m.must("info", "pegasus server log-level --all replica/wal= rpc=")
	m.watch()
	m.configure()

	m.must(first, "pegasus node ls")
	m.must(first, "pegasus nodes")
	m.must("healthy", "pegasus health")
	m.must("", "pegasus table availability")
	m.must("", "pegasus table create stat -p 4")
	m.must("healthy", "pegasus table show T --why [--partition N]", " N", " 1")
	m.must("healthy", "pegasus table show --why", "show", "show T")
	m.must("healthy", "pegasus table show TABLE --why")
	m.debug()
	m.must("healthy", "pegasus table show", "show", "show T")
	m.must("T", "pegasus table ls")
	m.must("cluster", "pegasus meta status -o json")
	m.must("members: 3", "pegasus meta status")
	m.must("leads now", "pegasus meta transfer")
	m.must("leads", "pegasus meta transfer --to HOST:PORT", "HOST:PORT", c.Addr("meta2"))
	m.must("more", "pegasus table create", "create", "create more -p 2")
	m.do(c.WaitHealthy("more", time.Minute))
	m.must("4 partitions", "pegasus table split NAME", "NAME", "more")
	m.must("not being split, it has 4 partitions", "pegasus table split NAME --status", "NAME", "more")

	m.must("", "pegasus node drain HOST:PORT", node...)
	m.must("", "pegasus node back HOST:PORT", node...)
	m.refused("lives", "pegasus node forget HOST:PORT", node...)
	m.refused("lives", "pegasus node forget", "forget", "forget "+first)
	m.must("", "pegasus node drain", "drain", "drain "+first)
	m.must("", "pegasus node back HOST:PORT", node...)
	m.must("", "pegasus rebalance")

	dir := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { m.restarts(ctx, dir); close(ended) }()
	// ssh is the test here: it restarts the server that the command names.
	ask := fmt.Sprintf(`touch "%s/$1.ask"; while [ ! -e "%s/$1.done" ]; do sleep 0.05; done`, dir, dir)
	m.must("", "pegasus node restart --exec 'ssh ${1%:*} systemctl restart pegasus-replica' [HOST:PORT...]",
		"'ssh ${1%:*} systemctl restart pegasus-replica'", strings.ReplaceAll(ask, " ", "\x00"), "HOST:PORT...", first)
	cancel()
	<-ended

	m.must("", "pegasus meta upgrade-version --dry-run")
	m.either("UNDERSTANDS", "pegasus meta upgrade-version") // a new cluster has the newest one

	// A store of backups, which is a directory here.
	store := t.TempDir()
	m.do(os.MkdirAll(filepath.Join(store, "some"), 0o755))
	m.do(os.WriteFile(filepath.Join(store, "some", "file"), []byte("what is in it"), 0o644))
	conf := filepath.Join(t.TempDir(), "blob.toml")
	m.do(os.WriteFile(conf, []byte("[blob.archive]\ntype = \"local\"\npath = \""+store+"\"\nlocal_without_meta = true\n"), 0o644))
	m.must("archive", "pegasus blob ls --config FILE", "FILE", conf)
	archive := []string{"NAME", "archive --config " + conf, "PATH", "some/file"}
	m.must("", "pegasus blob check NAME", archive...)
	m.either("file", "pegasus blob check NAME PATH", "NAME", "archive --config "+conf, "PATH", "some")
	m.must("some/file", "pegasus blob ls NAME PATH -r", "NAME", "archive --config "+conf, "PATH", "some")
	m.must("what is in it", "pegasus blob cat NAME PATH", archive...)

	m.backups()
	m.rows()

	// TestMigrate moves a table to another cluster.
	ends := []string{"NAME", "TABLE", "METAS", strings.Join(c.Metas(), ",")}
	m.must("0 are missing there, 0 are only there, 0 have another value", "pegasus compare table NAME --from METAS --to METAS", ends...)
	m.refused("both ends are the same cluster", "pegasus migrate table NAME --from METAS --to METAS", ends...)
	m.refused("both ends are the same cluster", "pegasus migrate table NAME --from METAS --to METAS --dry-run", ends...)
	m.refused("isn't being moved", "pegasus migrate table NAME --from METAS --to METAS --finish", ends...)
	m.migrateDirs()

	// The quorum.
	file := filepath.Join(t.TempDir(), "backup")
	m.must("", "pegasus meta backup FILE", "FILE", file)
	m.must("no longer a member", "pegasus meta remove HOST:PORT", "HOST:PORT", c.Addr("meta3"))
	m.lost("meta3")
	m.join("meta3")
	m.played["pegasus meta --join --config FILE"] = true // as join starts it
	m.must("is a member", "pegasus meta add HOST:PORT", "HOST:PORT", c.Addr("meta3"))
	m.do(cluster.Poll(time.Minute, func() error {
		out, err := m.cli("pegasus meta status")
		if err == nil && !strings.Contains(out, "members: 3, answering: 3") {
			err = fmt.Errorf("meta status: %s", out)
		}
		return err
	}))

	// The majority is lost.
	m.lost("meta2", "meta3", "meta1")
	m.must("", "pegasus meta recover-quorum --config FILE --yes", "FILE", m.config("meta1"))
	m.do(c.Restart("meta1"))
	m.do(cluster.Poll(time.Minute, func() error { return wholeCluster(c) }))
	m.must("recovered table", "pegasus recover")
	m.played["pegasus meta recover-quorum"] = true
	for _, n := range []string{"meta2", "meta3"} {
		m.join(n)
		m.must("is a member", "pegasus meta add HOST:PORT", "HOST:PORT", c.Addr(n))
	}
	m.do(c.WaitHealthy("T", time.Minute))

	// All are lost: with the backup, then with nothing.
	for _, restore := range []bool{true, false} {
		m.lost("meta1", "meta2", "meta3")
		for i, n := range []string{"meta1", "meta2", "meta3"} {
			m.empty(n)
			m.do(c.SetArgs(n))
			if i > 0 && restore {
				continue
			}
			if restore {
				m.must("pegasus recover", "pegasus meta restore FILE --config FILE", "restore FILE", "restore "+file, "--config FILE", "--config "+m.config(n))
			}
			m.do(c.Restart(n))
		}
		if restore {
			m.do(cluster.Poll(time.Minute, func() error { return wholeCluster(c) }))
		}
		m.do(cluster.Poll(2*time.Minute, func() error {
			out, err := m.cli("pegasus recover")
			if err == nil && !strings.Contains(out, "recovered table T") {
				err = fmt.Errorf("recover: %s", out)
			}
			return err
		}))
		m.do(c.WaitHealthy("T", time.Minute))
	}
	// Nothing is damaged, so nothing is to be accepted.
	m.refused("without a terminal", "pegasus recover --accept-loss TABLE")
	m.do(c.WaitHealthy("TABLE", time.Minute))

	m.complete(manualPages(t))
}

// complete says which commands of pages weren't run, and which others were, and tries what else they print.
func (m *manual) complete(pages []string) {
	m.t.Helper()
	// A sentence may name a command without running it.
	names := map[string]bool{"pegasus replica": true} // that of `pegasus server replica` in earlier releases
	for _, h := range regexp.MustCompile(`(?m)^### (pegasus .+)$`).FindAllStringSubmatch(pageText(m.t, "docs/cli.md"), -1) {
		names[h[1]] = true
	}
	found := 0
	in := map[string]bool{}
	for _, p := range pages {
		found += m.names(p)
		m.rest(p)
		examples, _ := snippets(m.t, p)
		for _, e := range examples {
			in[e.text] = true
			if e.table && p == "docs/migrating.md" {
				continue // TestCommandsOfMigrating (cmd/pegasus)
			}
			if !m.played[e.text] && !(e.inline && names[e.text]) {
				m.t.Errorf("%s: no test runs %q", e.where, e.text)
			}
		}
	}
	if found < 10 {
		m.t.Errorf("the pages name %d settings and commands", found)
	}
	for p := range m.played {
		if !in[p] {
			m.t.Errorf("%q is not in the manual any more", p)
		}
	}
}
