package config

import "testing"

// TestDescriptors: what is given away never is more than there is, whatever the limit, and large
// limits leave what is configured.
func TestDescriptors(t *testing.T) {
	c := Default()
	for limit := 64; limit < 1<<21; limit += limit / 7 {
		d := c.DescriptorsOf(limit, 3)
		sum := d.Connections + d.Files + 3*d.Replicas
		if sum > limit && limit >= 700 || d.Replicas < 0 {
			t.Errorf("%d: %+v", limit, d)
		}
		if n := c.MetaConnections(limit); n > limit || n < minConnections {
			t.Errorf("%d: %d connections of a meta server", limit, n)
		}
	}
	for _, x := range []struct{ limit, least, most int }{
		{700, 50, 200}, {1024, 120, 300}, {20000, 4000, 6000}, {1 << 20, 300000, 350000},
	} {
		if d := c.DescriptorsOf(x.limit, 3); d.Replicas < x.least || d.Replicas > x.most {
			t.Errorf("%d descriptors are for %d replicas", x.limit, d.Replicas)
		}
	}
	if d := c.DescriptorsOf(1<<20, 3); d.Connections != c.RPC.MaxConnections || d.Files != c.Storage.OpenFiles {
		t.Errorf("a large limit: %+v", d)
	}
}
