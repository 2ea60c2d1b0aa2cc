// Package disks evens out the replicas of each replica server over its data directories, at function level lively.
//
// # What it owns
//
// What each server said last of its data directories and of the replicas in them; which move is under way at each server, and
// which servers and replicas are left alone for a while. Package diskplan decides what should move, and gives the reason.
//
// # Invariants
//
//   - A server moves one replica at a time, and the cluster no more than Options.AtOnce. Those are of different partitions.
//   - None is begun while anything else is to be done about replicas (Options.May), nor of a partition about which something is
//     being done (Options.Fixed). The balancer in turn leaves a partition alone that is Moving.
//   - A replica that was moved, or wasn't for a reason, isn't looked at again for replicaRest; a server of which a move failed rests
//     longer each time.
//   - Nothing is remembered: a new leader asks each server for its moves before it begins one, and follows those like its own.
//
// It must not know how a replica is moved, nor where replicas are needed.
package disks
