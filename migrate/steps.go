package migrate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"pegasus/base/appenv"
	"pegasus/base/pause"
	"pegasus/gen/duplication"
)

// The lags that are small, which are what the exchange between primaries and metas takes: 2 s, and 10 s in a C++ cluster.
const (
	lagOfOurs = 2 * time.Second
	lagOfCPP  = 15 * time.Second
)

// source notes what the source is.
func (m *Migration) source(i Info) {
	m.ours, m.lag = i.Ours, lagOfCPP
	most := 5 * time.Minute
	if i.Ours {
		m.lag, most = lagOfOurs, time.Minute
	}
	m.opt.MaxRefused = cmp.Or(m.opt.MaxRefused, most)
}

// named finds the name of the other cluster, if none was given.
func (m *Migration) named(ctx context.Context) error {
	if m.opt.ClusterThere != "" {
		return nil
	}
	info, err := m.to.Info(ctx)
	if err != nil {
		return m.wrap(fmt.Errorf("ask the destination: %w", err), "check the addresses of --to")
	}
	if info.Name == "" {
		return m.fail("give it with --cluster", "the destination doesn't say its name, by which the source's configuration knows it")
	}
	m.opt.ClusterThere = info.Name
	return nil
}

// Plan checks both clusters and says what Run would do. It changes nothing.
func (m *Migration) Plan(ctx context.Context) error {
	p, err := m.check(ctx)
	if err != nil {
		return m.wrap(err, "")
	}
	switch {
	case p.dup == nil:
		m.step = Begin
		n := m.opt.Replicas
		if n == 0 {
			n = p.here.Replicas
		}
		m.tell("would let the source send the table to cluster %s, which makes table %s of %d partitions with %d replicas, and the same settings", m.opt.ClusterThere, m.opt.TableThere, p.here.Partitions, n)
	default:
		m.step = Begin
		m.tell("is done: the source sends the table since %s", p.dup.Created.UTC().Format(time.RFC3339))
	}
	m.step = Copy
	m.tell("would wait until all rows are there, and at most %d mutations are behind", m.opt.MaxBehind)
	m.step = Refuse
	if p.denied {
		m.opt.Tell(Event{Step: Refuse, Alarm: true, Text: "is done: the source refuses writes to the table"})
	} else {
		m.tell("would set %s = %s at the source. Clients' writes fail until they are switched", appenv.DenyClient, Denied)
	}
	m.step = Drain
	m.tell("would wait until the destination has everything; if all of it takes longer than %v, writes are allowed again", m.opt.MaxRefused)
	m.step = Compare
	m.tell("would verify the copy: %s", m.opt.Verify)
	m.step = Done
	m.tell("nothing was changed")
	return nil
}

