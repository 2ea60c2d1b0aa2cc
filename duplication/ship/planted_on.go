//go:build plantedbugs

package ship

import "fmt"

// PlantedBug is a bug that PlantBug can put in, to show that the tests would find it.
type PlantedBug struct {
	Name string
	// Breaks is the rule that the bug breaks.
	Breaks string
}

// PlantedBugs lists the bugs.
var PlantedBugs = []PlantedBug{
	{"pause-drops", "a pause loses nothing of what was read"},
	{"no-fence", "what may still be applied is waited out"},
	{"starts-at-committed", "a new primary goes on from what is persisted"},
	{"late-persisted", "what is persisted never falls"},
	{"unstarted", "nothing is sent before the beginning is persisted"},
	{"untold", "a primary sends nothing before it has heard what is persisted"},
	{"no-wait", "a child sends nothing before its parent has sent what is before the cut"},
	{"skip-no-fence", "what may still be applied of what is skipped is waited out"},
	{"no-copy", "a child whose parent was copied after the cut is copied, too"},
	{"late-read", "a read of an earlier leadership is ignored"},
	{"ships-uncommitted", "only committed entries are sent"},
	{"passes-gap", "a gap in the log isn't passed over"},
	{"boot-counts-early", "a bootstrap counts when the remote has it"},
	{"boot-reads-on", "the log goes on from the decree of the bootstrap"},
	{"boot-no-fence", "what a bootstrap that failed sent is waited out"},
	{"boot-holds-late", "the log is held from the decree of the bootstrap on"},
	{"any-boot", "what a bootstrap says counts for it alone"},
	{"removes-later", "a bootstrap removes nothing that is later than it"},
	{"removes-theirs", "a bootstrap removes only what came from here"},
	{"leaves-removed", "what was removed in a gap is removed by the bootstrap"},
	{"no-window", "memory is bounded"},
	{"releases-unpersisted", "the log is held from the persisted decree on"},
	{"confirms-in-flight", "a decree is acknowledged when the remote has it"},
	{"decree-by-one-lane", "a decree is acknowledged when all lanes have it"},
	{"any-answer", "an answer counts for its batch alone"},
	{"lost-is-done", "a batch without an answer is sent again"},
	{"never-resends", "a batch that failed is sent again"},
	{"overtaken", "a lane keeps its order"},
	{"lost-goes-on", "a primary that lacks what is persisted sends nothing"},
	{"lost-by-committed", "what is written since a primary leads doesn't stand for what it lacks"},
	{"lapse-forgets", "a lease that was over for a while doesn't hide a loss"},
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
