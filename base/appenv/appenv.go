package appenv

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Info describes a setting.
type Info struct {
	Type       string // bool, unsigned int32, unsigned int64 or string
	Limitation string // "": any value of the type
	Sample     string
	Effect     Effect
	Help       string // what it does, in a sentence or two
}

// Effect says what becomes of a setting here.
type Effect string

// The effects.
const (
	// AtOnce: replicas act on it as soon as the meta has told them, within seconds.
	AtOnce Effect = "at once"
	// Stored: it is accepted and shown, so that tools of upstream go on working, and
	// changes nothing.
	Stored Effect = "stored only"
)

type validator struct {
	Info
	// check returns "" or why the value is refused. Integers are parsed before.
	check func(value string) string
}

// Validate says why upstream refuses to set key to value; "" means that it accepts.
func Validate(key, value string) (hint string) {
	v, ok := known[key]
	if !ok {
		return fmt.Sprintf("app_env '%s' is not supported", key)
	}
	if v.check == nil {
		return ""
	}
	return v.check(value)
}

// ValidateCreate says why upstream refuses a setting in a request to create a table. It
// looks only at the two that size the storage engine, and accepts any other, known or not.
func ValidateCreate(key, value string) (hint string) {
	switch key {
	case NumLevels, WriteBufferSize:
		return Validate(key, value)
	}
	return ""
}

// All returns the description of each setting by name.
func All() map[string]Info {
	m := make(map[string]Info, len(known))
	for k := range known {
		m[k], _ = Describe(k)
	}
	return m
}

// Describe returns the description of a setting; ok is false if there is none of that name.
func Describe(key string) (i Info, ok bool) {
	v, ok := known[key]
	if !ok {
		return Info{}, false
	}
	i = v.Info
	t := texts[key]
	i.Effect, i.Help = t.effect, t.help
	return i, true
}

const (
	minWriteBuffer = 16 << 20
	maxWriteBuffer = 512 << 20
	throttleLimit  = "<size[K|M]>*<delay|reject>*<milliseconds>"
	throttleSample = "10000*delay*100,20000*reject*100"
)

var known = map[string]validator{
	SlowQuery:             integer(64, ">= 20", "1000", atLeast(20)),
	WriteThrottling:       text(throttleLimit, throttleSample, checkThrottle),
	WriteThrottlingBySize: text(throttleLimit, throttleSample, checkThrottle),
	ReadThrottling:        text(throttleLimit, throttleSample, checkThrottle),
	ReadThrottlingBySize:  text("", throttleSample, checkSizeThrottle),
	BackupThrottling:      text(throttleLimit, throttleSample, checkThrottle),
	IterationTime:         integer(64, ">= 0", "1000", atLeast(0)),
	BlockCacheEnabled:     boolean(),
	ValidateHash:          boolean(),
	DenyClient: text("timeout*all | timeout*write | timeout*read | reconfig*all | reconfig*write | reconfig*read",
		"timeout*all", checkDeny),
	UserCompaction:    text("", "", checkOperations),
	BusinessInfo:      text("", "", nil),
	DefaultTTL:        integer(32, ">= 0", "86400", atLeast(0)),
	UsageScenario:     oneOf("normal", "bulk_load", "normal", "prefer_write"),
	AllowIngestBehind: boolean(),
	WriteBufferSize: integer(64, fmt.Sprintf("In range [%d, %d]", minWriteBuffer, maxWriteBuffer),
		strconv.Itoa(minWriteBuffer), within(minWriteBuffer, maxWriteBuffer)),
	NumLevels:          integer(64, "In range [1, 10]", "6", within(1, 10)),
	CheckpointMinCount: integer(32, "> 0", "2", atLeast(1)),
	CheckpointTime:     integer(32, ">= 0", "3600", atLeast(0)),
	CompactDisabled:    boolean(),
	CompactMaxRunning:  integer(32, ">= 0", "8", atLeast(0)),
	CompactOnceTime: integer(64, "> 0, timestamp (in seconds) to trigger the once manual compaction",
		"1700000000", atLeast(0)),
	CompactOnceLevel:          integer(64, "-1 or >= 1", "6", level),
	CompactOnceBottommost:     oneOf("skip", "force", "skip"),
	CompactPeriodicTime:       text("", "", nil),
	CompactPeriodicLevel:      integer(64, "-1 or >= 1", "6", level),
	CompactPeriodicBottommost: oneOf("skip", "force", "skip"),
	AllowedUsers:              text("", "", nil),
	RangerPolicies:            text("", "", nil),
	DupMasterCluster:          text("", "", nil),
	DupMasterMetas:            text("", "", nil),
	DupMasterApp:              text("", "", nil),
	DupFollowerStatus:         text("", "", nil),
}

func atLeast(lo int64) func(int64) bool { return within(lo, math.MaxInt64) }

func within(lo, hi int64) func(int64) bool {
	return func(v int64) bool { return v >= lo && v <= hi }
}

func level(v int64) bool { return v == -1 || v >= 1 }

func boolean() validator {
	return validator{Info{Type: "bool", Limitation: "true | false", Sample: "true"}, func(s string) string {
		if l := strings.ToLower(s); l != "true" && l != "false" {
			return fmt.Sprintf("invalid value '%s', should be a boolean", s)
		}
		return ""
	}}
}

func integer(bits int, limit, sample string, ok func(int64) bool) validator {
	return validator{Info{Type: fmt.Sprintf("unsigned int%d", bits), Limitation: limit, Sample: sample}, func(s string) string {
		v, good := parseInt(s, bits)
		switch {
		case !good:
			return fmt.Sprintf("invalid value '%s', should be an %d bits integer", s, bits)
		case !ok(v):
			return fmt.Sprintf("invalid value '%s', should be '%s'", s, limit)
		}
		return ""
	}}
}

func text(limit, sample string, check func(string) string) validator {
	return validator{Info{Type: "string", Limitation: limit, Sample: sample}, check}
}

// oneOf takes the words in the order in which the refusal names them.
func oneOf(sample string, words ...string) validator {
	limit := strings.Join(words, " | ")
	return validator{Info{Type: "string", Limitation: limit, Sample: sample}, func(s string) string {
		for _, w := range words {
			if s == w {
				return ""
			}
		}
		return limit
	}}
}
