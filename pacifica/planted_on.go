//go:build plantedbugs

package pacifica

import "fmt"

// PlantedBug is a bug that PlantBug can put in, to show that the tests would find it.
type PlantedBug struct {
	Name string
	// Breaks is the rule that the bug breaks.
	Breaks string
}

// PlantedBugs lists the bugs.
var PlantedBugs = []PlantedBug{
	{"commit-without-one", "committed means held by every member"},
	{"commit-before-durable", "committed means durable on the primary"},
	{"ack-before-durable", "an acknowledgement means durable"},
	{"commit-unverified", "a follower commits only what its primary confirmed"},
	{"no-fence", "a message of an older ballot is refused"},
	{"old-config", "a configuration of an older ballot is ignored"},
	{"no-force-ballot", "a restarted primary goes on under a new ballot"},
	{"serve-at-once", "a new primary serves after it committed what it held"},
	{"promotion-drops", "a new primary keeps what it held"},
	{"replace-confirmed", "a secondary doesn't replace an entry by its own copy"},
	{"join-early", "a learner joins when it holds all that is committed"},
	{"join-before-serving", "a new primary doesn't know what is committed before it serves"},
	{"join-unwaited", "commits wait for a joining learner"},
	{"refusal-releases", "a learner that was asked for is waited for until the ballot changes"},
	{"match-outlives-ballot", "what a learner acknowledged counts under that ballot only"},
	{"late-snapshot", "a late offer of a checkpoint is refused"},
	{"late-divergence", "a late message is no sign that the group lost something"},
	{"restarted-learner-goes-on", "a learner that restarted doesn't learn under a ballot of before"},
	{"never-resends", "what was lost is sent again"},
	{"acknowledge-below-least", "a write is acknowledged when as many members hold it as must"},
	{"trims-undurable", "an entry stays in the window until it is durable"},
}

var plantedBug string

// PlantBug puts the bug of that name into all Cores of this process, "" none.
func PlantBug(name string) error {
	for _, b := range PlantedBugs {
		if name == b.Name || name == "" {
			plantedBug = name
			return nil
		}
	}
	return fmt.Errorf("no bug %q", name)
}

func planted(name string) bool { return plantedBug == name }
