package base

import (
	"errors"

	"pegasus/base/tbin"
)

// ErrorCode is an rDSN error. It travels as its name. As a Go error it is a sentinel:
// wrap it with %w, and CodeOf finds it again.
type ErrorCode string

// Error makes a code a sentinel error.
func (e ErrorCode) Error() string { return string(e) }

// OK tells whether e means success; an empty code does not.
func (e ErrorCode) OK() bool { return e == ErrOK }

// AppendThrift appends the raw body: the name.
func (e ErrorCode) AppendThrift(b []byte) []byte { return tbin.AppendString(b, string(e)) }

// ReadThrift reads the raw body.
func (e *ErrorCode) ReadThrift(r *tbin.Reader) { *e = InternErrorCode(r.Bytes()) }

// InternErrorCode returns the code of that name without allocating if it is known.
func InternErrorCode(name []byte) ErrorCode {
	if k, ok := errorCodes[string(name)]; ok {
		return k.code
	}
	return ErrorCode(name)
}

// CodeOf maps any error to the code that a peer is told: ErrOK for nil, the wrapped
// code if there is one, ErrUnknown otherwise.
func CodeOf(err error) ErrorCode {
	if err == nil {
		return ErrOK
	}
	var c ErrorCode
	if errors.As(err, &c) {
		return c
	}
	return ErrUnknown
}

// ForClient returns the code that may stand in an answer's header: codes that some
// published client can't decode become ones that all of them know.
func (e ErrorCode) ForClient() ErrorCode {
	if k, ok := errorCodes[string(e)]; ok && k.everywhere {
		return e
	}
	switch e {
	case ErrDiskIoError:
		return ErrDiskInsufficient
	case ErrRdbCorruption:
		return ErrInvalidState
	}
	return ErrUnknown
}

// TaskCode is the name of an RPC or task; it travels as that name.
type TaskCode string

// AppendThrift appends the raw body: the name.
func (c TaskCode) AppendThrift(b []byte) []byte { return tbin.AppendString(b, string(c)) }

// ReadThrift reads the raw body.
func (c *TaskCode) ReadThrift(r *tbin.Reader) { *c = TaskCode(r.String()) }

