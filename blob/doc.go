// Package blob is where files are kept outside of the servers: backups, files for bulk loads. A
// Store is one such place, under the name that [blob.NAME] of the configuration gives it.
//
// It owns the interface of a place (Driver), and what is the same for all of them: names, kinds of
// errors, deadlines, retries, rate limits, and the comparison of what was sent with what lies there.
// Invariants:
//   - A file appears whole or not at all, and takes the place of an older one of its name.
//   - A stream that is read twice (a retry) is one that can be sought; any other is sent once.
//   - A read never mixes two versions of a file: it ends with ErrChanged.
//   - A file that is read as a whole is compared with its MD5 where the place knows it.
//   - Nothing waits without an end: an attempt that makes no progress for Options.Timeout is given up.
//
// The places themselves are blob/local, blob/s3 and blob/hdfs; blob/stores knows them all. This
// package knows no place, and nothing of what the files mean.
package blob
