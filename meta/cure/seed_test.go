package cure

import (
	"strings"
	"testing"
	"time"

	"pegasus/base"
)

// Who says that it makes the first replica is left alone, however long that takes; one that said nothing isn't. While there is a
// reason to wait nobody is asked.
func TestSeed(t *testing.T) {
	w := newWorld(t)
	for i := 1; i <= 3; i++ {
		*w.node(addr(i)) = Node{Addr: addr(i), Alive: true, Reported: true}
	}
	w.create(1, 3)
	var seed Seed
	w.seed = func(base.Gpid) Seed { return seed }
	step := func(d time.Duration, want string) {
		t.Helper()
		w.now += d
		out, _ := w.round()
		if got := strings.Join(out, "; "); got != want {
			t.Errorf("at %v: %q, want %q", w.now, got, want)
		}
	}
	seed = Seed{Wait: true}
	step(time.Second, "")
	seed = Seed{}
	step(time.Second, "1.0 ASSIGN_PRIMARY -> n1: n1")
	seed = Seed{By: addr(1)}
	for range 50 {
		step(time.Second, "1.0 ASSIGN_PRIMARY -> n1: n1")
	}
	// Another one is at it, as a new leader hears.
	seed = Seed{By: addr(3)}
	step(time.Second, "1.0 ASSIGN_PRIMARY -> n3: n3")
	// It failed: the next try is later, and elsewhere.
	seed = Seed{Wait: true}
	step(time.Second, "")
	step(5*time.Second, "")
	seed = Seed{}
	step(time.Second, "1.0 ASSIGN_PRIMARY -> n2: n2")
	seed = Seed{By: addr(2)}
	step(time.Second, "1.0 ASSIGN_PRIMARY -> n2: n2")
	w.node(addr(2)).Alive = false
	step(time.Second, "1.0 ASSIGN_PRIMARY -> n1: n1") // avoided once, and there is nobody better
	if n := w.p.parts[w.look[0]].assign; n == nil || n.node != addr(1) {
		t.Errorf("asked: %+v", n)
	}
}
