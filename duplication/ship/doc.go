// Package ship is the sending side of a duplication, for one partition, as a pure state machine:
// it decides what is read from the log, which batches go to the remote cluster and when, how far
// the remote is known to have everything, and what of the log must stay.
//
// # What it owns
//
// A Core is fed with Lead, Resign, Configure, Commit, Loaded, Unread, Cut, Answer, Persisted,
// Reshape, BootBegun, BootDone, BootFailed and Tick, and gathers what must be done in one Ready: a read
// of the log, batches to send, a bootstrap to start. Confirm says what the meta shall persist, Hold from
// where on the log is kept, Status what an operator wants to know. It must not know a clock, a disk, a
// socket, a goroutine, what an operation means, nor how the remote stores it.
//
// # The protocol
//
// A decree is acknowledged once the remote has said of everything in it that it is applied, and of
// everything in all decrees before. The meta persists that decree, and whoever becomes the primary
// goes on from the one that is persisted. So everything is sent at least once; the remote takes the
// second time of it for nothing, by its timetag.
//
// Each operation has a lane, which is the remote partition that it goes to. A lane has one batch under
// way at a time, and a batch is sent until the remote says that it has it: so operations on a row arrive in
// the order of their decrees. A batch of which nobody knows what became of it (no answer, a lost
// connection) may still be applied for as long as a request lives; until then its lane is silent, and so is a
// new primary, because the batches of the one before may be on their way. A remote that ignores
// timetags of removes would lose rows otherwise.
//
// A duplication that has no persisted decree begins with the first write after the decree that was
// committed when it was first led, and ships nothing until the meta has persisted that; or with a bootstrap,
// which brings the remote to the state of a decree.
//
// Where the log lacks what comes next, a bootstrap closes the gap. In the mode Skip the gap is left
// out instead, and counted; so is an operation that the remote will never take.
//
// # A source that is split
//
// A partition becomes two at a decree, the cut (package pacifica/split). The log up to there has the rows of both, and is
// the parent's: it sends all of it. The child's own log begins behind the cut. Timetags alone don't
// order the two streams, since upstream's servers don't compare those of removes: a remove of the parent that comes behind a
// put of the child's on the same row takes it away. So the child waits (Mode.Waits), and keeps its log, until the meta has persisted that the
// parent is at the cut. That holds because
//   - the child begins with the persisted decree before its cut, and the meta makes it the cut when the parent is there. So the
//     child is never taken to have what only the parent sends;
//   - what is acknowledged isn't under way any more: a batch of which nobody knows is waited out before it is sent again;
//   - a primary sends nothing before it has asked, since it leads, what is persisted. What one that led before remembers may be behind
//     the cut, and what it sent again would come behind what the child sends.
//
// A parent that is copied (a bootstrap) when its store has been cut brings the rows of its own half alone. What it hadn't sent of the
// child's half then is in nobody's log, so that the child begins with a bootstrap (Mode.Copies). Status.Booted tells the meta of which decree
// the parent's was; one from before the cut brought both halves.
//
// # Invariants
//
// Checked by the simulator (package sim) on every step:
//   - what is acknowledged was applied by the remote, came with a bootstrap, or was counted as skipped;
//   - only committed entries are sent;
//   - operations of a lane are applied in the order of their decrees;
//   - the log is held from the persisted decree on;
//   - a primary whose log lacks what is persisted sends nothing, and no other one says that it lacks something;
//   - the bytes in memory stay within the window, but for one entry.
package ship
