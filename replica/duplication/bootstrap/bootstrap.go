package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

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

const (
	askTime  = 10 * time.Second
	copyTime = time.Minute
	// block is how much of a file is asked for at a time, as upstream does.
	block = 4 << 20
	// maxFiles bounds what a checkpoint may say that it has.
	maxFiles = 1 << 20
)

// Caller sends requests; *rpc.Pool is one.
type Caller interface {
	Call(ctx context.Context, addr string, out rpc.Outgoing, res tbin.Decoder) error
}

// Source is a partition of a table of another cluster.
type Source struct {
	Caller     Caller
	Master     appenv.Master
	Partition  int32
	Partitions int32  // that the table here has
	Dir        string // a folder of its own, which is made, and emptied before
	// Total is told how many bytes there are to copy, and Copied how many were, again and again; an
	// error of it ends the copy. Either may be nil.
	Total  func(int64)
	Copied func(ctx context.Context, n int64) error
}

// Rows are the rows of a checkpoint, in the order of their keys.
type Rows struct {
	*pegasus.Rows
	where, dir string
}

// Close removes the copy, too.
func (r *Rows) Close() error { return errors.Join(r.Rows.Close(), os.RemoveAll(r.dir)) }

// String says where they are.
func (r *Rows) String() string { return r.where }

// String says what it is a source of.
func (s *Source) String() string {
	return fmt.Sprintf("partition %d of table %q of cluster %q", s.Partition, s.Master.App, s.Master.Cluster)
}

// Open copies the last checkpoint of the partition, and opens its rows.
func (s *Source) Open(ctx context.Context) (*Rows, error) {
	rows, err := s.open(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("copy %v: %w", s, err), os.RemoveAll(s.Dir))
	}
	return rows, nil
}

func (s *Source) open(ctx context.Context) (*Rows, error) {
	if err := errors.Join(os.RemoveAll(s.Dir), os.MkdirAll(s.Dir, 0o755)); err != nil {
		return nil, err
	}
	gpid, primary, err := s.find(ctx)
	if err != nil {
		return nil, err
	}
	cp, err := s.checkpoint(ctx, gpid, primary)
	if err != nil {
		return nil, err
	}
	if err := s.copyAll(ctx, gpid, primary, cp); err != nil {
		return nil, err
	}
	replica, err := pegasus.Open(ctx, rocks.Local(s.Dir), rocks.Options{})
	if err != nil {
		return nil, err
	}
	rows, err := replica.Rows(ctx, rocks.Bounds{})
	if err != nil {
		return nil, err
	}
	return &Rows{rows, fmt.Sprintf("%v (%v on %s, decree %d)", s, gpid, primary, cp.State.ToDecreeIncluded), s.Dir}, nil
}

// call sends a request and looks at the code in its answer.
func (s *Source) call(ctx context.Context, addr string, out rpc.Outgoing, res tbin.Decoder, code *base.ErrorCode, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	out.Framing = rpc.RDSN
	if err := s.Caller.Call(ctx, addr, out, res); err != nil {
		return fmt.Errorf("%s to %s: %w", out.Code, addr, err)
	}
	if *code != base.ErrOK {
		return fmt.Errorf("%s to %s: %w", out.Code, addr, *code)
	}
	return nil
}

// find asks the metas where the partition is.
func (s *Source) find(ctx context.Context) (gpid base.Gpid, primary string, err error) {
	var all error
	for _, meta := range s.Master.Metas {
		var res layer2.QueryCfgResponse
		err := s.call(ctx, meta, rpc.Outgoing{Code: base.RPCQueryPartitionConfigByIndex, Arg: &layer2.QueryCfgRequest{AppName: s.Master.App, PartitionIndices: []int32{s.Partition}}}, &res, &res.Err, askTime)
		if err == nil {
			gpid, primary, err = s.placeOf(&res)
		}
		if err == nil {
			return gpid, primary, nil
		}
		all = errors.Join(all, err)
		if ctx.Err() != nil {
			break
		}
	}
	return gpid, "", all
}

func (s *Source) placeOf(res *layer2.QueryCfgResponse) (gpid base.Gpid, primary string, err error) {
	if res.PartitionCount != s.Partitions {
		return gpid, "", fmt.Errorf("the table has %d partitions there, and %d here: %w", res.PartitionCount, s.Partitions, base.ErrInconsistentState)
	}
	for i := range res.Partitions {
		p := &res.Partitions[i]
		if p.Pid.PartitionIndex != s.Partition {
			continue
		}
		switch {
		case p.Primary != 0:
			return p.Pid, p.Primary.String(), nil
		case p.HpPrimary.Set && p.HpPrimary.V.Host != "":
			return p.Pid, p.HpPrimary.V.String(), nil
		}
		return gpid, "", fmt.Errorf("it has no primary there at present: %w", base.ErrInactiveState)
	}
	return gpid, "", fmt.Errorf("the answer doesn't have the partition: %w", base.ErrInvalidData)
}

