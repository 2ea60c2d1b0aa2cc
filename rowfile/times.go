package rowfile

import (
	"fmt"
	"math"
	"time"

	"pegasus/base"
	"pegasus/rocks/pegasus"
)

// expires returns when a row expires, Unix seconds; false for never.
func expires(v pegasus.Value) (int64, bool) {
	return base.EpochBegin + int64(v.ExpireTS), v.ExpireTS > 0
}

// written returns when a row was written, Unix microseconds; false if the row doesn't say.
func written(v pegasus.Value) (int64, bool) { return int64(v.Timetag >> 8), v.Timetag>>8 > 0 }

// ExpireTS returns when a row that was read expires, as it is stored: seconds since base.EpochBegin, 0 for never. gone: it has expired.
func (r *Row) ExpireTS(now time.Time) (ts uint32, gone bool, err error) {
	switch at := r.Expires - base.EpochBegin; {
	case r.Expires == 0:
		return 0, false, nil
	case at < 1 || at > math.MaxInt32:
		return 0, false, fmt.Errorf("it expires at %d: give Unix seconds from 2016-01-01 to 2084-01-19", r.Expires)
	default:
		return uint32(at), r.Expires <= now.Unix(), nil
	}
}
