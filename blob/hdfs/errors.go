package hdfs

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	lib "github.com/colinmarc/hdfs/v2"

	"pegasus/blob"
)

// guard makes an error of a panic: the libraries trust the lengths that stand in what they read.
func guard[T any](f func() (T, error)) (v T, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = blob.Failf(blob.ErrUnavailable, "the client library can't read what it got: %v", p)
		}
	}()
	return f()
}

// kinds are Java's exceptions, by the end of their name.
var kinds = []struct {
	exception string
	kind      error
}{
	{"AccessControlException", blob.ErrDenied}, {"AuthorizationException", blob.ErrDenied}, {"InvalidToken", blob.ErrDenied}, {"SaslException", blob.ErrDenied},
	{"QuotaExceededException", blob.ErrNoSpace}, {"DSQuotaExceededException", blob.ErrNoSpace}, {"NSQuotaExceededException", blob.ErrNoSpace},
	{"QuotaByStorageTypeExceededException", blob.ErrNoSpace},
	{"FileNotFoundException", blob.ErrNotFound}, {"ParentNotDirectoryException", blob.ErrInvalid},
	{"InvalidPathException", blob.ErrInvalid}, {"MaxDirectoryItemsExceededException", blob.ErrNoSpace}, {"PathComponentTooLongException", blob.ErrInvalid},
	{"SafeModeException", blob.ErrUnavailable}, {"StandbyException", blob.ErrUnavailable}, {"RetriableException", blob.ErrUnavailable}, {"LeaseExpiredException", blob.ErrUnavailable},
}

// classify returns nil for an error of no kind.
func classify(err error) error {
	for _, k := range []error{blob.ErrSource, blob.ErrDenied, blob.ErrCorrupt, blob.ErrInvalid, blob.ErrChanged, blob.ErrNotFound, blob.ErrUnavailable, blob.ErrNoSpace} {
		if errors.Is(err, k) {
			return err
		}
	}
	text := err.Error()
	var remote lib.Error
	if errors.As(err, &remote) {
		first, _, _ := strings.Cut(remote.Message(), "\n")
		name := remote.Exception()[strings.LastIndexAny(remote.Exception(), ".$")+1:]
		said := fmt.Errorf("%s: %s", name, first)
		for _, k := range kinds {
			if name == k.exception {
				return blob.Fail(k.kind, said)
			}
		}
		if strings.Contains(first, "could only be written to 0") && !strings.Contains(first, "There are 0 datanode(s) running") && strings.Contains(first, " 0 node(s) are excluded") {
			return blob.Fail(blob.ErrNoSpace, said) // nodes live, and none takes a block
		}
		return blob.Fail(blob.ErrUnavailable, said)
	}
	var op *net.OpError
	switch {
	case errors.Is(err, os.ErrNotExist):
		return blob.Fail(blob.ErrNotFound, os.ErrNotExist)
	case errors.Is(err, os.ErrPermission):
		return blob.Fail(blob.ErrDenied, os.ErrPermission)
	case errors.Is(err, os.ErrExist):
		return blob.Fail(blob.ErrInvalid, err)
	case strings.Contains(text, "invalid checksum"), strings.Contains(text, "ERROR_CHECKSUM"), strings.Contains(text, "CHECKSUM_OK"):
		return blob.Fail(blob.ErrCorrupt, err)
	case strings.Contains(text, "SASL handshake"), strings.Contains(text, "KRB_"), strings.Contains(text, "KDC_"), strings.Contains(text, "AccessControlException"):
		return blob.Fail(blob.ErrDenied, err)
	case errors.As(err, &op), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), errors.Is(err, io.ErrClosedPipe),
		strings.Contains(text, "no available namenodes"), strings.Contains(text, "no available datanodes"):
		return blob.Fail(blob.ErrUnavailable, err)
	}
	return nil
}
