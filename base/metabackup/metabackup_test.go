package metabackup

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
)

var sample = Backup{Cluster: "onebox", Quorum: "Q", Second: 1795406400, Index: 77, Term: 3, State: []byte("state")}

func TestRoundTrip(t *testing.T) {
	for _, want := range []Backup{sample, {State: []byte{}}} {
		got, err := Decode(want.Append(nil))
		if err != nil || !reflect.DeepEqual(*got, want) {
			t.Errorf("%+v, %v, want %+v", got, err, want)
		}
	}
	// Appended to something, the checksum is of the file alone.
	if b := sample.Append([]byte("xy")); !bytes.Equal(b[2:], sample.Append(nil)) {
		t.Error("what stands before changes the file")
	}
}

// Every cut and every changed byte is found out.
func TestDamage(t *testing.T) {
	whole := sample.Append(nil)
	for i := range whole {
		if _, err := Decode(whole[:i]); err == nil {
			t.Errorf("%d of %d bytes are taken for a backup", i, len(whole))
		}
		b := bytes.Clone(whole)
		b[i] ^= 0x40
		_, err := Decode(b)
		want := ErrDamaged
		switch {
		case i < len(magic)-1:
			want = ErrNotBackup
		case i == len(magic)-1:
			want = ErrVersion
		}
		if !errors.Is(err, want) {
			t.Errorf("byte %d changed: %v, want %v", i, err, want)
		}
	}
	if _, err := Decode(append(bytes.Clone(whole), 0)); !errors.Is(err, ErrDamaged) {
		t.Errorf("a byte more: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(sample.Append(nil))
	f.Add((&Backup{}).Append(nil))
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := Decode(b)
		if err != nil {
			return
		}
		if again, err := Decode(a.Append(nil)); err != nil || !reflect.DeepEqual(again, a) {
			t.Fatalf("%+v comes back as %+v, %v", a, again, err)
		}
	})
}
