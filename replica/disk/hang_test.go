package disk

import (
	"sync"
	"testing"
	"time"

	"pegasus/metrics"
)

// busyHost does on goroutines what is asked for.
type busyHost struct {
	hostOf
	wg sync.WaitGroup
}

func (h *busyHost) Go(f func()) { h.wg.Go(f) }

// TestHangingDisk: a disk that hangs holds up nobody but who looks at it, which is one at a time: not
// the tick, other disks, pages, commands or metrics.
func TestHangingDisk(t *testing.T) {
	s := newDisks(t, "a", "b")
	host := &busyHost{hostOf: hostOf{s.host}}
	s.set.host = host
	release, hung := make(chan struct{}), make(chan struct{}, 10)
	a, b := s.set.All()[0], s.set.All()[1]
	total, avail := a.Capacity()
	if total <= 0 || avail <= 0 {
		t.Fatalf("capacity %d, %d", total, avail)
	}
	a.statfs = func(string) (int64, int64, error) {
		hung <- struct{}{}
		<-release
		return 7, 7, nil
	}
	seen := make(chan struct{}, 100)
	b.statfs = func(string) (int64, int64, error) {
		seen <- struct{}{}
		return 1000, 1, nil // less than a tenth
	}
	s.set.minFree.Store(10)
	done := make(chan struct{})
	go func() {
		defer close(done)
		now := time.Now()
		for i := range 3 {
			s.set.Tick(now.Add(time.Duration(i) * time.Second))
			<-seen
			for b.looking.Load() {
				time.Sleep(time.Millisecond)
			}
		}
		s.set.Report()
		s.set.Collect(new(metrics.Snapshot))
		if x, y := a.Capacity(); x != total || y != avail {
			t.Errorf("capacity of a disk that hangs: %d, %d, before %d, %d", x, y, total, avail)
		}
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("a disk that hangs holds up the server")
	}
	<-hung
	if n := len(hung); n > 0 {
		t.Errorf("%d look at a disk that hangs", n+1)
	}
	if b.State() != Short || a.State() != Normal {
		t.Errorf("states %v, %v", a.State(), b.State())
	}
	close(release)
	host.wg.Wait()
	if x, _ := a.Capacity(); x != 7 {
		t.Errorf("capacity %d after the disk works again", x)
	}
}
