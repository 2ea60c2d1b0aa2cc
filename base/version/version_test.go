package version

import (
	"errors"
	"testing"
)

// Each feature is in the table, and of a version that this program understands.
func TestTable(t *testing.T) {
	if len(since) != int(NamedServers)+1 {
		t.Errorf("the table has %d features, there are %d", len(since), int(NamedServers)+1)
	}
	for f, v := range since {
		if v <= First || v > Newest || f.Since() != v {
			t.Errorf("feature %d is of version %d", f, v)
		}
		if First.Allows(f) || !v.Allows(f) || !Newest.Allows(f) || Version(0).Allows(f) {
			t.Errorf("feature %d isn't allowed from version %d on", f, v)
		}
	}
}

func TestWords(t *testing.T) {
	for v, want := range map[Version]error{0: ErrUnknown, First: nil, Newest: nil, Newest + 1: ErrUnknown} {
		if err := Understood(v); !errors.Is(err, want) {
			t.Errorf("version %d: %v", v, err)
		}
	}
	if err := Permit(1, 2); !errors.Is(err, ErrTooLow) {
		t.Error(err)
	}
	if err := Permit(2, 2); err != nil {
		t.Error(err)
	}
}
