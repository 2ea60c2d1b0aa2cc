package appenv

import (
	"slices"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	ms := func(n time.Duration) *time.Duration { n *= time.Millisecond; return &n }
	for _, c := range []struct {
		key, value string
		want       Settings
	}{
		{DefaultTTL, "0x10", Settings{DefaultTTL: 16}},
		{DefaultTTL, "-5", Settings{}},
		{DefaultTTL, "", Settings{}},
		{SlowQuery, "20", Settings{SlowQuery: 20 * time.Millisecond}},
		{SlowQuery, "19", Settings{}},
		{SlowQuery, "9223372036854775807", Settings{SlowQuery: 876000 * time.Hour}},
		{IterationTime, "0", Settings{Iteration: ms(0)}},
		{IterationTime, "010", Settings{Iteration: ms(8)}},
		{IterationTime, "x", Settings{}},
		{ValidateHash, "TRUE", Settings{ValidateHash: true}},
		{ValidateHash, "false", Settings{}},
		{DenyClient, "timeout*all", Settings{Deny: Deny{Reads: true, Writes: true}}},
		{DenyClient, " reconfig * write ", Settings{Deny: Deny{Writes: true, Reconfigure: true}}},
		{DenyClient, "reconfig*read", Settings{Deny: Deny{Reads: true, Reconfigure: true}}},
		{DenyClient, "timeout", Settings{}},
		{WriteThrottling, "1K*delay*5", Settings{Write: Throttle{Delay: ThrottlePart{true, 1024, 5}}}},
		{WriteThrottling, "1K*delay", Settings{}},
		{WriteThrottlingBySize, "1M*reject*5", Settings{WriteBytes: Throttle{Reject: ThrottlePart{true, 1 << 20, 5}}}},
		{ReadThrottling, "7*reject*0", Settings{Read: Throttle{Reject: ThrottlePart{true, 7, 0}}}},
		{BackupThrottling, "7*delay*1", Settings{BackupRequests: Throttle{Delay: ThrottlePart{true, 7, 1}}}},
		{ReadThrottlingBySize, "20K", Settings{ReadBytes: 20 << 10}},
		{ReadThrottlingBySize, "1*delay*1,30*reject*1", Settings{ReadBytes: 30}},
		{ReadThrottlingBySize, "1*delay*1", Settings{}},
		{ReadThrottlingBySize, "0", Settings{}},
		{CompactDisabled, "true", Settings{Compact: Compact{Disabled: true}}},
		{CompactDisabled, "maybe", Settings{}},
		{CompactMaxRunning, "3", Settings{Compact: Compact{Running: 3}}},
		{CompactMaxRunning, "0", Settings{Compact: Compact{Disabled: true}}},
		{CompactMaxRunning, "-1", Settings{}},
		{CompactOnceTime, "1700000000", Settings{Compact: Compact{Once: 1700000000}}},
		{CompactOnceTime, "soon", Settings{}},
		{CompactPeriodicTime, "3:00,21:30", Settings{Compact: Compact{Periodic: "3:00,21:30"}}},
		{UserCompaction, `{"ops":[]}`, Settings{Operations: `{"ops":[]}`}},
		{UserCompaction, "{", Settings{}},
		{UsageScenario, "normal", Settings{}},
		{UsageScenario, "prefer_write", Settings{Scenario: PreferWrite}},
		{UsageScenario, "bulk_load", Settings{Scenario: BulkLoad}},
		{UsageScenario, "rest", Settings{}},
		{WriteBufferSize, "16777216", Settings{WriteBuffer: 16 << 20}},
		{WriteBufferSize, "1", Settings{}},
		{"nosuch", "1", Settings{}},
	} {
		got, bad := Parse(map[string]string{c.key: c.value})
		if (got.Iteration == nil) != (c.want.Iteration == nil) || got.Iteration != nil && *got.Iteration != *c.want.Iteration {
			t.Errorf("%s=%q: iteration time differs", c.key, c.value)
		}
		got.Iteration, c.want.Iteration = nil, nil
		if got != c.want {
			t.Errorf("%s=%q: %+v, want %+v", c.key, c.value, got, c.want)
		}
		_, known := Describe(c.key)
		if refused := known && Validate(c.key, c.value) != ""; refused != slices.Contains(bad, c.key) {
			t.Errorf("%s=%q: bad is %v", c.key, c.value, bad)
		}
	}
}

func TestTimesOfDay(t *testing.T) {
	got := TimesOfDay("3:00, 21:30,24:00,x,,00:00")
	if want := []time.Duration{3 * time.Hour, 21*time.Hour + 30*time.Minute, 0}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// The schema is whole: everything that is known is explained, its sample is accepted, and
// nothing else is explained.
func TestSchema(t *testing.T) {
	for key, i := range All() {
		if i.Help == "" || i.Effect == "" {
			t.Errorf("%s: no help, or no effect", key)
		}
		if hint := Validate(key, i.Sample); i.Sample != "" && hint != "" {
			t.Errorf("%s: its sample %q is refused: %s", key, i.Sample, hint)
		}
	}
	for key := range texts {
		if _, ok := known[key]; !ok {
			t.Errorf("%s is explained but not known", key)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, v := range []string{"1", "-1", "0x", "1K*delay*1,2M*reject*0", "timeout*all", "true", "*,*", "18446744073709551615M"} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, v string) {
		for key := range known {
			s, bad := Parse(map[string]string{key: v})
			if len(bad) > 0 && s != (Settings{}) {
				t.Errorf("%s=%q is bad and has an effect: %+v", key, v, s)
			}
		}
	})
}
