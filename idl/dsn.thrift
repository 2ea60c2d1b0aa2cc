// The six base types. Their bodies are written raw, without field headers or STOP, though a field of
// one announces itself as a struct; the codecs are by hand, in package base.

namespace go base

struct rpc_address {
}

struct host_port {
}

struct blob {
}

struct error_code {
}

struct task_code {
}

struct gpid {
}
