package sim

// network carries messages between servers (1..n) and the meta (0).
type network struct {
	// cut[from][to]: nothing goes that way.
	cut   [][]bool
	rules []*rule
	held  []func()
	// slowPush is a server to which the meta's pushes take very long.
	slowPush int
}

// rule is what a script does with messages of a kind between two ends.
type rule struct {
	action   string // drop, hold, double
	kind     string
	from, to int // -1 is any
	count    int // how many more; -1 is all
}

func (r *rule) matches(kind string, from, to int) bool {
	return r.count != 0 && (r.kind == kind || r.kind == "any") && (r.from < 0 || r.from == from) && (r.to < 0 || r.to == to)
}

// send has deliver called later, once, not at all, or more often.
func (w *world) send(kind string, from, to int, deliver func()) {
	w.stats.Messages++
	if w.net.cut[from][to] {
		w.tracef("cut      %s %d->%d", kind, from, to)
		return
	}
	if w.manual {
		w.sendByRule(kind, from, to, deliver)
		return
	}
	if w.chance(w.prof.drop) && !w.fragile() {
		w.tracef("lost     %s %d->%d", kind, from, to)
		return
	}
	late := w.prof.late
	switch kind {
	case "push", "sync-answer", "change", "answer", "snapshot", "add":
		late *= 4 // few, and those whose lateness may hurt
	}
	if kind == "push" && to == w.net.slowPush {
		w.at(graceTime+w.rand(1500), deliver)
		return
	}
	w.at(w.delay(late), deliver)
	if w.chance(w.prof.double) {
		w.at(w.delay(late), deliver)
	}
	if kind == "snapshot" && w.chance(2*w.prof.double) {
		w.at(w.rand(200), deliver) // about when the first one has been followed
	}
}

func (w *world) delay(late int) int64 {
	d := 1 + w.rand(w.prof.delay)
	if w.chance(late) {
		d += w.rand(w.prof.lateBy)
	}
	return d
}

func (w *world) sendByRule(kind string, from, to int, deliver func()) {
	for _, r := range w.net.rules {
		if !r.matches(kind, from, to) {
			continue
		}
		if r.count > 0 {
			r.count--
		}
		w.tracef("%s %s %d->%d", r.action, kind, from, to)
		switch r.action {
		case "drop":
			return
		case "hold":
			w.net.held = append(w.net.held, deliver)
			return
		case "double":
			w.at(1, deliver)
		}
		break
	}
	w.at(1, deliver)
}
