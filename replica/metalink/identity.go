package metalink

import (
	"fmt"
	"hash/fnv"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"pegasus/base"
	"pegasus/base/version"
)

// Identity is the cluster that a server's data belongs to, which its metas made up once
// (Cluster.Name is what people call it, and two may be called the same). It stands in every data
// directory. A server that has one obeys, serves and learns from nobody of another; and
// nothing of its own is removed because a stranger has no use for it.
//
// A server without an identity takes the one that the meta leader tells it, once, if it may:
//
//   - it holds no replica; or
//   - the meta knows every table that a replica here is of, dropped ones included, with as many
//     partitions, and made at the same second, or, if one side doesn't know when, under the same name; and
//   - none of its data directories says another identity already.
//
// Else it stays without, and is refused.
type Identity struct {
	keeper Keeper
	// tag is a hash of the id, in each message to another replica server; 0: there is no id.
	tag atomic.Uint64
	// obeyed: a meta acknowledged this server. Without an identity of its own it takes no
	// message of others before that.
	obeyed atomic.Bool
	// late: the others may not have heard yet that the cluster has an identity.
	late    atomic.Bool
	strange atomic.Int64 // messages and requests of strangers

	mu  sync.Mutex
	why string // the last reason why the metas aren't obeyed
}

// Keeper keeps the identity where the data is.
type Keeper interface {
	// Cluster returns the id, "" if there is none or if it isn't sure, and the version up to
	// which the cluster was raised.
	Cluster() (id string, v version.Version)
	// Said tells what a data directory says, "" if none says anything; which one that is; and
	// one that has replicas and says nothing.
	Said() (id, by, lacks string)
	// Keep makes both durable. When it fails Cluster returns what it returned before.
	Keep(id string, v version.Version) error
}

// NewIdentity returns the identity that is kept.
func NewIdentity(k Keeper) *Identity {
	i := &Identity{keeper: k}
	i.tag.Store(tagOf(i.ID()))
	return i
}

// ID is the identity of the cluster, "" if there is none.
func (i *Identity) ID() string {
	id, _ := i.keeper.Cluster()
	return id
}

// Wire is the identity in a message; it isn't set if there is none.
func (i *Identity) Wire() base.Opt[string] { return base.NonZero(i.ID()) }

// Tag goes with each message to another replica server.
func (i *Identity) Tag() uint64 { return i.tag.Load() }

// tagOf is 0 for "", and for nothing else.
func tagOf(id string) uint64 {
	if id == "" {
		return 0
	}
	h := fnv.New64a()
	h.Write([]byte(id))
	return max(h.Sum64(), 1)
}

// Refusal says why the metas aren't obeyed, "" if they are or weren't heard yet.
func (i *Identity) Refusal() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.why
}

func (i *Identity) refuse(why string) (was string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	was, i.why = i.why, why
	return was
}

// Strangers is how many messages and requests of strangers came.
func (i *Identity) Strangers() int64 { return i.strange.Load() }

// Admits tells whether a message of a replica server with that tag is to be taken.
func (i *Identity) Admits(tag uint64) bool {
	mine := i.tag.Load()
	if ok := tag == mine && mine != 0 || mine == 0 && i.obeyed.Load() || tag == 0 && i.late.Load(); ok {
		return true
	}
	i.strange.Add(1)
	return false
}

// AdmitUnmarked has messages taken for a while that say no identity: the others may have heard
// less than this server.
func (i *Identity) AdmitUnmarked(d time.Duration) {
	i.late.Store(true)
	time.AfterFunc(d, func() { i.late.Store(false) })
}

// Same says why what a meta said of a cluster with that id is a stranger's: nil if it isn't.
func (i *Identity) Same(id string) error {
	own := i.ID()
	if id == own {
		return nil
	}
	i.strange.Add(1)
	return fmt.Errorf("it is of the cluster with the id %q, and this server of %q: %w", id, own, base.ErrClusterNotFound)
}

// header names the identity in requests for checkpoints, and in their answers.
const header = "Pegasus-Cluster"

// Mark puts the identity into a header.
func (i *Identity) Mark(h http.Header) {
	if id := i.ID(); id != "" {
		h.Set(header, id)
	}
}

// Check says why what came with a header is a stranger's: nil if it isn't.
func (i *Identity) Check(h http.Header) error {
	mine, theirs := i.ID(), h.Get(header)
	if mine == "" || mine == theirs || theirs == "" && i.late.Load() {
		return nil
	}
	i.strange.Add(1)
	return fmt.Errorf("it belongs to the cluster with the id %q, and this server to %q: %w", theirs, mine, base.ErrClusterNotFound)
}
