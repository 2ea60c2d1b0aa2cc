package local

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/zeebo/xxh3"
	"golang.org/x/sys/unix"

	"pegasus/base/config"
	"pegasus/base/durable"
	"pegasus/blob"
)

const (
	copyBuffer = 256 << 10
	syncEvery  = 256 << 20      // bytes; one sync of a large file would take long
	staleAfter = 24 * time.Hour // a file that is being written and wasn't touched for so long has no writer
	tmpMark    = ".tmp-"
)

// Driver is a directory of this machine.
type Driver struct {
	root    string
	lenient bool // files without a side file count

	placing sync.Mutex // held while a file that is written is put in its place

	mu    sync.Mutex
	swept map[string]bool // directories that were searched for what crashes left

	written func(path string) // for tests: called before the file is read back
}

// Open makes a driver of [blob.NAME] with type "local".
func Open(_ context.Context, c config.Blob) (blob.Driver, error) {
	root, err := filepath.Abs(c.Path)
	if err != nil {
		return nil, err
	}
	return &Driver{root: root, lenient: c.LocalLenient, swept: map[string]bool{}}, nil
}

// Where implements blob.Driver.
func (d *Driver) Where() string { return "directory " + d.root }

// Close implements blob.Driver.
func (d *Driver) Close() error { return nil }

func (d *Driver) path(name string) string { return filepath.Join(d.root, filepath.FromSlash(name)) }

// sidePath returns where upstream keeps size and MD5 of a file.
func sidePath(path string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".meta")
}

// side is the content of a side file.
type side struct {
	MD5  string `json:"md5"`
	Size int64  `json:"size"` // bytes
}

func decodeSide(b []byte) (side, error) {
	var s side
	if err := json.Unmarshal(b, &s); err != nil {
		return s, fmt.Errorf("not a JSON object of md5 and size: %w", err)
	}
	if sum, err := hex.DecodeString(s.MD5); err != nil || len(sum) != md5.Size {
		return s, fmt.Errorf("its md5 is %q", s.MD5)
	}
	if s.Size < 0 {
		return s, fmt.Errorf("its size is %d", s.Size)
	}
	s.MD5 = strings.ToLower(s.MD5)
	return s, nil
}

const maxSide = 4096 // bytes of a side file

func readSide(path string) (side, error) {
	f, err := os.Open(sidePath(path))
	if err != nil {
		return side{}, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSide))
	if err != nil {
		return side{}, err
	}
	s, err := decodeSide(b)
	if err != nil {
		return s, blob.Failf(blob.ErrCorrupt, "%s: %w", filepath.Base(f.Name()), err)
	}
	return s, nil
}

