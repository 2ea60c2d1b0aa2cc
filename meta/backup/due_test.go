package backup

import (
	"testing"
	"time"

	"pegasus/meta/state"
)

func TestParseStart(t *testing.T) {
	for text, want := range map[string]int32{"00:00": 0, "0:5": 5, "23:30": 23*60 + 30, "24:00": state.AnyTime, "24:0": state.AnyTime, "7:59": 7*60 + 59} {
		if got, err := parseStart(text); err != nil || got != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
		if again, err := parseStart(startText(want)); err != nil || again != want {
			t.Errorf("%q is shown as %q", text, startText(want))
		}
	}
	for _, text := range []string{"", "24:30", "25:00", "7", "7:60", "-1:00", "7:00:00", " 7:00", "x:y", "123:00", "7:000", "+7:00", "7：00"} {
		if got, err := parseStart(text); err == nil {
			t.Errorf("%q is taken for %d", text, got)
		}
	}
}

func FuzzParseStart(f *testing.F) {
	f.Add("23:30")
	f.Add("24:00")
	f.Fuzz(func(t *testing.T, text string) {
		m, err := parseStart(text)
		if err == nil && (m < 0 || m > state.AnyTime) {
			t.Errorf("%q is %d", text, m)
		}
		if err == nil {
			if again, err := parseStart(startText(m)); err != nil || again != m {
				t.Errorf("%q becomes %q", text, startText(m))
			}
		}
	})
}

func TestDue(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip(err)
	}
	const day = 86400
	for _, c := range []struct {
		name      string
		start     string
		interval  int64
		last, now string // "": never
		want      bool
	}{
		{"any time, the first", "24:00", day, "", "2026-03-10 15:00:00", true},
		{"any time, too soon", "24:00", day, "2026-03-09 15:00:01", "2026-03-10 15:00:00", false},
		{"any time, just then", "24:00", day, "2026-03-09 15:00:00", "2026-03-10 15:00:00", true},
		{"any time, late", "24:00", day, "2026-03-01 15:00:00", "2026-03-10 15:00:00", true},
		{"any time, odd interval", "24:00", 90000, "2026-03-09 15:00:00", "2026-03-10 15:59:59", false},
		{"the first, before the time", "23:30", day, "", "2026-03-10 23:29:59", false},
		{"the first, at the time", "23:30", day, "", "2026-03-10 23:30:00", true},
		{"the first, past midnight", "23:30", day, "", "2026-03-11 00:29:59", true},
		{"the first, too late today", "23:30", day, "", "2026-03-11 00:30:00", false},
		{"the first, in the middle of the day", "23:30", day, "", "2026-03-11 12:00:00", false},
		{"midnight", "00:00", day, "2026-03-09 00:00:02", "2026-03-10 00:00:01", true},
		{"the same day again", "23:30", day, "2026-03-10 23:30:05", "2026-03-11 00:10:00", false},
		{"the next day", "23:30", day, "2026-03-10 23:40:00", "2026-03-11 23:30:00", true},
		{"began late, past midnight", "23:30", day, "2026-03-11 00:20:00", "2026-03-11 23:30:00", true},
		{"two days", "23:30", 2 * day, "2026-03-10 23:40:00", "2026-03-11 23:30:00", false},
		{"two days later", "23:30", 2 * day, "2026-03-10 23:40:00", "2026-03-12 23:30:00", true},
		{"25 hours are two days", "23:30", 90000, "2026-03-10 23:30:00", "2026-03-11 23:45:00", false},
		{"25 hours are two days", "23:30", 90000, "2026-03-10 23:30:00", "2026-03-12 23:45:00", true},
		{"missed", "23:30", day, "2026-03-08 23:30:00", "2026-03-11 12:00:00", false},
		{"missed, the next time", "23:30", day, "2026-03-08 23:30:00", "2026-03-11 23:31:00", true},
		{"a day of 23 hours", "12:00", day, "2026-03-28 12:00:30", "2026-03-29 12:00:00", true},
		{"a day of 25 hours", "12:00", day, "2026-10-24 12:00:30", "2026-10-25 12:00:00", true},
		{"a time that doesn't exist", "02:30", day, "2026-03-28 02:30:00", "2026-03-29 03:45:00", true},
		{"the clock was ahead", "24:00", day, "2036-01-01 00:00:00", "2026-03-10 15:00:00", true},
		{"the clock was ahead, not the time of day", "23:30", day, "2036-01-01 00:00:00", "2026-03-10 15:00:00", false},
		{"the clock was ahead, the time of day", "23:30", day, "2036-01-01 00:00:00", "2026-03-10 23:45:00", true},
		{"years behind", "24:00", day, "1970-01-02 00:00:00", "2026-03-10 15:00:00", true},
		{"the longest interval", "12:00", mostInterval * day, "1971-01-02 12:00:00", "2026-03-10 12:00:00", false},
	} {
		at := func(s string) time.Time {
			v, err := time.ParseInLocation(time.DateTime, s, berlin)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
		start, err := parseStart(c.start)
		if err != nil {
			t.Fatal(err)
		}
		p := state.BackupPolicy{Start: start, Interval: c.interval}
		if c.last != "" {
			p.LastStart = at(c.last).UnixMilli()
		}
		if got := due(&p, at(c.now)); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
