package metalink

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/base/version"
	"pegasus/gen/layer2"
)

// memory keeps an identity as long as the test runs.
type memory struct {
	id string
	v  version.Version
}

func (m *memory) Cluster() (string, version.Version) { return m.id, m.v }
func (m *memory) Said() (id, by, lacks string)       { return m.id, "here", "" }
func (m *memory) Keep(id string, v version.Version) error {
	m.id, m.v = id, v
	return nil
}

// Who has an identity takes nothing of another one, and of who says none only for a while.
func TestIdentityAdmits(t *testing.T) {
	ours, theirs, none := NewIdentity(&memory{id: "ours"}), NewIdentity(&memory{id: "theirs"}), NewIdentity(&memory{})
	if ours.Tag() == theirs.Tag() || ours.Tag() == 0 || none.Tag() != 0 {
		t.Fatalf("tags %d, %d, %d", ours.Tag(), theirs.Tag(), none.Tag())
	}
	marked := func(i *Identity) http.Header {
		h := http.Header{}
		i.Mark(h)
		return h
	}
	if !ours.Admits(ours.Tag()) || ours.Check(marked(ours)) != nil || ours.Same("ours") != nil || ours.Strangers() != 0 {
		t.Error("its own cluster is a stranger")
	}
	if ours.Admits(theirs.Tag()) || ours.Check(marked(theirs)) == nil || ours.Admits(0) || ours.Check(marked(none)) == nil {
		t.Error("strangers are admitted")
	}
	if err := ours.Same("theirs"); !errors.Is(err, base.ErrClusterNotFound) || !strings.Contains(err.Error(), "theirs") {
		t.Errorf("%v", err)
	}
	if n := ours.Strangers(); n != 5 {
		t.Errorf("%d strangers are counted, not 5", n)
	}
	ours.AdmitUnmarked(time.Hour)
	if !ours.Admits(0) || ours.Check(marked(none)) != nil || ours.Admits(theirs.Tag()) || ours.Check(marked(theirs)) == nil {
		t.Error("who says no identity isn't admitted, or who says another one is")
	}
	// Without an identity nobody is admitted before a meta acknowledged the server.
	if none.Admits(0) || none.Admits(ours.Tag()) {
		t.Error("admitted before any meta was heard")
	}
	none.obeyed.Store(true)
	if !none.Admits(0) || !none.Admits(ours.Tag()) || none.Wire().Set || ours.Wire().V != "ours" {
		t.Error("not admitted though a meta acknowledged the server")
	}
}

// A replica is of the metas' table if that has its id, its partitions, and its time, or else its name.
func TestSameTable(t *testing.T) {
	meta := layer2.AppInfo{AppName: "temp", AppId: 1, PartitionCount: 8, CreateSecond: 55}
	for _, c := range []struct {
		here Table
		want string // in the error
	}{
		{Table{1, "temp", 8, 55}, ""},
		{Table{1, "", 0, 0}, ""},
		{Table{1, "renamed", 8, 55}, ""},
		{Table{1, "temp", 8, 0}, ""},
		{Table{1, "temp", 4, 55}, "partitions"},
		{Table{1, "temp", 8, 77}, "second 77"},
		{Table{1, "other", 8, 0}, `"other"`},
	} {
		err := c.here.same(&meta)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c.here, err)
		}
	}
	if (Table{ID: 1}).same(nil) == nil {
		t.Error("a table that the metas don't know is theirs")
	}
}

// What can't work is refused with the names of the settings.
func TestOptionsAreChecked(t *testing.T) {
	good := Options{Metas: []string{"127.0.0.1:1"}, BeaconInterval: time.Second, Lease: 8 * time.Second, Grace: 9 * time.Second, SyncInterval: time.Second}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Options){
		"cluster.meta_servers":             func(o *Options) { o.Metas = nil },
		"failure_detector.grace":           func(o *Options) { o.Grace = o.Lease },
		"failure_detector.beacon_interval": func(o *Options) { o.BeaconInterval = 0 },
	} {
		o := good
		change(&o)
		if _, err := New(o, nil, &memory{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