// check looks at both ends.
func (m *Migration) check(ctx context.Context) (p place, err error) {
	m.step = Check
	from, err := m.from.Info(ctx)
	if err != nil {
		return p, m.wrap(fmt.Errorf("ask the source: %w", err), "check the addresses of --from")
	}
	to, err := m.to.Info(ctx)
	if err != nil {
		return p, m.wrap(fmt.Errorf("ask the destination: %w", err), "check the addresses of --to")
	}
	if err := m.named(ctx); err != nil {
		return p, err
	}
	m.tell("the source is %s, the destination is %s", from.Program, to.Program)
	if from.Leader != "" && from.Leader == to.Leader || from.ID != "" && from.ID == to.ID {
		return p, m.fail("give the meta servers of another cluster with --to", "both ends are the same cluster")
	}
	m.source(from)
	for _, x := range []struct {
		end string
		Info
	}{{"source", from}, {"destination", to}} {
		if l := strings.TrimPrefix(x.Level, "fl_"); l != "" && l != "steady" && l != "lively" {
			return p, m.fail("raise it to steady", "the function level of the %s is %s, at which tables can't be changed", x.end, l)
		}
		if !x.Duplicates {
			return p, m.fail("run `pegasus meta upgrade-version` there", "the version of the %s is older than duplications", x.end)
		}
		if x.Alive == 0 {
			return p, m.fail("see `pegasus nodes`", "no replica server of the %s lives", x.end)
		}
		if x.Dead > 0 {
			m.tell("%d replica servers of the %s are dead", x.Dead, x.end)
		}
	}
	if p, err = m.look(ctx); err != nil {
		return p, m.wrap(err, "")
	}
	if p.here.Unhealthy > 0 {
		return p, m.fail("see `pegasus table show "+m.opt.Table+" --why`", "%d partitions of the table have no primary", p.here.Unhealthy)
	}
	if p.dup != nil {
		m.tell("the table is sent to cluster %s since %s: this goes on with that duplication (%d), and --abort and --finish end it", p.dup.Cluster, p.dup.Created.UTC().Format(time.RFC3339), p.dup.ID)
		return p, m.checkCopy(&p)
	}
	replicas := p.here.Replicas
	if m.opt.Replicas > 0 {
		replicas = m.opt.Replicas
	}
	size, err := m.from.Bytes(ctx, m.opt.Table)
	if err != nil {
		return p, m.wrap(fmt.Errorf("ask how large the table is: %w", err), "see `pegasus nodes`")
	}
	switch need := size * int64(replicas); {
	case p.denied || p.denies != "":
		return p, m.denies(&p)
	case p.there != nil:
		return p, m.fail(fmt.Sprintf("if it is what is left of an earlier attempt drop it (`pegasus table drop %s --meta METAS`); else give another name with --name-there", m.opt.TableThere),
			"the destination has a table %q, which isn't a copy of this one", m.opt.TableThere)
	case replicas > to.Alive:
		return p, m.fail("give fewer with --replicas", "the table shall have %d replicas, and the destination has %d servers", replicas, to.Alive)
	case size > 0 && to.Free >= 0 && need > to.Free:
		return p, m.fail("add servers or disks there", "the table needs about %d MB on the disks of the destination, which have %d MB free", need>>20, to.Free>>20)
	}
	if !from.Ours && !p.here.AtomicIdempotent {
		m.tell("a C++ cluster refuses incr, check_and_set and check_and_mutate while it duplicates a table, unless enable_atomic_idempotent is set for it first")
	}
	return p, nil
}

// denies: the setting by which requests are refused isn't of a migration. It is left as it is.
func (m *Migration) denies(p *place) error {
	return m.fail(fmt.Sprintf("`pegasus table env del %s %s` allows them", m.opt.Table, appenv.DenyClient), "the source refuses requests to the table (%s = %s), and not because of a migration", appenv.DenyClient, p.here.Envs[appenv.DenyClient])
}

// checkCopy looks whether a duplication that is there is what a migration needs.
func (m *Migration) checkCopy(p *place) error {
	d := p.dup
	switch {
	case p.denies != "":
		return m.denies(p)
	case d.Status == duplication.DS_PAUSE:
		return m.fail(fmt.Sprintf("`pegasus dup resume %s` goes on with it", m.opt.Table), "the duplication is paused")
	case d.Skips:
		return m.fail("run with --abort, and begin anew", "the duplication leaves out what it can't send (mode skip): the copy may lack rows")
	case p.there != nil && !isCopy(p):
		return m.fail("run with --abort, and drop or rename that table", "table %q of the destination is older than the duplication: it isn't a copy, or cluster %s isn't the one at --to", m.opt.TableThere, d.Cluster)
	}
	for i, x := range d.Partitions {
		if x.Skipped > 0 {
			return m.fail("run with --abort, and begin anew", "partition %d left out %d mutations: the copy lacks them", i, x.Skipped)
		}
	}
	return nil
}

func (m *Migration) poll() time.Duration {
	switch {
	case m.opt.Poll > 0:
		return m.opt.Poll
	case m.refused.IsZero():
		return time.Second
	}
	return 100 * time.Millisecond
}

// again looks at a migration that has begun.
func (m *Migration) again(ctx context.Context) (place, error) {
	p, err := m.look(ctx)
	switch {
	case err != nil:
		return p, err
	case p.dup == nil:
		m.begun = false
		return p, m.fail("drop the table at the destination, and run the command again", "the duplication is gone: somebody removed it")
	}
	return p, m.checkCopy(&p)
}

// tries is how often in a row a cluster may fail to answer while it is waited for.
const tries = 10

