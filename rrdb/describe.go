package rrdb

import (
	"fmt"

	"pegasus/base"
	"pegasus/base/tbin"
	idl "pegasus/gen/rrdb"
)

// Describe writes the arguments of a read for a log. quote writes a hash key, a sort key or a pattern, or
// leaves it out. It decodes the request again, so it is for the few that are logged.
func Describe(code string, arg tbin.Reader, quote func([]byte) string) string {
	row := func(key []byte) string {
		h, s, ok := base.SplitKey(key)
		if !ok {
			return quote(key)
		}
		return quote(h) + " : " + quote(s)
	}
	text := ""
	switch code {
	case base.RPCGet, base.RPCTTL:
		text = row(arg.Bytes())
	case base.RPCSortkeyCount:
		text = "hash key " + quote(arg.Bytes())
	case base.RPCMultiGet:
		var q idl.MultiGetRequest
		q.ReadThrift(&arg)
		text = fmt.Sprintf("hash key %s, %d sort keys, from %s to %s, max_kv_count %d, max_kv_size %d, reverse %t, no_value %t, sort key filter %v %s",
			quote(q.HashKey), len(q.SortKeys), quote(q.StartSortkey), quote(q.StopSortkey), q.MaxKvCount, q.MaxKvSize, q.Reverse, q.NoValue,
			q.SortKeyFilterType, quote(q.SortKeyFilterPattern))
	case base.RPCBatchGet:
		var q idl.BatchGetRequest
		q.ReadThrift(&arg)
		text = fmt.Sprintf("%d keys", len(q.Keys))
		if len(q.Keys) > 0 {
			text += ", the first " + quote(q.Keys[0].HashKey) + " : " + quote(q.Keys[0].SortKey)
		}
	case base.RPCGetScanner:
		var q idl.GetScannerRequest
		q.ReadThrift(&arg)
		text = fmt.Sprintf("from %s to %s, batch_size %d, no_value %t, hash key filter %v %s, sort key filter %v %s", row(q.StartKey), row(q.StopKey),
			q.BatchSize, q.NoValue, q.HashKeyFilterType, quote(q.HashKeyFilterPattern), q.SortKeyFilterType, quote(q.SortKeyFilterPattern))
	case base.RPCScan:
		var q idl.ScanRequest
		q.ReadThrift(&arg)
		text = fmt.Sprintf("context %d", q.ContextId)
	}
	if text == "" || arg.Err() != nil {
		return "invalid arguments"
	}
	return text
}
