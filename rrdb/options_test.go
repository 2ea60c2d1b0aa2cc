package rrdb

import (
	"strings"
	"testing"
	"time"

	"pegasus/rrdb/engine"
)

func TestOptions(t *testing.T) {
	shared := (&testConfig{}).shared(t, SharedOptions{})
	defer shared.Close()
	o := Options{Dir: "d", Shared: shared}
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		t.Errorf("defaults are invalid: %v", err)
	}
	if o.Limits.ScanRows <= 0 || o.Limits.MultiGetRows <= 0 || o.Limits.MultiGetBytes <= 0 || o.MemtableBytes <= 0 {
		t.Errorf("no defaults: %+v", o)
	}
	for name, o := range map[string]Options{
		"Dir":            {Shared: shared},
		"Shared":         {Dir: "d"},
		"MemtableBytes":  {Dir: "d", Shared: shared, MemtableBytes: -1},
		"SeparateValues": {Dir: "d", Shared: shared, SeparateValues: -1},
		"Limits":         {Dir: "d", Shared: shared, Limits: Limits{ScanRows: -1}},
	} {
		if _, err := Open(o); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, want an error that names it", name, err)
		}
	}
	for name, o := range map[string]SharedOptions{
		"MaxScanSessions": {MaxScanSessions: -1},
		"ScanSessionAge":  {ScanSessionAge: -time.Second},
		"Sweep":           {Sweep: SweepOptions{Interval: -time.Second}},
		"OpenFiles":       {Engine: engine.Options{OpenFiles: -1}},
	} {
		if _, err := NewShared(o); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, want an error that names it", name, err)
		}
	}
}
