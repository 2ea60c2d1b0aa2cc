// Package goclient walks through every operation of upstream's published Go client
// (2022-06-17, the newest the module proxy has) against a running cluster of ours.
//
// It is a module of its own because that client needs Thrift 0.13, whose interface is another
// than today's. `go test ../` starts a cluster, compiles this package's tests and runs them with
//
//	PEGASUS_META     meta addresses, comma separated
//	PEGASUS_REPLICA  replica server addresses, comma separated
//	PEGASUS_CONTROL  URL where servers can be killed, restarted and primaries moved
//
// and, from the same module, compiles the client's own test packages out of the module cache;
// left_out.txt names those of its tests that aren't run, and why.
//
// go.sum stands here by hand: the checksum database has no entry for the client. Its lines are
// made again with
//
//	GONOSUMDB=github.com/apache/incubator-pegasus,github.com/pegasus-kv/thrift GOFLAGS=-mod=mod go mod tidy
package goclient