// checkpoint asks the primary what its last checkpoint is.
func (s *Source) checkpoint(ctx context.Context, gpid base.Gpid, primary string) (*consensus.LearnResponse, error) {
	var cp consensus.LearnResponse
	err := s.call(ctx, primary, rpc.Outgoing{Code: base.RPCQueryLastCheckpointInfo, Gpid: gpid, Arg: &consensus.LearnRequest{Pid: gpid}}, &cp, &cp.Err, askTime)
	switch {
	case err != nil && cp.Err == base.ErrPathNotFound:
		return nil, fmt.Errorf("there is no checkpoint of it yet: %w", err)
	case err != nil:
		return nil, err
	case len(cp.State.Files) == 0 || len(cp.State.Files) > maxFiles || cp.BaseLocalDir == "":
		return nil, fmt.Errorf("%s says that its checkpoint in %q has %d files: %w", primary, cp.BaseLocalDir, len(cp.State.Files), base.ErrInvalidData)
	}
	seen := map[string]bool{}
	for _, f := range cp.State.Files {
		if f == "" || f == "." || f == ".." || strings.ContainsAny(f, "/\\\x00") || len(f) > 255 || seen[f] {
			return nil, fmt.Errorf("%s says that its checkpoint has the file %.300q: %w", primary, f, base.ErrInvalidData)
		}
		seen[f] = true
	}
	return &cp, nil
}

// copyAll copies the files of a checkpoint.
func (s *Source) copyAll(ctx context.Context, gpid base.Gpid, primary string, cp *consensus.LearnResponse) error {
	ask := &nfs.GetFileSizeRequest{Source: cp.Learnee, DstDir: s.Dir, FileList: cp.State.Files, SourceDir: cp.BaseLocalDir, Overwrite: true,
		SourceDiskTag: base.Some(cp.ReplicaDiskTag.V), DestDiskTag: base.Some(""), Pid: base.Some(base.Gpid{}), HpSource: cp.HpLearnee}
	var sizes nfs.GetFileSizeResponse
	ok := base.ErrOK
	if err := s.call(ctx, primary, rpc.Outgoing{Code: base.RPCNFSGetFileSize, Arg: ask}, &sizes, &ok, askTime); err != nil {
		return err
	}
	if sizes.Error != 0 || len(sizes.SizeList) != len(cp.State.Files) {
		return fmt.Errorf("%s tells the sizes of %d of %d files, with error %d; the checkpoint may be gone: %w", primary, len(sizes.SizeList), len(cp.State.Files), sizes.Error, base.ErrFileOperationFailed)
	}
	total := int64(0)
	for i, n := range sizes.SizeList {
		if n < 0 || n > 1<<50 {
			return fmt.Errorf("%s says that file %q has %d bytes: %w", primary, cp.State.Files[i], n, base.ErrInvalidData)
		}
		total += n
	}
	if s.Total != nil {
		s.Total(total)
	}
	for i, name := range cp.State.Files {
		if err := s.copyFile(ctx, primary, cp, name, sizes.SizeList[i]); err != nil {
			return fmt.Errorf("file %s of %s: %w", name, cp.BaseLocalDir, err)
		}
	}
	return nil
}

func (s *Source) copyFile(ctx context.Context, primary string, cp *consensus.LearnResponse, name string, size int64) (err error) {
	f, err := os.OpenFile(filepath.Join(s.Dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for at := int64(0); at < size; {
		n := min(block, size-at)
		q := &nfs.CopyRequest{Source: cp.Learnee, SourceDir: cp.BaseLocalDir, DstDir: s.Dir, FileName: name, Offset: at, Size: int32(n), IsLast: at+n == size, Overwrite: true,
			SourceDiskTag: base.Some(cp.ReplicaDiskTag.V), Pid: base.Some(base.Gpid{}), HpSource: cp.HpLearnee}
		var a nfs.CopyResponse
		if err := s.call(ctx, primary, rpc.Outgoing{Code: base.RPCNFSCopy, Arg: q}, &a, &a.Error, copyTime); err != nil {
			return err
		}
		if a.Offset != at || int64(len(a.FileContent)) != n {
			return fmt.Errorf("%s sent %d bytes from offset %d, asked for %d from %d: %w", primary, len(a.FileContent), a.Offset, n, at, base.ErrInvalidData)
		}
		if _, err := f.Write(a.FileContent); err != nil {
			return err
		}
		at += n
		if s.Copied != nil {
			if err := s.Copied(ctx, n); err != nil {
				return err
			}
		}
	}
	return nil
}
