package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

const root = "../.."

// TestFilesExist looks for each Go file that these documents name.
func TestFilesExist(t *testing.T) {
	file := regexp.MustCompile(`[a-z][a-z0-9_]*(/[a-z0-9_]+)*/[a-z0-9_]+\.go\b`)
	for _, doc := range []string{"docs/architecture.md", "CONTRIBUTING.md", "README.md", "docs/operations.md", "docs/performance.md", "docs/testing.md"} {
		b, err := os.ReadFile(filepath.Join(root, doc))
		if err != nil {
			t.Fatal(err)
		}
		found := file.FindAllString(string(b), -1)
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

// TestLinksExist looks for each file that a link of a document leads to.
func TestLinksExist(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	docs, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	docs = append(docs, filepath.Join(root, "README.md"), filepath.Join(root, "CONTRIBUTING.md"))
	if len(docs) < 8 {
		t.Fatalf("only %d documents", len(docs))
	}
	for _, doc := range docs {
		b, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(b), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(doc), m[1])); err != nil {
				t.Errorf("%s links to %s, which doesn't exist", doc, m[1])
			}
		}
	}
}
