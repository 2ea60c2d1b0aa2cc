package checkpoint

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// After a wrong checksum the source is asked to compute all of them anew, and after a success the
// failures are forgotten.
func TestLearnerAfterWrongChecksum(t *testing.T) {
	content := noise(100_000, 1)
	h, c := newHost(t, map[string][]byte{"000001.sst": content})
	// What the source remembers of the file is wrong.
	c.source.sums[sumKey{h.r.gpid, 1, "000001.sst", int64(len(content))}] = 1
	fetch := func(want bool) {
		t.Helper()
		h.r.learner.Fetch(h.r, addrOfHost, 3, "")
		if ok := <-h.r.outcome; ok != want {
			t.Fatalf("the copy succeeded: %t", ok)
		}
	}
	fetch(false)
	if l := h.r.learner; l.Failures() != 1 || !l.distrust.Load() || c.Counts().Failed != 1 {
		t.Errorf("%d failures, distrust %t, %+v", l.Failures(), l.distrust.Load(), c.Counts())
	}
	fetch(true)
	if l := h.r.learner; l.Failures() != 0 || l.distrust.Load() || c.Counts().Installed != 1 || l.Fetching() {
		t.Errorf("%d failures, distrust %t, %+v", l.Failures(), l.distrust.Load(), c.Counts())
	}
	if b, err := os.ReadFile(filepath.Join(h.r.learner.Dir(), "000001.sst")); err != nil || !bytes.Equal(b, content) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	h.r.learner.Drop()
	if _, err := os.Stat(h.r.learner.Dir()); !os.IsNotExist(err) {
		t.Errorf("after it was dropped: %v", err)
	}
}

// stranger is of another cluster than the source, or than what it answers says.
type stranger struct {
	Cluster
	header string
}

func (s stranger) Mark(h http.Header) { h.Set("Cluster", s.header) }

// Nobody of another cluster is given a checkpoint, and none is taken from one.
func TestStrangers(t *testing.T) {
	h, _ := newHost(t, map[string][]byte{"000001.sst": []byte("x")})
	q := map[string][]string{"replica": {h.r.gpid.String()}, "ballot": {"3"}}
	theirs := &host{cluster: "theirs"}
	for what, c := range map[string]struct {
		Cluster
		want string
	}{
		"a stranger asks":    {theirs, "403"},
		"a stranger answers": {stranger{theirs, "ours"}, "another cluster's"},
		"one of its own":     {h, ""},
	} {
		f := &fetch{cluster: c.Cluster, from: "http://" + h.name, dir: filepath.Join(t.TempDir(), "fetch"), p: new(Progress)}
		if _, err := f.run(t.Context(), q); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", what, err, c.want)
		}
	}
}