// copied waits until all rows are there and little is behind.
func (m *Migration) copied(ctx context.Context) (place, error) {
	began, last, lastAt := time.Now(), int64(-1), time.Time{}
	var gone time.Time
	for failed := 0; ; {
		p, err := m.again(ctx)
		var s *StepError
		switch {
		case err == nil:
			failed = 0
		case errors.As(err, &s):
			return p, err
		default:
			if failed++; failed == tries || ctx.Err() != nil {
				return p, err
			}
			m.tell("%v: tried again", err)
			if !pause.For(ctx, m.poll()) {
				return p, err
			}
			continue
		}
		d := p.dup
		made := d.Status == duplication.DS_APP || d.Status == duplication.DS_LOG
		switch {
		case p.there != nil:
			gone = time.Time{}
		case made && gone.IsZero():
			gone = time.Now()
		case made && time.Since(gone) > m.opt.CreateWait:
			return p, m.fail("run with --abort; if the table was made in another cluster drop it there, and correct clusters."+d.Cluster+".meta_servers in the source's configuration",
				"the source has made the table in cluster %s, and the destination has none: it was dropped, or cluster %s isn't the one at --to", d.Cluster, d.Cluster)
		}
		e := Event{Step: Copy, Of: len(d.Partitions)}
		var sum int64
		known := len(d.Partitions) > 0
		why := map[string]int{}
		for _, x := range d.Partitions {
			if x.Confirmed >= 0 {
				e.Sending++
				sum += x.Confirmed
			}
			if x.Committed < 0 {
				known = false
			}
			e.Behind += max(0, x.Committed-max(0, x.Confirmed))
			if x.Why != "" {
				why[x.Why]++
			}
		}
		if now := time.Now(); last >= 0 {
			e.Rate = float64(sum-last) / now.Sub(lastAt).Seconds()
		}
		last, lastAt = sum, time.Now()
		e.Text = fmt.Sprintf("%s, %d of %d partitions are copied, %d mutations behind, %.0f/s confirmed, %v", statusWords[d.Status], e.Sending, e.Of, e.Behind, e.Rate, time.Since(began).Round(time.Second))
		if w := reasons(why); w != "" {
			e.Text += ": " + w
		}
		m.opt.Tell(e)
		if p.denied || d.Status == duplication.DS_LOG && p.there != nil && known && e.Sending == e.Of && (e.Behind <= m.opt.MaxBehind || float64(e.Behind) <= e.Rate*m.lag.Seconds()) {
			return p, nil
		}
		if !pause.For(ctx, m.poll()) {
			return p, context.Cause(ctx)
		}
	}
}

var statusWords = map[duplication.DuplicationStatus]string{
	duplication.DS_INIT: "begins", duplication.DS_PREPARE: "the table is being made", duplication.DS_APP: "copying", duplication.DS_LOG: "sending",
}

// reasons are what most partitions say, at most three of them.
func reasons(why map[string]int) string {
	var list []string
	for w := range why {
		list = append(list, w)
	}
	slices.SortFunc(list, func(a, b string) int {
		if why[a] != why[b] {
			return why[b] - why[a]
		}
		return strings.Compare(a, b)
	})
	var out []string
	for _, w := range list[:min(3, len(list))] {
		out = append(out, fmt.Sprintf("%s (%d)", w, why[w]))
	}
	return strings.Join(out, ", ")
}