// The codes, in upstream's order.
const (
	ErrOK                         ErrorCode = "ERR_OK"
	ErrUnknown                    ErrorCode = "ERR_UNKNOWN"
	ErrServiceNotFound            ErrorCode = "ERR_SERVICE_NOT_FOUND"
	ErrServiceAlreadyRunning      ErrorCode = "ERR_SERVICE_ALREADY_RUNNING"
	ErrIoPending                  ErrorCode = "ERR_IO_PENDING"
	ErrTimeout                    ErrorCode = "ERR_TIMEOUT"
	ErrServiceNotActive           ErrorCode = "ERR_SERVICE_NOT_ACTIVE"
	ErrBusy                       ErrorCode = "ERR_BUSY"
	ErrNetworkInitFailed          ErrorCode = "ERR_NETWORK_INIT_FAILED"
	ErrForwardToOthers            ErrorCode = "ERR_FORWARD_TO_OTHERS"
	ErrObjectNotFound             ErrorCode = "ERR_OBJECT_NOT_FOUND"
	ErrHandlerNotFound            ErrorCode = "ERR_HANDLER_NOT_FOUND"
	ErrLearnFileFailed            ErrorCode = "ERR_LEARN_FILE_FAILED"
	ErrGetLearnStateFailed        ErrorCode = "ERR_GET_LEARN_STATE_FAILED"
	ErrInvalidVersion             ErrorCode = "ERR_INVALID_VERSION"
	ErrInvalidParameters          ErrorCode = "ERR_INVALID_PARAMETERS"
	ErrCapacityExceeded           ErrorCode = "ERR_CAPACITY_EXCEEDED"
	ErrInvalidState               ErrorCode = "ERR_INVALID_STATE"
	ErrInactiveState              ErrorCode = "ERR_INACTIVE_STATE"
	ErrNotEnoughMember            ErrorCode = "ERR_NOT_ENOUGH_MEMBER"
	ErrFileOperationFailed        ErrorCode = "ERR_FILE_OPERATION_FAILED"
	ErrHandleEof                  ErrorCode = "ERR_HANDLE_EOF"
	ErrWrongChecksum              ErrorCode = "ERR_WRONG_CHECKSUM"
	ErrInvalidData                ErrorCode = "ERR_INVALID_DATA"
	ErrInvalidHandle              ErrorCode = "ERR_INVALID_HANDLE"
	ErrIncompleteData             ErrorCode = "ERR_INCOMPLETE_DATA"
	ErrVersionOutdated            ErrorCode = "ERR_VERSION_OUTDATED"
	ErrPathNotFound               ErrorCode = "ERR_PATH_NOT_FOUND"
	ErrPathAlreadyExist           ErrorCode = "ERR_PATH_ALREADY_EXIST"
	ErrAddressAlreadyUsed         ErrorCode = "ERR_ADDRESS_ALREADY_USED"
	ErrStateFreezed               ErrorCode = "ERR_STATE_FREEZED"
	ErrLocalAppFailure            ErrorCode = "ERR_LOCAL_APP_FAILURE"
	ErrBindIocpFailed             ErrorCode = "ERR_BIND_IOCP_FAILED"
	ErrNetworkStartFailed         ErrorCode = "ERR_NETWORK_START_FAILED"
	ErrNotImplemented             ErrorCode = "ERR_NOT_IMPLEMENTED"
	ErrCheckpointFailed           ErrorCode = "ERR_CHECKPOINT_FAILED"
	ErrWrongTiming                ErrorCode = "ERR_WRONG_TIMING"
	ErrNoNeedOperate              ErrorCode = "ERR_NO_NEED_OPERATE"
	ErrCorruption                 ErrorCode = "ERR_CORRUPTION"
	ErrTryAgain                   ErrorCode = "ERR_TRY_AGAIN"
	ErrClusterNotFound            ErrorCode = "ERR_CLUSTER_NOT_FOUND"
	ErrClusterAlreadyExist        ErrorCode = "ERR_CLUSTER_ALREADY_EXIST"
	ErrServiceAlreadyExist        ErrorCode = "ERR_SERVICE_ALREADY_EXIST"
	ErrInjected                   ErrorCode = "ERR_INJECTED"
	ErrReplicationFailure         ErrorCode = "ERR_REPLICATION_FAILURE"
	ErrAppExist                   ErrorCode = "ERR_APP_EXIST"
	ErrAppNotExist                ErrorCode = "ERR_APP_NOT_EXIST"
	ErrBusyCreating               ErrorCode = "ERR_BUSY_CREATING"
	ErrBusyDropping               ErrorCode = "ERR_BUSY_DROPPING"
	ErrNetworkFailure             ErrorCode = "ERR_NETWORK_FAILURE"
	ErrUnderRecovery              ErrorCode = "ERR_UNDER_RECOVERY"
	ErrLearnerNotFound            ErrorCode = "ERR_LEARNER_NOT_FOUND"
	ErrOperationDisabled          ErrorCode = "ERR_OPERATION_DISABLED"
	ErrExpired                    ErrorCode = "ERR_EXPIRED"
	ErrLockAlreadyExist           ErrorCode = "ERR_LOCK_ALREADY_EXIST"
	ErrHoldByOthers               ErrorCode = "ERR_HOLD_BY_OTHERS"
	ErrRecursiveLock              ErrorCode = "ERR_RECURSIVE_LOCK"
	ErrNoOwner                    ErrorCode = "ERR_NO_OWNER"
	ErrNodeAlreadyExist           ErrorCode = "ERR_NODE_ALREADY_EXIST"
	ErrInconsistentState          ErrorCode = "ERR_INCONSISTENT_STATE"
	ErrArrayIndexOutOfRange       ErrorCode = "ERR_ARRAY_INDEX_OUT_OF_RANGE"
	ErrDirNotEmpty                ErrorCode = "ERR_DIR_NOT_EMPTY"
	ErrFsInternal                 ErrorCode = "ERR_FS_INTERNAL"
	ErrIgnoreBadData              ErrorCode = "ERR_IGNORE_BAD_DATA"
	ErrAppDropped                 ErrorCode = "ERR_APP_DROPPED"
	ErrMockInternal               ErrorCode = "ERR_MOCK_INTERNAL"
	ErrZookeeperOperation         ErrorCode = "ERR_ZOOKEEPER_OPERATION"
	ErrChildRegistered            ErrorCode = "ERR_CHILD_REGISTERED"
	ErrIngestionFailed            ErrorCode = "ERR_INGESTION_FAILED"
	ErrUnauthenticated            ErrorCode = "ERR_UNAUTHENTICATED"
	ErrKrb5Internal               ErrorCode = "ERR_KRB5_INTERNAL"
	ErrSaslInternal               ErrorCode = "ERR_SASL_INTERNAL"
	ErrSaslIncomplete             ErrorCode = "ERR_SASL_INCOMPLETE"
	ErrACLDeny                    ErrorCode = "ERR_ACL_DENY"
	ErrSplitting                  ErrorCode = "ERR_SPLITTING"
	ErrParentPartitionMisused     ErrorCode = "ERR_PARENT_PARTITION_MISUSED"
	ErrChildNotReady              ErrorCode = "ERR_CHILD_NOT_READY"
	ErrDiskInsufficient           ErrorCode = "ERR_DISK_INSUFFICIENT"
	ErrRetryExhausted             ErrorCode = "ERR_RETRY_EXHAUSTED"
	ErrSyncRangerPoliciesFailed   ErrorCode = "ERR_SYNC_RANGER_POLICIES_FAILED"
	ErrRangerParseACL             ErrorCode = "ERR_RANGER_PARSE_ACL"
	ErrRangerPoliciesNoNeedUpdate ErrorCode = "ERR_RANGER_POLICIES_NO_NEED_UPDATE"
	ErrRdbCorruption              ErrorCode = "ERR_RDB_CORRUPTION"
	ErrDiskIoError                ErrorCode = "ERR_DISK_IO_ERROR"
	ErrCurlFailed                 ErrorCode = "ERR_CURL_FAILED"
	ErrDupExist                   ErrorCode = "ERR_DUP_EXIST"
	ErrHttpError                  ErrorCode = "ERR_HTTP_ERROR"
	ErrNotMatched                 ErrorCode = "ERR_NOT_MATCHED"
)

