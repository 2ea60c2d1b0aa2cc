package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"pegasus/base/pause"
	"pegasus/faults/hook"
)

// nemesis is one way to hurt the cluster. run does it, and undoes it before it returns, also
// when ctx ends meanwhile.
type nemesis struct {
	name string
	what string
	// alone: nothing else happens meanwhile, and the cluster is whole before and after,
	// because it destroys data.
	alone bool
	// needs returns why it can't be had in this run.
	needs func(*world) error
	run   func(ctx context.Context, w *world, r *rand.Rand) error
}

var nemeses = []nemesis{
	{name: "kill", what: "kill -9 of a replica server, restarted after up to 12 s", run: killOne},
	{name: "kill-now", what: "kill -9 of a replica server, restarted at once", run: killNow},
	{name: "kill-all", what: "kill -9 of all servers at once", run: killAll},
	{name: "kill-meta", what: "kill -9 of the leading meta server", run: killMeta},
	{name: "pause", what: "SIGSTOP of a server for 5 s", run: pauseFor(5 * time.Second)},
	{name: "pause-long", what: "SIGSTOP of a replica server for 75 s", run: pauseFor(75 * time.Second)},
	{name: "cut", what: "one link between two servers cut", needs: links, run: cutLink},
	{name: "cut-one-way", what: "one direction of one link, or all links, of a server cut", needs: links, run: cutOneWay},
	{name: "split", what: "all servers split into two groups", needs: links, run: split},
	{name: "isolate", what: "a replica server cut off from all servers but not from clients", needs: links, run: isolate},
	{name: "slow-disk", what: "each write and sync of a replica server's disk takes long", run: slowDisk},
	{name: "full-disk", what: "a replica server's disk is full", needs: smallDiskThere, run: fullDisk},
	{name: "io-error", what: "operations of a replica server's disk fail; it is restarted afterwards, or not", run: ioError},
	{name: "corrupt-log", what: "the log of a dead replica server is damaged", alone: true, run: corruptLog},
	{name: "corrupt-sst", what: "table files of a dead replica server are damaged", alone: true, run: corruptTables},
	{name: "lose-replica", what: "directories of a dead replica server's replicas are removed", alone: true, run: loseReplica},
	{name: "pause-source", what: "SIGSTOP for 75 s of a server from which another one, which lost its replicas, copies", alone: true, run: pauseSource},
	{name: "clock", what: "the wall clock of a server jumps, and back", needs: clockThere, run: clockJump},
	{name: "clock-start", what: "a replica server is started with a wrong clock, which is put right later", needs: clockThere, run: clockStart},
	{name: "eio-start", what: "reads fail while a replica server starts; then two others die for a while", alone: true, run: errorAtStart},
	{name: "last-log", what: "all replica servers die one after the other; the log of the last is damaged", alone: true, needs: noPeer, run: lastLog},
	{name: "full-all", what: "the disks of all replica servers are full at once, and one may die meanwhile", alone: true, needs: smallDisks, run: fullAll},
	{name: "terminate", what: "SIGTERM of a replica server or the leading meta server, started again", run: terminateOne},
	{name: "foreign", what: "a replica server of another cluster asks these meta servers for work", needs: noPeer, run: foreign},
	{name: "descriptors", what: "a server has no file descriptors left", run: descriptors},
	{name: "amplify", what: "requests that make far more than they are: removals of many rows under a long key, many large reads at once", run: amplify},
	{name: "slow-clients", what: "clients that send half of a request and wait, or don't read answers", run: slowClients},
	{name: "restart-loop", what: "a replica server is killed and restarted again and again", run: restartLoop},
	{name: "cut-clusters", what: "links between the two clusters cut", needs: peerThere, run: cutClusters},
	{name: "balance", what: "primaries move to other members", run: balance},
}

// Nemeses describes all nemeses, one a line.
func Nemeses() string {
	var b strings.Builder
	for _, n := range nemeses {
		fmt.Fprintf(&b, "%-13s %s\n", n.name, n.what)
	}
	return b.String()
}

// choose returns the nemeses of a list of names separated by commas; "all" is all of them,
// and a name after a minus is left out.
func choose(list string) ([]nemesis, error) {
	var out []nemesis
	for _, name := range strings.Split(list, ",") {
		name = strings.TrimSpace(name)
		rest, without := strings.CutPrefix(name, "-")
		switch {
		case name == "" || name == "none":
		case name == "all":
			out = slices.Clone(nemeses)
		case without:
			out = slices.DeleteFunc(out, func(n nemesis) bool { return n.name == rest })
		default:
			i := slices.IndexFunc(nemeses, func(n nemesis) bool { return n.name == name })
			if i < 0 {
				return nil, fmt.Errorf("no nemesis %q; there are:\n%s", name, Nemeses())
			}
			out = append(out, nemeses[i])
		}
	}
	return out, nil
}

