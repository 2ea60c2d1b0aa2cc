package auth

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/sirupsen/logrus/hooks/test"

	"pegasus/acl"
	"pegasus/base/config"
)

const one, two, three = "the first secret of them", "the second secret of them", "the third secret of them"

func secrets(t testing.TB, lines ...string) *Secrets {
	t.Helper()
	s, err := NewSecrets([]byte(strings.Join(lines, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// exchange has a client with some secrets prove itself to a server with others.
func exchange(t *testing.T, client, server *Secrets) (c, s error) {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	a.SetDeadline(time.Now().Add(10 * time.Second))
	b.SetDeadline(time.Now().Add(10 * time.Second))
	done := make(chan error, 1)
	go func() {
		err := server.Verify(b)
		b.Close()
		done <- err
	}()
	c = client.Prove(a)
	a.Close()
	return c, <-done
}

func TestProof(t *testing.T) {
	for _, x := range []struct {
		name           string
		client, server *Secrets
		want           error
	}{
		{"the same", secrets(t, one), secrets(t, one), nil},
		{"spaces and empty lines", secrets(t, "", " "+one+"\r", ""), secrets(t, one), nil},
		{"the old one of two", secrets(t, one), secrets(t, two, one), nil},
		{"the new one of two", secrets(t, two), secrets(t, two, one), nil},
		{"two and one", secrets(t, two, one), secrets(t, one), nil},
		{"two in another order", secrets(t, two, one), secrets(t, one, two), nil},
		{"none in common", secrets(t, one), secrets(t, two), ErrNoKey},
		{"none of two in common", secrets(t, one, two), secrets(t, three), ErrNoKey},
	} {
		c, s := exchange(t, x.client, x.server)
		if !errors.Is(c, x.want) || !errors.Is(s, x.want) {
			t.Errorf("%s: the client says %v, the server %v, not %v", x.name, c, s, x.want)
		}
	}
}

// claims has the id of a secret and not the secret.
func claims(of *Secrets) *Secrets {
	keys := append([]key(nil), *of.keys.Load()...)
	for i := range keys {
		keys[i].key[0]++
	}
	s := &Secrets{}
	s.keys.Store(&keys)
	return s
}

func TestClaimsWithoutSecret(t *testing.T) {
	ours := secrets(t, one)
	if c, _ := exchange(t, ours, claims(ours)); !errors.Is(c, ErrProof) {
		t.Errorf("a client is told by a server that doesn't have the secret: %v", c)
	}
	// Of a client that doesn't look at the server's proof.
	a, b := net.Pipe()
	defer a.Close()
	done := make(chan error, 1)
	go func() { done <- ours.Verify(b) }()
	k := (*ours.keys.Load())[0]
	hello := append([]byte(Magic), proofVersion, 1)
	hello = append(append(hello, k.id[:]...), make([]byte, nonceLen)...)
	a.Write(hello)
	var answer [answerLen]byte
	if _, err := io.ReadFull(a, answer[:]); err != nil {
		t.Fatal(err)
	}
	a.Write(answer[2+idLen+nonceLen:]) // the server's own proof, sent back
	if err := <-done; !errors.Is(err, ErrProof) {
		t.Errorf("a server is told by a client that sends its proof back: %v", err)
	}
}

// A proof that was listened to is of no use on another connection.
func TestReplay(t *testing.T) {
	ours := secrets(t, one)
	a, b := net.Pipe()
	var sent bytes.Buffer
	done := make(chan error, 1)
	go func() { done <- ours.Verify(b) }()
	if err := ours.Prove(struct {
		io.Reader
		io.Writer
	}{a, io.MultiWriter(a, &sent)}); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := ours.Verify(struct {
		io.Reader
		io.Writer
	}{&sent, io.Discard}); !errors.Is(err, ErrProof) {
		t.Errorf("a proof of another connection: %v", err)
	}
}

func TestBadSecrets(t *testing.T) {
	for _, text := range []string{"", "\n\n", "short", strings.Repeat("x", maxSecret+1), one + "\n" + two + "\n" + three} {
		_, err := NewSecrets([]byte(text))
		if err == nil {
			t.Errorf("%.20q is taken", text)
			continue
		}
		if text != "" && strings.Contains(err.Error(), strings.TrimSpace(text)) && strings.TrimSpace(text) != "" {
			t.Errorf("the error shows the secret: %v", err)
		}
	}
	if s := secrets(t, one, one); s.Count() != 1 {
		t.Errorf("a secret that is written twice counts %d times", s.Count())
	}
}

func quiet() *logrus.Entry {
	l, _ := test.NewNullLogger()
	return l.WithField("test", true)
}

func TestSecretFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	open := func(mode os.FileMode, text string) error {
		t.Helper()
		os.Remove(path)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := New(config.Security{Peers: Required, SecretFile: path}, quiet())
		return err
	}
	if err := open(0o600, one+"\n"); err != nil {
		t.Error(err)
	}
	for mode, want := range map[os.FileMode]string{0o644: "chmod 640", 0o602: "chmod 640"} {
		if err := open(mode, one); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("a file that everybody may use (%v): %v", mode, err)
		}
	}
	if err := open(0o600, strings.Repeat(one, 10_000)); err == nil || !strings.Contains(err.Error(), "too much") {
		t.Errorf("a huge file: %v", err)
	}
	if _, err := New(config.Security{Peers: Required, SecretFile: path + ".not"}, quiet()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	if _, err := New(config.Security{Peers: Required, SecretFile: filepath.Dir(path)}, quiet()); err == nil {
		t.Error("a directory is taken for a file")
	}
	if g, err := New(config.Security{Peers: Off}, quiet()); g != nil || err != nil {
		t.Errorf("off: %v, %v", g, err)
	}
	t.Setenv(SecretEnv, one)
	if _, err := New(config.Security{Peers: Required}, quiet()); err != nil {
		t.Errorf("a secret in the environment: %v", err)
	}
	os.Unsetenv(SecretEnv)
	if _, err := New(config.Security{Peers: Required}, quiet()); err == nil || !strings.Contains(err.Error(), "secret_file") {
		t.Errorf("no secret at all: %v", err)
	}
}

// serve answers connections as a server does, and returns its address.
func serve(t *testing.T, each func(net.Conn)) string {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer nc.Close()
				each(nc)
			}()
		}
	}()
	return l.Addr().String()
}

