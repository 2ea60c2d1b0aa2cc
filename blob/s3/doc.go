// Package s3 keeps files in a bucket of an object store with the S3 protocol.
//
// Invariants: an object appears when its upload is completed, and only then. The server compares each
// request with its MD5, and with its SHA-256 where the connection isn't encrypted; afterwards size and
// ETag of what lies there are compared. The MD5 of a file stands in the metadata of its object
// (pegasus-md5), unless it was sent in parts and nobody had announced it. A read names the ETag that it
// wants. Memory is one part for each file that is being written.
//
// A writer that dies leaves parts that nobody sees. They go when the same file is written again a day
// later; a lifecycle rule of the bucket (AbortIncompleteMultipartUpload) removes the others.
package s3
