package faults

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

// history is what happened, in memory for the check and in a file for people.
type history struct {
	mu    sync.Mutex
	keys  map[int32][]*Op
	count int
	file  *os.File
	w     *bufio.Writer
	enc   *json.Encoder
	err   error
}

// newHistory writes the operations to file as well, one JSON object a line, in the order in
// which they ended.
func newHistory(file string) (*history, error) {
	f, err := os.Create(file)
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	h := &history{keys: map[int32][]*Op{}, file: f, w: bufio.NewWriterSize(f, 1<<20)}
	h.enc = json.NewEncoder(h.w)
	return h, nil
}

func (h *history) add(op *Op) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.keys[op.Key] = append(h.keys[op.Key], op)
	h.count++
	if err := h.enc.Encode(op); err != nil && h.err == nil {
		h.err = err
	}
}

// close ends the file.
func (h *history) close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	err := h.err
	if e := h.w.Flush(); err == nil {
		err = e
	}
	if e := h.file.Close(); err == nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("history: %w", err)
	}
	return nil
}

// finding is a key whose history is wrong, or could not be decided in time.
type finding struct {
	key       int32
	undecided bool
	picture   string // an HTML file, "" if none was made
	text      string // the key's operations, one a line
}

// check checks every key, pictures of the bad ones going to dir.
func (h *history) check(dir string, patience time.Duration) []finding {
	h.mu.Lock()
	keys := make([]int32, 0, len(h.keys))
	for k := range h.keys {
		keys = append(keys, k)
	}
	h.mu.Unlock()
	slices.Sort(keys)
	var (
		mu    sync.Mutex
		found []finding
		wg    sync.WaitGroup
		work  = make(chan int32)
	)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for k := range work {
				if f, bad := checkKey(k, h.keys[k], dir, patience); bad {
					mu.Lock()
					found = append(found, f)
					mu.Unlock()
				}
			}
		})
	}
	for _, k := range keys {
		work <- k
	}
	close(work)
	wg.Wait()
	slices.SortFunc(found, func(a, b finding) int { return int(a.key) - int(b.key) })
	return found
}

// maxPictures bounds how many keys get a picture: making one is the whole search again.
const maxPictures = 5

func checkKey(key int32, ops []*Op, dir string, patience time.Duration) (finding, bool) {
	po := operations(prune(ops))
	res := porcupine.CheckOperationsTimeout(model, po, patience)
	if res == porcupine.Ok {
		return finding{}, false
	}
	f := finding{key: key, undecided: res == porcupine.Unknown}
	slices.SortFunc(ops, func(a, b *Op) int { return int(a.Call - b.Call) })
	var b strings.Builder
	for _, op := range ops {
		fmt.Fprintf(&b, "%12.6f %12.6f w%-3d %-18s %s\n", float64(op.Call)/1e9, float64(op.Return)/1e9, op.Worker, op.Server, op)
	}
	f.text = b.String()
	if dir == "" {
		return f, true
	}
	if pictures, _ := filepath.Glob(filepath.Join(dir, "key-*.html")); len(pictures) < maxPictures {
		_, info := porcupine.CheckOperationsVerbose(model, po, patience)
		name := filepath.Join(dir, fmt.Sprintf("key-%d.html", key))
		if err := porcupine.VisualizePath(model, info, name); err == nil {
			f.picture = name
		}
	}
	if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("key-%d.txt", key)), []byte(f.text), 0o644); err != nil {
		f.text += err.Error()
	}
	return f, true
}

var model = porcupine.Model{
	Init: func() any { return state{} },
	Step: func(s, input, _ any) (bool, any) {
		next, ok := s.(state).step(input.(*Op))
		return ok, next
	},
	DescribeOperation: func(input, _ any) string { return input.(*Op).String() },
	DescribeState:     func(s any) string { return fmt.Sprint(s.(state)) },
}

func operations(ops []*Op) []porcupine.Operation {
	out := make([]porcupine.Operation, len(ops))
	for i, op := range ops {
		end := op.Return
		if op.Unknown {
			end = math.MaxInt64
		}
		out[i] = porcupine.Operation{ClientId: int(op.Worker), Input: op, Call: op.Call, Return: end}
	}
	return out
}

// prune leaves out what can't decide anything, since each operation without a known end
// doubles the work: unknown reads, and unknown writes of a value that nobody ever saw. The
// value of a write is its own, and whatever looks at a row tells what it saw; so if such a
// write happened, it was covered by another before anybody looked, and the history stands
// without it as well as with it. Writes of the counter, and removals, are always kept; so is
// what writes a row on whose presence an unknown check_and_set that is kept depends: that one
// looks, too, and nobody knows at what.
func prune(ops []*Op) []*Op {
	seen := map[int64]bool{}
	for _, op := range ops {
		if op.Unknown {
			continue
		}
		seen[op.Got] = true
		for _, v := range op.All {
			seen[v] = true
		}
	}
	var looked uint8 // the rows on which a kept check_and_set depends
	kept := func(op *Op) bool {
		return !op.Unknown || op.Kind.writes() && (!op.unseenBy(seen) || op.touches()&looked != 0)
	}
	for before := uint8(0xff); looked != before; {
		before = looked
		for _, op := range ops {
			if op.Unknown && op.Kind == CheckAndSet && op.Check == ifPresent && kept(op) {
				looked |= 1 << op.CheckRow
			}
		}
	}
	var out []*Op
	for _, op := range ops {
		if kept(op) {
			out = append(out, op)
		}
	}
	return out
}

// touches returns the rows that op writes, as a mask.
func (op *Op) touches() uint8 {
	switch op.Kind {
	case Set, Del, Incr, CheckAndSet:
		return 1 << op.Row
	case MultiSet, MultiDel:
		return op.Mask
	}
	return 0
}

func (op *Op) unseenBy(seen map[int64]bool) bool {
	switch op.Kind {
	case Set, CheckAndSet:
		return op.Row != counter && !seen[op.Value]
	case MultiSet:
		return op.Mask>>counter&1 == 0 && !seen[op.Value]
	}
	return false
}

// stays tells whether an unknown outcome of op would stay in the history whatever is read.
func (op *Op) stays() bool {
	return op.Unknown && op.Kind.writes() && !op.unseenBy(nil)
}
