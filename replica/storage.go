package replica

import (
	"errors"
	"fmt"
	"time"

	"github.com/sirupsen/logrus"

	"pegasus/base/config"
	"pegasus/replica/stored"
	"pegasus/rrdb"
	"pegasus/rrdb/engine"
)

// sharedOptions are the settings of what the stores of a server share.
func sharedOptions(cfg *config.Config, log *logrus.Entry, deleteTime func() (time.Time, error)) rrdb.SharedOptions {
	c := &cfg.Storage
	return rrdb.SharedOptions{
		Engine:          engine.Options{BlockCacheBytes: c.BlockCacheBytes, OpenFiles: c.OpenFiles, Compactions: c.Compactions, MemtablesBytes: c.MemtablesBytes},
		Sweep:           rrdb.SweepOptions{Interval: c.SweepInterval.D(), Delay: c.SweepDelay.D(), Tombstones: c.TombstoneTime.D(), BytesPerSecond: c.SweepBytes},
		MaxScanSessions: cfg.Replica.MaxScanSessions,
		Logger:          log,
		DeleteTime:      deleteTime,
	}
}

func (r *driver) openStore(n int64, create bool) (*rrdb.Store, error) {
	o := stored.Options(&r.srv.cfg.Storage)
	o.Dir, o.Shared, o.Gpid, o.Server, o.Logger = r.storePath(n), r.srv.shared, r.gpid, r.srv.name, r.log
	o.Tuning, o.Create, o.OnError, o.Now = rrdb.TuningOf(r.info.Envs), create, r.storeError, r.srv.meta.Clock.Now
	o.Remembers = r.remembers
	st, err := rrdb.Open(o)
	if err != nil {
		return nil, fmt.Errorf("replica %v: store %d: %w", r.gpid, n, err)
	}
	st.SetPartitionCount(r.info.Partitions)
	st.SetEnvs(r.info.Envs)
	return st, nil
}

// storeError is told of trouble in the store's background.
func (r *replica) storeError(err error) {
	if errors.Is(err, rrdb.ErrFailed) || errors.Is(err, rrdb.ErrCorrupt) {
		r.post(func(r *driver) { r.fail(err) })
		return
	}
	r.log.Warn(err)
}
