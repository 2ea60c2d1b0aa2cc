package rpc

import "pegasus/base"

// knownCode is an RPC name that is met often: a request that carries it gets this string
// and not a copy, and a Mux finds its handler by index.
type knownCode struct {
	name  string
	ack   string // name of the answer
	index int
	// server: servers of the cluster send it to each other, nobody else.
	server bool
}

const (
	maxKnownCodes = 128 // at least len(base.RPCNames())
	ackSuffix     = "_ACK"
	maxCodeName   = 47 // bytes of a name that fit rDSN's header beside the NUL
)

// internCode returns the name as a string, without allocating if it is known.
func internCode(name []byte) (string, *knownCode) {
	if c := knownCodes[string(name)]; c != nil {
		return c.name, c
	}
	return string(name), nil
}

var knownCodes = func() map[string]*knownCode {
	names := base.RPCNames()
	m := make(map[string]*knownCode, len(names))
	for i, n := range names {
		m[n] = &knownCode{name: n, ack: n + ackSuffix, index: i}
	}
	for _, n := range base.ServerRPCs() {
		m[n].server = true
	}
	return m
}()