func peerThere(w *world) error {
	if w.peer == nil {
		return errors.New("there is one cluster (-mode pair makes two)")
	}
	return links(w)
}

// noPeer is for what needs a cluster that nobody but its own load writes to, or another one that knows nothing of it.
func noPeer(w *world) error {
	if w.peer != nil {
		return errors.New("the other cluster writes to this one")
	}
	return nil
}

func links(w *world) error {
	if !w.c.net.namespaces {
		return errNoNamespaces
	}
	return nil
}

func smallDiskThere(w *world) error {
	if len(w.c.small) == 0 {
		return errors.New("a small disk can't be mounted outside a sandbox")
	}
	return nil
}

func smallDisks(w *world) error {
	if len(w.c.small) < w.opts.Replicas {
		return errors.New("small disks can't be mounted outside a sandbox")
	}
	return nil
}

func clockThere(w *world) error {
	if !w.opts.Clock {
		return errors.New("the binary is built without a clock that can be moved (-clock)")
	}
	return nil
}

// claim takes a server of one of the roles for a nemesis that acts on it alone.
func (w *world) claim(r *rand.Rand, roles ...string) (*server, func(), error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var free []*server
	for _, s := range w.c.servers {
		if slices.Contains(roles, s.Role) && !w.claimed[s] {
			free = append(free, s)
		}
	}
	if len(free) == 0 {
		return nil, nil, errors.New("every server is taken by another nemesis")
	}
	return w.claimThis(free[r.IntN(len(free))])
}

// claimThis is claim for one server, with mu held.
func (w *world) claimThis(s *server) (*server, func(), error) {
	if w.claimed[s] {
		return nil, nil, fmt.Errorf("%s is taken by another nemesis", s.Name)
	}
	w.claimed[s] = true
	return s, func() {
		w.mu.Lock()
		delete(w.claimed, s)
		w.mu.Unlock()
	}, nil
}

func between(r *rand.Rand, lo, hi time.Duration) time.Duration {
	return lo + time.Duration(r.Int64N(int64(hi-lo)+1))
}

func killOne(ctx context.Context, w *world, r *rand.Rand) error {
	s, free, err := w.claim(r, "replica")
	if err != nil {
		return err
	}
	defer free()
	d := between(r, 0, 12*time.Second)
	w.tell("kill %s for %v", s.Name, d.Round(time.Millisecond))
	kill(s)
	pause.For(ctx, d)
	return s.Start()
}

func killNow(_ context.Context, w *world, r *rand.Rand) error {
	s, free, err := w.claim(r, "replica")
	if err != nil {
		return err
	}
	defer free()
	w.tell("kill %s, start it at once", s.Name)
	kill(s)
	return s.Start()
}

// killAll doesn't ask who else is at work on a server: whoever wanted it dead for longer
// finds it running.
func killAll(ctx context.Context, w *world, r *rand.Rand) error {
	d := between(r, 0, 3*time.Second)
	w.tell("kill everything for %v", d.Round(time.Millisecond))
	kill(w.c.servers...)
	pause.For(ctx, d)
	for _, i := range r.Perm(len(w.c.servers)) {
		if err := w.c.servers[i].Start(); err != nil {
			return err
		}
		pause.For(ctx, between(r, 0, 300*time.Millisecond))
	}
	return nil
}

func killMeta(ctx context.Context, w *world, r *rand.Rand) error {
	lead := w.leader(ctx)
	if lead == nil {
		return errors.New("no meta leads")
	}
	w.mu.Lock()
	s, free, err := w.claimThis(lead)
	w.mu.Unlock()
	if err != nil {
		return err
	}
	defer free()
	d := between(r, 0, 10*time.Second)
	w.tell("kill %s, which leads, for %v", s.Name, d.Round(time.Millisecond))
	kill(s)
	pause.For(ctx, d)
	return s.Start()
}

func pauseFor(d time.Duration) func(context.Context, *world, *rand.Rand) error {
	return func(ctx context.Context, w *world, r *rand.Rand) error {
		roles := []string{"replica"}
		if d < 10*time.Second {
			roles = append(roles, "meta")
		}
		s, free, err := w.claim(r, roles...)
		if err != nil {
			return err
		}
		defer free()
		w.tell("stop %s for %v", s.Name, d)
		s.pause()
		defer s.resume()
		pause.For(ctx, d)
		return nil
	}
}

