package pause

import (
	"context"
	"testing"
	"time"
)

func TestFor(t *testing.T) {
	began := time.Now()
	if !For(t.Context(), 10*time.Millisecond) || time.Since(began) < 10*time.Millisecond {
		t.Errorf("waited %v for 10 ms", time.Since(began))
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	if For(ctx, time.Hour) {
		t.Error("an hour passed")
	}
}
