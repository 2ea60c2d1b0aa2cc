package receive

import (
	"io"
	"testing"

	"github.com/sirupsen/logrus"

	"pegasus/base"
	"pegasus/base/version"
	"pegasus/rpc"
)

// What is written once the server has heard the cluster's version bears the number of the cluster, whatever passes in between. What is
// removed is remembered from its own version on.
func TestNumberOnceVersionIsHeard(t *testing.T) {
	l := logrus.New()
	l.SetOutput(io.Discard)
	var heard version.Version
	r, err := New(Options{ID: 2, Name: func(int) (string, bool) { return "", false }, Version: func() version.Version { return heard },
		Write: func(*rpc.Request) {}, Metas: []string{"127.0.0.1:1"}, Log: logrus.NewEntry(l)})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var c Counts
	for _, s := range []struct {
		heard     version.Version
		number    uint8
		remembers bool
	}{{0, 0, false}, {version.First, 0, false}, {version.Origins.Since() - 1, 0, false}, {version.Origins.Since(), 2, false}, {version.Tombstones.Since(), 2, true}, {version.Newest, 2, true}} {
		heard = s.heard
		// Nobody has told yet whether the table is duplicated.
		if n, remembers := r.Origin(), r.Remembers(&c, base.Gpid{AppID: 1}); n != s.number || remembers != s.remembers {
			t.Errorf("version %d: number %d, remembers %v", s.heard, n, remembers)
		}
	}
}