// prepareVerify decides how the copy is verified, and does what can be done while it is written to.
func (m *Migration) prepareVerify(ctx context.Context, p *place) (Verify, error) {
	m.step = Compare
	how := m.opt.Verify
	if how == Auto || how == ByDigest {
		// A digest reads the whole table while writes are refused: only if there is time.
		began := time.Now()
		within, cancel := context.WithTimeout(ctx, m.opt.MaxRefused/2)
		here, there, err := m.digests(within)
		cancel()
		took := time.Since(began)
		switch {
		case ctx.Err() != nil:
			return how, context.Cause(ctx)
		case err == nil && 2*rowsOf(there) < rowsOf(here):
			return how, m.fail("run with --abort --drop-copy, and try again; a table that came from the other cluster goes back only to a table that the duplication makes there, from one of our clusters of version 4", "the copy has %d of %d rows: rows that came from the other cluster weren't sent to it", rowsOf(there), rowsOf(here))
		case err == nil && took < m.opt.MaxRefused/3:
			how = ByDigest
			m.tell("digests take %v", took.Round(time.Millisecond))
		case how == Auto:
			how = ByCompare
		case err != nil:
			return how, m.wrap(fmt.Errorf("digests: %w", err), "use --verify compare")
		default:
			return how, m.fail("raise --max-refused, or use --verify compare", "digests take %v, while writes are to be refused for at most %v", took.Round(time.Millisecond), m.opt.MaxRefused)
		}
	}
	if how == ByCompare && m.opt.Compare == nil {
		return how, m.fail("use --verify digest or none", "the tables can't be compared")
	}
	if how == ByCompare && !p.denied {
		m.tell("all rows are compared while the table is used")
		n, text, err := m.opt.Compare(ctx, 0)
		switch {
		case err != nil:
			return how, fmt.Errorf("compare the tables: %w", err)
		case n > 0:
			return how, m.fail("`pegasus compare table` shows them; run the command again, or with --abort", "the copy differs: %s", text)
		}
		m.tell("%s", text)
	}
	return how, nil
}

func rowsOf(ds []Digest) (n int64) {
	for _, d := range ds {
		n += d.Rows
	}
	return n
}

// digests returns those of both ends, at the same time.
func (m *Migration) digests(ctx context.Context) (from, to []Digest, err error) {
	at := time.Now()
	done := make(chan error, 1)
	go func() {
		var err error
		to, err = m.to.Digests(ctx, m.opt.TableThere, at)
		done <- err
	}()
	from, err = m.from.Digests(ctx, m.opt.Table, at)
	err = errors.Join(err, <-done)
	if err == nil && len(from) != len(to) {
		err = fmt.Errorf("%d and %d partitions: %w", len(from), len(to), errors.ErrUnsupported)
	}
	return from, to, err
}

// settle waits until writes are refused, drained and verified.
func (m *Migration) settle(ctx context.Context, how Verify) error {
	for first := true; ; first = false {
		m.step = Refuse
		m.from.Hurry(ctx)
		if err := m.until(ctx, func() (bool, string, error) {
			n, of, err := m.from.Refused(ctx, m.opt.Table)
			if err == nil && n < of {
				err = m.lifted(ctx)
			}
			return n == of && of > 0, fmt.Sprintf("%d of %d partitions refuse writes", n, of), err
		}); err != nil {
			return err
		}
		if first {
			m.tell("all partitions of the source refuse writes")
		}
		m.step = Drain
		if err := m.drain(ctx); err != nil {
			return err
		}
		before, err := m.from.Decrees(ctx, m.opt.Table)
		if err != nil {
			return err
		}
		if first {
			m.tell("the destination has confirmed all that the source has committed")
		}
		m.step = Compare
		// A difference is one only if nothing was written meanwhile.
		var s *StepError
		differs := m.verify(ctx, how)
		if differs != nil && !errors.As(differs, &s) {
			return differs
		}
		m.step = Drain
		if m.ours {
			// A write that came in between would have changed this. Primaries of C++ clusters commit empty mutations
			// from time to time, so that decrees tell nothing.
			after, err := m.from.Decrees(ctx, m.opt.Table)
			if err != nil {
				return err
			}
			if !slices.Equal(before, after) {
				m.tell("the source has committed more: it is looked at again")
				continue
			}
		}
		// Another run may have failed meanwhile, and has allowed writes.
		n, of, err := m.from.Refused(ctx, m.opt.Table)
		switch {
		case err != nil:
			return err
		case n == of:
			return differs
		}
		m.tell("the source takes writes: it is looked at again")
	}
}

// lifted is an error if writes were refused by another run, and are no longer: this one won't refuse them again unasked.
func (m *Migration) lifted(ctx context.Context) error {
	if !m.refused.IsZero() {
		return nil
	}
	p, err := m.again(ctx)
	if err == nil && !p.denied {
		err = m.fail("run the command again", "the source takes writes again, which another run had refused: that run has failed, or somebody has allowed them")
	}
	return err
}

