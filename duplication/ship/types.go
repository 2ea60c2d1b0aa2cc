package ship

import "fmt"

// Unknown is a decree that nobody persisted yet.
const Unknown = -1

// Options of a Core. Times are in ticks, sizes in bytes.
type Options struct {
	// Window bounds what was read and isn't acknowledged, Read what is read at a time, Batch what a batch
	// has, but for a single operation that is larger.
	Window, Read, Batch int64
	// Timeout is how long a batch is waited for. Linger is how much longer it may be applied by a remote that
	// nobody heard of.
	Timeout, Linger int64
	// RetryMin is the first wait after a failure, RetryMax the longest; it doubles.
	RetryMin, RetryMax int64
}

// Mode is what the operator wants.
type Mode struct {
	Paused bool
	// Bootstrap: without a persisted decree it begins with a bootstrap.
	Bootstrap bool
	// Skip leaves out, and counts, what can't be sent.
	Skip bool
	// Waits: the partition came of another one by a split, which hasn't sent yet what is before the cut. Nothing is sent, also no bootstrap.
	Waits bool
	// Copies: it begins with a bootstrap, whatever is persisted and whatever Skip says.
	Copies bool
}

// Op is an operation as it is sent.
type Op struct {
	Decree int64
	Lane   int32
	Tag    uint64 // its timetag
	Data   []byte
}

// opOverhead is what an Op takes beside its Data, about.
const opOverhead = 64

func (op *Op) size() int64 { return int64(len(op.Data)) + opOverhead }

// Entry is a decree of the log. Without Ops nothing of it is sent.
type Entry struct {
	Decree int64
	Ops    []Op
}

// Read asks for entries From..To of the log, about Bytes of them, at least one.
type Read struct {
	ID              uint64
	From, To, Bytes int64
}

// Batch is to be sent to a lane. Its answer is told with the ID.
type Batch struct {
	ID   uint64
	Lane int32
	Ops  []Op // not to be changed
	Size int64
	Try  int // 1 is the first
}

// Ready is what is to be done.
type Ready struct {
	Read      *Read // nil: nothing
	Send      []Batch
	Bootstrap uint64 // the ID of one to begin; 0: none
}

// Outcome is what became of a batch.
type Outcome int

const (
	// Done: the remote has applied it.
	Done Outcome = iota
	// Failed: the remote said that it has not, and may say otherwise later.
	Failed
	// Refused: it will never take all of it.
	Refused
	// Lost: nobody knows.
	Lost
)

// Reason is why a duplication stands where it does.
type Reason int

// The reasons, the strongest first, but for the last two.
const (
	NotLeading     Reason = iota // this replica isn't the primary
	Paused                       // by an operator
	WaitsForParent               // the partition that it came of hasn't sent yet what they have in common
	Starting                     // the decree it begins with isn't persisted yet, or the meta hasn't told it
	WantsBoot                    // a bootstrap is to begin
	Booting                      // a bootstrap is under way
	Refusing                     // the remote will never take what comes next
	Failing                      // the remote doesn't take what comes next
	Waiting                      // until a batch that nobody knows of can't be applied any more
	Shipping                     // there is more to send, and it is being sent
	UpToDate                     // the remote has everything
	ReadFailing                  // the log can't be read
	Rewound                      // the remote has writes that this partition has lost
)

var reasons = [...]string{"not leading", "paused", "waits for its parent, the partition that it was split off from, which has not sent all that is from before", "the decree to begin with is not persisted yet", "waits for a bootstrap", "bootstrapping",
	"the remote refuses what comes next", "the remote fails", "waits for a batch that may be under way", "shipping", "up to date", "the log can't be read",
	"writes were lost here that the remote has"}

func (r Reason) String() string {
	if r >= 0 && int(r) < len(reasons) {
		return reasons[r]
	}
	return fmt.Sprintf("Reason(%d)", int(r))
}

// Status is how far a Core is.
type Status struct {
	Reason Reason
	// Acked is what the remote is known to have, Persisted what the meta persisted (or Unknown), Committed what there is.
	Acked, Persisted, Committed int64
	Bytes                       int64 // in memory
	Flying                      int   // batches under way
	Booting                     bool  // a bootstrap is wanted or under way, whatever the reason
	// Skipped are the decrees that the log lacked, and the operations that the remote refused, in mode Skip.
	SkippedDecrees, SkippedOps int64
	// Gaps is how often the log lacked what comes next.
	Gaps, Bootstraps int64 // Bootstraps: that were begun
	// Booted is the decree that the last bootstrap which is done since this replica leads brought, or Unknown.
	Booted int64
	// Lost is the decree that is persisted though this replica, which leads, had only entries up to Had; 0 if there is none.
	Lost, Had int64
}
