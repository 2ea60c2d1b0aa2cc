package metalink

import (
	"testing"
	"time"
)

// TestLeaseCountsSuspends: a machine that was suspended for longer than a lease has lost it, also
// before anything of the server has noticed, and an acknowledgement that was on its way meanwhile
// doesn't bring it back. The monotonic clock would stand still all the time.
func TestLeaseCountsSuspends(t *testing.T) {
	now := time.Hour
	l := NewLease(8 * time.Second)
	l.now = func() time.Duration { return now }
	if l.Valid() {
		t.Error("valid before any beacon")
	}
	l.Resume(now)
	now += 5 * time.Second
	if !l.Valid() || !l.Renew(now) {
		t.Error("not valid after 5 s")
	}
	sent := now
	now += time.Minute // suspended
	if l.Valid() {
		t.Error("valid after a minute")
	}
	epoch := l.epoch.Load()
	if l.Renew(sent) || l.Valid() || l.epoch.Load() == epoch {
		t.Error("renewed by an acknowledgement from before the suspend")
	}
	if l.Renew(now) || l.Valid() {
		t.Error("renewed without having learned the configuration")
	}
	l.Resume(now)
	if now += 8*time.Second - 1; !l.Valid() {
		t.Error("not valid for as long as it was resumed")
	}
	if now++; l.Valid() {
		t.Error("valid for longer than it was resumed")
	}
}
