// Package repo finds what tests need of the repository and the machine: its root, programs, and the recordings of a C++ cluster that they replay. These are
// where PEGASUS_GOLDEN says, or in shared/golden beside the repository; they are no part of it.
//
// It must not know what is recorded.
package repo

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Root returns the directory of this module's go.mod, looking upwards from the working directory.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		// Modules of their own below it have another name.
		b, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && len(b) > 15 && string(b[:15]) == "module pegasus\n" {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("no go.mod of module pegasus above the working directory")
		}
		dir = up
	}
}

// FindGolden returns the directory of the recordings, or says where it isn't.
func FindGolden() (string, error) {
	dir := os.Getenv("PEGASUS_GOLDEN")
	if dir == "" {
		root, err := Root()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(root, "..", "shared", "golden")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(filepath.Join(dir, "README.md")); err != nil {
		return "", fmt.Errorf("the recordings of the C++ server aren't at %s (PEGASUS_GOLDEN names another place): %w", dir, err)
	}
	return dir, nil
}

// Golden is FindGolden for a test, which is left out without the recordings, and fails with CI=true.
func Golden(t testing.TB) string {
	t.Helper()
	dir, err := FindGolden()
	switch {
	case err == nil:
	case os.Getenv("CI") == "true":
		t.Fatal(err)
	default:
		t.Skip(err)
	}
	return dir
}

// Tool returns the path of a program that a Debian package has, for a test, which is left out without it, and fails with CI=true.
func Tool(t testing.TB, name, debian string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	switch {
	case err == nil:
	case os.Getenv("CI") == "true":
		t.Fatalf("%s is missing: install Debian's package %s", name, debian)
	default:
		t.Skipf("%s isn't installed: Debian's package %s has it", name, debian)
	}
	return path
}
