package docs

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pegasus/base"
	"pegasus/base/config"
)

const root = "../.."

// documents returns the paths of all Markdown files of the repository, below root.
func documents(t *testing.T) []string {
	t.Helper()
	docs := []string{"README.md", "CONTRIBUTING.md", "packaging/README.md"}
	err := filepath.WalkDir(filepath.Join(root, "docs"), func(path string, e fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".md") {
			path, err = filepath.Rel(root, path)
			docs = append(docs, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(docs) < 25 {
		t.Fatalf("only %d documents", len(docs))
	}
	return docs
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestFilesExist looks for each Go file that these documents name.
func TestFilesExist(t *testing.T) {
	file := regexp.MustCompile(`[a-z][a-z0-9_]*(/[a-z0-9_]+)*/[a-z0-9_]+\.go\b`)
	for _, doc := range documents(t) {
		if doc == "docs/decisions.md" || doc == "docs/cli.md" {
			continue // what was, also of others
		}
		found := file.FindAllString(read(t, doc), -1)
		if len(found) == 0 && (doc == "docs/architecture.md" || doc == "CONTRIBUTING.md") {
			t.Errorf("%s names no file", doc)
		}
		for _, name := range found {
			if _, err := os.Stat(filepath.Join(root, name)); err != nil {
				t.Errorf("%s names %s, which doesn't exist: name the file that has its content now", doc, name)
			}
		}
	}
}

var (
	aLink    = regexp.MustCompile(`\]\(([^)#:\s]*)(#[^)\s]*)?\)`)
	aHeading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	aFence   = regexp.MustCompile("(?ms)^```.*?^```$")
)

// anchors returns what links into a document can name: each heading in small letters, without punctuation, with dashes for
// spaces, and a number behind one that comes again.
func anchors(text string) map[string]bool {
	all := map[string]bool{}
	for _, h := range aHeading.FindAllStringSubmatch(aFence.ReplaceAllString(text, ""), -1) {
		anchor := strings.ReplaceAll(strings.ToLower(strings.TrimSpace(h[1])), " ", "-")
		anchor = regexp.MustCompile(`[^\p{L}\p{N}_-]`).ReplaceAllString(anchor, "")
		for n, a := 1, anchor; ; n++ {
			if !all[a] {
				all[a] = true
				break
			}
			a = anchor + "-" + string(rune('0'+n))
		}
	}
	return all
}

func TestAnchors(t *testing.T) {
	all := anchors("# From a C++ cluster\n\n## `x_y`, twice\n\n```\n# not one\n```\n## `x_y`, twice\n")
	for _, a := range []string{"from-a-c-cluster", "x_y-twice", "x_y-twice-1"} {
		if !all[a] {
			t.Errorf("no anchor %s in %v", a, all)
		}
	}
	if len(all) != 3 {
		t.Errorf("anchors: %v", all)
	}
}

// TestLinks looks for each file and heading that a link of a document leads to.
func TestLinks(t *testing.T) {
	links := 0
	for _, doc := range documents(t) {
		text := read(t, doc)
		for _, m := range aLink.FindAllStringSubmatch(text, -1) {
			if m[0] == "]()" {
				t.Errorf("%s has a link to nothing", doc)
			}
			links++
			target, there := doc, text
			if m[1] != "" {
				target = filepath.Join(filepath.Dir(doc), m[1])
				if _, err := os.Stat(filepath.Join(root, target)); err != nil {
					t.Errorf("%s links to %s, which doesn't exist", doc, m[1])
					continue
				}
				if m[2] != "" {
					there = read(t, target)
				}
			}
			if m[2] != "" && !anchors(there)[m[2][1:]] {
				t.Errorf("%s links to %s of %s, which has no such heading", doc, m[2], target)
			}
		}
	}
	if links < 50 {
		t.Errorf("only %d links", links)
	}
}

// TestIndex looks for each page of the manual in its index.
func TestIndex(t *testing.T) {
	index := map[string]bool{"docs/README.md": true}
	for _, m := range aLink.FindAllStringSubmatch(read(t, "docs/README.md"), -1) {
		index[filepath.Join("docs", m[1])] = true
	}
	for _, doc := range documents(t) {
		if strings.HasPrefix(doc, "docs/") && !index[doc] {
			t.Errorf("docs/README.md doesn't lead to %s", doc)
		}
	}
}

// TestErrorCodes compares docs/errors.md with base/errors.go: each code is there once; those in tables are the ones that something uses.
func TestErrorCodes(t *testing.T) {
	defined := map[string]string{} // its name in Go: its name
	for _, m := range regexp.MustCompile(`(?m)^\t(Err\w+) +ErrorCode = "(\w+)"$`).FindAllStringSubmatch(read(t, "base/errors.go"), -1) {
		defined[m[1]] = m[2]
	}
	if len(defined) < 80 {
		t.Fatalf("only %d codes in base/errors.go", len(defined))
	}
	// They judge codes of others, also of upstream's servers, and give none that servers don't.
	askers := []string{"client", "cli", "rows", "onebox", "cppmeta", "migrate", "compat_test", "faults"}
	used := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && (e.Name() == "bin" || e.Name() == ".git" || e.Name() == "gen" || slices.Contains(askers, e.Name())):
			return fs.SkipDir
		case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.HasSuffix(path, "base/errors.go"):
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		prefix := `\bbase\.`
		if filepath.Base(filepath.Dir(path)) == "base" {
			prefix = `\b`
		}
		for _, m := range regexp.MustCompile(prefix+`(Err[A-Z]\w+)`).FindAllStringSubmatch(string(b), -1) {
			used[defined[m[1]]] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	tables, others, ok := strings.Cut(read(t, "docs/errors.md"), "## Codes that these servers don't give")
	if !ok {
		t.Fatal("docs/errors.md has no list of codes that aren't given")
	}
	listed := map[string]int{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(ERR_\\w+)` \\| [^|]").FindAllStringSubmatch(tables, -1) {
		listed[m[1]]++
		if !used[m[1]] {
			t.Errorf("docs/errors.md says when %s is given, and nothing gives it", m[1])
		}
	}
	for _, m := range regexp.MustCompile("`(ERR_\\w+)`").FindAllStringSubmatch(others, -1) {
		listed[m[1]]++
		if used[m[1]] {
			t.Errorf("docs/errors.md says that %s isn't given, and the program has it", m[1])
		}
	}
	for _, name := range defined {
		if listed[name] != 1 {
			t.Errorf("docs/errors.md has %s %d times", name, listed[name])
		}
		delete(listed, name)
	}
	for name := range listed {
		t.Errorf("docs/errors.md has %s, which base doesn't know", name)
	}
	stored := 0
	for _, m := range regexp.MustCompile(`(?m)^\| (\d+) \| ([^|]+) \| [^|]+ \|$`).FindAllStringSubmatch(tables, -1) {
		n, err := strconv.Atoi(m[1])
		if err != nil || n != stored || base.StoreCodeName(int32(n)) != m[2] {
			t.Errorf("docs/errors.md has the number %s, %q; base says %q", m[1], m[2], base.StoreCodeName(int32(n)))
		}
		stored++
	}
	if base.StoreCodeName(int32(stored)) != "" || stored < 10 {
		t.Errorf("docs/errors.md has %d numbers of the storage, and base more", stored)
	}
}

// TestLimits compares the figures of docs/limits.md with the defaults of the configuration, and with constants of the source.
func TestLimits(t *testing.T) {
	defaults := config.Default()
	values := map[string]string{}
	for _, e := range defaults.Entries() {
		values[e.Path()] = strings.TrimSuffix(e.Value, "0m0s")
	}
	rows := regexp.MustCompile("(?m)^\\| [^|]+ \\| ([^|]+) \\| `([^`]+)`( \\w+)? \\|$").FindAllStringSubmatch(read(t, "docs/limits.md"), -1)
	if len(rows) < 20 {
		t.Fatalf("only %d limits", len(rows))
	}
	for _, m := range rows {
		says, where, constant := m[1], m[2], strings.TrimSpace(m[3])
		is, ok := values[where]
		if constant != "" {
			c := regexp.MustCompile(`(?m)\b` + constant + ` += (\d+)(?: << (\d+))?$`).FindStringSubmatch(read(t, where))
			if ok = c != nil; ok {
				n, _ := strconv.ParseInt(c[1], 10, 64)
				shift, _ := strconv.Atoi(c[2])
				is = fmt.Sprint(n << shift)
			}
		}
		if n, unit, _ := strings.Cut(says, " "); unit == "KiB" || unit == "MiB" || unit == "GiB" {
			size, err := strconv.ParseInt(n, 10, 64)
			if err != nil {
				t.Errorf("docs/limits.md: %q: %v", says, err)
			}
			says = fmt.Sprint(size << (10 * (1 + strings.Index("KMG", unit[:1]))))
		}
		if !ok {
			t.Errorf("docs/limits.md: there is no %s %s", where, constant)
		} else if is != says {
			t.Errorf("docs/limits.md has %s for %s %s, which is %s", m[1], where, constant, is)
		}
	}
}

// TestQuotedMessages looks for the words of the program that docs/troubleshoot.md quotes: in its source, or of the system.
func TestQuotedMessages(t *testing.T) {
	system := []string{"address already in use"}
	var source strings.Builder
	for _, dir := range []string{"base", "cli", "client", "cmd", "meta", "replica", "rpc", "rrdb"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, e fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			b, err := os.ReadFile(path)
			source.Write(b)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	quoted := 0
	// In the first column of tables: words with spaces that aren't commands.
	for _, row := range regexp.MustCompile(`(?m)^\| ([^|]+) \|`).FindAllStringSubmatch(read(t, "docs/troubleshoot.md"), -1) {
		for _, q := range regexp.MustCompile("`([^`]* [^`]*)`").FindAllStringSubmatch(row[1], -1) {
			if strings.HasPrefix(q[1], "pegasus ") || slices.Contains(system, q[1]) {
				continue
			}
			quoted++
			for _, part := range strings.Split(q[1], "…") {
				if !strings.Contains(source.String(), strings.TrimSpace(part)) {
					t.Errorf("docs/troubleshoot.md quotes %q, which no server or command says", q[1])
				}
			}
		}
	}
	if quoted < 15 {
		t.Errorf("only %d quoted messages", quoted)
	}
}
