package ship

// Origin is what a timetag says of a row: when it was written, in microseconds, and the number of the cluster that did.
type Origin struct {
	TimestampUS int64
	Cluster     uint8
}

// Leftover tells whether a row of the remote, which the source lacks in the state that a bootstrap brings, was removed
// at the source: it has gone from here to there, and isn't later than that state. asOf is when the last
// mutation of the state was made, own the number of the source.
//
// Of a row that another cluster wrote nobody knows whether it has ever been here. A later row was sent by a primary
// that leads since, from the log behind that state.
//
// Whoever removes it says so with the row's own timestamp: then nothing goes that was written meanwhile.
func Leftover(o Origin, own uint8, asOf int64) bool {
	if planted("leaves-removed") {
		return false
	}
	return (o.Cluster == own || planted("removes-theirs")) && (o.TimestampUS <= asOf || planted("removes-later"))
}
