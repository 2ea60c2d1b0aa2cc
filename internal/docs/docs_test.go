package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
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
