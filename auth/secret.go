package auth

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
)

// Limits of a secret.
const (
	MinSecret = 16 // bytes
	maxSecret = 4 << 10
	// maxSecrets is how many may be valid at once: while one takes another one's place.
	maxSecrets = 2
)

// SecretEnv is the variable of the environment that holds the secrets if no file is configured.
const SecretEnv = "PEGASUS_CLUSTER_SECRET"

const idLen, nonceLen, proofLen = 8, 32, sha256.Size

type key struct {
	id  [idLen]byte
	key [sha256.Size]byte
}

// Secrets are those that are valid at present. Safe for concurrent use.
type Secrets struct {
	keys atomic.Pointer[[]key] // the first is preferred
}

// parse takes a secret from each line that isn't empty. Errors say nothing of what is in it.
func parse(text []byte) ([]key, error) {
	var keys []key
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		switch {
		case len(line) == 0:
			continue
		case len(line) < MinSecret:
			return nil, fmt.Errorf("a secret has at least %d bytes; make one with: openssl rand -hex 32", MinSecret)
		case len(line) > maxSecret:
			return nil, fmt.Errorf("a secret has at most %d bytes, one on each line", maxSecret)
		case len(keys) == maxSecrets:
			return nil, fmt.Errorf("there are more than %d secrets; remove those that no server uses", maxSecrets)
		}
		k := key{key: sha256.Sum256(line)}
		copy(k.id[:], k.mac("pegasus peer id"))
		if len(keys) > 0 && keys[0].id == k.id {
			continue
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, errors.New("there is no secret in it; make one with: openssl rand -hex 32")
	}
	return keys, nil
}

func (k *key) mac(parts ...string) []byte {
	h := hmac.New(sha256.New, k.key[:])
	for _, p := range parts {
		h.Write([]byte(p))
	}
	return h.Sum(nil)
}

// NewSecrets returns the secrets in text, one on each line.
func NewSecrets(text []byte) (*Secrets, error) {
	s := &Secrets{}
	return s, s.Set(text)
}

// Set replaces the secrets by those in text. After an error the old ones stay.
func (s *Secrets) Set(text []byte) error {
	keys, err := parse(text)
	if err != nil {
		return err
	}
	s.keys.Store(&keys)
	return nil
}

// Count returns how many secrets are valid.
func (s *Secrets) Count() int { return len(*s.keys.Load()) }

// readSecrets reads a file that holds secrets. Others than its owner and its group must not read it.
func readSecrets(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no file", path)
	case info.Mode().Perm()&0o007 != 0:
		return nil, fmt.Errorf("everybody on this machine may use %s (%v): chmod 640 %s", path, info.Mode().Perm(), path)
	case info.Size() > maxSecrets*(maxSecret+2)+64:
		return nil, fmt.Errorf("%s has %d bytes, which is too much for secrets", path, info.Size())
	}
	b := make([]byte, info.Size())
	n, err := f.Read(b)
	if err != nil && n == 0 {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return b[:n], nil
}
