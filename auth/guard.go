package auth

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"pegasus/acl"
	"pegasus/base/config"
	"pegasus/rpc"
)

// Modes of security.peers.
const (
	Off      = "off"
	Optional = "optional"
	Required = "required"
)

// Guard decides what connections may do, and proves to other servers that this one is one. It implements
// rpc.Security. A nil Guard trusts everybody.
type Guard struct {
	secrets  *Secrets
	file     string
	log      *logrus.Entry
	required bool
	policy   acl.Policy

	mu    sync.Mutex
	noted map[string]time.Time // servers to which a proof failed, and until when that counts
}

// New returns what the configuration asks for, nil if nothing.
func New(c config.Security, log *logrus.Entry) (*Guard, error) {
	if c.Peers == Off {
		log.Info("security.peers is off: this server trusts whoever reaches its port, also to be another server of the cluster")
		return nil, nil
	}
	g := &Guard{file: c.SecretFile, log: log, required: c.Peers == Required, policy: acl.Policy{Peers: c.Peers == Required}, noted: map[string]time.Time{}}
	text, from, err := g.read()
	if err != nil {
		return nil, err
	}
	if g.secrets, err = NewSecrets(text); err != nil {
		return nil, fmt.Errorf("%s: %w", from, err)
	}
	return g, nil
}

func (g *Guard) read() (text []byte, from string, err error) {
	if g.file != "" {
		from = "security.secret_file"
		if text, err = readSecrets(g.file); err != nil {
			err = fmt.Errorf("%s: %w", from, err)
		}
		return text, from, err
	}
	v, ok := os.LookupEnv(SecretEnv)
	if !ok {
		return nil, "", fmt.Errorf("security.peers asks for a cluster secret, and there is none: write its file into security.secret_file, or the secret into the environment's %s", SecretEnv)
	}
	return []byte(v), SecretEnv, nil
}

// Security returns g as what a server asks, nil if there is nothing to ask.
func (g *Guard) Security() rpc.Security {
	if g == nil {
		return nil
	}
	return g
}

// watchEvery is how often the file is read.
const watchEvery = 5 * time.Second

// Watch takes what the file of secrets has become, until ctx ends. What can't be used is logged, and the old
// secrets stay.
func (g *Guard) Watch(ctx context.Context) {
	if g == nil || g.file == "" {
		return
	}
	last, _ := readSecrets(g.file)
	complained := ""
	t := time.NewTicker(watchEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		text, err := readSecrets(g.file)
		if err == nil && string(text) == string(last) {
			complained = ""
			continue
		}
		if err == nil {
			err = g.secrets.Set(text)
		}
		if err == nil {
			last, complained = text, ""
			g.log.Infof("security.secret_file has changed: %d secrets are valid now", g.secrets.Count())
			continue
		}
		if why := err.Error(); why != complained {
			complained = why
			g.log.Errorf("security.secret_file has changed, and can't be used, so the old secrets stay valid: %v", err)
		}
	}
}

// Knows tells whether a connection that begins with these four bytes begins with a proof.
func (g *Guard) Knows(first []byte) bool { return string(first) == Magic }

// Open takes the proof of a server.
func (g *Guard) Open(nc net.Conn) (net.Conn, acl.Principal, error) {
	if err := g.secrets.Verify(nc); err != nil {
		return nil, acl.Principal{}, err
	}
	return nc, acl.Principal{Kind: acl.Server, Via: "cluster secret"}, nil
}

// May returns nil if who may send a request of that name.
func (g *Guard) May(who acl.Principal, code string) error {
	return g.policy.Decide(who, acl.OfRPC(code))
}

// MayOpen is May for a page.
func (g *Guard) MayOpen(who acl.Principal, path string) error {
	what, _ := acl.OfPage(path)
	return g.policy.Decide(who, what)
}

// DialFunc makes a connection.
type DialFunc func(ctx context.Context, addr string) (net.Conn, error)

// notedFor is how long a server that takes no proofs isn't asked for one again, and nothing more is said of it.
const notedFor = 30 * time.Second

// proofTimeout is how long a proof may take if the context has no earlier end.
const proofTimeout = 5 * time.Second

// Dial returns a DialFunc whose connections have proven that this is a server of the cluster, and that the
// other side is one. As long as proofs are optional, servers that take none are talked to without. dial nil
// dials TCP.
func (g *Guard) Dial(dial DialFunc) DialFunc {
	if dial == nil {
		dial = func(ctx context.Context, addr string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", addr)
		}
	}
	if g == nil {
		return dial
	}
	return func(ctx context.Context, addr string) (net.Conn, error) {
		if !g.required && g.isNoted(addr) {
			return dial(ctx, addr)
		}
		nc, err := dial(ctx, addr)
		if err != nil {
			return nil, err
		}
		if err = g.prove(ctx, nc); err == nil {
			return nc, nil
		}
		nc.Close()
		known := g.note(addr)
		switch {
		case g.required || errors.Is(err, ErrProof) || ctx.Err() != nil:
			if !known {
				g.log.Warnf("no connection to %s, as security.peers is %s: %v", addr, g.mode(), err)
			}
			return nil, fmt.Errorf("%s: %w", addr, err)
		case !known:
			g.log.Warnf("security.peers is optional, so %s is talked to without a proof: %v", addr, err)
		}
		return dial(ctx, addr)
	}
}

func (g *Guard) prove(ctx context.Context, nc net.Conn) error {
	until := time.Now().Add(proofTimeout)
	if d, ok := ctx.Deadline(); ok && d.Before(until) {
		until = d
	}
	stop := context.AfterFunc(ctx, func() { nc.SetDeadline(time.Unix(1, 0)) })
	nc.SetDeadline(until)
	err := g.secrets.Prove(nc)
	if !stop() && err == nil {
		err = ctx.Err() // the deadline of the connection has passed
	}
	if err == nil {
		err = nc.SetDeadline(time.Time{})
	}
	return err
}

func (g *Guard) mode() string {
	if g.required {
		return Required
	}
	return Optional
}

// isNoted tells whether a proof to addr failed lately.
func (g *Guard) isNoted(addr string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return time.Now().Before(g.noted[addr])
}

// maxNoted is how many addresses are noted; there are never as many servers.
const maxNoted = 10_000

// note notes that a proof to addr failed, and tells whether that was known.
func (g *Guard) note(addr string) (known bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	known = now.Before(g.noted[addr])
	if !known {
		if len(g.noted) >= maxNoted {
			clear(g.noted)
		}
		g.noted[addr] = now.Add(notedFor)
	}
	return known
}
