package metalink

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
)

// Clock is the server's idea of what time it is: the machine's clock, and what the meta
// leader says in each acknowledgement of a beacon that most machines' clocks say.
//
// A row is hidden once its expiry, an absolute time that the client has worked out, is over; and
// later it is deleted. A clock that is wrong hides rows that live, which passes when it is put
// right, unless a conditional write was decided on it or a row deleted. So
//
//   - if the machine's clock is off by more than is tolerated, requests go by the one that is told;
//   - nothing is deleted because it has expired unless both agree, and then by the earlier one;
//   - if no clock is that of most machines, each server goes by its own, and nobody deletes.
type Clock struct {
	tolerance time.Duration
	local     func() time.Time // the machine's
	log       *logrus.Entry
	began     time.Time

	last atomic.Pointer[leaderClock] // what was told last; nil: nothing

	mu    sync.Mutex
	state string // what was logged last
}

// leaderClock is what the meta leader said that the time is.
type leaderClock struct {
	wall    time.Time // what it was at the moment at
	at      time.Time
	within  time.Duration // a clock that is off by more is wrong
	doubted bool          // no clock is that of most machines
}

// now is what that clock says now.
func (l *leaderClock) now() time.Time { return l.wall.Add(time.Since(l.at)) }

// clockAlone is for how long after the start nothing is deleted if the meta says nothing of its
// clock, as older ones don't; and after how long without a word what it said before is forgotten.
const clockAlone = time.Hour

// NewClock returns a clock that no meta has said anything of yet. local is the machine's.
func NewClock(tolerance time.Duration, local func() time.Time, log *logrus.Entry) *Clock {
	return &Clock{tolerance: tolerance, local: local, log: log, began: time.Now()}
}

// Now is the time by which requests go. A step of the machine's clock between two beacons changes
// nothing about it.
func (c *Clock) Now() time.Time {
	local, last := c.local(), c.last.Load()
	if last == nil || last.doubted {
		return local
	}
	if leaders := last.now(); local.Round(0).Sub(leaders).Abs() > last.within {
		return leaders
	}
	return local
}

// Heard takes the leader's clock, in milliseconds since 1970, from an answer to what was sent at
// sent. A leader that doesn't tell it changes nothing for a while.
func (c *Clock) Heard(sent time.Time, ms int64, doubted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := time.Now()
	if ms <= 0 {
		if last := c.last.Load(); last != nil && at.Sub(last.at) > clockAlone {
			c.last.Store(nil)
			c.state = ""
			c.log.Warn("the meta leader doesn't tell its clock any more: this machine's counts alone")
		}
		return
	}
	way := at.Sub(sent) / 2
	last := &leaderClock{wall: time.UnixMilli(ms).Add(way), at: at, within: c.tolerance + way, doubted: doubted}
	c.last.Store(last)
	offset := c.local().Round(0).Sub(last.wall)
	state := ""
	switch {
	case doubted:
		state = "the clocks of the servers differ, and none is that of most: nothing is deleted because it has expired until they agree"
	case offset.Abs() > last.within:
		state = "the clock of this machine is wrong: requests go by the one that most have, as the meta leader tells it, and nothing is deleted because it has expired, until it is put right"
	}
	if state == c.state {
		return
	}
	if c.state = state; state != "" {
		c.log.Errorf("%s (this machine's clock is %v %s the one that is told; see what `chronyc tracking` or `timedatectl` say on both)", state, offset.Abs().Round(time.Millisecond), aheadOf(offset))
	} else {
		c.log.Warn("the clock of this machine agrees with that of most again")
	}
}

func aheadOf(d time.Duration) string {
	if d < 0 {
		return "behind"
	}
	return "ahead of"
}

// Wrong says why the machine's clock or the leader's is known to be wrong.
func (c *Clock) Wrong() error { return c.compare(c.last.Load()) }

func (c *Clock) compare(last *leaderClock) error {
	switch {
	case last == nil:
		return nil
	case last.doubted:
		return errors.New("the clocks of the servers differ, and none is that of most")
	case c.local().Round(0).Sub(last.now()).Abs() > c.tolerance:
		return fmt.Errorf("the clock of this machine and that of most, as the meta leader tells it, differ by more than %v", c.tolerance)
	}
	return nil
}

// DeleteTime is the time up to which what has expired may be deleted: not later than either
// clock says, and no time at all while they differ.
func (c *Clock) DeleteTime() (time.Time, error) {
	last := c.last.Load()
	if err := c.compare(last); err != nil {
		return time.Time{}, err
	}
	now := c.local()
	if last == nil {
		if time.Since(c.began) < clockAlone {
			return time.Time{}, fmt.Errorf("no meta has told its clock yet, and this server runs for less than %v", clockAlone)
		}
		return now, nil
	}
	if leaders := last.now(); leaders.Before(now) {
		return leaders, nil
	}
	return now, nil
}

// Off returns by how much the machine's clock is ahead of the one that is told.
func (c *Clock) Off() time.Duration {
	last := c.last.Load()
	if last == nil {
		return 0
	}
	return c.local().Round(0).Sub(last.now())
}
