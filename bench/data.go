package bench

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"pegasus/base"
)

// rows makes the keys and values of a run.
type rows struct {
	seed    uint64
	perHash int64
	size    int
}

// appendHashKey appends the hash key of row i: "user" and 12 digits, the same for all rows
// that share it.
func (r *rows) appendHashKey(b []byte, i int64) []byte {
	return appendDigits(append(b, "user"...), i/r.perHash, 12)
}

// appendSortKey appends the sort key of row i: its place among the rows of its hash key, 6
// digits.
func (r *rows) appendSortKey(b []byte, i int64) []byte { return appendDigits(b, i%r.perHash, 6) }

// appendKey appends the encoded key of row i and returns its partition hash too.
func (r *rows) appendKey(b []byte, i int64) ([]byte, uint64) {
	b = append(b, 0, 16)
	at := len(b)
	b = r.appendHashKey(b, i)
	hash := base.CRC64(b[at:])
	return r.appendSortKey(b, i), hash
}

func appendDigits(b []byte, v int64, width int) []byte {
	var buf [20]byte
	s := strconv.AppendInt(buf[:0], v, 10)
	for range width - len(s) {
		b = append(b, '0')
	}
	return append(b, s...)
}

// appendValue appends the value of row i: bytes that follow from seed and index and don't
// compress.
func (r *rows) appendValue(b []byte, i int64) []byte {
	x := r.seed*0x9e3779b97f4a7c15 ^ uint64(i)*0xd1342543de82ef95
	for left := r.size; left > 0; left -= 8 {
		// splitmix64
		x += 0x9e3779b97f4a7c15
		z := x
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		z ^= z >> 31
		if left >= 8 {
			b = binary.LittleEndian.AppendUint64(b, z)
		} else {
			var last [8]byte
			binary.LittleEndian.PutUint64(last[:], z)
			b = append(b, last[:left]...)
		}
	}
	return b
}

// chooser picks rows. Each slot has its own.
type chooser struct {
	rng  *rand.Rand
	zipf *rand.Zipf
	dist string
	n    int64
	step int64 // rows to a unit of choice
}

func newChooser(o *Options, seed uint64, step int64) *chooser {
	c := &chooser{rng: rand.New(rand.NewPCG(o.Seed, seed)), dist: o.Dist, n: o.Keys / step, step: step}
	if o.Dist == "zipf" || o.Dist == "latest" {
		// Go's generator wants s > 1; 1.01 over the rows is close to YCSB's 0.99.
		c.zipf = rand.NewZipf(c.rng, 1.01, 1, uint64(max(c.n-1, 1)))
	}
	return c
}

// pick returns a row, the first of its hash key if step is the rows of one. seq numbers
// the operations; last is the highest row there is.
func (c *chooser) pick(seq, last int64) int64 {
	switch c.dist {
	case "sequential":
		return seq % c.n * c.step
	case "zipf":
		// Spread, so that popular rows aren't neighbours.
		z := c.zipf.Uint64() * 0x9e3779b97f4a7c15
		return int64(z>>1%uint64(c.n)) * c.step
	case "latest":
		return max(last-int64(c.zipf.Uint64())*c.step, 0)
	}
	return c.rng.Int64N(c.n) * c.step
}

// acked is the record of acknowledged rows: a file with a header and a bit for each row.
// The file is mapped into memory, so that it is right however the process ends.
type acked struct {
	f    *os.File
	mem  []byte
	mu   sync.Mutex
	bits []byte
	head ackedHead
}

// ackedHead is what a checker has to know of the run. It is stored as its five words in
// little-endian order after the magic.
type ackedHead struct {
	Seed, Keys, PerHash, ValueSize, Reserved uint64
}

const (
	ackedMagic = "PGACKED1"
	ackedSize  = 8 + 5*8
)

// openLocked opens the file for this process alone: another one that made it anew would
// take the mapped memory away.
func openLocked(path string, flag int) (*os.File, error) {
	f, err := os.OpenFile(path, flag, 0o644)
	if err != nil {
		return nil, fmt.Errorf("--record-acked: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("--record-acked: %s is in use by another run: wait until it ends, or give another file", path)
	}
	return f, nil
}

func createAcked(path string, o *Options) (*acked, error) {
	f, err := openLocked(path, os.O_CREATE|os.O_RDWR)
	if err != nil {
		return nil, err
	}
	if err := f.Truncate(0); err != nil {
		f.Close()
		return nil, fmt.Errorf("--record-acked: %w", err)
	}
	a := &acked{f: f, head: ackedHead{o.Seed, uint64(o.Keys), uint64(o.RowsPerHash), uint64(o.ValueSize), 0}}
	buf := bytes.NewBufferString(ackedMagic)
	binary.Write(buf, binary.LittleEndian, a.head)
	if _, err := f.Write(buf.Bytes()); err != nil {
		f.Close()
		return nil, fmt.Errorf("--record-acked: %w", err)
	}
	size := ackedSize + (o.Keys+7)/8
	if err := f.Truncate(size); err != nil {
		f.Close()
		return nil, fmt.Errorf("--record-acked: %w", err)
	}
	return a, a.mapIn(size)
}

func openAcked(path string) (*acked, error) {
	f, err := openLocked(path, os.O_RDWR)
	if err != nil {
		return nil, err
	}
	a := &acked{f: f}
	head := make([]byte, ackedSize)
	if _, err := f.ReadAt(head, 0); err != nil || string(head[:8]) != ackedMagic {
		f.Close()
		return nil, fmt.Errorf("--record-acked: %s is not a record of acknowledged rows", path)
	}
	if _, err := binary.Decode(head[8:], binary.LittleEndian, &a.head); err != nil {
		f.Close()
		return nil, fmt.Errorf("--record-acked: %s: %w", path, err)
	}
	size := ackedSize + int64(a.head.Keys+7)/8
	if fi, err := f.Stat(); err != nil || fi.Size() != size || a.head.PerHash == 0 {
		f.Close()
		return nil, fmt.Errorf("--record-acked: %s is incomplete", path)
	}
	return a, a.mapIn(size)
}

func (a *acked) mapIn(size int64) error {
	mem, err := unix.Mmap(int(a.f.Fd()), 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		a.f.Close()
		return fmt.Errorf("--record-acked: map %s: %w", a.f.Name(), err)
	}
	a.mem, a.bits = mem, mem[ackedSize:]
	return nil
}

func (a *acked) set(i int64) {
	a.mu.Lock()
	a.bits[i/8] |= 1 << (i % 8)
	a.mu.Unlock()
}

func (a *acked) has(i int64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.bits[i/8]>>(i%8)&1 != 0
}

func (a *acked) close() error {
	if err := unix.Munmap(a.mem); err != nil {
		return fmt.Errorf("--record-acked: %w", err)
	}
	if err := a.f.Sync(); err != nil {
		return fmt.Errorf("--record-acked: %w", err)
	}
	return a.f.Close()
}
