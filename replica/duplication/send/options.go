package send

import (
	"cmp"
	"context"
	"time"

	"github.com/sirupsen/logrus"

	"pegasus/base/version"
	"pegasus/duplication/ship"
	"pegasus/gen/duplication"
)

const (
	tick = 100 * time.Millisecond
	// poll is how often it is looked for what is new in the logs.
	poll = 10 * time.Millisecond
	// batchBytes is below what upstream's servers let in (max_allowed_write_size, 1 MiB).
	batchBytes  = 256 << 10
	readBytes   = 512 << 10
	windowBytes = 2 << 20
	findTime    = 3 * time.Second
	findEvery   = 2 * time.Second
	askTime     = time.Second // a meta server is waited for that is asked whether it is one of ours
	// nudgeEvery is how often the meta is asked while a partition waits for the one that it was split off from.
	nudgeEvery = 500 * time.Millisecond
	// soonest is the least time between two exchanges with the meta.
	soonest = 100 * time.Millisecond
)

// Options say what the configuration does.
type Options struct {
	ID uint8 // the number of this cluster; 0: it has none, and nothing is sent
	// Remote returns another cluster's meta servers and number, 0 if it isn't known.
	Remote func(name string) (metas []string, id int, ok bool)
	// Ask exchanges confirmations and duplications with the meta that leads.
	Ask func(context.Context, *duplication.DuplicationSyncRequest) (*duplication.DuplicationSyncResponse, error)
	// Every is the time between two exchanges with the meta. Fresh is how long after one that began then primaries send:
	// less than the metas wait before they make another one.
	Every, Fresh time.Duration
	// Version is that of the cluster. Below that of duplications there is none, and the metas aren't asked: an older one doesn't know the request.
	Version func() version.Version
	// Memory is what all streams together may have of the log in memory, in bytes, but for an entry of each; 0: 128 MiB.
	Memory int64
	// SendTime bounds a request to another cluster; 0: 5 s. Linger is how much longer it may be applied of which nobody
	// heard; 0: 1 s.
	SendTime, Linger time.Duration
	Log              *logrus.Entry
}

// EnsureDefaults fills what isn't set.
func (o *Options) EnsureDefaults() {
	o.SendTime, o.Linger = cmp.Or(o.SendTime, 5*time.Second), cmp.Or(o.Linger, time.Second)
	o.Memory = cmp.Or(o.Memory, 128<<20)
}

func (o *Options) core() ship.Options {
	return ship.Options{Window: windowBytes, Read: readBytes, Batch: batchBytes, Timeout: int64(o.SendTime / tick), Linger: int64(o.Linger / tick),
		RetryMin: 1, RetryMax: int64(10 * time.Second / tick)}
}
