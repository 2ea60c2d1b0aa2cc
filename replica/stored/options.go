package stored

import (
	"pegasus/base/config"
	"pegasus/rrdb"
)

// Options are the settings of each store.
func Options(c *config.Storage) rrdb.Options {
	return rrdb.Options{
		MemtableBytes:  c.MemtableBytes,
		SeparateValues: c.SeparateValues,
		Limits: rrdb.Limits{ScanRows: c.MaxIterations, MultiGetRows: c.MultiGetIterations, MultiGetBytes: int(c.MultiGetBytes),
			IterationTime: c.IterationTime.D()},
	}
}
