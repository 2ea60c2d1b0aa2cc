package s3

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"

	"pegasus/blob"
)

const (
	partBytes  = 8 << 20         // of the first parts; the protocol wants 5 MiB at least
	growEvery  = 2000            // parts, after which they are twice as large: 484 GiB in all
	maxParts   = 10_000          // of the protocol
	partTries  = 3               // before the whole file is sent again
	partPause  = time.Second     // before a part is sent again
	abortTime  = 3 * time.Second // to give back what a failed upload has stored
	staleAfter = 24 * time.Hour  // an upload that began so long ago has no writer
)

func partSize(part int) int { return partBytes << ((part - 1) / growEvery) }

// sums are the checksums of one request.
type sums struct {
	md5    [md5.Size]byte
	sha256 [sha256.Size]byte
}

func sumsOf(b []byte) sums { return sums{md5.Sum(b), sha256.Sum256(b)} }

func (s *sums) md5Base64() string { return base64.StdEncoding.EncodeToString(s.md5[:]) }

var buffers = sync.Pool{New: func() any { b := make([]byte, partBytes); return &b }}

// Put implements blob.Driver.
func (d *Driver) Put(ctx context.Context, name string, src *blob.Source) (blob.Info, error) {
	pooled := buffers.Get().(*[]byte)
	defer buffers.Put(pooled)
	n, err := io.ReadFull(src, *pooled)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return d.putOne(ctx, name, (*pooled)[:n])
	case err != nil:
		return blob.Info{}, err
	}
	return d.putParts(ctx, name, src, *pooled)
}

func (d *Driver) options(md5 string) minio.PutObjectOptions {
	o := minio.PutObjectOptions{StorageClass: d.storageClass, DisableContentSha256: true} // not in a stream: it is known beforehand
	if md5 != "" {
		o.UserMetadata = map[string]string{metaMD5: md5}
	}
	return o
}

// putOne sends a small file.
func (d *Driver) putOne(ctx context.Context, name string, b []byte) (blob.Info, error) {
	s := sumsOf(b)
	sum := hex.EncodeToString(s.md5[:])
	sent, err := d.core.PutObject(ctx, d.bucket, d.key(name), progress(ctx, b), int64(len(b)), s.md5Base64(), hex.EncodeToString(s.sha256[:]), d.options(sum))
	if err != nil {
		return blob.Info{}, d.classify(err)
	}
	return d.compare(ctx, name, int64(len(b)), sum, sent.ETag, sum)
}

// progressReader tells of each piece that is sent.
type progressReader struct {
	*bytes.Reader
	ctx context.Context
}

func progress(ctx context.Context, b []byte) *progressReader {
	return &progressReader{bytes.NewReader(b), ctx}
}

func (p *progressReader) Read(b []byte) (int, error) {
	blob.Progress(p.ctx)
	return p.Reader.Read(b)
}

// compare looks at what lies there. etag is what the server answered to the upload, and want is
// what it would be if the server makes ETags of MD5s, as most do; with encryption they are opaque.
func (d *Driver) compare(ctx context.Context, name string, size int64, sum, etag, want string) (blob.Info, error) {
	there, err := d.Stat(ctx, name)
	switch {
	case err != nil:
		return there, err
	case there.Size != size:
		return there, blob.Failf(blob.ErrCorrupt, "%d bytes lie there, %d were sent", there.Size, size)
	case strings.Trim(there.Version, `"`) != strings.Trim(etag, `"`):
		return there, blob.Failf(blob.ErrCorrupt, "another file lies there: its ETag is %s, the upload's was %s (somebody else writes it too)", there.Version, etag)
	case want != "" && strings.Trim(etag, `"`) != want:
		return there, blob.Failf(blob.ErrCorrupt, "what lies there has the ETag %s, what was sent %s", etag, want)
	case sum != "" && there.MD5 != sum:
		return there, blob.Failf(blob.ErrCorrupt, "its metadata say MD5 %q, what was sent had %s", there.MD5, sum)
	}
	return there, nil
}

