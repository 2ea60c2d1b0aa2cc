package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pegasus/internal/repo"
)

var built struct {
	once sync.Once
	dir  string
	path string
	err  error
}

// Main is what a package's TestMain calls: it runs the tests and removes the binary that
// Binary built. It returns the exit status.
func Main(m *testing.M) int {
	if os.Getenv(ownNetwork) != "" {
		if err := loopbackUp(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	defer func() {
		if built.dir != "" {
			os.RemoveAll(built.dir)
		}
	}()
	return m.Run()
}

// Binary returns the path of the pegasus executable, built once a test process from this
// module. PEGASUS_BIN names one that exists instead (one with the race detector, say).
func Binary(tb testing.TB) string {
	tb.Helper()
	built.once.Do(func() {
		if p := os.Getenv("PEGASUS_BIN"); p != "" {
			built.path, built.err = filepath.Abs(p)
			return
		}
		root, err := repo.Root()
		if err != nil {
			built.err = err
			return
		}
		if built.dir, built.err = os.MkdirTemp("", "pegasus-bin"); built.err != nil {
			return
		}
		built.path = filepath.Join(built.dir, "pegasus")
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, "go", "build", "-o", built.path, "./cmd/pegasus")
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as it is shipped
		if out, err := cmd.CombinedOutput(); err != nil {
			built.err = fmt.Errorf("go build ./cmd/pegasus: %w\n%s", err, out)
		}
	})
	if built.err != nil {
		tb.Fatalf("no pegasus executable: %v", built.err)
	}
	return built.path
}

// Release returns the path of the pegasus executable of a commit of this repository. It is built
// once a machine, in the user's cache. A history that lacks the commit is an error that says so.
func Release(tb testing.TB, commit string) string {
	tb.Helper()
	path, err := release(commit)
	if err != nil {
		tb.Fatalf("no executable of commit %s: %v", commit, err)
	}
	return path
}

func release(commit string) (string, error) {
	root, err := repo.Root()
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	run := func(dir, name string, args ...string) (string, error) {
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		out, err := cmd.CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
		}
		return strings.TrimSpace(string(out)), nil
	}
	full, err := run(root, "git", "rev-parse", "--verify", commit+"^{commit}")
	if err != nil {
		return "", fmt.Errorf("it isn't in the history that is here: get all of it (`git fetch --unshallow`): %w", err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	dir := filepath.Join(cache, "pegasus-compat")
	path := filepath.Join(dir, "pegasus-"+full)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	tree, err := os.MkdirTemp("", "pegasus-release")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tree)
	tar := filepath.Join(tree, "tree.tar")
	if _, err := run(root, "git", "archive", "-o", tar, full); err != nil {
		return "", err
	}
	if _, err := run(tree, "tar", "-xf", tar); err != nil {
		return "", err
	}
	built, err := os.CreateTemp(dir, "building")
	if err != nil {
		return "", err
	}
	defer os.Remove(built.Name())
	if err := built.Close(); err != nil {
		return "", err
	}
	if _, err := run(tree, "go", "build", "-pgo=off", "-o", built.Name(), "./cmd/pegasus"); err != nil {
		return "", err
	}
	return path, os.Rename(built.Name(), path)
}
