// Package wal is the replication log of one data directory, shared by all replicas
// that live there, so that one fdatasync serves all of them (group commit).
//
// It owns the files of its directory, what is durable, where an entry of a replica
// stands, and when a segment goes. It must not know the replication protocol (whether an
// entry is committed, who is primary), nor the storage application, nor the network: a
// payload is bytes.
//
// # Files
//
//	LOCK                    held while the log is open; two processes can't share it
//	<seq>.log               a segment; seq is 20 decimal digits, from 1, without holes
//	spare                   the next segment before it has its name, or an old one to write over
//	filling                 a spare one that is being filled with zeros, or was when the process died
//	<seq>.log.unreadable    a file that no identity could be found in, put aside
//
// # Segment
//
// All integers are little-endian. crc is CRC-32C.
//
//	header   magic "pegaswal", u32 format version, u32 crc of those 12 bytes;   in every version
//	         u64 log id, u64 seq, u64 end of the segment before (0: none), u32 crc of
//	         bytes 0..39, zeros up to 64
//	record   u32 crc, u32 length of the body, u32 low half of seq, u8 kind, body
//
// A record's crc starts from mix(id ^ mix(seq)) ^ mix(offset), where mix is the finalizer of
// splitmix64, and covers the record behind the crc: a record is valid only in its own place, so bytes left over from
// a recycled file, or a log file stored as a user's value, are never taken for records.
//
// Kinds and bodies (v: zigzag varint, u: varint):
//
//	Mark      magic "walmark\n", u64 log id, u64 seq, u64 own offset, synced (u64 seq,
//	          u64 offset), u64 low, u8 flags. Begins every batch; found by searching when
//	          what is before it is damaged. "synced": all before this position was on the
//	          disk when the mark was written. "low": segments below were given up.
//	          Flag 1 (seal): the segment ends here and its successor is on the disk.
//	Table     what the log knows of each replica at this point: u count, then i32 app,
//	          i32 partition, u serial, v base, v last, v ballot of last, v highest ballot,
//	          v committed, v retention, u8 flags (1: has needed entries, 2: damaged),
//	          and if damaged v from, u length, reason.
//	Mutation  i32 app, i32 partition, u serial, v (decree - last decree before), v decree,
//	          v ballot, v (decree - committed), i64 timestamp in us, payload
//	Truncate  i32 app, i32 partition, u serial, v last decree before, v decree: entries above are void
//	Reset     the same; all entries are void, the replica holds a checkpoint of that decree
//	Drop      the same; the replica is gone
//
// A segment begins with header, Mark, Table. It is written as "spare", synced, and only
// then gets its name: a named segment always has a whole head, unless it is damaged. When
// it is full its successor is made first; then its end is sealed, in the background.
// Every batch is one Mark and the records of all that was queued, one write and, with
// sync "always", one fdatasync.
//
// The serial of a record counts the records of its replica, so that a lost record shows
// at that replica's next record or in the next Table; and only there. A mutation may
// repeat an earlier decree: the later one wins. Entries that hold up a segment alone are
// written again at the end of the log, as ordinary mutations.
//
// # Opening, torn tails and damage
//
// The greatest "synced" position S of all marks divides the log. An invalid record at or
// after S is the torn end of what was never acknowledged (with sync "os": of what the
// operating system had not written): the log is cut there, and what follows is void,
// valid or not, so that every replica keeps a prefix of its history. The next segment's
// header says where the cut is.
//
// Anything invalid before S is damage, and so are a missing segment (from the greatest "low"
// of any mark on, or after a seal), one shorter than its successor says, and a head that
// isn't whole. Segments below "low" that are still there are read, as far as they are whole:
// the mark may be void, and with it the copies of entries that let the segment go.
// Reading goes on at the next record whose place follows from the damaged one's length,
// else at the next mark, else in the next segment. Then, for each replica:
//
//   - its next record or the next Table has the serial that follows: nothing of it was lost;
//   - the serial is another: it lost records. Both tell the last decree D of before, so what
//     is from D+1 on is complete and current: Damage.From = D+1. Entries at or below D that
//     can still be read may be older versions, above the committed decree;
//   - nothing of it follows the damage, and no Table: it may have lost anything. It, and all
//     Options.Replicas of which the log holds nothing, are damaged with From = math.MaxInt64.
//
// A mark of damage is kept in the Tables. It goes when a Reset or a Drop makes all of before
// void, or when the replica needs nothing below From (SetRetention to From-1 or above).
//
// What can't be told from a torn tail: damage in the newest batch if the process died less
// than a second after it (an idle log gets one more mark), and a newest segment that was
// shortened. The log's own fault then is a lost suffix, never wrong entries.
//
// # Goroutines
//
// One goroutine writes: it takes all that is queued, encodes it into one buffer, writes
// and syncs it, brings the index up to date, and calls the callbacks. With sync "os" a
// caller may do that itself (AppendHeld, Kick). A second goroutine seals full segments and
// lets old ones go. Readers share the index with them and hold the segments that they read.
//
// # Failure
//
// A log that can't begin its next segment because something ran short (base.Shortage:
// descriptors, memory, room) writes on in the present one, and tries again ten times a second.
// A segment becomes 8 times as long as it should be at most; then appends wait.
//
// A failed write or sync is never repeated: pages that a failed fsync left may be marked
// clean and lost. The log stays failed; all that was queued and all that comes gets the
// error. Reading goes on.
package wal