// two picks two servers, of which at least one is a replica server.
func two(w *world, r *rand.Rand) (a, b *server) {
	for {
		p := r.Perm(len(w.c.servers))
		a, b = w.c.servers[p[0]], w.c.servers[p[1]]
		if a.Role == "replica" || b.Role == "replica" {
			return a, b
		}
	}
}

// cutWhile cuts links for d.
func cutWhile(ctx context.Context, w *world, d time.Duration, ls []link) error {
	var err error
	for _, l := range ls {
		err = errors.Join(err, w.c.net.Cut(l.from, l.to))
	}
	pause.For(ctx, d)
	for _, l := range ls {
		err = errors.Join(err, w.c.net.Heal(l.from, l.to))
	}
	return err
}

func cutLink(ctx context.Context, w *world, r *rand.Rand) error {
	a, b := two(w, r)
	d := between(r, 3*time.Second, 20*time.Second)
	w.tell("cut %s - %s for %v", a.Name, b.Name, d.Round(time.Millisecond))
	return cutWhile(ctx, w, d, []link{{a.Name, b.Name}, {b.Name, a.Name}})
}

// cutClusters cuts this cluster off from the other one: as a whole, in one direction, or one of its servers.
func cutClusters(ctx context.Context, w *world, r *rand.Rand) error {
	d := between(r, 3*time.Second, 40*time.Second)
	ours, there, back, what := w.c.servers, true, true, "all links to the other cluster"
	switch r.IntN(4) {
	case 0:
		back, what = false, "all that goes to the other cluster"
	case 1:
		there, what = false, "all that comes from the other cluster"
	case 2:
		s := ours[r.IntN(len(ours))]
		ours, what = []*server{s}, "all links of "+s.Name+" to the other cluster"
	}
	var ls []link
	for _, a := range ours {
		for _, b := range w.peer.c.servers {
			if there {
				ls = append(ls, link{a.Name, b.Name})
			}
			if back {
				ls = append(ls, link{b.Name, a.Name})
			}
		}
	}
	w.tell("cut %s for %v", what, d.Round(time.Millisecond))
	return cutWhile(ctx, w, d, ls)
}

func cutOneWay(ctx context.Context, w *world, r *rand.Rand) error {
	a, b := two(w, r)
	d := between(r, 3*time.Second, 20*time.Second)
	ls := []link{{a.Name, b.Name}}
	what := a.Name + " -> " + b.Name
	if how := r.IntN(3); how > 0 {
		ls = nil
		what = "all that " + a.Name + " sends to servers"
		if how == 2 {
			what = "all that servers send to " + a.Name
		}
		for _, s := range w.c.servers {
			switch {
			case s == a:
			case how == 1:
				ls = append(ls, link{a.Name, s.Name})
			default:
				ls = append(ls, link{s.Name, a.Name})
			}
		}
	}
	w.tell("cut %s for %v", what, d.Round(time.Millisecond))
	return cutWhile(ctx, w, d, ls)
}

func split(ctx context.Context, w *world, r *rand.Rand) error {
	p := r.Perm(len(w.c.servers))
	n := 1 + r.IntN(len(p)-1)
	var ls []link
	var left []string
	for i, x := range p {
		if i < n {
			left = append(left, w.c.servers[x].Name)
		}
		for j, y := range p {
			if (i < n) != (j < n) {
				ls = append(ls, link{w.c.servers[x].Name, w.c.servers[y].Name})
			}
		}
	}
	slices.Sort(left)
	d := between(r, 5*time.Second, 25*time.Second)
	w.tell("split %v from the rest for %v", left, d.Round(time.Millisecond))
	return cutWhile(ctx, w, d, ls)
}

func isolate(ctx context.Context, w *world, r *rand.Rand) error {
	s, free, err := w.claim(r, "replica")
	if err != nil {
		return err
	}
	defer free()
	var ls []link
	for _, o := range w.c.servers {
		if o != s {
			ls = append(ls, link{s.Name, o.Name}, link{o.Name, s.Name})
		}
	}
	d := between(r, 5*time.Second, 25*time.Second)
	w.tell("isolate %s from all servers for %v", s.Name, d.Round(time.Millisecond))
	return cutWhile(ctx, w, d, ls)
}

// mostApart is by how many seconds a clock is wrong at most where two clusters write the same rows: two such clocks are apart by less
// than the hour (rrdb.MaxAhead) from which on the rows may differ.
const mostApart = 1500

func clockJump(ctx context.Context, w *world, r *rand.Rand) error {
	s, free, err := w.claim(r, "replica", "meta")
	if err != nil {
		return err
	}
	defer free()
	by := []int64{-3600, -30, -2, 2, 30, 3600, 86400}[r.IntN(7)]
	if w.peer != nil {
		by = max(min(by, mostApart), -mostApart)
	}
	d := between(r, 3*time.Second, 15*time.Second)
	w.tell("the clock of %s jumps by %d s for %v", s.Name, by, d.Round(time.Millisecond))
	if err := w.c.hurt(s, hook.Control{ClockOffsetS: by}); err != nil {
		return err
	}
	pause.For(ctx, d)
	return w.c.hurt(s, hook.Control{})
}

