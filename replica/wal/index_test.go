package wal

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// versions is a model of replica.runs: what stands for each decree.
type versions map[int64]version

type version struct {
	ballot int64
	seg    *segment
	loc    loc
}

func (m versions) check(r *replica) error {
	got := make(versions)
	last := int64(0)
	for i := range r.runs {
		t := &r.runs[i]
		if len(t.locs) == 0 || t.first <= last {
			return fmt.Errorf("run %d from %d of %d entries, after %d", i, t.first, len(t.locs), last)
		}
		var bytes int64
		for k, at := range t.locs {
			got[t.first+int64(k)] = version{t.ballot, t.seg, at}
			bytes += int64(at.n)
		}
		if bytes != t.bytes {
			return fmt.Errorf("run %d says %d bytes, has %d", i, t.bytes, bytes)
		}
		last = t.last()
	}
	if !maps.Equal(got, m) {
		return fmt.Errorf("got %v, want %v", got, m)
	}
	return nil
}

func TestIndexAgainstModel(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		segs := []*segment{{seq: 1}, {seq: 2}, {seq: 3}, {seq: 4}}
		r := &replica{gpid: g(1)}
		m := make(versions)
		next, ballot := int64(1), int64(1)
		for step := range 600 {
			seg := segs[rng.IntN(1+step*len(segs)/600)]
			v := version{ballot, seg, loc{uint32(step), uint32(rng.IntN(100) + 1)}}
			d := next
			switch k := rng.IntN(20); {
			case k < 10:
				next++
			case k < 14:
				d = 1 + rng.Int64N(next+3)
				next = max(next, d+1)
			case k == 14:
				ballot++
			case k == 15:
				at := rng.Int64N(next + 2)
				r.truncate(at)
				maps.DeleteFunc(m, func(d int64, _ version) bool { return d > at })
				continue
			case k == 16:
				at := rng.Int64N(next + 2)
				r.truncateBelow(at)
				maps.DeleteFunc(m, func(d int64, _ version) bool { return d < at })
				continue
			case k == 17 && rng.IntN(4) == 0:
				r.forget(seg)
				maps.DeleteFunc(m, func(_ int64, v version) bool { return v.seg == seg })
				continue
			}
			r.put(d, v.ballot, v.seg, v.loc)
			m[d] = v
			if err := m.check(r); err != nil {
				t.Fatalf("seed %d step %d: %v", seed, step, err)
			}
			r.state.Retention = rng.Int64N(next + 1)
			var need int64
			ds := slices.Sorted(maps.Keys(m))
			for _, d := range ds {
				if m[d].seg == seg && d > r.state.Retention {
					need += int64(m[d].loc.n)
				}
			}
			if got := r.needs(seg); got != need {
				t.Fatalf("seed %d step %d: needs %d bytes, want %d", seed, step, got, need)
			}
			r.state.Last = ds[len(ds)-1]
			first := r.state.Last
			for i := len(ds) - 1; i > 0 && ds[i-1] == ds[i]-1; i-- {
				first = ds[i-1]
			}
			if got := r.contiguousFrom(); got != first {
				t.Fatalf("seed %d step %d: contiguous from %d, want %d", seed, step, got, first)
			}
			probe := rng.Int64N(next + 2)
			if run, at, ok := r.lookup(probe); ok != (m[probe] != version{}) || ok && (version{run.ballot, run.seg, at}) != m[probe] {
				t.Fatalf("seed %d step %d: lookup of %d", seed, step, probe)
			}
		}
	}
}

// TestIndexIsCompact: entries in order cost their 8 bytes, whatever ran before.
func TestIndexIsCompact(t *testing.T) {
	r := &replica{gpid: g(1)}
	const n = 100000
	for i := range int64(4) {
		seg := &segment{seq: uint64(i)}
		for d := i * n; d < (i+1)*n; d++ {
			r.put(d+1, 1, seg, loc{1, 1})
		}
	}
	if len(r.runs) != 4 {
		t.Fatalf("%d runs", len(r.runs))
	}
	for _, t2 := range r.runs[:3] {
		if cap(t2.locs) > n*5/4 {
			t.Errorf("a complete run of %d entries keeps room for %d", len(t2.locs), cap(t2.locs))
		}
	}
}
