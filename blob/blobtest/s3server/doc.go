// Package s3server pins the S3 server that the tests of blob/s3 run against. It is a module of its own,
// since its dependencies are none of ours. The tests build the server with the go command of this folder.
package s3server
