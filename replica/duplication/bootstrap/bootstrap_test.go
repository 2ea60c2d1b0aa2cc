package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pegasus/base"
	"pegasus/base/appenv"
	"pegasus/base/tbin"
	"pegasus/gen/consensus"
	"pegasus/gen/layer2"
	"pegasus/gen/nfs"
	"pegasus/rocks"
	"pegasus/rocks/pegasus"
	"pegasus/rpc"
)

// source answers as a C++ cluster does, but for what change does to an answer.
type source struct {
	dir    string
	change func(code string, res any)
	calls  []string
}

const primary base.RPCAddress = 0x7f0000018a010001

func (s *source) Call(_ context.Context, addr string, out rpc.Outgoing, res tbin.Decoder) error {
	s.calls = append(s.calls, addr+" "+base.ShortRPC(out.Code))
	if addr == "dead:1" {
		return base.ErrNetworkFailure
	}
	switch q := out.Arg.(type) {
	case *layer2.QueryCfgRequest:
		*res.(*layer2.QueryCfgResponse) = layer2.QueryCfgResponse{Err: base.ErrOK, PartitionCount: 4,
			Partitions: []layer2.PartitionConfiguration{{Pid: base.Gpid{AppID: 9, PartitionIndex: q.PartitionIndices[0]}, Primary: primary}}}
	case *consensus.LearnRequest:
		a := consensus.LearnResponse{Err: base.ErrOK, Learnee: primary, BaseLocalDir: s.dir}
		files, err := os.ReadDir(s.dir)
		if err != nil {
			return err
		}
		for _, f := range files {
			a.State.Files = append(a.State.Files, f.Name())
		}
		*res.(*consensus.LearnResponse) = a
	case *nfs.GetFileSizeRequest:
		a := nfs.GetFileSizeResponse{FileList: q.FileList}
		for _, f := range q.FileList {
			fi, err := os.Stat(filepath.Join(s.dir, f))
			if err != nil {
				return err
			}
			a.SizeList = append(a.SizeList, fi.Size())
		}
		*res.(*nfs.GetFileSizeResponse) = a
	case *nfs.CopyRequest:
		b, err := os.ReadFile(filepath.Join(s.dir, q.FileName))
		if err != nil || q.SourceDir != s.dir {
			return fmt.Errorf("%s: %w", q.SourceDir, err)
		}
		*res.(*nfs.CopyResponse) = nfs.CopyResponse{Error: base.ErrOK, Offset: q.Offset, Size: q.Size, FileContent: slices.Clone(b[q.Offset:][:q.Size])}
	default:
		return fmt.Errorf("asked for %s", out.Code)
	}
	if s.change != nil {
		s.change(out.Code, res)
	}
	return nil
}

const testRows = 20000

