//go:build !plantedbugs

package sim

// Bugs lists the bugs that can be planted in this build.
func Bugs() []Bug { return nil }

func plant(string) {}
