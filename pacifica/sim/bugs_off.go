//go:build !plantedbugs

package sim

func coreBugs() []Bug { return nil }

func plantCore(string) error { return nil }

func unplantCore() {}
