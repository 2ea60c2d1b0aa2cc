package export

import (
	"pegasus/base"
	"pegasus/rocks/pegasus"
)

// expires returns when a row expires, Unix seconds; false for never.
func expires(v pegasus.Value) (int64, bool) {
	return base.EpochBegin + int64(v.ExpireTS), v.ExpireTS > 0
}

// written returns when a row was written, Unix microseconds; false if the row doesn't say.
func written(v pegasus.Value) (int64, bool) { return int64(v.Timetag >> 8), v.Timetag>>8 > 0 }
