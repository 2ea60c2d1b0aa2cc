package metalink

import (
	"io"
	"slices"
	"testing"

	"github.com/sirupsen/logrus"
)

// A server follows the quorum to metas that its configuration doesn't name, and still asks
// those that it names.
func TestMetasAreLearned(t *testing.T) {
	m := newMetas([]string{"127.0.0.1:1", "127.0.0.1:2"}, quiet())
	asked := func() (all []string) {
		for range 8 {
			if a := m.addr(); !slices.Contains(all, a) {
				all = append(all, a)
			}
			m.turn(m.addr(), 0)
		}
		slices.Sort(all)
		return all
	}
	for _, c := range []struct {
		told []string
		want []string
	}{
		{nil, []string{"127.0.0.1:1", "127.0.0.1:2"}},
		{[]string{"127.0.0.1:2", "127.0.0.1:3"}, []string{"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"}},
		{[]string{"127.0.0.1:4"}, []string{"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:4"}},
		{[]string{"nonsense"}, []string{"127.0.0.1:1", "127.0.0.1:2"}},
	} {
		m.learn(c.told)
		m.turn(m.addr(), 0) // from what it asked before
		if got := asked(); !slices.Equal(got, c.want) {
			t.Errorf("told %v it asks %v, want %v", c.told, got, c.want)
		}
	}
}

func quiet() *logrus.Entry {
	l := logrus.New()
	l.SetOutput(io.Discard)
	return logrus.NewEntry(l)
}
