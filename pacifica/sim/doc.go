// Package sim drives real pacifica.Cores through a modelled cluster: servers with disks that
// lose what isn't synced, clocks that drift within bounds, processes that crash and stand
// still, a network that loses, doubles, delays and reorders, a meta with a failure detector
// and a will of its own, and clients. Everything happens in one goroutine, in virtual time,
// from one seed: the same seed gives the same run.
//
// It owns the model and the invariants, which are checked after every event (check.go). It
// must not know how a core works inside: it sees what a driver sees. What the model's
// server (server.go) and meta (meta.go) do is what the real ones must do; where they keep a
// rule that safety depends on, a planted bug breaks it, to show that the rule is needed and
// that the checks would notice (bugs.go).
//
// One unit of virtual time is about a millisecond of a cluster whose timeouts were divided
// by ten. Scripts (script.go) run the same model by hand, without chance.
package sim
