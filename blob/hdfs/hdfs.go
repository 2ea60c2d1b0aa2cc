package hdfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path"
	"strings"
	"sync"
	"syscall"
	"time"

	lib "github.com/colinmarc/hdfs/v2"

	"pegasus/base/config"
	"pegasus/blob"
)

const dialTimeout = 10 * time.Second

// Dialer opens connections.
type Dialer func(ctx context.Context, network, addr string) (net.Conn, error)

// Driver is a directory of HDFS.
type Driver struct {
	options     lib.ClientOptions
	login       *login // nil: no Kerberos
	dial        Dialer
	root        string // absolute
	replication int    // 0: the cluster's

	mu   sync.Mutex
	last string // the name node that answered last
}

// Open makes a driver of [blob.NAME] with type "hdfs".
func Open(_ context.Context, c config.Blob) (blob.Driver, error) {
	return OpenWith(c, (&net.Dialer{Timeout: dialTimeout, KeepAlive: dialTimeout}).DialContext)
}

// OpenWith is Open with connections that dial makes.
func OpenWith(c config.Blob, dial Dialer) (*Driver, error) {
	o, login, err := optionsOf(c)
	if err != nil {
		return nil, err
	}
	return &Driver{options: o, login: login, dial: dial, root: path.Clean("/" + c.Path), replication: c.Replication}, nil
}

// Where implements blob.Driver.
func (d *Driver) Where() string {
	return fmt.Sprintf("%s in HDFS of %s", d.root, strings.Join(d.options.Addresses, ", "))
}

// Close implements blob.Driver.
func (d *Driver) Close() error {
	if d.login != nil {
		d.login.close()
	}
	return nil
}

func (d *Driver) path(name string) string { return path.Join(d.root, name) }

// session is a client with connections of its own.
type session struct {
	*lib.Client
	d    *Driver
	ctx  context.Context
	stop func() bool

	mu    sync.Mutex
	conns map[*sessionConn]bool // nil: it has ended
	name  string                // the name node that was dialled last
	err   error                 // of the last dial that failed; the library tells it as text only
}

type sessionConn struct {
	net.Conn
	s *session
}

func (c *sessionConn) Close() error {
	c.s.mu.Lock()
	delete(c.s.conns, c)
	c.s.mu.Unlock()
	return c.Conn.Close()
}

func (s *session) connect(network, addr string, name bool) (net.Conn, error) {
	if err := s.ctx.Err(); err != nil {
		return nil, context.Cause(s.ctx)
	}
	c, err := s.d.dial(s.ctx, network, addr)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.err = err
		return nil, err
	}
	if s.conns == nil {
		c.Close()
		return nil, net.ErrClosed
	}
	if name {
		s.name = addr
	}
	sc := &sessionConn{Conn: c, s: s}
	s.conns[sc] = true
	return sc, nil
}

// kill ends everything that waits for the network.
func (s *session) kill() {
	s.mu.Lock()
	conns := s.conns
	s.conns = nil
	s.mu.Unlock()
	for c := range conns {
		c.Conn.Close()
	}
}

// end closes the session.
func (s *session) end() {
	s.stop()
	s.kill()
	s.Client.Close()
}

// session begins one, which ends with ctx at the latest.
func (d *Driver) session(ctx context.Context) (*session, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	s := &session{d: d, ctx: ctx, conns: map[*sessionConn]bool{}}
	o := d.options
	o.NamenodeDialFunc = func(_ context.Context, network, addr string) (net.Conn, error) { return s.connect(network, addr, true) }
	o.DatanodeDialFunc = func(_ context.Context, network, addr string) (net.Conn, error) {
		return s.connect(network, addr, false)
	}
	o.Addresses = d.addresses()
	if d.login != nil {
		k, err := d.login.client()
		if err != nil {
			return nil, err
		}
		o.KerberosClient = k
	}
	s.stop = context.AfterFunc(ctx, s.kill)
	c, err := lib.NewClient(o)
	if err != nil {
		s.stop()
		s.kill()
		return nil, s.classify(err)
	}
	s.Client = c
	return s, nil
}

