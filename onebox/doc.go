// Package onebox runs a whole cluster on one machine: each meta and replica server as an
// operating-system process of its own, with its own directory. It is the one driver of server
// processes: of the command `pegasus onebox` (Run), and of the tests, faults and benchmarks that
// start, stop and hurt servers (Open, Cluster, Server).
//
// It owns the layout of the directory (D/meta1, D/replica1, ..., each with config.toml,
// cmd, pid, log and data), the ports, starting, watching and stopping the processes, and
// saying when the cluster is ready. Invariants:
//   - it signals only processes that it started itself, by their process handle;
//   - an end that Stop or Kill asked for is told apart from one that nobody asked for (Exit);
//   - one supervisor a directory (a lock on D/lock), and a server that outlived its
//     supervisor is found and named before anything is started;
//   - no server outlives its supervisor, however that ends (Linux: parent-death signal);
//   - the same directory always gives the same cluster: D/cluster.json keeps what can't be
//     changed later.
//
// It knows nothing of what servers do inside: it talks to them as any client does.
package onebox
