package bulkload

import (
	"sync/atomic"

	"pegasus/metrics"
)

// The metrics have upstream's names.
var (
	metricReading = metrics.Define(metrics.Replica, "bulk_load_downloading_count", metrics.Gauge, "loads", "1 while the files of a bulk load are read for this replica, or wait for others.").Sum()
	metricTaking  = metrics.Define(metrics.Replica, "bulk_load_ingesting_count", metrics.Gauge, "loads", "1 while this replica, as the primary, has a bulk load taken by all members.").Sum().
			Worry("Not 0 for minutes.")
	metricOK     = metrics.Define(metrics.Replica, "bulk_load_successful_count", metrics.Counter, "loads", "Bulk loads that this replica, as the primary, had taken by all members.")
	metricFailed = metrics.Define(metrics.Replica, "bulk_load_failed_count", metrics.Counter, "loads", "Bulk loads whose files couldn't be read here, or not be kept.").
			Worry("Any: the page /meta/app/query_bulk_load says why.")
	metricFilesOK  = metrics.Define(metrics.Replica, "bulk_load_download_file_successful_count", metrics.Counter, "files", "Files of bulk loads that were read whole, with the right MD5.")
	metricFilesBad = metrics.Define(metrics.Replica, "bulk_load_download_file_failed_count", metrics.Counter, "loads", "Bulk loads that ended because a file wasn't right, or couldn't be read.").
			Worry("Any: the page /meta/app/query_bulk_load says why.")
	metricBytes = metrics.Define(metrics.Replica, "bulk_load_download_file_bytes", metrics.Counter, "bytes", "Bytes of files of bulk loads that were read.")

	metricRunning  = metrics.Define(metrics.Server, "bulk_load_running_count", metrics.Gauge, "loads", "Replicas for which files of bulk loads are read, or wait for others.")
	metricDuration = metrics.Define(metrics.Server, "bulk_load_max_duration_ms", metrics.Gauge, "milliseconds", "Time since the oldest of them was begun.").
			Worry("Longer than your loads take.")
	metricHeld = metrics.Define(metrics.Server, "bulk_load_ingestion_max_duration_ms", metrics.Gauge, "milliseconds", "Longest time for which writes of a partition waited for a bulk load, since the server started.").
			Worry("More than some seconds: writes waited so long.")
)

// counts are of the loads of one replica since the start.
type counts struct{ ok, failed, filesOK, filesBad, bytes atomic.Int64 }

func (c *counts) collect(e *metrics.Entity, reading, taking bool) {
	one := map[bool]int64{true: 1}
	e.Set(metricReading, one[reading])
	e.Set(metricTaking, one[taking])
	e.Set(metricOK, c.ok.Load())
	e.Set(metricFailed, c.failed.Load())
	e.Set(metricFilesOK, c.filesOK.Load())
	e.Set(metricFilesBad, c.filesBad.Load())
	e.Set(metricBytes, c.bytes.Load())
}
