package cluster

import "testing"

// TestPortsAreTaken: who has ports has them for itself, until it gives them back.
func TestPortsAreTaken(t *testing.T) {
	p := FreePort(t, 1, 3)
	if take(p) || take(p+200) {
		t.Errorf("ports from %d on are had twice", p)
	}
	t.Run("another test", func(t *testing.T) {
		if other := FreePort(t, 1, 3); other == p || other+200 == p || other == p+200 {
			t.Errorf("it has ports from %d on, which are taken from %d on", other, p)
		}
	})
	give(p)
	if !take(p) {
		t.Errorf("ports from %d on aren't free again", p)
	}
}