// addresses returns the name nodes, the one that answered last first.
func (d *Driver) addresses() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]string, 0, len(d.options.Addresses)+1)
	if d.last != "" {
		out = append(out, d.last)
	}
	for _, a := range d.options.Addresses {
		if a != d.last {
			out = append(out, a)
		}
	}
	return out
}

// with runs f in a session of its own.
func with[T any](ctx context.Context, d *Driver, f func(*session) (T, error)) (v T, err error) {
	s, err := d.session(ctx)
	if err != nil {
		return v, err
	}
	defer s.end()
	v, err = guard(func() (T, error) { return f(s) })
	if err != nil {
		return v, s.classify(err)
	}
	s.answered()
	return v, nil
}

// answered remembers which name node is the active one.
func (s *session) answered() {
	s.mu.Lock()
	name := s.name
	s.mu.Unlock()
	s.d.mu.Lock()
	s.d.last = name
	s.d.mu.Unlock()
}

// classify gives an error its kind.
func (s *session) classify(err error) error {
	s.mu.Lock()
	dialled := s.err
	s.mu.Unlock()
	s.d.mu.Lock()
	stranger := s.d.last == "" && s.d.login == nil
	s.d.mu.Unlock()
	// So the library reads a name node's refusal of the connection, depending on what comes first.
	const refused = "the name node closes the connection (%w); does it want Kerberos (hdfs_principal)?"
	switch {
	case stranger && strings.Contains(err.Error(), "unexpected sequence number"):
		return blob.Failf(blob.ErrDenied, refused, err)
	case stranger && closedByPeer(err):
		return blob.Failf(blob.ErrUnavailable, refused, err)
	}
	if k := classify(err); k != nil || dialled == nil {
		if k == nil {
			return err
		}
		return k
	}
	return blob.Fail(blob.ErrUnavailable, err)
}

// closedByPeer tells whether the other side ended a connection. The library keeps of some of these errors
// only the text.
func closedByPeer(err error) bool {
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		return true
	}
	text := err.Error()
	return strings.HasSuffix(text, "EOF") || strings.Contains(text, syscall.EPIPE.Error()) || strings.Contains(text, syscall.ECONNRESET.Error())
}

// version tells two files of one path apart.
func version(fi os.FileInfo) string {
	id := uint64(0)
	if st, ok := fi.Sys().(interface{ GetFileId() uint64 }); ok {
		id = st.GetFileId()
	}
	return fmt.Sprintf("%d-%d-%d", id, fi.Size(), fi.ModTime().UnixMilli())
}

func info(fi os.FileInfo) blob.Info {
	i := blob.Info{Dir: fi.IsDir(), Modified: fi.ModTime(), Version: version(fi)}
	if !i.Dir {
		i.Size = fi.Size()
	}
	return i
}

// attrMD5 is where the MD5 of a file stands.
const attrMD5 = "user.pegasus.md5"

// Stat implements blob.Driver.
func (d *Driver) Stat(ctx context.Context, name string) (blob.Info, error) {
	return with(ctx, d, func(s *session) (blob.Info, error) { return s.stat(name) })
}

func (s *session) stat(name string) (blob.Info, error) {
	p := s.d.path(name)
	fi, err := s.Client.Stat(p)
	if err != nil {
		return blob.Info{}, s.missing(p, err)
	}
	i := info(fi)
	if i.Dir {
		return i, nil
	}
	attrs, err := s.GetXAttrs(p, attrMD5)
	if err == nil {
		i.MD5 = attrs[attrMD5]
	}
	var remote lib.Error
	if err != nil && !errors.As(err, &remote) {
		return i, err // not the cluster's word that it has no such attributes
	}
	return i, nil
}