// makeCheckpoint writes a database as a C++ replica's.
func makeCheckpoint(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	w, err := pegasus.Create(t.Context(), rocks.Local(dir), pegasus.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range testRows {
		if err := w.Add(key(i), pegasus.Value{Timetag: uint64(i) << 8, Data: []byte(strings.Repeat(fmt.Sprint(i), 100))}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Close(pegasus.Meta{DataVersion: 1, FlushedDecree: 7}); err != nil {
		t.Fatal(err)
	}
	return dir
}

func key(i int) []byte { return base.AppendKey(nil, []byte("h"), fmt.Appendf(nil, "%08d", i)) }

func TestOpen(t *testing.T) {
	of := &source{dir: makeCheckpoint(t)}
	dir := filepath.Join(t.TempDir(), "copy")
	var total, copied int64
	s := &Source{Caller: of, Master: appenv.Master{Cluster: "c", App: "a", Metas: []string{"dead:1", "meta:1"}}, Partition: 2, Partitions: 4, Dir: dir,
		Total: func(n int64) { total = n }, Copied: func(_ context.Context, n int64) error { copied += n; return nil }}
	rows, err := s.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for ; rows.Next(); n++ {
		if r := rows.Row(); string(r.Key) != string(key(n)) || r.Timetag != uint64(n)<<8 {
			t.Fatalf("row %d is %q, timetag %x", n, r.Key, r.Timetag)
		}
	}
	if rows.Err() != nil || n != testRows || total == 0 || copied != total || !strings.Contains(rows.String(), `partition 2 of table "a" of cluster "c"`) {
		t.Errorf("%d rows, %d of %d bytes, %v, %v", n, copied, total, rows, rows.Err())
	}
	if err := rows.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the copy is still there: %v", err)
	}
	// The copy ends when the pace says so.
	stop := errors.New("stop")
	s.Copied = func(context.Context, int64) error { return stop }
	if _, err := s.Open(t.Context()); !errors.Is(err, stop) {
		t.Error(err)
	}
}

// Whatever the other cluster says, no rows are told that it doesn't have, nothing is written elsewhere, and
// nothing of the copy is left.
func TestBadSource(t *testing.T) {
	good := makeCheckpoint(t)
	cfg := func(f func(*layer2.QueryCfgResponse)) func(string, any) {
		return func(_ string, res any) {
			if a, ok := res.(*layer2.QueryCfgResponse); ok {
				f(a)
			}
		}
	}
	cp := func(f func(*consensus.LearnResponse)) func(string, any) {
		return func(_ string, res any) {
			if a, ok := res.(*consensus.LearnResponse); ok {
				f(a)
			}
		}
	}
	size := func(f func(*nfs.GetFileSizeResponse)) func(string, any) {
		return func(_ string, res any) {
			if a, ok := res.(*nfs.GetFileSizeResponse); ok {
				f(a)
			}
		}
	}
	file := func(f func(*nfs.CopyResponse)) func(string, any) {
		return func(_ string, res any) {
			if a, ok := res.(*nfs.CopyResponse); ok {
				f(a)
			}
		}
	}
	for name, c := range map[string]struct {
		change func(string, any)
		want   string
	}{
		"no such table":       {cfg(func(a *layer2.QueryCfgResponse) { *a = layer2.QueryCfgResponse{Err: base.ErrObjectNotFound} }), "ERR_OBJECT_NOT_FOUND"},
		"other partitions":    {cfg(func(a *layer2.QueryCfgResponse) { a.PartitionCount = 8 }), "the table has 8 partitions there, and 4 here"},
		"no partition":        {cfg(func(a *layer2.QueryCfgResponse) { a.Partitions = nil }), "doesn't have the partition"},
		"no primary":          {cfg(func(a *layer2.QueryCfgResponse) { a.Partitions[0].Primary = 0 }), "no primary there"},
		"no checkpoint":       {cp(func(a *consensus.LearnResponse) { *a = consensus.LearnResponse{Err: base.ErrPathNotFound} }), "there is no checkpoint of it yet"},
		"no files":            {cp(func(a *consensus.LearnResponse) { a.State.Files = nil }), "has 0 files"},
		"a path":              {cp(func(a *consensus.LearnResponse) { a.State.Files[0] = "../evil" }), `the file "../evil"`},
		"the folder above":    {cp(func(a *consensus.LearnResponse) { a.State.Files[0] = ".." }), `the file ".."`},
		"a file twice":        {cp(func(a *consensus.LearnResponse) { a.State.Files[0] = a.State.Files[1] }), "has the file"},
		"the checkpoint went": {size(func(a *nfs.GetFileSizeResponse) { *a = nfs.GetFileSizeResponse{Error: 1} }), "the checkpoint may be gone"},
		"too few sizes":       {size(func(a *nfs.GetFileSizeResponse) { a.SizeList = a.SizeList[1:] }), "tells the sizes"},
		"a negative size":     {size(func(a *nfs.GetFileSizeResponse) { a.SizeList[0] = -1 }), "has -1 bytes"},
		"a file went":         {file(func(a *nfs.CopyResponse) { *a = nfs.CopyResponse{Error: base.ErrObjectNotFound} }), "ERR_OBJECT_NOT_FOUND"},
		"too little":          {file(func(a *nfs.CopyResponse) { a.FileContent = a.FileContent[:len(a.FileContent)-1] }), "bytes from offset"},
		"too much":            {file(func(a *nfs.CopyResponse) { a.FileContent = append(a.FileContent, 0) }), "bytes from offset"},
		"another place":       {file(func(a *nfs.CopyResponse) { a.Offset++ }), "bytes from offset"},
		"damage":              {file(func(a *nfs.CopyResponse) { a.FileContent[len(a.FileContent)/2] ^= 1 }), ""},
	} {
		t.Run(name, func(t *testing.T) {
			above := t.TempDir()
			s := &Source{Caller: &source{dir: good, change: c.change}, Master: appenv.Master{Cluster: "c", App: "a", Metas: []string{"meta:1"}}, Partition: 2, Partitions: 4, Dir: filepath.Join(above, "copy")}
			rows, err := s.Open(t.Context())
			if err == nil { // damage shows when the rows are read
				for rows.Next() {
				}
				err = rows.Err()
				if cerr := rows.Close(); cerr != nil {
					t.Error(cerr)
				}
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if left, err := os.ReadDir(above); err != nil || len(left) > 0 {
				t.Errorf("%v is left, %v", left, err)
			}
		})
	}
}
