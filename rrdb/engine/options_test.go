package engine

import (
	"strings"
	"testing"
)

func TestOptions(t *testing.T) {
	var o Options
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		t.Errorf("defaults are invalid: %v", err)
	}
	o = Options{BlockCacheBytes: 1, OpenFiles: 1, MemtablesBytes: 1}
	o.EnsureDefaults()
	if o.BlockCacheBytes != minBlockCache || o.OpenFiles != minOpenFiles || o.MemtablesBytes != minMemtables || o.Compactions != 1 {
		t.Errorf("too small values became %+v", o)
	}
	for name, o := range map[string]Options{
		"BlockCacheBytes": {BlockCacheBytes: -1},
		"OpenFiles":       {OpenFiles: -1},
		"Compactions":     {Compactions: -1},
		"MemtablesBytes":  {MemtablesBytes: -1},
	} {
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%+v: %v, want an error that names %s", o, err, name)
		}
	}
}
