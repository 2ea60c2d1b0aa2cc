package zookeeper

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"

	"pegasus/cppmeta"
)

const (
	session = 10 * time.Second
	workers = 16
	// maxNodes bounds what is read. A cluster has a node for each partition.
	maxNodes = 4 << 20
)

// ParseAddress reads HOST:PORT,HOST:PORT/ROOT. Without a port it is ZooKeeper's, 2181.
func ParseAddress(s string) (servers []string, root string, err error) {
	hosts, root, ok := strings.Cut(s, "/")
	root = "/" + strings.Trim(root, "/")
	if !ok || root == "/" || path.Clean(root) != root {
		return nil, "", fmt.Errorf("%q names no root: write HOST:PORT,HOST:PORT/ROOT, where ROOT is cluster_root of [meta_server] in the C++ configuration", s)
	}
	for h := range strings.SplitSeq(hosts, ",") {
		h = strings.TrimSpace(h)
		if _, _, err := net.SplitHostPort(h); err != nil {
			h = net.JoinHostPort(h, "2181")
		}
		if host, port, _ := net.SplitHostPort(h); host == "" || port == "" {
			return nil, "", fmt.Errorf("%q is no address of a ZooKeeper server: write HOST:PORT", h)
		}
		servers = append(servers, h)
	}
	return servers, root, nil
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}

// Fetch reads the nodes of tables and backup policies below a root. The cluster may be in use: a node that vanishes
// while they are read isn't there.
func Fetch(ctx context.Context, servers []string, root string) (*cppmeta.Tree, error) {
	conn, events, err := zk.Connect(servers, session, zk.WithLogger(quiet{}), zk.WithLogInfo(false))
	if err != nil {
		return nil, fmt.Errorf("connect to ZooKeeper at %s: %w", strings.Join(servers, ","), err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, conn.Close)()
	if err := ready(ctx, events); err != nil {
		return nil, fmt.Errorf("connect to ZooKeeper at %s: %w", strings.Join(servers, ","), err)
	}
	f := &fetch{conn: conn, tree: cppmeta.NewTree()}
	made := ""
	for part := range strings.SplitSeq(strings.Trim(root, "/"), "/") {
		made += "/" + part
		f.tree.Create(made, nil)
	}
	level := []string{path.Join(root, "apps"), path.Join(root, "backup")}
	for n := 0; len(level) > 0; {
		if n += len(level); n > maxNodes {
			return nil, fmt.Errorf("below %s there are more than %d nodes", root, maxNodes)
		}
		if level, err = f.level(level); err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return nil, fmt.Errorf("read ZooKeeper at %s: %w", strings.Join(servers, ","), err)
		}
	}
	return f.tree, nil
}

// ready waits for a session.
func ready(ctx context.Context, events <-chan zk.Event) error {
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("no session: %w", context.Cause(ctx))
		case e, ok := <-events:
			switch {
			case !ok:
				return fmt.Errorf("no session: %w", zk.ErrClosing)
			case e.State == zk.StateHasSession:
				return nil
			case e.State == zk.StateAuthFailed:
				return errors.New("it refuses clients that don't authenticate: read the state from the meta servers themselves (--from METAS)")
			}
		}
	}
}

type fetch struct {
	conn *zk.Conn

	tree *cppmeta.Tree
}

// level reads nodes whose parents were read, and returns the paths of those below.
func (f *fetch) level(paths []string) (next []string, err error) {
	type answer struct {
		value    []byte
		children []string
		gone     bool
		err      error
	}
	answers := make([]answer, len(paths))
	work := make(chan int)
	var wg sync.WaitGroup
	for range min(workers, len(paths)) {
		wg.Go(func() {
			for i := range work {
				a := &answers[i]
				var st *zk.Stat
				if a.value, st, a.err = f.conn.Get(paths[i]); a.err == nil && st.NumChildren > 0 {
					a.children, _, a.err = f.conn.Children(paths[i])
				}
				if errors.Is(a.err, zk.ErrNoNode) {
					a.gone, a.err = true, nil
				} else if errors.Is(a.err, zk.ErrNoAuth) {
					a.err = errors.New("access denied: read the state from the meta servers themselves (--from METAS)")
				}
			}
		})
	}
	for i := range paths {
		work <- i
	}
	close(work)
	wg.Wait()
	for i, a := range answers {
		switch {
		case a.err != nil:
			return nil, fmt.Errorf("%s: %w", paths[i], a.err)
		case a.gone:
			continue
		}
		f.tree.Create(paths[i], a.value)
		for _, c := range a.children {
			next = append(next, path.Join(paths[i], c))
		}
	}
	return next, nil
}
