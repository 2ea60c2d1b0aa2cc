package backup

import (
	"fmt"
	"regexp"
	"strconv"
	"time"

	"pegasus/meta/state"
)

// window is how long after its time of day a policy may begin: who comes later waits for the next day.
const window = time.Hour

var clockTime = regexp.MustCompile(`^(\d{1,2}):(\d{1,2})$`)

// parseStart reads a time of day, hour:minute; 24:00 is any time. It returns minutes.
func parseStart(text string) (int32, error) {
	m := clockTime.FindStringSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("the start time %.20q isn't hour:minute, such as 23:30, or 24:00 for any time", text)
	}
	hour, _ := strconv.Atoi(m[1])
	minute, _ := strconv.Atoi(m[2])
	if minute > 59 || hour > 24 || hour == 24 && minute > 0 {
		return 0, fmt.Errorf("there is no time of day %s: hours are 0 to 23, minutes 0 to 59, and 24:00 is any time", text)
	}
	return int32(60*hour + minute), nil
}

// startText is what parseStart reads.
func startText(minutes int32) string { return fmt.Sprintf("%02d:%02d", minutes/60, minutes%60) }

// due tells whether a policy begins a backup now. With a time of day that is within an hour after it, and as many days after the last
// time as Interval has begun. A last time that is in the future is a clock's that was wrong, and doesn't
// count.
func due(p *state.BackupPolicy, now time.Time) bool {
	last := time.UnixMilli(p.LastStart).In(now.Location())
	first := p.LastStart == 0 || last.After(now)
	interval := time.Duration(p.Interval) * time.Second
	if p.Start == state.AnyTime {
		return first || now.Sub(last) >= interval
	}
	slot := slotBefore(p.Start, now)
	if now.Sub(slot) >= window {
		return false
	}
	return first || !slot.Before(slotBefore(p.Start, last).AddDate(0, 0, int((interval+24*time.Hour-1)/(24*time.Hour))))
}

// slotBefore returns the last time at or before t with that time of day.
func slotBefore(minutes int32, t time.Time) time.Time {
	y, m, d := t.Date()
	slot := time.Date(y, m, d, int(minutes)/60, int(minutes)%60, 0, 0, t.Location())
	if slot.After(t) {
		slot = time.Date(y, m, d-1, int(minutes)/60, int(minutes)%60, 0, 0, t.Location())
	}
	return slot
}
