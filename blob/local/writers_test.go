package local

import (
	"bytes"
	"fmt"
	"sync"
	"testing"

	"pegasus/blob"
)

// TestTwoWriters: of several that write one file at once each succeeds, and one of theirs is there, with its
// side file. A meta writes what a table is twice at once, for whom a backup begins and who drives it.
func TestTwoWriters(t *testing.T) {
	s := blob.NewStore("s", driver(t, t.TempDir()), blob.Options{})
	t.Cleanup(func() { s.Close() })
	const writers, times = 4, 25
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			data := bytes.Repeat([]byte{byte('a' + w)}, 10+w)
			for range times {
				if info, err := s.PutBytes(t.Context(), "dir/file", data); err != nil || info.Size != int64(len(data)) || info.MD5 == "" {
					t.Errorf("writer %d: %+v, %v", w, info, err)
					return
				}
			}
		})
	}
	wg.Wait()
	b, err := s.Get(t.Context(), "dir/file", 100)
	if err != nil || len(b) < 10 || !bytes.Equal(b, bytes.Repeat(b[:1], len(b))) || len(b) != 10+int(b[0]-'a') {
		t.Errorf("there is %q, %v", b, err)
	}
	list, err := s.List(t.Context(), "dir")
	if err != nil || len(list) != 1 {
		t.Errorf("%s, %v", fmt.Sprint(list), err)
	}
}