// putParts sends a large file, whose first part was read already.
func (d *Driver) putParts(ctx context.Context, name string, src *blob.Source, part []byte) (blob.Info, error) {
	d.sweep(ctx, name)
	key := d.key(name)
	o := d.options(src.Announced())
	id, err := d.core.NewMultipartUpload(ctx, d.bucket, key, o)
	if err != nil {
		return blob.Info{}, d.classify(err)
	}
	parts, want, err := d.sendParts(ctx, key, id, src, part)
	if err != nil {
		d.abort(ctx, key, id)
		return blob.Info{}, d.classify(err)
	}
	blob.Progress(ctx)
	done, err := d.core.CompleteMultipartUpload(ctx, d.bucket, key, id, parts, minio.PutObjectOptions{})
	if err != nil {
		d.abort(ctx, key, id)
		return blob.Info{}, d.classify(err)
	}
	size, _ := src.Sum()
	return d.compare(ctx, name, size, src.Announced(), done.ETag, want)
}

// sendParts sends the parts, and returns the ETag that all of them together have: "" if the
// server doesn't make ETags of MD5s.
func (d *Driver) sendParts(ctx context.Context, key, id string, src *blob.Source, part []byte) ([]minio.CompletePart, string, error) {
	var parts []minio.CompletePart
	all := md5.New()
	opaque := false
	for n := 1; ; n++ {
		if n > maxParts {
			return nil, "", blob.Failf(blob.ErrInvalid, "the file is larger than %d parts", maxParts)
		}
		s := sumsOf(part)
		p, err := d.sendPart(ctx, key, id, n, part, &s)
		if err != nil {
			return nil, "", err
		}
		opaque = opaque || strings.Trim(p.ETag, `"`) != hex.EncodeToString(s.md5[:])
		all.Write(s.md5[:])
		parts = append(parts, minio.CompletePart{PartNumber: n, ETag: p.ETag})
		if src.Ended() {
			break
		}
		if size := partSize(n + 1); size > cap(part) {
			part = make([]byte, size)
		}
		part = part[:cap(part)]
		got, err := io.ReadFull(src, part)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, "", err
		}
		part = part[:got]
	}
	if opaque {
		return parts, "", nil
	}
	return parts, fmt.Sprintf("%x-%d", all.Sum(nil), len(parts)), nil
}

// sendPart sends one part, again if need be: not all that was sent before shall be for nothing.
func (d *Driver) sendPart(ctx context.Context, key, id string, n int, part []byte, s *sums) (minio.ObjectPart, error) {
	for try := 1; ; try++ {
		p, err := d.core.PutObjectPart(ctx, d.bucket, key, id, n, progress(ctx, part), int64(len(part)), minio.PutObjectPartOptions{
			Md5Base64: s.md5Base64(), Sha256Hex: hex.EncodeToString(s.sha256[:]), DisableContentSha256: true})
		if err == nil {
			blob.Progress(ctx)
			return p, nil
		}
		if err = d.classify(err); !errors.Is(err, blob.ErrUnavailable) || try == partTries {
			return p, err
		}
		select {
		case <-time.After(partPause):
		case <-ctx.Done():
			return p, context.Cause(ctx)
		}
	}
}

// abort gives back what an upload has stored, if the server can be reached.
func (d *Driver) abort(ctx context.Context, key, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTime)
	defer cancel()
	d.core.AbortMultipartUpload(ctx, d.bucket, key, id) // else sweep does it
}

// sweep gives back what uploads of the same file have left whose writers died.
func (d *Driver) sweep(ctx context.Context, name string) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for u := range d.core.ListIncompleteUploads(ctx, d.bucket, d.key(name), true) {
		if u.Err != nil {
			return // not every server can list them
		}
		if u.Key == d.key(name) && time.Since(u.Initiated) > staleAfter {
			d.abort(ctx, u.Key, u.UploadID)
		}
	}
}
