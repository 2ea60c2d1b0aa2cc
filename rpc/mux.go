package rpc

import (
	"github.com/sirupsen/logrus"

	"pegasus/base"
)

// Handler answers requests. ServeRPC runs on the connection's reader goroutine: the requests
// behind this one, and the answers already given to those that were read with it, wait until
// it returns. So it answers cheap things at once and hands others (scans, whatever waits) on,
// to be answered later from any goroutine. After the answer it must not touch r.
type Handler interface {
	ServeRPC(r *Request)
}

// HandlerFunc is a function as a Handler.
type HandlerFunc func(*Request)

// ServeRPC calls f.
func (f HandlerFunc) ServeRPC(r *Request) { f(r) }

// Mux is a Handler that picks another by RPC name. Handlers are added before it serves.
type Mux struct {
	known [maxKnownCodes]Handler
	other map[string]Handler
	log   limitedLog
}

// NewMux returns a Mux that knows no name yet. What it doesn't know it answers with
// ERR_HANDLER_NOT_FOUND and, at a limited rate, logs to log (nil: silently).
func NewMux(log *logrus.Entry) *Mux {
	return &Mux{other: map[string]Handler{}, log: newLimitedLog(log)}
}

// Handle makes h answer requests named code. A second handler for a name replaces the first.
func (m *Mux) Handle(code string, h Handler) {
	if c := knownCodes[code]; c != nil {
		m.known[c.index] = h
		return
	}
	m.other[code] = h
}

// HandleFunc is Handle for a function.
func (m *Mux) HandleFunc(code string, f func(*Request)) { m.Handle(code, HandlerFunc(f)) }

// ServeRPC hands r to the handler of its name.
func (m *Mux) ServeRPC(r *Request) {
	var h Handler
	if r.known != nil {
		h = m.known[r.known.index]
	} else {
		h = m.other[r.Code]
	}
	if h != nil {
		h.ServeRPC(r)
		return
	}
	m.log.warnf("no handler for RPC %q from %v", r.Code, r.Remote)
	r.ReplyError(base.ErrHandlerNotFound)
}
