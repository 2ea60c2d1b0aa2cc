package replica

import (
	"time"

	"pegasus/metrics"
	"pegasus/pacifica"
)

// Learning is what the remote command replica.learning answers: one for each replica that is
// a learner here, and one for each learner of a primary here.
type Learning struct {
	Replica string `json:"replica"`
	Learner string `json:"learner"` // the server that learns
	From    string `json:"from"`    // the primary's
	// State is, on the primary: log (it is sent entries), checkpoint (it fetches one), joining
	// (commits wait for it) or asked (so was the meta). On the learner: log, or what it does
	// with a checkpoint: waiting, preparing, copying, installing, failed.
	State string `json:"state"`
	// Decree is what the learner holds, Behind how many decrees of the primary it lacks, as
	// far as known here.
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

func (s *Server) learning() []Learning {
	out := []Learning{}
	for _, r := range s.all() {
		v := r.look()
		switch v.Status {
		case pacifica.Primary:
			for _, l := range v.Learners {
				e := Learning{Replica: r.gpid.String(), Learner: s.peerName(l.Node), From: s.name, State: "log", Decree: max(l.Match, 0), Behind: v.Last - max(l.Match, 0)}
				switch {
				case l.Asked:
					e.State = "asked"
				case l.Joining:
					e.State = "joining"
				case l.Snapshot:
					e.State = "checkpoint"
				}
				out = append(out, e)
			}
		case pacifica.Learner:
			e := Learning{Replica: r.gpid.String(), Learner: s.name, From: s.peerName(v.Config.Primary), State: "log", Decree: v.applied,
				Behind: v.Last - v.applied, Failures: r.learnFailed.Load()}
			if p := r.copying.Load(); p != nil {
				e.State = p.phase.Load().(string)
				e.Behind = max(e.Behind, p.decree.Load()-v.applied)
				e.Bytes, e.BytesDone, e.BytesReused = p.bytes.Load(), p.bytesDone.Load(), p.reused.Load()
				e.Files, e.FilesDone = p.files.Load(), p.filesDone.Load()
				e.Seconds = time.Since(p.started).Seconds()
			}
			out = append(out, e)
		}
	}
	return out
}

func (s *Server) learningCommand([]string) string { return asJSON(s.learning()) }

// collectLearning adds up the copies of checkpoints that are under way.
func (s *Server) collectLearning(e *metrics.Entity, all []*replica) {
	copies, left := int64(0), int64(0)
	for _, r := range all {
		if p := r.copying.Load(); p != nil {
			copies++
			left += max(0, p.bytes.Load()-p.bytesDone.Load())
		}
	}
	e.Set(metrics.LearnCopies, copies)
	e.Set(metrics.LearnLeft, left)
	e.Set(metrics.LearnRate, s.pace.now.Load())
}
