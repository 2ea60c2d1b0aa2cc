// Package pacifica is the replication protocol of one partition as a pure state machine:
// PacificA with cumulative acknowledgements.
//
// # What it owns
//
// Ballots, decrees, roles, the window of prepared mutations, the commit rule, catching up
// members and learners, and the wish to change the membership. A Core is fed with
// Propose, Step, Persisted, Configure, Installed and Tick, and gathers what must be done
// in one Ready: entries to persist, messages to send, mutations to apply, requests to the
// meta, a checkpoint to fetch. It must not know a clock, a disk, a socket, a goroutine or
// what a mutation means.
//
// # The protocol
//
// The meta persists a configuration (ballot, primary, secondaries) before anyone acts on
// it, and each new one has ballot+1. The primary stamps every mutation with its ballot and
// the next decree, and sends it to all members. A member accepts decrees only in sequence
// and acknowledges the highest decree up to which it holds everything durably. A decree is
// committed when the primary and every secondary of the configuration hold it.
//
// A new primary starts from its own commit point, the base of its ballot. What it has
// prepared beyond it sends again under the new ballot, and it serves nothing before all of
// that is committed. A secondary that meets a new ballot trusts its own entries up to the
// primary's commit point (committed decrees are the same on every member) and lets the
// primary confirm or replace the rest, in decree order. An entry of the same content is
// confirmed and stays as it is; one of other content is replaced, which drops what followed
// it: that was built on something the group doesn't have. What follows a confirmed entry
// stays until it is confirmed or replaced itself, because it may be committed.
//
// An entry is logged with the ballot under which this replica got it. Thus the ballots in a
// member's log never decrease, and an entry voids what was logged before it, above it, under
// an older ballot. After a restart the prepared mutations are those that follow the applied
// ones without a gap and without a falling ballot.
//
// A learner is a member whose acknowledgement isn't asked for. It is sent what it lacks,
// from the window or the log; when the log no longer reaches back far enough it fetches a
// checkpoint. Close to the tip it becomes joining: from then on commits wait for it too, and
// once it holds everything committed the meta is asked to make it a secondary. So whatever
// the meta answers, and whenever, a member holds all that may be committed. For the same
// reason a learner that the meta was asked for can't be dropped before the ballot changes,
// and a learner never lets go of what it acknowledged under the current ballot: not for a
// late message, not in a restart.
//
// A mutation that can't be sent is none that may be proposed (Options.MaxEntryBytes). If one is
// there nevertheless, because a former version or another setting let it in, it stops nobody for
// long: members that don't acknowledge it are ejected, it is committed without them, and who
// lacks it gets a checkpoint. The same is true of an entry that never arrives for a reason that
// nobody knows.
//
// A partition that was begun anew with a replica that lacked something (an administrator accepted
// the loss) has mutations under decrees that others remember otherwise. A learner therefore says
// which mutation it has committed last (Message.Tip), and one that the primary has another in place
// of gets a checkpoint in place of all that it holds.
//
// # Invariants
//
// Asserted under the build tag invariants, and by the simulator on every step:
//   - one primary a ballot; a ballot only grows;
//   - committed <= verified <= last on a follower, committed <= persisted <= last on a primary;
//   - committed on the primary means held by every member of its configuration;
//   - commit order is decree order, without a gap;
//   - a primary serves only after it committed all that it held when it was promoted.
//
// # What the core can't do alone
//
// Each of these was broken on purpose in the simulator, which then found acknowledged writes
// lost or stale reads (docs/testing.md). The driver of a core:
//   - makes a ballot durable before it sends what came with it, and keeps it as long as the
//     replica; a replica made anew begins with the ballot at which the meta said that this
//     server is no member, and isn't made before the meta said so;
//   - hands to New only entries that aren't void, see there;
//   - voids the log, durably, before a checkpoint takes the store's place;
//   - never removes a replica because of an answer that is older than what the replica has
//     done since, or that has been of use lately: a learner that was asked for becomes a
//     member without noticing;
//   - answers reads only under a lease that has been valid without a break since the meta
//     last confirmed, asked by the driver, that this server is the primary at this ballot. A
//     configuration that was sent unasked may be outdated, and a lease that ran out and was
//     renewed says nothing: another primary may have come and gone in between;
//   - gives no definite answer for a write that was proposed and not committed, nor for one
//     that was committed by fewer members than must hold a write (Ready.Acknowledge).
//
// The meta:
//   - makes a change only to the configuration that it was asked for (ballot+1);
//   - promotes members only, and only if their present process said that it holds the replica,
//     and not one that lacks what is known to be committed. The last member may give way to a
//     former one that provably has all that was acknowledged (meta/cure);
//   - removes a deposed primary only if its lease is over, or if it is known to have heard of
//     a ballot at which it isn't the primary; also one whose process was restarted, because the
//     new process can be the primary;
//   - answers beacons only while it leads, as of after the beacon arrived.
package pacifica
