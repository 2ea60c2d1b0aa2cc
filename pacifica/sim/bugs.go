package sim

// Bug is a bug that can be planted, to show that the checks notice.
type Bug struct {
	Name string
	// Breaks says what the rule is that it breaks.
	Breaks string
}

// Bugs lists the bugs that can be planted in this build: those in the model's server and
// meta, and under the build tag plantedbugs those in the core.
func Bugs() []Bug {
	return append([]Bug{
		{"ballot-not-durable", "a ballot is durable before anything is said under it"},
		{"log-keeps-void", "an entry in the log voids older ones above it"},
		{"store-before-log", "the log is void before a checkpoint takes the store's place"},
		{"lease-resumes", "a primary whose lease ran out asks the meta before it serves again"},
		{"push-confirms", "a configuration that the meta sent unasked may be outdated"},
		{"lease-unchecked", "a read is answered only under the lease"},
		{"new-replica-forgets-ballot", "a new replica begins with the ballot the meta told"},
		{"stale-discard", "a replica is discarded only if it is as it was when the meta said so"},
		{"grace-below-lease", "the lease ends before the grace"},
		{"deposed-meta-answers", "only the meta that leads extends a lease"},
		{"refuses-in-flight", "a write in flight gets no definite refusal"},
		{"meta-without-cas", "a change is made only to the configuration it was meant for"},
		{"meta-promotes-anyone", "only a member can become the primary"},
		{"meta-drops-unaware", "a deposed primary stays a member until it knows"},
		{"split-unfenced", "no row of the child's half is proposed after the cut"},
		{"split-forgets-mark", "the mark of the cut comes with a checkpoint"},
		{"split-shows-all", "rows of the child's half aren't read after the cut"},
		{"split-copies-uncommitted", "the child is made of a store with the mark"},
		{"split-asks-nobody", "the child is registered when each member holds it"},
		{"split-registers-twice", "the child is registered once"},
		{"split-looks-first", "a copy is used if the child isn't registered after it was made"},
		{"split-looks-nowhere", "a replica that made promises isn't made again"},
	}, coreBugs()...)
}
