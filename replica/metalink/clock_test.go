package metalink

import (
	"testing"
	"time"
)

func TestWallClock(t *testing.T) {
	const tolerance, day = 10 * time.Second, 24 * time.Hour
	for _, c := range []struct {
		name            string
		machine, leader time.Duration // ahead of the truth
		doubted         bool
		shift           time.Duration // about
		deletes         bool
	}{
		{"all agree", 0, 0, false, 0, true},
		{"a little ahead", 3 * time.Second, 0, false, 0, true},
		{"the machine is a day ahead", day, 0, false, -day, false},
		{"the machine is a day behind", -day, 0, false, day, false},
		{"the leader is a day ahead, and most servers aren't", 0, day, true, 0, false},
		{"both are ahead, and most servers aren't", day, day, true, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := NewClock(tolerance, func() time.Time { return time.Now().Add(c.machine) }, quiet())
			if _, err := k.DeleteTime(); err == nil {
				t.Error("it deletes before any meta has told its clock")
			}
			k.Heard(time.Now(), time.Now().Add(c.leader).UnixMilli(), c.doubted)
			if by := k.Now().Sub(time.Now().Add(c.machine)); (by - c.shift).Abs() > time.Minute {
				t.Errorf("it is shifted by %v", by)
			}
			at, err := k.DeleteTime()
			if (err == nil) != c.deletes || (err == nil) != (k.Wrong() == nil) {
				t.Errorf("it deletes: %v, wrong: %v", err, k.Wrong())
			}
			if err == nil && at.After(time.Now().Add(min(c.machine, c.leader)+time.Minute)) {
				t.Errorf("it deletes up to %v from now", time.Until(at))
			}
			// The leader's and the machine's clocks are put right, and the next beacon says so.
			k.local = time.Now
			k.Heard(time.Now(), time.Now().UnixMilli(), false)
			if _, err := k.DeleteTime(); err != nil || time.Until(k.Now()).Abs() > time.Minute {
				t.Errorf("all is well: %v, requests go by %v", err, k.Now())
			}
		})
	}
}

// TestClockStepBetweenBeacons: a step of the machine's clock is seen before the next beacon.
func TestClockStepBetweenBeacons(t *testing.T) {
	ahead := time.Duration(0)
	k := NewClock(10*time.Second, func() time.Time { return time.Now().Add(ahead) }, quiet())
	k.Heard(time.Now(), time.Now().UnixMilli(), false)
	if _, err := k.DeleteTime(); err != nil {
		t.Fatal(err)
	}
	ahead = time.Hour
	if _, err := k.DeleteTime(); err == nil {
		t.Error("it deletes by a clock that was put forward by an hour")
	}
	// Requests that come before the next beacon see no step: neither when the clock goes wrong,
	// nor when one that was wrong is put right.
	right := func(what string) {
		t.Helper()
		if off := time.Until(k.Now()); off.Abs() > time.Minute {
			t.Errorf("%s: requests go by a clock that is %v ahead", what, off)
		}
	}
	right("the clock was put forward")
	ahead = -time.Hour
	right("the clock was put back")
	k.Heard(time.Now(), time.Now().UnixMilli(), false)
	right("the beacon after that")
	ahead = 0
	right("the clock was put right")
}

// TestOldMetaTellsNoClock: nothing is deleted for the first while then, and afterwards as ever.
func TestOldMetaTellsNoClock(t *testing.T) {
	k := NewClock(10*time.Second, time.Now, quiet())
	k.Heard(time.Now(), 0, false)
	if _, err := k.DeleteTime(); err == nil {
		t.Error("it deletes soon after the start")
	}
	k.began = k.began.Add(-clockAlone)
	if _, err := k.DeleteTime(); err != nil {
		t.Errorf("it deletes after %v: %v", clockAlone, err)
	}
	// What a newer leader said before the old one leads isn't kept for ever.
	k.Heard(time.Now(), time.Now().Add(-time.Hour).UnixMilli(), true)
	k.Heard(time.Now(), 0, false)
	if k.Wrong() == nil {
		t.Error("one word of an old meta, and the clock counts")
	}
	k.last.Load().at = time.Now().Add(-clockAlone - time.Second)
	k.Heard(time.Now(), 0, false)
	if _, err := k.DeleteTime(); err != nil {
		t.Errorf("a newer leader's word counts for ever: %v", err)
	}
}
