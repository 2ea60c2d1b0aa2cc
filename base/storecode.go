package base

// Codes of the storage application in the error field of an answer to a read or a write.
// Clients know these numbers. A call that fails before it reaches the storage has an ErrorCode
// instead.
const (
	StoreOK              = 0
	StoreNotFound        = 1
	StoreCorruption      = 2
	StoreNotSupported    = 3
	StoreInvalidArgument = 4
	StoreIOError         = 5
	StoreIncomplete      = 7
	StoreTryAgain        = 13
)

var storeCodes = [...]string{"ok", "not found", "corruption", "not supported", "invalid argument", "I/O error", "merge in progress",
	"incomplete", "shutdown in progress", "timed out", "aborted", "busy", "expired", "try again"}

// StoreCodeName returns a code in words, "" if it has none.
func StoreCodeName(code int32) string {
	if code < 0 || int(code) >= len(storeCodes) {
		return ""
	}
	return storeCodes[code]
}