// missing: what is below a file isn't there, though the name nodes say that access is denied.
func (s *session) missing(p string, err error) error {
	var remote lib.Error
	if !errors.Is(err, os.ErrPermission) && !(errors.As(err, &remote) && strings.HasSuffix(remote.Exception(), "ParentNotDirectoryException")) {
		return err
	}
	for dir := path.Dir(p); dir != "/"; dir = path.Dir(dir) {
		if fi, serr := s.Client.Stat(dir); serr == nil && !fi.IsDir() {
			return os.ErrNotExist
		}
	}
	return err
}

// List implements blob.Driver.
func (d *Driver) List(ctx context.Context, dir string) ([]blob.Info, error) {
	return with(ctx, d, func(s *session) ([]blob.Info, error) {
		list, err := s.ReadDir(d.path(dir))
		if err != nil {
			return nil, s.missing(d.path(dir), err)
		}
		out := make([]blob.Info, 0, len(list))
		for _, fi := range list {
			if !blob.Hidden(fi.Name()) {
				i := info(fi)
				i.Name = blob.Join(dir, fi.Name())
				out = append(out, i)
			}
		}
		return out, nil
	})
}

// Delete implements blob.Driver.
func (d *Driver) Delete(ctx context.Context, name string) error {
	return d.remove(ctx, name, func(s *session, fi os.FileInfo) error {
		if fi.IsDir() {
			return blob.Failf(blob.ErrInvalid, "it is a directory")
		}
		return s.Remove(d.path(name))
	})
}

// DeleteTree implements blob.Driver.
func (d *Driver) DeleteTree(ctx context.Context, dir string) error {
	return d.remove(ctx, dir, func(s *session, fi os.FileInfo) error {
		if !fi.IsDir() {
			return blob.Failf(blob.ErrInvalid, "it is a file")
		}
		return s.RemoveAll(d.path(dir))
	})
}

func (d *Driver) remove(ctx context.Context, name string, f func(*session, os.FileInfo) error) error {
	_, err := with(ctx, d, func(s *session) (none struct{}, err error) {
		fi, err := s.Client.Stat(d.path(name))
		if err != nil {
			return none, s.missing(d.path(name), err)
		}
		return none, f(s, fi)
	})
	if errors.Is(err, blob.ErrNotFound) {
		return nil
	}
	return err
}

// Read implements blob.Driver.
func (d *Driver) Read(ctx context.Context, i blob.Info, off, n int64) (io.ReadCloser, error) {
	s, err := d.session(ctx)
	if err != nil {
		return nil, err
	}
	f, err := s.Client.Open(d.path(i.Name))
	if err == nil && version(f.Stat()) != i.Version {
		err = blob.ErrChanged
	}
	if errors.Is(err, os.ErrNotExist) {
		err = blob.ErrChanged
	}
	if err == nil {
		_, err = f.Seek(off, io.SeekStart)
	}
	if err != nil {
		err = s.classify(err)
		s.end()
		return nil, err
	}
	return &body{s: s, f: f, r: io.LimitReader(f, n), path: d.path(i.Name), version: i.Version}, nil
}

// body is a file that is being read.
type body struct {
	s       *session
	f       *lib.FileReader
	r       io.Reader
	path    string
	version string
	begun   bool
}

func (b *body) Read(p []byte) (int, error) {
	n, err := guard(func() (int, error) { return b.r.Read(p) })
	if err != nil && !errors.Is(err, io.EOF) {
		return n, b.s.classify(err)
	}
	if !b.begun {
		// The library has asked for the blocks of the path just now: they may be those of a newer file.
		b.begun = true
		fi, serr := b.s.Client.Stat(b.path)
		if errors.Is(serr, os.ErrNotExist) || serr == nil && version(fi) != b.version {
			return 0, blob.ErrChanged
		}
		if serr != nil {
			return 0, b.s.classify(serr)
		}
		b.s.answered()
	}
	return n, err
}

func (b *body) Close() error {
	b.s.end()
	return nil
}
