package checkpoint

import (
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"

	"pegasus/base"
)

// Manifest names what a checkpoint consists of.
type Manifest struct {
	ID     string `json:"id"`
	Decree int64  `json:"decree"`
	Files  []File `json:"files"`
	Error  string `json:"error,omitempty"` // why there is none
}

// File is one file of a checkpoint.
type File struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
	CRC  uint32 `json:"crc32c"`
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// check looks at what a server says it will send, and adds up its size.
func (m *Manifest) check() (size int64, err error) {
	if len(m.Files) == 0 || m.Decree < 0 {
		return 0, fmt.Errorf("manifest of %d files, decree %d: %w", len(m.Files), m.Decree, base.ErrInvalidData)
	}
	seen := make(map[string]bool, len(m.Files))
	for _, f := range m.Files {
		if f.Name == "" || f.Name != filepath.Base(f.Name) || strings.HasPrefix(f.Name, ".") || seen[f.Name] {
			return 0, fmt.Errorf("manifest: file name %q: %w", f.Name, base.ErrInvalidData)
		}
		if f.Size < 0 || size+f.Size < size {
			return 0, fmt.Errorf("manifest: file %s of %d bytes: %w", f.Name, f.Size, base.ErrInvalidData)
		}
		seen[f.Name] = true
		size += f.Size
	}
	return size, nil
}

// neverChanges tells whether a store writes a file once: tables, and files of separate values.
func neverChanges(name string) bool {
	ext := filepath.Ext(name)
	return ext == ".sst" || ext == ".blob"
}

// sumFile reads a file; pace, if not nil, is called before so many bytes.
func sumFile(name string, pace func(n int) error) (size int64, crc uint32, err error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	b := make([]byte, paceBurst)
	for {
		if pace != nil {
			if err := pace(len(b)); err != nil {
				return size, crc, err
			}
		}
		n, err := f.Read(b)
		crc = crc32.Update(crc, castagnoli, b[:n])
		size += int64(n)
		if err == io.EOF {
			return size, crc, nil
		}
		if err != nil {
			return size, crc, err
		}
	}
}
