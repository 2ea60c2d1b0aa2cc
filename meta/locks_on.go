//go:build invariants

package meta

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"sync"
)

// held are the ranks that each goroutine holds, by the goroutine's number.
var held = struct {
	mu sync.Mutex
	by map[int64][]rank
}{by: map[int64][]rank{}}

// goroutine is the number that the runtime writes into a stack's first line.
func goroutine() int64 {
	var b [64]byte
	f := bytes.Fields(b[:runtime.Stack(b[:], false)])
	n, err := strconv.ParseInt(string(f[1]), 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

// entering panics if the calling goroutine holds a lock of that rank or above.
func entering(r rank) {
	g := goroutine()
	held.mu.Lock()
	defer held.mu.Unlock()
	for _, h := range held.by[g] {
		if r == 0 || h >= r {
			panic(fmt.Sprintf("a lock of rank %d is taken while one of rank %d is held", r, h))
		}
	}
	held.by[g] = append(held.by[g], r)
}

func leaving(r rank) {
	g := goroutine()
	held.mu.Lock()
	defer held.mu.Unlock()
	list := held.by[g]
	i := slices.Index(list, r)
	if i < 0 {
		panic(fmt.Sprintf("goroutine %d releases a lock of rank %d that another one took", g, r))
	}
	if list = slices.Delete(list, i, i+1); len(list) == 0 {
		delete(held.by, g)
		return
	}
	held.by[g] = list
}

// waitsForRaft panics if the calling goroutine holds what applying an entry, or a beacon,
// needs: raft may wait for either.
func waitsForRaft() {
	g := goroutine()
	held.mu.Lock()
	defer held.mu.Unlock()
	for _, h := range held.by[g] {
		if h > rankChanging {
			panic(fmt.Sprintf("raft is waited for while a lock of rank %d is held", h))
		}
	}
}