// classify gives an error of the system its kind, and sees whether the root is there at all.
func (d *Driver) classify(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) && strings.HasPrefix(pe.Path, d.root) {
		err = fmt.Errorf("%s: %w", pe.Op, pe.Err) // the name stands in the message already
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		if _, rerr := os.Stat(d.root); rerr != nil {
			return blob.Failf(blob.ErrUnavailable, "directory %s: %w (is its disk mounted?)", d.root, syscall.ENOENT)
		}
		return blob.Fail(blob.ErrNotFound, err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		return blob.Fail(blob.ErrNoSpace, err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return blob.Fail(blob.ErrDenied, err)
	case errors.Is(err, syscall.EISDIR), errors.Is(err, syscall.ENAMETOOLONG), errors.Is(err, fs.ErrExist):
		return blob.Fail(blob.ErrInvalid, err)
	}
	return err
}

// Put implements blob.Driver.
func (d *Driver) Put(ctx context.Context, name string, src *blob.Source) (blob.Info, error) {
	info, err := d.put(ctx, name, src)
	if errors.Is(err, blob.ErrSource) {
		return info, err
	}
	return info, d.classify(err)
}

func (d *Driver) put(ctx context.Context, name string, src *blob.Source) (blob.Info, error) {
	path := d.path(name)
	if fi, err := os.Stat(path); err == nil && fi.IsDir() {
		return blob.Info{}, blob.Failf(blob.ErrInvalid, "it is a directory")
	}
	if err := d.mkdir(name); err != nil {
		return blob.Info{}, err
	}
	d.sweep(filepath.Dir(path))
	mark := fmt.Sprintf("%s%016x", tmpMark, rand.Uint64())
	tmp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+mark)
	tmpSide := tmp + ".meta"
	defer os.Remove(tmp)     // it has been renamed if all went well
	defer os.Remove(tmpSide) // likewise
	sum, err := d.write(ctx, tmp, src)
	if err != nil {
		return blob.Info{}, err
	}
	b, err := json.Marshal(sum)
	if err != nil {
		return blob.Info{}, err
	}
	if err := writeSynced(tmpSide, b); err != nil {
		return blob.Info{}, err
	}
	if err := ctx.Err(); err != nil {
		return blob.Info{}, context.Cause(ctx)
	}
	fi, err := os.Stat(tmp)
	if err != nil {
		return blob.Info{}, err
	}
	// Two that write one file don't meet in between: each leaves a file with its side file.
	d.placing.Lock()
	defer d.placing.Unlock()
	// An old side file beside a new file would say that the file is damaged.
	if err := os.Remove(sidePath(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return blob.Info{}, err
	}
	if err := os.Rename(tmp, path); err != nil {
		return blob.Info{}, err
	}
	if err := os.Rename(tmpSide, sidePath(path)); err != nil {
		return blob.Info{}, err
	}
	if err := durable.Dir(filepath.Dir(path)); err != nil {
		return blob.Info{}, err
	}
	// Not what is there now: a writer in another process may have begun to put its own in the place.
	return blob.Info{Name: name, Size: sum.Size, MD5: sum.MD5, Modified: fi.ModTime(), Version: version(fi)}, nil
}

// write writes the stream, and returns its size and MD5. What the disk gives back is compared with it by XXH3, which costs
// a tenth of a second MD5.
func (d *Driver) write(ctx context.Context, path string, src *blob.Source) (side, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o644)
	if err != nil {
		return side{}, err
	}
	defer f.Close()
	buf := make([]byte, copyBuffer)
	unsynced := 0
	sent, there := xxh3.New(), xxh3.New()
	for {
		n, rerr := src.Read(buf)
		sent.Write(buf[:n])
		if _, err := f.Write(buf[:n]); err != nil {
			return side{}, err
		}
		if unsynced += n; unsynced >= syncEvery {
			unsynced = 0
			if err := f.Sync(); err != nil {
				return side{}, err
			}
		}
		if errors.Is(rerr, io.EOF) {
			break
		}
		if rerr != nil {
			return side{}, rerr
		}
	}
	blob.Progress(ctx)
	if err := f.Sync(); err != nil {
		return side{}, err
	}
	if d.written != nil {
		d.written(path)
	}
	// What is read back shall come from the disk, where the system allows that.
	unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return side{}, err
	}
	size := int64(0)
	for {
		blob.Progress(ctx)
		if err := ctx.Err(); err != nil {
			return side{}, context.Cause(ctx)
		}
		n, err := f.Read(buf)
		there.Write(buf[:n])
		size += int64(n)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return side{}, err
		}
	}
	unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) // nobody reads it soon
	want, sum := src.Sum()
	if size != want || there.Sum64() != sent.Sum64() {
		return side{}, blob.Failf(blob.ErrCorrupt, "the disk gave back %d bytes with XXH3 %016x, written were %d with %016x", size, there.Sum64(), want, sent.Sum64())
	}
	return side{MD5: sum, Size: size}, nil
}

func writeSynced(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(b); err != nil {
		return err
	}
	return f.Sync()
}

