//go:build plantedbugs

package sim

import "testing"

// TestPlantedBugs shows that every planted bug is found.
func TestPlantedBugs(t *testing.T) {
	for _, b := range Bugs() {
		seed, v := Find(b.Name, 1, 1000)
		if v == nil {
			t.Errorf("%s (%s) was not found in 1000 seeds", b.Name, b.Breaks)
			continue
		}
		t.Logf("%-26s after %4d seeds: %s", b.Name, seed, v.Brief())
	}
}
