package answer

// Learning is what the remote command replica.learning answers: one for each replica that is
// a learner on the server, and one for each learner of a primary there.
type Learning struct {
	Replica string `json:"replica"`
	Learner string `json:"learner"` // the server that learns
	From    string `json:"from"`    // the primary's
	// State is, on the primary: log (it is sent entries), checkpoint (it fetches one), joining
	// (commits wait for it) or asked (so was the meta). On the learner: log, or what it does
	// with a checkpoint: waiting, preparing, copying, installing, failed.
	State string `json:"state"`
	// Decree is what the learner holds, Behind how many decrees of the primary it lacks, as
	// far as the server knows.
	Decree int64 `json:"decree"`
	Behind int64 `json:"behind"`
	// Of the checkpoint, on the learner. Reused bytes are part of those that are done: they
	// were there before and not copied.
	Bytes       int64   `json:"bytes,omitempty"`
	BytesDone   int64   `json:"bytes_done,omitempty"`
	BytesReused int64   `json:"bytes_reused,omitempty"`
	Files       int64   `json:"files,omitempty"`
	FilesDone   int64   `json:"files_done,omitempty"`
	Seconds     float64 `json:"seconds,omitempty"`
	Failures    int64   `json:"failures,omitempty"` // attempts since the last success
}