// mkdir makes the directories above a file, but not the root.
func (d *Driver) mkdir(name string) error {
	dir := d.root
	elements := strings.Split(name, "/")
	for _, e := range elements[:len(elements)-1] {
		parent := dir
		dir = filepath.Join(dir, e)
		err := os.Mkdir(dir, 0o755)
		if errors.Is(err, fs.ErrExist) {
			if fi, serr := os.Stat(dir); serr == nil && !fi.IsDir() {
				return blob.Failf(blob.ErrInvalid, "%s is a file", e)
			}
			continue
		}
		if err == nil {
			err = durable.Dir(parent)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// sweep removes what writers that died have left in a directory, once in the life of the driver.
func (d *Driver) sweep(dir string) {
	d.mu.Lock()
	done := d.swept[dir]
	d.swept[dir] = true
	d.mu.Unlock()
	if done {
		return
	}
	list, err := os.ReadDir(dir)
	if err != nil {
		return // Put will say it
	}
	for _, e := range list {
		if !blob.Hidden(e.Name()) || !strings.Contains(e.Name(), tmpMark) {
			continue
		}
		if fi, err := e.Info(); err == nil && time.Since(fi.ModTime()) > staleAfter {
			os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

func version(fi fs.FileInfo) string {
	ino := uint64(0)
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		ino = st.Ino
	}
	return fmt.Sprintf("%d-%d-%d", ino, fi.Size(), fi.ModTime().UnixNano())
}

// Stat implements blob.Driver.
func (d *Driver) Stat(_ context.Context, name string) (blob.Info, error) {
	info, err := d.stat(name)
	return info, d.classify(err)
}

func (d *Driver) stat(name string) (blob.Info, error) {
	path := d.path(name)
	fi, err := os.Stat(path)
	if err != nil {
		return blob.Info{}, err
	}
	info := blob.Info{Name: name, Dir: fi.IsDir(), Modified: fi.ModTime(), Version: version(fi)}
	if info.Dir {
		return info, nil
	}
	info.Size = fi.Size()
	s, err := readSide(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && d.lenient:
		return info, nil
	case errors.Is(err, fs.ErrNotExist):
		return info, blob.Failf(blob.ErrNotFound, "%s isn't beside it: it wasn't written to its end, or was copied without it", filepath.Base(sidePath(path)))
	case err != nil:
		return info, err
	case s.Size != info.Size:
		return info, blob.Failf(blob.ErrCorrupt, "it has %d bytes, stored were %d", info.Size, s.Size)
	}
	info.MD5 = s.MD5
	return info, nil
}

// List implements blob.Driver.
func (d *Driver) List(ctx context.Context, dir string) ([]blob.Info, error) {
	list, err := os.ReadDir(d.path(dir))
	if err != nil {
		return nil, d.classify(err)
	}
	there := make(map[string]bool, len(list))
	for _, e := range list {
		there[e.Name()] = true
	}
	var out []blob.Info
	for _, e := range list {
		if blob.Hidden(e.Name()) {
			continue
		}
		fi, err := os.Stat(filepath.Join(d.path(dir), e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // gone meanwhile, or a link to nowhere
		}
		if err != nil {
			return nil, d.classify(err)
		}
		if !fi.IsDir() && !d.lenient && !there["."+e.Name()+".meta"] {
			continue
		}
		i := blob.Info{Name: blob.Join(dir, e.Name()), Dir: fi.IsDir(), Modified: fi.ModTime(), Version: version(fi)}
		if !i.Dir {
			i.Size = fi.Size()
		}
		out = append(out, i)
		blob.Progress(ctx)
	}
	return out, nil
}

// Read implements blob.Driver.
func (d *Driver) Read(_ context.Context, info blob.Info, off, n int64) (io.ReadCloser, error) {
	f, err := os.Open(d.path(info.Name))
	if err != nil {
		return nil, d.classify(err)
	}
	fi, err := f.Stat()
	if err == nil && version(fi) != info.Version {
		err = blob.ErrChanged
	}
	if err == nil {
		_, err = f.Seek(off, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, d.classify(err)
	}
	return &part{Reader: io.LimitReader(f, n), Closer: f}, nil
}

type part struct {
	io.Reader
	io.Closer
}

// Delete implements blob.Driver.
func (d *Driver) Delete(_ context.Context, name string) error {
	path := d.path(name)
	if fi, err := os.Stat(path); err == nil && fi.IsDir() {
		return blob.Failf(blob.ErrInvalid, "it is a directory")
	}
	// Without its side file it doesn't count any more.
	removed := false
	for _, p := range []string{sidePath(path), path} {
		err := os.Remove(p)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
			return d.classify(err)
		}
		removed = removed || err == nil
	}
	if !removed {
		return d.gone()
	}
	return d.classify(durable.Dir(filepath.Dir(path)))
}

// gone is the answer to the removal of what isn't there.
func (d *Driver) gone() error {
	err := d.classify(fs.ErrNotExist)
	if errors.Is(err, blob.ErrNotFound) {
		return nil
	}
	return err
}

// DeleteTree implements blob.Driver.
func (d *Driver) DeleteTree(_ context.Context, dir string) error {
	path := d.path(dir)
	fi, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return d.gone()
	case err != nil:
		return d.classify(err)
	case !fi.IsDir():
		return blob.Failf(blob.ErrInvalid, "it is a file")
	}
	if err := os.RemoveAll(path); err != nil {
		return d.classify(err)
	}
	return d.classify(durable.Dir(filepath.Dir(path)))
}
