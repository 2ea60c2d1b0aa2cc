//go:build plantedbugs

package sim

import "pegasus/duplication/ship"

func coreBugs() []Bug {
	var bs []Bug
	for _, b := range ship.PlantedBugs {
		bs = append(bs, Bug(b))
	}
	return bs
}

// plant puts a bug into all cores of the process if it is one of theirs, "" none.
func plant(name string) {
	for _, b := range ship.PlantedBugs {
		if b.Name == name || name == "" {
			if err := ship.PlantBug(name); err != nil {
				panic(err)
			}
		}
	}
}
