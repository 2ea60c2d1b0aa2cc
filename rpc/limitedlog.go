package rpc

import (
	"io"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/time/rate"
)

// limitedLog writes lines that a peer can cause, so that no peer can flood the log: ten
// at once, then one a second, telling how many were left out.
type limitedLog struct {
	log *logrus.Entry
	lim *rate.Limiter
	cut *atomic.Int64
}

func newLimitedLog(log *logrus.Entry) limitedLog {
	if log == nil {
		l := logrus.New()
		l.SetOutput(io.Discard)
		log = logrus.NewEntry(l)
	}
	return limitedLog{log, rate.NewLimiter(rate.Every(time.Second), 10), new(atomic.Int64)}
}

func (l limitedLog) warnf(format string, args ...any) {
	if !l.lim.Allow() {
		l.cut.Add(1)
		return
	}
	e := l.log
	if n := l.cut.Swap(0); n > 0 {
		e = e.WithField("suppressed", n)
	}
	e.Warnf(format, args...)
}
