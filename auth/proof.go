package auth

import (
	"crypto/hmac"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Magic is what a connection begins with whose client proves that it is a server of the cluster.
const Magic = "PEER"

const (
	proofVersion = 1
	statusOK     = 0
	statusNoKey  = 1

	toServer, toClient = "pegasus peer client", "pegasus peer server"
	answerLen          = 2 + idLen + nonceLen + proofLen
)

// ErrNoKey is the error of a client and a server that have no secret in common.
var ErrNoKey = errors.New("the two servers have no cluster secret in common")

// ErrProof is the error of a side that claims a secret and doesn't have it.
var ErrProof = errors.New("the peer doesn't have the cluster secret that it claims")

// Prove is the client's part. It returns nil when both sides have proven that they have a secret in common.
func (s *Secrets) Prove(rw io.ReadWriter) error {
	keys := *s.keys.Load()
	hello := append([]byte(Magic), proofVersion, byte(len(keys)))
	for i := range keys {
		hello = append(hello, keys[i].id[:]...)
	}
	var mine [nonceLen]byte
	rand.Read(mine[:])
	if _, err := rw.Write(append(hello, mine[:]...)); err != nil {
		return fmt.Errorf("prove the cluster secret: %w", err)
	}
	var a [answerLen]byte
	if _, err := io.ReadFull(rw, a[:2]); err != nil {
		return fmt.Errorf("prove the cluster secret: the server doesn't take proofs: %w", err)
	}
	if a[0] != proofVersion {
		return fmt.Errorf("prove the cluster secret: the server answers in version %d", a[0])
	}
	if _, err := io.ReadFull(rw, a[2:]); err != nil {
		return fmt.Errorf("prove the cluster secret: %w", err)
	}
	switch a[1] {
	case statusOK:
	case statusNoKey:
		return ErrNoKey
	default:
		return fmt.Errorf("prove the cluster secret: the server answers status %d", a[1])
	}
	id, rest := a[2:2+idLen], a[2+idLen:]
	i := slices.IndexFunc(keys, func(k key) bool { return string(k.id[:]) == string(id) })
	if i < 0 {
		return fmt.Errorf("the server chose a secret that wasn't offered: %w", ErrProof)
	}
	both := string(mine[:]) + string(rest[:nonceLen])
	if !hmac.Equal(rest[nonceLen:], keys[i].mac(toClient, both)) {
		return fmt.Errorf("the server: %w", ErrProof)
	}
	if _, err := rw.Write(keys[i].mac(toServer, both)); err != nil {
		return fmt.Errorf("prove the cluster secret: %w", err)
	}
	return nil
}

// Verify is the server's part. It reads no byte more than belongs to the proof.
func (s *Secrets) Verify(rw io.ReadWriter) error {
	var head [len(Magic) + 2]byte
	if _, err := io.ReadFull(rw, head[:]); err != nil {
		return fmt.Errorf("take a proof: %w", err)
	}
	n := int(head[len(Magic)+1])
	switch {
	case string(head[:len(Magic)]) != Magic:
		return errors.New("take a proof: it doesn't begin as one")
	case head[len(Magic)] != proofVersion:
		return fmt.Errorf("take a proof: its version is %d, and only %d is known", head[len(Magic)], proofVersion)
	case n < 1 || n > maxSecrets:
		return fmt.Errorf("take a proof: %d keys are offered", n)
	}
	offer := make([]byte, n*idLen+nonceLen)
	if _, err := io.ReadFull(rw, offer); err != nil {
		return fmt.Errorf("take a proof: %w", err)
	}
	ids, theirs := offer[:n*idLen], offer[n*idLen:]
	var a [answerLen]byte
	a[0] = proofVersion
	k := s.common(ids)
	if k == nil {
		a[1] = statusNoKey
		rw.Write(a[:]) // so that the other side can say why
		return ErrNoKey
	}
	copy(a[2:], k.id[:])
	nonce := a[2+idLen : 2+idLen+nonceLen]
	rand.Read(nonce)
	both := string(theirs) + string(nonce)
	copy(a[2+idLen+nonceLen:], k.mac(toClient, both))
	if _, err := rw.Write(a[:]); err != nil {
		return fmt.Errorf("answer a proof: %w", err)
	}
	var proof [proofLen]byte
	if _, err := io.ReadFull(rw, proof[:]); err != nil {
		return fmt.Errorf("take a proof: %w", err)
	}
	if !hmac.Equal(proof[:], k.mac(toServer, both)) {
		return fmt.Errorf("the client: %w", ErrProof)
	}
	return nil
}

// common returns the first of our keys that is among ids.
func (s *Secrets) common(ids []byte) *key {
	keys := *s.keys.Load()
	for i := range keys {
		for o := 0; o < len(ids); o += idLen {
			if string(ids[o:o+idLen]) == string(keys[i].id[:]) {
				return &keys[i]
			}
		}
	}
	return nil
}
