// Package hdfs keeps files in Hadoop's file system.
//
// Invariants: a file is written under a hidden name beside its place, closed, and its checksum (HDFS'
// MD5 of the MD5s of the CRC32Cs of its blocks, worked out while it was sent) is compared with that of
// the data nodes; then it is renamed, in place of an older one in one step. Its MD5 stands in its extended attribute
// user.pegasus.md5; upstream's files have none. Each operation has connections of its own, which end
// with its context, since the library knows no contexts.
//
// Not supported, as the library doesn't: encryption zones, erasure coding, data transfer protection
// "integrity", or "privacy" without AES (its reads lose bytes), and going on with the other data nodes
// when one fails during a write (the whole file is sent again).
package hdfs
