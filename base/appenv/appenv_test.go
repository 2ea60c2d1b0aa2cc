package appenv

import "testing"

func TestValidate(t *testing.T) {
	const deny = "Invalid deny client args, valid include: timeout*all, timeout*write, timeout*read; reconfig*all, reconfig*write, reconfig*read"
	for _, c := range []struct{ key, value, hint string }{
		// As recorded from upstream's meta server.
		{"replica.slow_query_threshold", "100", ""},
		{"replica.slow_query_threshold", "nosuch", "invalid value 'nosuch', should be an 64 bits integer"},
		{"nosuch.env", "1", "app_env 'nosuch.env' is not supported"},
		{"rocksdb.usage_scenario", "nosuch", "bulk_load | normal | prefer_write"},
		{"rocksdb.usage_scenario", "normal", ""},
		{"default_ttl", "-5", "invalid value '-5', should be '>= 0'"},
		{"default_ttl", "86400", ""},
		{"rocksdb.checkpoint.reserve_min_count", "2", ""},
		{"manual_compact.once.trigger_time", "1", ""},
		{"replica.write_throttling", "1000*delay*100", ""},
		{"replica.write_throttling", "abc", "The field count of 'abc' separated by '*' must be 3"},
		// By its rules.
		{"replica.slow_query_threshold", "19", "invalid value '19', should be '>= 20'"},
		{"default_ttl", "2147483648", "invalid value '2147483648', should be an 32 bits integer"},
		{"default_ttl", " 0x10", ""},
		{"default_ttl", "0x", "invalid value '0x', should be an 32 bits integer"},
		{"default_ttl", "09", "invalid value '09', should be an 32 bits integer"},
		{"default_ttl", "", "invalid value '', should be an 32 bits integer"},
		{"default_ttl", "5 ", "invalid value '5 ', should be an 32 bits integer"},
		{"default_ttl", "1_0", "invalid value '1_0', should be an 32 bits integer"},
		{"rocksdb.num_levels", "11", "invalid value '11', should be 'In range [1, 10]'"},
		{"rocksdb.write_buffer_size", "16777216", ""},
		{"rocksdb.write_buffer_size", "1", "invalid value '1', should be 'In range [16777216, 536870912]'"},
		{"rocksdb.allow_ingest_behind", "TRUE", ""},
		{"rocksdb.allow_ingest_behind", "yes", "invalid value 'yes', should be a boolean"},
		{"manual_compact.once.target_level", "-1", ""},
		{"manual_compact.once.target_level", "0", "invalid value '0', should be '-1 or >= 1'"},
		{"manual_compact.once.bottommost_level_compaction", "no", "force | skip"},
		{"business.info", "anything at all", ""},
		{"replica.deny_client_request", "timeout*all", ""},
		{"replica.deny_client_request", "reconfig*write", ""},
		{"replica.deny_client_request", "timeout", deny},
		{"replica.deny_client_request", "timeout*all*x", deny},
		{"replica.write_throttling", "", "The value shouldn't be empty"},
		{"replica.write_throttling", "1K*delay*1, 2M*reject*0", ""},
		{"replica.write_throttling", "1*delay*1,2*delay*1", "duplicate 'delay' config"},
		{"replica.write_throttling", "1*reject*1,2*reject*1", "duplicate 'reject' config"},
		{"replica.write_throttling", "x*delay*1", "'x' should be an unsigned integer"},
		{"replica.write_throttling", "1*wait*1", "'wait' should be 'delay' or 'reject'"},
		{"replica.write_throttling", "1*delay*-1", "'-1' should be an unsigned integer"},
		{"replica.write_throttling", "18446744073709551615K*delay*1", "'18446744073709551615' result is overflow"},
		{"replica.read_throttling_by_size", "20000", ""},
		{"replica.read_throttling_by_size", "20K", ""},
		{"replica.read_throttling_by_size", "20000*delay*100", ""},
		{"replica.read_throttling_by_size", "20000*delay*100,0*reject*100", "reject value should be greater than 0"},
		{"replica.read_throttling_by_size", "20000*reject*100", ""},
		{"replica.read_throttling_by_size", "0", "The field count of '0' separated by '*' must be 3"},
		{"max_replica_count.update", "1", "app_env 'max_replica_count.update' is not supported"},
	} {
		if hint := Validate(c.key, c.value); hint != c.hint {
			t.Errorf("%s=%q: %q, want %q", c.key, c.value, hint, c.hint)
		}
	}
}

func TestValidateCreate(t *testing.T) {
	for _, c := range []struct {
		key, value string
		ok         bool
	}{
		{"nosuch.env", "1", true},
		{"rocksdb.usage_scenario", "nosuch", true},
		{"rocksdb.num_levels", "0", false},
		{"rocksdb.num_levels", "6", true},
		{"rocksdb.write_buffer_size", "x", false},
	} {
		if hint := ValidateCreate(c.key, c.value); (hint == "") != c.ok {
			t.Errorf("%s=%q: %q", c.key, c.value, hint)
		}
	}
}

func TestParseThrottle(t *testing.T) {
	got, hint := ParseThrottle(" 10K*delay*100 , 2M * reject * 7 ")
	want := Throttle{Delay: ThrottlePart{true, 10 << 10, 100}, Reject: ThrottlePart{true, 2 << 20, 7}}
	if got != want || hint != "" {
		t.Errorf("%+v %q, want %+v", got, hint, want)
	}
}

func TestParseInt(t *testing.T) {
	for _, c := range []struct {
		s    string
		bits int
		v    int64
		ok   bool
	}{
		{"-2147483648", 32, -2147483648, true}, {"-2147483649", 32, 0, false},
		{"9223372036854775807", 64, 1<<63 - 1, true}, {"9223372036854775808", 64, 0, false},
		{"-9223372036854775808", 64, -1 << 63, true}, {"010", 64, 8, true}, {"0", 64, 0, true}, {"-0", 64, 0, true}, {"--1", 64, 0, false}, {"1\x00", 64, 0, false},
	} {
		if v, ok := parseInt(c.s, c.bits); v != c.v || ok != c.ok {
			t.Errorf("%q: %d %v", c.s, v, ok)
		}
	}
}

func TestAll(t *testing.T) {
	if i := All()["default_ttl"]; i.Type != "unsigned int32" || i.Limitation != ">= 0" || i.Sample != "86400" {
		t.Errorf("default_ttl: %+v", i)
	}
}
