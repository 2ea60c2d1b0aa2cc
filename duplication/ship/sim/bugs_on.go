//go:build plantedbugs

package sim

import "pegasus/duplication/ship"

// Bugs lists the bugs that can be planted in this build.
func Bugs() []Bug {
	var bs []Bug
	for _, b := range ship.PlantedBugs {
		bs = append(bs, Bug(b))
	}
	return bs
}

// plant puts a bug into all cores of the process, "" none.
func plant(name string) {
	if err := ship.PlantBug(name); err != nil {
		panic(err)
	}
}
