// Command suite measures what "close to the machine's limit" means: it runs a floor program (a
// server that gives frames back as they come) and clusters of three replica servers, one
// after the other and several times over, and sets the servers' CPU time an operation in
// relation to the floor's of the same round. So its figures can be compared between
// machines, and between a quiet and a busy hour of one machine. A run begins when the servers have
// done what the one before left them to do.
//
// It owns the list of cases and their bounds. It drives clusters only from outside, by
// `pegasus onebox`, `pegasus bench` and a client's requests, and ends only processes that it started.
package main
