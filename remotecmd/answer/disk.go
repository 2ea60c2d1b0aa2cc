package answer

// Disk is what the remote command replica.disks answers for one data directory.
type Disk struct {
	Tag       string `json:"tag"`
	Path      string `json:"path"`
	State     string `json:"state"` // NORMAL, SPACE_INSUFFICIENT or IO_ERROR
	Total     int64  `json:"total_bytes"`
	Available int64  `json:"available_bytes"`
	Replicas  int    `json:"replicas"`
	// Added: it was added while the server ran, and the configuration doesn't list it.
	Added bool `json:"added,omitempty"`
	// Broken counts the replicas of the directory that are out of service.
	Broken int    `json:"broken_replicas"`
	Error  string `json:"error,omitempty"`
	// Failures is how often the log was opened again within the last hour.
	Failures int `json:"failures,omitempty"`
	// Next says what happens to a directory that failed or is short of space: one of the constants below.
	Next string `json:"next,omitempty"`
	// Retry is the number of seconds until the next attempt.
	Retry float64 `json:"retry_seconds,omitempty"`
	// Trash counts the replicas in the trash; TrashBytes is their size.
	Trash      int64 `json:"trash_replicas,omitempty"`
	TrashBytes int64 `json:"trash_bytes,omitempty"`
	// Holds are those that keep something in the log that no store needs.
	Holds []LogHold `json:"log_holds,omitempty"`
	// Moves are of replicas that are moved from here to another directory.
	Moves []DiskMove `json:"moves,omitempty"`
}

// DiskMove is how a replica is moved between two data directories of its server, or how that ended. The remote
// command replica.disk-moves answers a list of them.
type DiskMove struct {
	Replica string `json:"replica"`
	From    string `json:"from"` // tags
	To      string `json:"to"`
	// State is upstream's: MOVING while it is copied, MOVED while the replica changes over, CLOSED once it is there, IDLE if
	// it stayed where it was.
	State string `json:"state"`
	// Bytes are to be copied, as far as is known; Done are copied.
	Bytes   int64   `json:"bytes"`
	Done    int64   `json:"bytes_done"`
	Seconds float64 `json:"seconds"`
	// Gap is for how many seconds the replica was in neither place.
	Gap   float64 `json:"gap_seconds,omitempty"`
	Error string  `json:"error,omitempty"` // why it stayed
}

// LogHold is that the log keeps entries of a replica for somebody.
type LogHold struct {
	Replica string `json:"replica"`
	Holder  string `json:"holder"`
	Decree  int64  `json:"decree"` // the lowest that is kept for it
	// Yields: the hold is dropped when the log is over its bound.
	Yields bool `json:"yields"`
}

// What happens to a directory whose log failed, or whose disk has too little free space.
const (
	NextShort     = "writes are refused until there is more room"
	NextNoReplica = "no new replica until there is more room"
	NextRoom      = "opened once there is room"
	NextRetry     = "tried again"
	NextOperator  = "left alone"            // for the rest of an hour, or until replica.disk-retry or a restart
	NextAbandoned = "given up for this run" // until a restart
)
