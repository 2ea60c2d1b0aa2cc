package appenv

import (
	"strings"
	"time"
)

// Settings are a table's settings as replicas act on them. The zero value is that of a
// table without any.
type Settings struct {
	DefaultTTL   uint32         // seconds, 0 is none
	SlowQuery    time.Duration  // 0: the server's default
	Iteration    *time.Duration // nil: the server's default; 0 is no limit
	ValidateHash bool

	Deny                                    Deny
	Write, WriteBytes, Read, BackupRequests Throttle
	ReadBytes                               uint64 // a second, of the whole table; 0 is no limit

	Compact Compact

	Operations string // see ParseOperations, which accepts it
	Scenario   Scenario
	// WriteBuffer is how many bytes of rows a replica gathers before it flushes; 0: the server's.
	WriteBuffer int64
}

// Scenario is what a table's storage is tuned for.
type Scenario uint8

// The scenarios.
const (
	Normal Scenario = iota
	PreferWrite
	BulkLoad
)

// Compact says when replicas are compacted.
type Compact struct {
	Disabled bool
	Running  int32  // most at a time on one server, 0 is no limit
	Once     int64  // Unix time, seconds, 0 is none
	Periodic string // see TimesOfDay
}

// TimesOfDay reads times HH:MM, separated by commas, as what has passed since midnight. What
// is no such time is left out, as upstream does.
func TimesOfDay(s string) (times []time.Duration) {
	for f := range strings.SplitSeq(s, ",") {
		if t, err := time.Parse("15:04", trim(f)); err == nil {
			times = append(times, time.Duration(t.Hour())*time.Hour+time.Duration(t.Minute())*time.Minute)
		}
	}
	return times
}

// Deny says which requests of clients are refused, and how.
type Deny struct {
	Reads, Writes bool
	// Reconfigure: they are told that the configuration changed; otherwise nothing.
	Reconfigure bool
}

// Parse reads a table's settings. Keys that it doesn't act on are left alone; bad lists
// those whose value is refused by Validate, which are taken for not set.
func Parse(envs map[string]string) (s Settings, bad []string) {
	for key, value := range envs {
		if _, ok := known[key]; !ok {
			continue
		}
		if Validate(key, value) != "" {
			bad = append(bad, key)
			continue
		}
		switch key {
		case DefaultTTL:
			n, _ := parseInt(value, 32)
			s.DefaultTTL = uint32(n)
		case SlowQuery:
			s.SlowQuery = milliseconds(value)
		case IterationTime:
			d := milliseconds(value)
			s.Iteration = &d
		case ValidateHash:
			s.ValidateHash = strings.EqualFold(value, "true")
		case DenyClient:
			how, what, _ := strings.Cut(value, "*")
			what = trim(what)
			s.Deny = Deny{Reads: what != "write", Writes: what != "read", Reconfigure: trim(how) == "reconfig"}
		case WriteThrottling:
			s.Write, _ = ParseThrottle(value)
		case WriteThrottlingBySize:
			s.WriteBytes, _ = ParseThrottle(value)
		case ReadThrottling:
			s.Read, _ = ParseThrottle(value)
		case BackupThrottling:
			s.BackupRequests, _ = ParseThrottle(value)
		case ReadThrottlingBySize:
			s.ReadBytes = readBytes(value)
		case CompactDisabled:
			s.Compact.Disabled = s.Compact.Disabled || strings.EqualFold(value, "true")
		case CompactMaxRunning:
			n, _ := parseInt(value, 32)
			s.Compact.Running = int32(n)
			s.Compact.Disabled = s.Compact.Disabled || n == 0
		case CompactOnceTime:
			s.Compact.Once, _ = parseInt(value, 64)
		case CompactPeriodicTime:
			s.Compact.Periodic = value
		case UserCompaction:
			s.Operations = value
		case UsageScenario:
			switch value {
			case "prefer_write":
				s.Scenario = PreferWrite
			case "bulk_load":
				s.Scenario = BulkLoad
			}
		case WriteBufferSize:
			s.WriteBuffer, _ = parseInt(value, 64)
		}
	}
	return s, bad
}

// milliseconds reads a number of them; above 100 years it is 100 years.
func milliseconds(value string) time.Duration {
	n, _ := parseInt(value, 64)
	const most = 100 * 365 * 24 * time.Hour
	return time.Duration(min(n, int64(most/time.Millisecond))) * time.Millisecond
}

// readBytes reads what checkSizeThrottle accepts: a size, or the size above which a throttle
// refuses.
func readBytes(value string) uint64 {
	if n, hint := parseUnits(value); hint == "" {
		return n
	}
	t, _ := ParseThrottle(value)
	return t.Reject.Units
}
