package sim

// Bug is a bug that can be planted, to show that the checks notice.
type Bug struct {
	Name string
	// Breaks says what the rule is that it breaks.
	Breaks string
}

// Bugs lists the bugs that can be planted in this build: those in what the model does for the core, and under the
// build tag plantedbugs those in the core.
func Bugs() []Bug {
	return append([]Bug{
		{"old-ballot", "the meta takes what is confirmed under the present ballot only"},
		{"lease-unasked", "a primary that isn't one any more, and hasn't heard so, doesn't say that it has lost something"},
		{"child-begins-at-cut", "a child has what its parent has sent, and no more"},
		{"child-begins-late", "a child sends its log from the first decree on"},
		{"copy-is-forgotten", "a child whose parent was copied after the cut is copied"},
		{"copy-sweeps-all", "a copy of a parent leaves the child's rows alone"},
	}, coreBugs()...)
}

// Find runs seeds with a planted bug until one finds it, and returns that seed and what it
// found; nil if none did.
func Find(bug string, first, seeds uint64) (seed uint64, v *Violation) {
	plant(bug)
	defer plant("")
	for seed = first; seed < first+seeds; seed++ {
		if _, v = Run(Options{Seed: seed, Bug: bug}); v != nil {
			return seed, v
		}
	}
	return 0, nil
}