func guard(t *testing.T, mode string) *Guard {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(one), 0o600); err != nil {
		t.Fatal(err)
	}
	g, err := New(config.Security{Peers: mode, SecretFile: path}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// As long as proofs are optional a server that takes none is talked to; required, it isn't. What claims the secret
// and doesn't have it never is.
func TestDial(t *testing.T) {
	greet := func(nc net.Conn) { nc.Write([]byte("hello")) }
	proving := serve(t, func(nc net.Conn) {
		if _, who, err := guard(t, Required).Open(nc); err == nil && who.Kind == acl.Server {
			greet(nc)
		}
	})
	old := serve(t, func(nc net.Conn) { // as a server that knows no such beginning
		b := make([]byte, 4)
		nc.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := io.ReadFull(nc, b); err == nil && string(b) == "THFT" {
			greet(nc)
		}
	})
	liar := serve(t, func(nc net.Conn) {
		claims(secrets(t, one)).Verify(nc)
		greet(nc)
	})
	for _, x := range []struct {
		name, mode, addr string
		want             bool
	}{
		{"a server of the cluster", Required, proving, true},
		{"a server of the cluster, optional", Optional, proving, true},
		{"an old server", Required, old, false},
		{"an old server, optional", Optional, old, true},
		{"a liar", Required, liar, false},
		{"a liar, optional", Optional, liar, false},
	} {
		dial := guard(t, x.mode).Dial(nil)
		got := func() error {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			nc, err := dial(ctx, x.addr)
			if err != nil {
				return err
			}
			defer nc.Close()
			nc.SetDeadline(time.Now().Add(10 * time.Second))
			if x.addr == old {
				nc.Write([]byte("THFT"))
			}
			b := make([]byte, 5)
			_, err = io.ReadFull(nc, b)
			return err
		}()
		if (got == nil) != x.want {
			t.Errorf("%s: %v", x.name, got)
		}
	}
}

// A server that takes the connection and is silent costs no longer than the context.
func TestDialSilent(t *testing.T) {
	silent := serve(t, func(nc net.Conn) { io.Copy(io.Discard, nc) })
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if nc, err := guard(t, Required).Dial(nil)(ctx, silent); err == nil {
		nc.Close()
		t.Error("a silent server is a server of the cluster")
	}
	if d := time.Since(begin); d > 3*time.Second {
		t.Errorf("it took %v", d)
	}
}

func FuzzVerify(f *testing.F) {
	ours := secrets(f, one)
	k := (*ours.keys.Load())[0]
	f.Add(append(append(append([]byte(Magic), proofVersion, 1), k.id[:]...), make([]byte, nonceLen+proofLen)...))
	f.Add([]byte(Magic))
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := ours.Verify(struct {
			io.Reader
			io.Writer
		}{bytes.NewReader(b), io.Discard}); err == nil {
			t.Errorf("%q is a proof", b)
		}
	})
}

func FuzzProve(f *testing.F) {
	ours := secrets(f, one)
	f.Add(make([]byte, answerLen))
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := ours.Prove(struct {
			io.Reader
			io.Writer
		}{bytes.NewReader(b), io.Discard}); err == nil {
			t.Errorf("%q is a proof", b)
		}
	})
}
