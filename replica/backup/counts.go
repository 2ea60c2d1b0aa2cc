package backup

import (
	"sync/atomic"
	"time"

	"pegasus/metrics"
)

// The metrics have upstream's names.
var (
	metricStarted = metrics.Define(metrics.Replica, "backup_started_count", metrics.Counter, "backups", "Cold backups of the replica that were begun.")
	metricOK      = metrics.Define(metrics.Replica, "backup_successful_count", metrics.Counter, "backups", "Cold backups of the replica that are complete, also those that another server wrote meanwhile.")
	metricFailed  = metrics.Define(metrics.Replica, "backup_failed_count", metrics.Counter, "backups", "Cold backups of the replica that failed.").
			Worry("It grows: see backup_recent_failed.")
	metricCancelled = metrics.Define(metrics.Replica, "backup_cancelled_count", metrics.Counter, "backups", "Cold backups of the replica that were cancelled: cleared, replaced by a newer one, not asked for any more, or ended with the server.")
	metricFilesOK   = metrics.Define(metrics.Replica, "backup_file_upload_successful_count", metrics.Counter, "files", "Files of cold backups that arrived in the blob store.")
	metricFilesBad  = metrics.Define(metrics.Replica, "backup_file_upload_failed_count", metrics.Counter, "files", "Cold backups of the replica that ended because the blob store didn't take a file.").
			Worry("It grows: the blob store refuses files, or is out of reach.")
	metricBytes    = metrics.Define(metrics.Replica, "backup_file_upload_total_bytes", metrics.Counter, "bytes", "Size of the files of cold backups that arrived in the blob store.").As("backup_file_upload_bytes")
	metricRunning  = metrics.Define(metrics.Replica, "backup_running_count", metrics.Gauge, "backups", "Cold backups of the replica that run or wait.").Sum()
	metricDuration = metrics.Define(metrics.Replica, "backup_max_duration_ms", metrics.Gauge, "milliseconds", "Time for which the oldest of them has been running or waiting.").Max().
			Worry("Longer than the policy's interval.")
	metricLargest = metrics.Define(metrics.Replica, "backup_file_upload_max_bytes", metrics.Gauge, "bytes", "Largest file that they have sent.").Max()

	metricWaiting = metrics.Define(metrics.Server, "backup_waiting_count", metrics.Gauge, "backups", "Cold backups that wait for others, see replica.backup_concurrency.")
	metricRate    = metrics.Define(metrics.Server, "backup_rate", metrics.Gauge, "bytes per second", "Current rate limit of reading rows for cold backups. 0 means no limit.").As("backup_rate_bytes_per_second")
)

// counts are of the backups of one replica since the start.
type counts struct {
	started, ok, failed, cancelled, filesOK, filesBad, bytes atomic.Int64
}

// running is what is counted of the backups that haven't ended.
type running struct {
	jobs    int64
	longest time.Duration
	largest int64 // bytes of a file
}

func (c *counts) collect(e *metrics.Entity, r running) {
	e.Set(metricStarted, c.started.Load())
	e.Set(metricOK, c.ok.Load())
	e.Set(metricFailed, c.failed.Load())
	e.Set(metricCancelled, c.cancelled.Load())
	e.Set(metricFilesOK, c.filesOK.Load())
	e.Set(metricFilesBad, c.filesBad.Load())
	e.Set(metricBytes, c.bytes.Load())
	e.Set(metricRunning, r.jobs)
	e.Set(metricDuration, r.longest.Milliseconds())
	e.Set(metricLargest, r.largest)
}