// until waits for a condition; text says what was seen.
func (m *Migration) until(ctx context.Context, f func() (bool, string, error)) error {
	var s *StepError
	told, seen := time.Now(), ""
	for failed := 0; ; {
		ok, text, err := f()
		if err == nil {
			failed, seen = 0, text
		} else if ctx.Err() != nil && seen != "" {
			// The call was cut short: that isn't what was waited for.
			return fmt.Errorf("%w: %s", context.Cause(ctx), seen)
		} else if failed++; failed == tries || errors.As(err, &s) {
			return err
		}
		if now := time.Now(); !ok && now.Sub(told) >= 2*time.Second {
			if told = now; err != nil {
				text = err.Error()
			}
			m.tell("%s", text)
		}
		switch {
		case ok && err == nil:
			return nil
		case !pause.For(ctx, m.poll()):
			if err != nil {
				return fmt.Errorf("%w: %w", context.Cause(ctx), err)
			}
			return fmt.Errorf("%w: %s", context.Cause(ctx), text)
		}
	}
}

// drain waits until the destination has all that the source had committed when nothing was being committed any more. Of our
// clusters that is all that they have now. The primaries of C++ clusters commit empty mutations from time to time: what they
// had at one such moment, after all refused writes, is enough.
func (m *Migration) drain(ctx context.Context) error {
	var want []Decrees
	return m.until(ctx, func() (bool, string, error) {
		m.from.Hurry(ctx)
		if want == nil || m.ours {
			// The decrees are asked for first: what is confirmed can only have grown since.
			have, err := m.from.Decrees(ctx, m.opt.Table)
			if err != nil {
				return false, "", fmt.Errorf("ask the source's primaries: %w", err)
			}
			pending := 0
			for _, d := range have {
				if d.Prepared != d.Committed {
					pending++
				}
			}
			if pending > 0 {
				return false, fmt.Sprintf("%d partitions of the source are committing", pending), nil
			}
			want = have
		}
		return m.drained(ctx, want)
	})
}

// drained tells whether the destination has all up to these decrees.
func (m *Migration) drained(ctx context.Context, have []Decrees) (ok bool, text string, err error) {
	p, err := m.again(ctx)
	if err != nil {
		return false, "", err
	}
	if len(p.dup.Partitions) != len(have) {
		return false, fmt.Sprintf("the table has %d partitions, and %d are duplicated", len(have), len(p.dup.Partitions)), nil
	}
	var behind int64
	why := map[string]int{}
	for i, d := range have {
		x := p.dup.Partitions[i]
		if n := d.Committed - max(x.Confirmed, 0); n > 0 {
			behind += n
			if x.Why != "" {
				why[x.Why]++
			}
		}
	}
	text = fmt.Sprintf("%d mutations are behind", behind)
	if w := reasons(why); w != "" {
		text += ": " + w
	}
	return behind == 0, text, nil
}

// verify compares the tables, which stand still.
func (m *Migration) verify(ctx context.Context, how Verify) error {
	switch how {
	case None:
		m.result.Verified = "not verified"
		return nil
	case ByDigest:
		from, to, err := m.digests(ctx)
		if err != nil {
			return fmt.Errorf("digests: %w", err)
		}
		m.result.Rows = 0
		var wrong []string
		for i := range from {
			m.result.Rows += from[i].Rows
			if from[i] != to[i] {
				wrong = append(wrong, fmt.Sprintf("partition %d has %d rows, and %d there", i, from[i].Rows, to[i].Rows))
			}
		}
		if len(wrong) == 0 {
			m.result.Verified = fmt.Sprintf("%d rows, the digests of all %d partitions are equal", m.result.Rows, len(from))
			m.tell("%s", m.result.Verified)
			return nil
		}
		return m.fail("`pegasus compare table` shows which rows; run with --abort --drop-copy, and begin anew", "the copy differs: %s", strings.Join(wrong[:min(3, len(wrong))], ", "))
	}
	if m.opt.Compare == nil {
		return m.fail("use --verify digest or none", "the tables can't be compared")
	}
	n, text, err := m.opt.Compare(ctx, m.opt.MaxRefused/3)
	switch {
	case err != nil:
		return fmt.Errorf("compare the tables: %w", err)
	case n > 0:
		return m.fail("`pegasus compare table` shows them; run with --abort --drop-copy, and begin anew", "the copy differs: %s", text)
	}
	m.result.Verified = text
	m.tell("%s", text)
	return nil
}
