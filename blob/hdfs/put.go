package hdfs

import (
	"context"
	"crypto/md5"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"path"
	"time"

	lib "github.com/colinmarc/hdfs/v2"

	"pegasus/blob"
)

const (
	copyBuffer  = 256 << 10
	closePause  = 100 * time.Millisecond // until data nodes have told the name node of a block
	removeTime  = 3 * time.Second        // to remove what a failed write has left
	blockUnit   = 1 << 20                // a multiple of what is summed
	maxBlock    = 1 << 30                // of our own choice
	summedBytes = 512                    // for each CRC, as the library writes them
)

// Put implements blob.Driver.
func (d *Driver) Put(ctx context.Context, name string, src *blob.Source) (blob.Info, error) {
	p := d.path(name)
	tmp := path.Join(path.Dir(p), fmt.Sprintf(".%s.tmp-%016x", path.Base(p), rand.Uint64()))
	begun := false
	i, err := with(ctx, d, func(s *session) (blob.Info, error) {
		if fi, err := s.Client.Stat(p); err == nil && fi.IsDir() {
			return blob.Info{}, blob.Failf(blob.ErrInvalid, "it is a directory")
		}
		if err := s.MkdirAll(path.Dir(p), 0o755); err != nil {
			return blob.Info{}, err
		}
		begun = true
		if err := s.write(tmp, src); err != nil {
			return blob.Info{}, err
		}
		_, sum := src.Sum()
		var remote lib.Error
		if err := s.SetXAttr(tmp, attrMD5, sum); err != nil && !errors.As(err, &remote) {
			return blob.Info{}, err // else the cluster has no such attributes
		}
		if err := s.Rename(tmp, p); err != nil {
			return blob.Info{}, err
		}
		begun = false
		return s.stat(name)
	})
	if begun {
		d.discard(ctx, tmp)
	}
	return i, err
}

// discard removes what a failed write has left, if the cluster can be reached.
func (d *Driver) discard(ctx context.Context, tmp string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTime)
	defer cancel()
	with(ctx, d, func(s *session) (none struct{}, err error) { return none, s.Remove(tmp) })
}

// write writes a file, and compares its checksum with that of the data nodes.
func (s *session) write(p string, src *blob.Source) error {
	defaults, err := s.ServerDefaults()
	if err != nil {
		return err
	}
	replication := s.d.replication
	if replication == 0 {
		replication = defaults.Replication
	}
	block := blockSize(defaults.BlockSize, src)
	w, err := s.CreateFile(p, replication, block, 0o644)
	if err != nil {
		return err
	}
	sum := newFileSum(block)
	if err := s.copy(w, sum, src); err != nil {
		s.kill()
		guard(func() (none struct{}, err error) { return none, w.Close() }) // ends the library's goroutines
		return err
	}
	return s.compare(p, sum.sum(), src)
}

// blockSize returns the cluster's default, or more where that makes a file one block. The library doesn't
// ask again for a further block when the name node hasn't heard of the one before the last yet
// (NotReplicatedYetException): then the whole file has to be sent again.
func blockSize(usual int64, src *blob.Source) int64 {
	if n, known := src.Size(); known && n > usual {
		return min((n+blockUnit-1)/blockUnit*blockUnit, max(usual, maxBlock))
	}
	return usual
}

// copy sends the stream, and closes the file.
func (s *session) copy(w *lib.FileWriter, sum *fileSum, src *blob.Source) error {
	buf := make([]byte, copyBuffer)
	for {
		n, rerr := src.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return err
			}
			sum.Write(buf[:n])
		}
		if errors.Is(rerr, io.EOF) {
			break
		}
		if rerr != nil {
			return rerr
		}
	}
	for {
		blob.Progress(s.ctx)
		err := w.Close()
		if !lib.IsErrReplicating(err) {
			return err
		}
		select {
		case <-time.After(closePause):
		case <-s.ctx.Done():
			return context.Cause(s.ctx)
		}
	}
}

func (s *session) compare(p string, sent []byte, src *blob.Source) error {
	blob.Progress(s.ctx)
	f, err := s.Client.Open(p)
	if err != nil {
		return err
	}
	defer f.Close()
	if size, _ := src.Sum(); f.Stat().Size() != size {
		return blob.Failf(blob.ErrCorrupt, "%d bytes lie there, %d were sent", f.Stat().Size(), size)
	}
	if f.Stat().Size() == 0 {
		return nil // no block, nothing to compare
	}
	there, err := f.Checksum()
	if err != nil {
		return err
	}
	if string(there) != string(sent) {
		return blob.Failf(blob.ErrCorrupt, "the data nodes have the checksum %x, what was sent %x", there, sent)
	}
	return nil
}

// fileSum works out HDFS' checksum of a file: the MD5 of the MD5s of its blocks' CRC32Cs, each of 512
// bytes and 4 bytes long, big endian; the MD5s are filled with zeros to a power of two, at least 32 bytes.
type fileSum struct {
	block   int64 // bytes
	inBlock int64
	crc     uint32
	inCRC   int
	crcs    hash.Hash // of the block
	blocks  hash.Hash
	n       int // bytes that blocks has
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func newFileSum(block int64) *fileSum {
	return &fileSum{block: block, crcs: md5.New(), blocks: md5.New()}
}

func (f *fileSum) Write(p []byte) {
	for len(p) > 0 {
		k := int(min(int64(len(p)), int64(summedBytes-f.inCRC), f.block-f.inBlock))
		f.crc = crc32.Update(f.crc, castagnoli, p[:k])
		f.inCRC += k
		f.inBlock += int64(k)
		p = p[k:]
		if f.inCRC == summedBytes || f.inBlock == f.block {
			f.endCRC()
		}
		if f.inBlock == f.block {
			f.endBlock()
		}
	}
}

func (f *fileSum) endCRC() {
	f.crcs.Write(binary.BigEndian.AppendUint32(nil, f.crc))
	f.crc, f.inCRC = 0, 0
}

func (f *fileSum) endBlock() {
	f.blocks.Write(f.crcs.Sum(nil))
	f.n += md5.Size
	f.crcs.Reset()
	f.inBlock = 0
}

// sum ends the file.
func (f *fileSum) sum() []byte {
	if f.inCRC > 0 {
		f.endCRC()
	}
	if f.inBlock > 0 {
		f.endBlock()
	}
	padded := 32
	for padded < f.n {
		padded *= 2
	}
	f.blocks.Write(make([]byte, padded-f.n))
	return f.blocks.Sum(nil)
}
