package retention

import (
	"cmp"
	"math"
	"slices"
	"sync"
)

// Log is the replica's part of a log.
type Log interface {
	// SetRetention says that entries up to decree aren't needed. A smaller decree than before
	// protects what is still there.
	SetRetention(decree int64)
	// First returns the lowest decree from which all entries can be read.
	First() int64
}

// Followers is the name that Holds gives to what members and learners hold.
const Followers = "followers"

// Hold is that somebody needs a decree, and all above it.
type Hold struct {
	Name   string
	Decree int64
	Yields bool // it is dropped when the log is over its bound
}

type hold struct {
	Hold
	long bool // it yields only where room is scarce
	lost func()
}

// Owner owns the retention of one replica. Its methods may be called from any goroutine.
type Owner struct {
	log Log

	mu sync.Mutex
	// flushed is what the store has on disk, followers what one of them may have to be sent.
	flushed, followers int64
	// needed is the lowest decree that the log was told to keep; math.MaxInt64: it was told nothing.
	needed int64
	// yielding: followers hold nothing until the log has had a chance to let it go.
	yielding bool
	holds    map[string]hold
}

// New returns the retention of a replica in its log. Until Advance nothing leaves the log.
func New(log Log) *Owner { return &Owner{log: log, needed: math.MaxInt64, holds: map[string]hold{}} }

// Advance says that the store has everything up to flushed on disk, and that a follower may
// have to be sent what is from followers on. The log lets go what nobody holds.
func (o *Owner) Advance(flushed, followers int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.flushed, o.followers = flushed, followers
	o.apply()
	o.yielding = false
}

// apply tells the log. The caller holds mu.
func (o *Owner) apply() {
	o.needed = o.flushed
	if !o.yielding {
		o.needed = min(o.needed, o.followers)
	}
	for _, h := range o.holds {
		o.needed = min(o.needed, h.Decree)
	}
	o.log.SetRetention(o.needed - 1)
}

// Hold keeps decree and all above it in the log until Release, however large the log becomes.
// A further call of that name moves the hold. Hold returns the first decree that is kept, which is
// higher than asked for if the log has given up what is below: then the holder has lost that.
func (o *Owner) Hold(name string, decree int64) (first int64) {
	return o.hold(hold{Hold: Hold{name, decree, false}})
}

// HoldWhileRoom is a Hold that ends when the log is over its bound. Then lost is called, once.
func (o *Owner) HoldWhileRoom(name string, decree int64, lost func()) (first int64) {
	return o.hold(hold{Hold: Hold{name, decree, true}, lost: lost})
}

// HoldLong is HoldWhileRoom that lasts longer: until room is scarce.
func (o *Owner) HoldLong(name string, decree int64, lost func()) (first int64) {
	return o.hold(hold{Hold: Hold{name, decree, true}, long: true, lost: lost})
}

func (o *Owner) hold(h hold) int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.holds[h.Name] = h
	if h.Decree < o.needed {
		o.apply()
	}
	return max(h.Decree, o.log.First())
}

// Release ends a hold, if there is one of that name. The log lets go what it held with the
// next Advance.
func (o *Owner) Release(name string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.holds, name)
}

// Least returns the hold, in force or not, that keeps the lowest decree, among those of other names than but.
func (o *Owner) Least(but string) (least Hold, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, h := range o.holds {
		if h.Name != but && (!ok || h.Decree < least.Decree) {
			least, ok = h.Hold, true
		}
	}
	return least, ok
}

// Held tells whether there is a hold of that name.
func (o *Owner) Held(name string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, ok := o.holds[name]
	return ok
}

// Yield is called when the log is over its bound. It drops the holds that yield, and tells the
// holders; what followers hold doesn't count in the next Advance. It returns the holds that
// keep the log large in spite of that.
//
// The entries up to decree oldest stand in the oldest part of the log, which is to go. scarce: there is hardly any room
// left; then long holds of them yield, too. A hold of nothing below what others go on holding stays.
func (o *Owner) Yield(oldest int64, scarce bool) []Hold {
	o.mu.Lock()
	o.yielding = true
	stays := int64(math.MaxInt64)
	for _, h := range o.holds {
		if !h.yields(oldest, scarce) {
			stays = min(stays, h.Decree)
		}
	}
	var lost []func()
	for name, h := range o.holds {
		if h.Decree < stays && h.yields(oldest, scarce) {
			delete(o.holds, name)
			lost = append(lost, h.lost)
		}
	}
	stay := o.inForce()
	o.mu.Unlock()
	for _, f := range lost {
		f()
	}
	return stay
}

func (h *hold) yields(oldest int64, scarce bool) bool {
	return h.Yields && (!h.long || scarce && h.Decree <= oldest)
}

// Holds returns who keeps something in the log that the store doesn't need, the lowest decree first.
func (o *Owner) Holds() []Hold {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.inForce()
}

// inForce is Holds. The caller holds mu.
func (o *Owner) inForce() (hs []Hold) {
	if o.followers < o.flushed && !o.yielding {
		hs = append(hs, Hold{Followers, o.followers, true})
	}
	for _, h := range o.holds {
		if h.Decree < o.flushed {
			hs = append(hs, h.Hold)
		}
	}
	slices.SortFunc(hs, func(a, b Hold) int { return cmp.Or(cmp.Compare(a.Decree, b.Decree), cmp.Compare(a.Name, b.Name)) })
	return hs
}

// Extra returns how many decrees the log keeps for holders, and the store doesn't need.
func (o *Owner) Extra() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return max(0, o.flushed-o.needed)
}
