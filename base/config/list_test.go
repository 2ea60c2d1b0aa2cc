package config

import (
	"errors"
	"reflect"
	"testing"
	"time"
)

func TestEntries(t *testing.T) {
	c := Default()
	seen := map[string]Entry{}
	for _, e := range c.Entries() {
		seen[e.Path()] = e
		if e.Doc == "" {
			t.Errorf("%s has no documentation", e.Path())
		}
	}
	for _, want := range []Entry{
		{Section: "meta", Name: "max_replica_count", Kind: reflect.Int, Value: "5"},
		{Section: "failure_detector", Name: "lease", Kind: reflect.String, Value: "8s"},
		{Section: "cluster", Name: "meta_servers", Kind: reflect.String, Value: "127.0.0.1:34601"},
		{Section: "logging", Name: "json", Kind: reflect.Bool, Value: "false"},
	} {
		got := seen[want.Path()]
		if got.Doc = ""; got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
}

func TestSet(t *testing.T) {
	for _, c := range []struct {
		path, value string
		good        bool
	}{
		{"logging.level", "debug", true}, {"logging.level", "loud", false}, {"logging.level", "", false},
		{"failure_detector.lease", "5s", true}, {"failure_detector.lease", "50s", false}, {"failure_detector.lease", "x", false},
		{"meta.max_replica_count", "7", true}, {"meta.max_replica_count", "-1", false}, {"meta.max_replica_count", "7\n[rpc]", false},
		{"logging.packages", "rpc=debug,replica/wal=error", true}, {"logging.packages", "rpc", false}, {"logging.packages", "rpc=loud", false}, {"logging.packages", "=info", false},
		{"logging.json", "true", true}, {"logging.json", "maybe", false}, {"meta.nosuch", "1", false}, {"", "", false},
		{"metrics.replica_series", "role,ballot", true}, {"metrics.replica_series", `["role"]`, true}, {"metrics.replica_series", "", true}, {"metrics.replica_series", `["role"`, false}, {"metrics.replica_series", "a\n[rpc]", false},
	} {
		cfg := Default()
		err := cfg.Set(c.path, c.value)
		var e *Error
		if (err == nil) != c.good || err != nil && !errors.As(err, &e) {
			t.Errorf("Set(%q, %q): %v", c.path, c.value, err)
		}
		if changed := !reflect.DeepEqual(cfg, Default()); changed != c.good {
			t.Errorf("Set(%q, %q) changed it: %v", c.path, c.value, changed)
		}
	}
}

func TestValue(t *testing.T) {
	c := Default()
	for path, want := range map[string]any{"meta.max_replica_count": 5, "failure_detector.lease": 8 * time.Second, "logging.json": false, "logging.level": "info",
		"meta.nosuch": nil} {
		if got := c.Value(path); got != want {
			t.Errorf("%s is %v, want %v", path, got, want)
		}
	}
	for _, e := range c.Entries() {
		switch v := c.Value(e.Path()).(type) {
		case string, bool, int, int64, float64, []string, time.Duration:
		default:
			t.Errorf("%s is a %T", e.Path(), v)
		}
	}
}

// What Entries shows of a key can be set.
func TestEntriesCanBeSet(t *testing.T) {
	c := Default()
	for _, e := range c.Entries() {
		if err := c.Set(e.Path(), e.Value); err != nil {
			t.Errorf("%s = %q: %v", e.Path(), e.Value, err)
		}
	}
	if !reflect.DeepEqual(c, Default()) {
		t.Error("it is another configuration then")
	}
}
