package goclient

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/apache/incubator-pegasus/go-client/pegasus"
)

func (w *walk) incr(t *testing.T) {
	h, s := w.key("incr"), []byte("n")
	for i, c := range []struct{ by, want int64 }{{5, 5}, {1, 6}, {-10, -4}, {0, -4}, {1 << 40, 1<<40 - 4}} {
		n, err := w.tb.Incr(ctx(t), h, s, c.by)
		noError(t, "incr", err)
		equal(t, fmt.Sprint("incr ", i), n, c.want)
	}
	w.want(t, h, s, []byte(fmt.Sprint(int64(1<<40-4))))
	w.set(t, h, s, []byte{}) // an empty value counts as 0
	n, err := w.tb.Incr(ctx(t), h, s, 3)
	noError(t, "incr of an empty value", err)
	equal(t, "incr of an empty value", n, 3)

	noError(t, "set ttl", w.tb.SetTTL(ctx(t), h, s, []byte("1"), 1000*time.Second))
	_, err = w.tb.Incr(ctx(t), h, s, 1)
	noError(t, "incr", err)
	left, err := w.tb.TTL(ctx(t), h, s)
	noError(t, "ttl", err)
	if left < 970 || left > 1000 {
		t.Errorf("incr changed the expiry: %d left of 1000", left)
	}

	w.set(t, h, s, []byte("no number"))
	// The client retries what can't be mended until its time is over.
	c, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	if n, err := w.tb.Incr(c, h, s, 1); err == nil {
		t.Errorf("incr of a text gave %d", n)
	}
	w.want(t, h, s, []byte("no number"))

	// No increment is lost or counted twice.
	h = w.key("incr.many")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if _, err := w.tb.Incr(ctx(t), h, s, 1); err != nil {
					t.Errorf("incr: %v", err)
				}
			}
		})
	}
	wg.Wait()
	w.want(t, h, s, []byte("400"))
}

