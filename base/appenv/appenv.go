package appenv

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Info describes a setting as /envs/list shows it.
type Info struct {
	Type       string // bool, unsigned int32, unsigned int64 or string
	Limitation string // "": any value of the type
	Sample     string
}

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
	case "rocksdb.num_levels", "rocksdb.write_buffer_size":
		return Validate(key, value)
	}
	return ""
}

// All returns the description of each setting by name.
func All() map[string]Info {
	m := make(map[string]Info, len(known))
	for k, v := range known {
		m[k] = v.Info
	}
	return m
}

const (
	minWriteBuffer = 16 << 20
	maxWriteBuffer = 512 << 20
	throttleLimit  = "<size[K|M]>*<delay|reject>*<milliseconds>"
	throttleSample = "10000*delay*100,20000*reject*100"
)

var known = map[string]validator{
	"replica.slow_query_threshold":                integer(64, ">= 20", "1000", atLeast(20)),
	"replica.write_throttling":                    text(throttleLimit, throttleSample, checkThrottle),
	"replica.write_throttling_by_size":            text(throttleLimit, throttleSample, checkThrottle),
	"replica.read_throttling":                     text(throttleLimit, throttleSample, checkThrottle),
	"replica.read_throttling_by_size":             text("", throttleSample, checkSizeThrottle),
	"replica.backup_request_throttling":           text(throttleLimit, throttleSample, checkThrottle),
	"replica.rocksdb_iteration_threshold_time_ms": integer(64, ">= 0", "1000", atLeast(0)),
	"replica.rocksdb_block_cache_enabled":         boolean(),
	"replica.split.validate_partition_hash":       boolean(),
	"replica.deny_client_request": text("timeout*all | timeout*write | timeout*read | reconfig*all | reconfig*write | reconfig*read",
		"timeout*all", checkDeny),
	"user_specified_compaction":   text("", "", nil),
	"business.info":               text("", "", nil),
	"default_ttl":                 integer(32, ">= 0", "86400", atLeast(0)),
	"rocksdb.usage_scenario":      oneOf("normal", "bulk_load", "normal", "prefer_write"),
	"rocksdb.allow_ingest_behind": boolean(),
	"rocksdb.write_buffer_size": integer(64, fmt.Sprintf("In range [%d, %d]", minWriteBuffer, maxWriteBuffer),
		strconv.Itoa(minWriteBuffer), within(minWriteBuffer, maxWriteBuffer)),
	"rocksdb.num_levels":                          integer(64, "In range [1, 10]", "6", within(1, 10)),
	"rocksdb.checkpoint.reserve_min_count":        integer(32, "> 0", "2", atLeast(1)),
	"rocksdb.checkpoint.reserve_time_seconds":     integer(32, ">= 0", "3600", atLeast(0)),
	"manual_compact.disabled":                     boolean(),
	"manual_compact.max_concurrent_running_count": integer(32, ">= 0", "8", atLeast(0)),
	"manual_compact.once.trigger_time": integer(64, "> 0, timestamp (in seconds) to trigger the once manual compaction",
		"1700000000", atLeast(0)),
	"manual_compact.once.target_level":                    integer(64, "-1 or >= 1", "6", level),
	"manual_compact.once.bottommost_level_compaction":     oneOf("skip", "force", "skip"),
	"manual_compact.periodic.trigger_time":                text("", "", nil),
	"manual_compact.periodic.target_level":                integer(64, "-1 or >= 1", "6", level),
	"manual_compact.periodic.bottommost_level_compaction": oneOf("skip", "force", "skip"),
	"replica_access_controller.allowed_users":             text("", "", nil),
	"replica_access_controller.ranger_policies":           text("", "", nil),
	"duplication.master_cluster":                          text("", "", nil),
	"duplication.master_metas":                            text("", "", nil),
	"duplication.master_app_name":                         text("", "", nil),
	"duplication.follower_app_status":                     text("", "", nil),
}

func atLeast(lo int64) func(int64) bool { return within(lo, math.MaxInt64) }

func within(lo, hi int64) func(int64) bool {
	return func(v int64) bool { return v >= lo && v <= hi }
}

func level(v int64) bool { return v == -1 || v >= 1 }

func boolean() validator {
	return validator{Info{"bool", "true | false", "true"}, func(s string) string {
		if l := strings.ToLower(s); l != "true" && l != "false" {
			return fmt.Sprintf("invalid value '%s', should be a boolean", s)
		}
		return ""
	}}
}

func integer(bits int, limit, sample string, ok func(int64) bool) validator {
	return validator{Info{fmt.Sprintf("unsigned int%d", bits), limit, sample}, func(s string) string {
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
	return validator{Info{"string", limit, sample}, check}
}

// oneOf takes the words in the order in which the refusal names them.
func oneOf(sample string, words ...string) validator {
	limit := strings.Join(words, " | ")
	return validator{Info{"string", limit, sample}, func(s string) string {
		for _, w := range words {
			if s == w {
				return ""
			}
		}
		return limit
	}}
}