func restartLoop(ctx context.Context, w *world, r *rand.Rand) error {
	s, free, err := w.claim(r, "replica")
	if err != nil {
		return err
	}
	defer free()
	n := 3 + r.IntN(6)
	w.tell("kill and start %s %d times", s.Name, n)
	for range n {
		kill(s)
		if err := s.Start(); err != nil {
			return err
		}
		if !pause.For(ctx, between(r, 50*time.Millisecond, 2500*time.Millisecond)) {
			return nil
		}
	}
	return nil
}

func balance(ctx context.Context, w *world, r *rand.Rand) error {
	d := between(r, 5*time.Second, 12*time.Second)
	w.tell("move primaries for %v", d.Round(time.Millisecond))
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	moved, failed := 0, 0
	for pause.For(ctx, between(r, 200*time.Millisecond, time.Second)) {
		cfg := w.ca.config.Load()
		if cfg == nil {
			continue
		}
		p := &cfg.Partitions[r.IntN(len(cfg.Partitions))]
		if p.Primary.IsZero() || len(p.Secondaries) == 0 {
			continue
		}
		mctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		err := w.cl.Admin().ProposeMovePrimary(mctx, p.Pid, p.Primary, p.Secondaries[r.IntN(len(p.Secondaries))])
		cancel()
		if err != nil {
			failed++
			w.debug("move primary of %v: %v", p.Pid, err)
		} else {
			moved++
		}
	}
	w.tell("%d moves of primaries accepted, %d refused", moved, failed)
	return nil
}

// agenda hands out nemeses from a bag that is filled again when it is empty, so that each
// gets its turn. What it hands out follows from the seed alone.
type agenda struct {
	mu    sync.Mutex
	seed  uint64
	r     *rand.Rand
	all   []nemesis
	bag   []nemesis
	count uint64
}

func newAgenda(seed uint64, all []nemesis) *agenda {
	return &agenda{seed: seed, r: rand.New(rand.NewPCG(seed, 1)), all: all}
}

func (a *agenda) next() (nemesis, *rand.Rand) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.bag) == 0 {
		a.bag = slices.Clone(a.all)
		a.r.Shuffle(len(a.bag), func(i, j int) { a.bag[i], a.bag[j] = a.bag[j], a.bag[i] })
	}
	n := a.bag[0]
	a.bag = a.bag[1:]
	a.count++
	return n, rand.New(rand.NewPCG(a.seed, 100+a.count))
}

// torment hurts the cluster on so many lanes at once until ctx ends.
func (w *world) torment(ctx context.Context, list []nemesis, lanes int) {
	if len(list) == 0 {
		<-ctx.Done()
		return
	}
	a := newAgenda(w.opts.Seed, list)
	var wg sync.WaitGroup
	for range lanes {
		wg.Go(func() {
			for ctx.Err() == nil {
				n, r := a.next()
				w.suffer(ctx, n, r)
				pause.For(ctx, between(r, time.Second, 5*time.Second))
			}
		})
	}
	wg.Wait()
}

// wholePatience is how long the cluster gets to become whole: what is stuck for longer after
// a nemesis ended is a fault.
const wholePatience = time.Minute

func (w *world) suffer(ctx context.Context, n nemesis, r *rand.Rand) {
	if n.alone {
		w.turn.Lock()
		defer w.turn.Unlock()
		if err := w.awaitWhole(ctx, wholePatience); err != nil {
			if ctx.Err() == nil {
				w.wrong("the cluster isn't whole %v after the last nemesis: %v", wholePatience, err)
			}
			return
		}
	} else {
		w.turn.RLock()
		defer w.turn.RUnlock()
	}
	if ctx.Err() != nil {
		return
	}
	began := now()
	err := n.run(ctx, w, r)
	w.mu.Lock()
	w.done[n.name]++
	w.mu.Unlock()
	if err != nil {
		w.tell("%s: %v", n.name, err)
		return
	}
	if n.alone {
		// Not ctx: what was destroyed must come back before anything else is.
		wctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), wholePatience)
		defer cancel()
		if err := w.awaitWhole(wctx, wholePatience); err != nil {
			w.wrong("the cluster isn't whole %v after %s: %v", wholePatience, n.name, err)
		}
	}
	w.tell("%s is over after %.1fs", n.name, seconds(now()-began))
}