func (w *walk) checkAndSet(t *testing.T) {
	const absent = "\x00absent"
	for i, c := range []struct {
		name    string
		ct      pegasus.CheckType
		value   string // before, absent says that there is none
		operand string
		ok      bool
	}{
		{"no check", pegasus.CheckTypeNoCheck, absent, "", true},
		{"no check of a value", pegasus.CheckTypeNoCheck, "v", "", true},
		{"not exist", pegasus.CheckTypeValueNotExist, absent, "", true},
		{"not exist, is", pegasus.CheckTypeValueNotExist, "v", "", false},
		{"not exist or empty", pegasus.CheckTypeValueNotExistOrEmpty, absent, "", true},
		{"not exist or empty, empty", pegasus.CheckTypeValueNotExistOrEmpty, "", "", true},
		{"not exist or empty, is", pegasus.CheckTypeValueNotExistOrEmpty, "v", "", false},
		{"exist", pegasus.CheckTypeValueExist, "v", "", true},
		{"exist, empty", pegasus.CheckTypeValueExist, "", "", true},
		{"exist, absent", pegasus.CheckTypeValueExist, absent, "", false},
		{"not empty", pegasus.CheckTypeValueNotEmpty, "v", "", true},
		{"not empty, empty", pegasus.CheckTypeValueNotEmpty, "", "", false},
		{"not empty, absent", pegasus.CheckTypeValueNotEmpty, absent, "", false},
		{"anywhere", pegasus.CheckTypeMatchAnywhere, "abcdef", "cd", true},
		{"anywhere, not", pegasus.CheckTypeMatchAnywhere, "abcdef", "dc", false},
		{"anywhere, empty operand", pegasus.CheckTypeMatchAnywhere, "abcdef", "", true},
		{"anywhere, absent", pegasus.CheckTypeMatchAnywhere, absent, "", false},
		{"prefix", pegasus.CheckTypeMatchPrefix, "abcdef", "abc", true},
		{"prefix, not", pegasus.CheckTypeMatchPrefix, "abcdef", "bc", false},
		{"postfix", pegasus.CheckTypeMatchPostfix, "abcdef", "ef", true},
		{"postfix, not", pegasus.CheckTypeMatchPostfix, "abcdef", "e", false},
		{"bytes less", pegasus.CheckTypeBytesLess, "a", "b", true},
		{"bytes less, equal", pegasus.CheckTypeBytesLess, "b", "b", false},
		{"bytes less or equal", pegasus.CheckTypeBytesLessOrEqual, "b", "b", true},
		{"bytes less or equal, not", pegasus.CheckTypeBytesLessOrEqual, "b\xff", "b", false},
		{"bytes equal", pegasus.CheckTypeBytesEqual, "b", "b", true},
		{"bytes equal, not", pegasus.CheckTypeBytesEqual, "b", "B", false},
		{"bytes greater or equal", pegasus.CheckTypeBytesGreaterOrEqual, "c", "b", true},
		{"bytes greater or equal, not", pegasus.CheckTypeBytesGreaterOrEqual, "a", "b", false},
		{"bytes greater", pegasus.CheckTypeBytesGreater, "\xff", "b", true},
		{"bytes greater, equal", pegasus.CheckTypeBytesGreater, "b", "b", false},
		{"int less", pegasus.CheckTypeIntLess, "9", "10", true},
		{"int less, not", pegasus.CheckTypeIntLess, "10", "9", false},
		{"int less or equal", pegasus.CheckTypeIntLessOrEqual, "-10", "-10", true},
		{"int equal", pegasus.CheckTypeIntEqual, "0x10", "16", true},
		{"int equal, not", pegasus.CheckTypeIntEqual, "17", "16", false},
		{"int greater or equal", pegasus.CheckTypeIntGreaterOrEqual, "100", "99", true},
		{"int greater or equal, not", pegasus.CheckTypeIntGreaterOrEqual, "-100", "99", false},
		// The client's CheckTypeIntGreater is wrongly defined as the comparison of bytes.
	} {
		h, s := w.key("cas.%d", i), []byte("c")
		if c.value != absent {
			w.set(t, h, s, []byte(c.value))
		}
		res, err := w.tb.CheckAndSet(ctx(t), h, s, c.ct, []byte(c.operand), []byte("target"), []byte("new"),
			&pegasus.CheckAndSetOptions{ReturnCheckValue: true})
		noError(t, c.name, err)
		equal(t, c.name, res.SetSucceed, c.ok)
		equal(t, c.name+": returned", res.CheckValueReturned, true)
		equal(t, c.name+": exist", res.CheckValueExist, c.value != absent)
		if c.value != absent {
			equal(t, c.name+": check value", string(res.CheckValue), c.value)
		}
		if c.ok {
			w.want(t, h, []byte("target"), []byte("new"))
		} else {
			w.want(t, h, []byte("target"), nil)
		}
	}

	h, s := w.key("cas.same"), []byte("s")
	res, err := w.tb.CheckAndSet(ctx(t), h, s, pegasus.CheckTypeValueNotExist, nil, s, []byte("1"),
		&pegasus.CheckAndSetOptions{SetValueTTLSeconds: 1000})
	noError(t, "same key", err)
	if !res.SetSucceed || res.CheckValueReturned {
		t.Errorf("same key: %+v", res)
	}
	w.want(t, h, s, []byte("1"))
	left, err := w.tb.TTL(ctx(t), h, s)
	noError(t, "ttl", err)
	if left < 970 || left > 1000 {
		t.Errorf("ttl after check and set: %d", left)
	}

	// A lock: of many that want it, one gets it.
	h = w.key("cas.lock")
	var mu sync.Mutex
	won := 0
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			res, err := w.tb.CheckAndSet(ctx(t), h, s, pegasus.CheckTypeValueNotExist, nil, s, []byte(fmt.Sprint(i)), nil)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Errorf("lock: %v", err)
			} else if res.SetSucceed {
				won++
			}
		})
	}
	wg.Wait()
	equal(t, "winners", won, 1)
}
