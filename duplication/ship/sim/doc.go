// Package sim drives real ship.Cores through a modelled duplication: three servers of which one
// leads, a log that is trimmed as far as the cores let it and now and then cut further, a meta that
// persists what is confirmed and answers late or not at all, and a remote cluster that is reached over a
// network which loses, doubles and delays. Everything happens in one goroutine, in virtual time, from one
// seed: the same seed gives the same run.
//
// It owns the model and the invariants (check.go). It must not know how a core works inside. Half of the seeds
// have a remote that orders everything by timetags, as ours does; the others one that ignores them in
// removes, as upstream's does, which comes to the same rows only if nothing old is applied late.
package sim
