package plog

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"pegasus/base"
	"pegasus/rocks/damage"
)

// File is a file of a log.
type File struct {
	Name  string // without the directory
	Index int    // files are numbered without a gap
	Start int64  // offset in the log
	Size  int64
}

// ParseName reads the name of a file: log.<index>.<start>.
func ParseName(name string) (index int, start int64, ok bool) {
	rest, ok := strings.CutPrefix(name, "log.")
	i, s, cut := strings.Cut(rest, ".")
	index, err1 := strconv.Atoi(i)
	start, err2 := strconv.ParseInt(s, 10, 64)
	return index, start, ok && cut && err1 == nil && err2 == nil && index > 0 && start >= 0
}

// List returns the files of a log by index, and what else is in its directory.
func List(dir string) (files []File, others []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("list the files of a private log: %w", err)
	}
	for _, e := range entries {
		index, start, ok := ParseName(e.Name())
		if !ok {
			others = append(others, e.Name())
			continue
		}
		info, err := e.Info()
		if err != nil {
			return nil, nil, fmt.Errorf("list the files of a private log: %w", err)
		}
		if !info.Mode().IsRegular() {
			others = append(others, e.Name())
			continue
		}
		files = append(files, File{Name: e.Name(), Index: index, Start: start, Size: info.Size()})
	}
	slices.SortFunc(files, func(a, b File) int { return a.Index - b.Index })
	return files, others, nil
}

// Result says what Walk has found.
type Result struct {
	Files   []File
	Skipped []string      // files that have nothing above the decree asked for
	Ignored []string      // other files of the directory
	Torn    *damage.Error // the log's end isn't whole
	Bytes   int64         // that were read
}

// Walk gives the mutations of a partition's log in the order in which they were written, but for files that hold nothing
// above the decree after. A mutation may come several times, at a larger ballot. Those before an error have been given.
func Walk(ctx context.Context, dir string, of base.Gpid, after int64, fn func(file string, m *Mutation) error) (Result, error) {
	var res Result
	var err error
	if res.Files, res.Ignored, err = List(dir); err != nil {
		return res, err
	}
	// The last file may be one that was just begun.
	open, err := openAll(dir, &res)
	defer func() {
		for _, f := range open {
			f.file.Close()
		}
	}()
	if err != nil {
		return res, err
	}
	first := 0
	for i, f := range open {
		for _, p := range f.Header().Previous {
			if p.Gpid == of && p.MaxDecree <= after {
				first = i
			}
		}
	}
	for _, f := range open[:first] {
		res.Skipped = append(res.Skipped, filepath.Base(f.Name()))
	}
	for i := first; i < len(open); i++ {
		f := open[i]
		if i > first {
			if before := open[i-1]; f.Header().Start != before.End() {
				return res, damage.Newf(f.Name(), 0, Log, "it starts at %d of the log, the file before ends at %d", f.Header().Start, before.End())
			}
		}
		for f.Next() {
			if err := ctx.Err(); err != nil {
				return res, err
			}
			m := f.Mutation()
			if m.Gpid != of {
				return res, damage.Newf(f.Name(), f.Block().Offset, Log, "a mutation of partition %v in the log of %v", m.Gpid, of)
			}
			if err := fn(f.Name(), m); err != nil {
				return res, err
			}
		}
		res.Bytes += f.size
		if err := f.Err(); err != nil {
			return res, err
		}
		if t := f.Torn(); t != nil {
			if i < len(open)-1 {
				return res, t
			}
			res.Torn = t
		}
	}
	return res, nil
}

type openFile struct {
	*Reader
	file *os.File
}

// openAll opens the files of a log. What it returns is to be closed, also with an error.
func openAll(dir string, res *Result) (open []openFile, err error) {
	for i, l := range res.Files {
		path := filepath.Join(dir, l.Name)
		if i > 0 && l.Index != res.Files[i-1].Index+1 {
			return open, damage.Newf(path, -1, Log, "the file before it is %s: files between them are missing, or it is there twice", res.Files[i-1].Name)
		}
		file, err := os.Open(path)
		if err != nil {
			return open, fmt.Errorf("open a file of a private log: %w", err)
		}
		r, err := NewReader(path, file, l.Size)
		if err != nil {
			file.Close()
			var d *damage.Error
			if errors.Is(err, ErrNoHeader) && i == len(res.Files)-1 && errors.As(err, &d) {
				res.Torn = d
				return open, nil
			}
			return open, err
		}
		open = append(open, openFile{r, file})
		if s := r.Header().Start; s != l.Start {
			return open, damage.Newf(path, 0, Log, "it says that it starts at %d of the log, its name says %d", s, l.Start)
		}
	}
	return open, nil
}