type knownCode struct {
	code ErrorCode
	// everywhere: the Go, Java, Python and Node clients all know the name.
	everywhere bool
}

var errorCodes = map[string]knownCode{
	"ERR_OK":                             {ErrOK, true},
	"ERR_UNKNOWN":                        {ErrUnknown, true},
	"ERR_SERVICE_NOT_FOUND":              {ErrServiceNotFound, true},
	"ERR_SERVICE_ALREADY_RUNNING":        {ErrServiceAlreadyRunning, true},
	"ERR_IO_PENDING":                     {ErrIoPending, true},
	"ERR_TIMEOUT":                        {ErrTimeout, true},
	"ERR_SERVICE_NOT_ACTIVE":             {ErrServiceNotActive, true},
	"ERR_BUSY":                           {ErrBusy, true},
	"ERR_NETWORK_INIT_FAILED":            {ErrNetworkInitFailed, true},
	"ERR_FORWARD_TO_OTHERS":              {ErrForwardToOthers, true},
	"ERR_OBJECT_NOT_FOUND":               {ErrObjectNotFound, true},
	"ERR_HANDLER_NOT_FOUND":              {ErrHandlerNotFound, true},
	"ERR_LEARN_FILE_FAILED":              {ErrLearnFileFailed, true},
	"ERR_GET_LEARN_STATE_FAILED":         {ErrGetLearnStateFailed, true},
	"ERR_INVALID_VERSION":                {ErrInvalidVersion, true},
	"ERR_INVALID_PARAMETERS":             {ErrInvalidParameters, true},
	"ERR_CAPACITY_EXCEEDED":              {ErrCapacityExceeded, true},
	"ERR_INVALID_STATE":                  {ErrInvalidState, true},
	"ERR_INACTIVE_STATE":                 {ErrInactiveState, true},
	"ERR_NOT_ENOUGH_MEMBER":              {ErrNotEnoughMember, true},
	"ERR_FILE_OPERATION_FAILED":          {ErrFileOperationFailed, true},
	"ERR_HANDLE_EOF":                     {ErrHandleEof, true},
	"ERR_WRONG_CHECKSUM":                 {ErrWrongChecksum, true},
	"ERR_INVALID_DATA":                   {ErrInvalidData, true},
	"ERR_INVALID_HANDLE":                 {ErrInvalidHandle, true},
	"ERR_INCOMPLETE_DATA":                {ErrIncompleteData, true},
	"ERR_VERSION_OUTDATED":               {ErrVersionOutdated, true},
	"ERR_PATH_NOT_FOUND":                 {ErrPathNotFound, true},
	"ERR_PATH_ALREADY_EXIST":             {ErrPathAlreadyExist, true},
	"ERR_ADDRESS_ALREADY_USED":           {ErrAddressAlreadyUsed, true},
	"ERR_STATE_FREEZED":                  {ErrStateFreezed, true},
	"ERR_LOCAL_APP_FAILURE":              {ErrLocalAppFailure, true},
	"ERR_BIND_IOCP_FAILED":               {ErrBindIocpFailed, true},
	"ERR_NETWORK_START_FAILED":           {ErrNetworkStartFailed, true},
	"ERR_NOT_IMPLEMENTED":                {ErrNotImplemented, true},
	"ERR_CHECKPOINT_FAILED":              {ErrCheckpointFailed, true},
	"ERR_WRONG_TIMING":                   {ErrWrongTiming, true},
	"ERR_NO_NEED_OPERATE":                {ErrNoNeedOperate, true},
	"ERR_CORRUPTION":                     {ErrCorruption, true},
	"ERR_TRY_AGAIN":                      {ErrTryAgain, true},
	"ERR_CLUSTER_NOT_FOUND":              {ErrClusterNotFound, true},
	"ERR_CLUSTER_ALREADY_EXIST":          {ErrClusterAlreadyExist, true},
	"ERR_SERVICE_ALREADY_EXIST":          {ErrServiceAlreadyExist, true},
	"ERR_INJECTED":                       {ErrInjected, true},
	"ERR_REPLICATION_FAILURE":            {ErrReplicationFailure, true},
	"ERR_APP_EXIST":                      {ErrAppExist, true},
	"ERR_APP_NOT_EXIST":                  {ErrAppNotExist, true},
	"ERR_BUSY_CREATING":                  {ErrBusyCreating, true},
	"ERR_BUSY_DROPPING":                  {ErrBusyDropping, true},
	"ERR_NETWORK_FAILURE":                {ErrNetworkFailure, true},
	"ERR_UNDER_RECOVERY":                 {ErrUnderRecovery, true},
	"ERR_LEARNER_NOT_FOUND":              {ErrLearnerNotFound, false},
	"ERR_OPERATION_DISABLED":             {ErrOperationDisabled, true},
	"ERR_EXPIRED":                        {ErrExpired, true},
	"ERR_LOCK_ALREADY_EXIST":             {ErrLockAlreadyExist, true},
	"ERR_HOLD_BY_OTHERS":                 {ErrHoldByOthers, true},
	"ERR_RECURSIVE_LOCK":                 {ErrRecursiveLock, true},
	"ERR_NO_OWNER":                       {ErrNoOwner, true},
	"ERR_NODE_ALREADY_EXIST":             {ErrNodeAlreadyExist, true},
	"ERR_INCONSISTENT_STATE":             {ErrInconsistentState, true},
	"ERR_ARRAY_INDEX_OUT_OF_RANGE":       {ErrArrayIndexOutOfRange, true},
	"ERR_DIR_NOT_EMPTY":                  {ErrDirNotEmpty, false},
	"ERR_FS_INTERNAL":                    {ErrFsInternal, false},
	"ERR_IGNORE_BAD_DATA":                {ErrIgnoreBadData, false},
	"ERR_APP_DROPPED":                    {ErrAppDropped, true},
	"ERR_MOCK_INTERNAL":                  {ErrMockInternal, false},
	"ERR_ZOOKEEPER_OPERATION":            {ErrZookeeperOperation, true},
	"ERR_CHILD_REGISTERED":               {ErrChildRegistered, true},
	"ERR_INGESTION_FAILED":               {ErrIngestionFailed, true},
	"ERR_UNAUTHENTICATED":                {ErrUnauthenticated, true},
	"ERR_KRB5_INTERNAL":                  {ErrKrb5Internal, true},
	"ERR_SASL_INTERNAL":                  {ErrSaslInternal, true},
	"ERR_SASL_INCOMPLETE":                {ErrSaslIncomplete, true},
	"ERR_ACL_DENY":                       {ErrACLDeny, true},
	"ERR_SPLITTING":                      {ErrSplitting, true},
	"ERR_PARENT_PARTITION_MISUSED":       {ErrParentPartitionMisused, true},
	"ERR_CHILD_NOT_READY":                {ErrChildNotReady, true},
	"ERR_DISK_INSUFFICIENT":              {ErrDiskInsufficient, true},
	"ERR_RETRY_EXHAUSTED":                {ErrRetryExhausted, false},
	"ERR_SYNC_RANGER_POLICIES_FAILED":    {ErrSyncRangerPoliciesFailed, false},
	"ERR_RANGER_PARSE_ACL":               {ErrRangerParseACL, false},
	"ERR_RANGER_POLICIES_NO_NEED_UPDATE": {ErrRangerPoliciesNoNeedUpdate, false},
	"ERR_RDB_CORRUPTION":                 {ErrRdbCorruption, false},
	"ERR_DISK_IO_ERROR":                  {ErrDiskIoError, false},
	"ERR_CURL_FAILED":                    {ErrCurlFailed, false},
	"ERR_DUP_EXIST":                      {ErrDupExist, false},
	"ERR_HTTP_ERROR":                     {ErrHttpError, false},
	"ERR_NOT_MATCHED":                    {ErrNotMatched, false},
}
