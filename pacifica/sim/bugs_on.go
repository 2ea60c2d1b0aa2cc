//go:build plantedbugs

package sim

import "pegasus/pacifica"

func coreBugs() []Bug {
	var bs []Bug
	for _, b := range pacifica.PlantedBugs {
		bs = append(bs, Bug(b))
	}
	return bs
}

// plantCore plants the bug if it is one of the core's. Cores of one process share it.
func plantCore(name string) error {
	for _, b := range pacifica.PlantedBugs {
		if b.Name == name {
			return pacifica.PlantBug(name)
		}
	}
	return nil
}

func unplantCore() {
	if err := pacifica.PlantBug(""); err != nil {
		panic(err)
	}
}
