package replica

import (
	"slices"
	"testing"
	"time"

	"pegasus/rpc"
)

// A server follows the quorum to metas that its configuration doesn't name, and still asks
// those that it names.
func TestMetaLinkLearns(t *testing.T) {
	pool := rpc.NewPool(rpc.PoolOptions{DialTimeout: time.Second})
	defer pool.Close()
	m := newMetaLink(pool, []string{"127.0.0.1:1", "127.0.0.1:2"}, 0, quiet())
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
