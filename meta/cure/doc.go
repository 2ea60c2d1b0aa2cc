// Package cure decides what must be done so that every partition has a living primary and
// its full number of replicas: whom to make primary first, whom to promote when a primary
// died, which dead members to drop, whom to add, and which surplus member to remove. It
// also carries out the steps that an administrator proposed for a partition.
//
// # What it owns
//
// The choice, and the memory that goes with it: which proposals are out, since when, and
// who failed. A Planner is fed with views of the cluster and answers with actions; given
// the same views it gives the same actions.
//
// # Invariants
//
//   - A change never leaves a partition without a member, and never makes a node primary
//     that is no member.
//   - A primary leaves a group only if the view calls it dead; one that lives stays in it
//     as a secondary.
//   - While a change of a partition is being carried out, none other is made for it.
//   - Who may lead is asked first what it has. A member that lacks what is known to be
//     committed is damaged: it isn't promoted, and one that is told so doesn't take the role.
//   - What was acknowledged is left behind only if an administrator says so (Accept).
//   - A node that has data is given a replica before one that has none, also in place of one
//     whose copy has begun.
//   - Loads include what is proposed and not yet confirmed, so a round spreads evenly.
//
// # The last member can't be used
//
// A write is acknowledged when every member of a configuration holds it that has the least
// number of members (Options.MinMembers), or more. So all that was acknowledged is on each
// member of the last such configuration, and whoever was a member then or later has it, unless
// it lost it since. A configuration remembers who left, the newest last. If M members are left
// and the least number is L, the last L-M of those who left were members of it or joined later:
// members come and go one by one, or several go at once, but at least L-M went since it. Of
// them a replica is taken without asking anybody if
//
//   - it is sound, its server lives, and said so since the server lives;
//   - it was a member with all it has (Replica.Member): one that was made anew, after a loss,
//     and only ever learned may lack anything;
//   - it has prepared whatever anybody says is committed, the damaged one among them, whose log
//     tells that also from behind the damage; and, if the damaged one took over the configuration
//     in which it is alone, all that its log tells of: a single member commits what is in its log.
//     That is more than what was acknowledged: it is what somebody may have read.
//
// Of several the one with the highest (Member, Prepared, Committed). With L = 1 nobody
// qualifies: a single member acknowledges alone. And the last member has to be known as
// damaged, by its own word at this very ballot; one that is only dead is waited for, because
// nobody can say what it answered under its lease. In both cases an administrator can name the
// replica to go on with, which may also be the damaged one, up to the damage.
//
// The new primary joins the configuration and takes it over in one command of the metas' log
// (Action.First, Action.Change), so the rule that only members lead holds for all members of
// the quorum, whatever their version.
//
// It must not know a clock, the network, raft, or who executes its actions. It is not safe
// for concurrent use.
package cure
