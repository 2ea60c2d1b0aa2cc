package cli

import (
	"testing"

	"pegasus/base"
	"pegasus/gen/bulkload"
)

// What a person is shown of each answer of a meta about a load.
func TestBulkLoadTexts(t *testing.T) {
	member := func(percent int32) []base.Pair[base.RPCAddress, bulkload.PartitionBulkLoadState] {
		return []base.Pair[base.RPCAddress, bulkload.PartitionBulkLoadState]{{Key: 1, Val: bulkload.PartitionBulkLoadState{DownloadProgress: base.Some(percent)}}}
	}
	const last = "app(a) is not during bulk load, return last time result"
	for _, x := range []struct {
		is      bulkload.BulkLoadStatus
		parts   [2]bulkload.BulkLoadStatus
		err     base.ErrorCode
		loading bool
		hint    string
		want    string
	}{
		{bulkload.BLS_INVALID, [2]bulkload.BulkLoadStatus{}, base.ErrOK, false, last, "no files are being loaded into table a, and none were"},
		{bulkload.BLS_DOWNLOADING, [2]bulkload.BulkLoadStatus{bulkload.BLS_DOWNLOADED, bulkload.BLS_DOWNLOADING}, base.ErrOK, true, "",
			"the files for table a are being read: 35 %, 1 of 2 partitions are ready"},
		{bulkload.BLS_DOWNLOADING, [2]bulkload.BulkLoadStatus{bulkload.BLS_DOWNLOADING, bulkload.BLS_DOWNLOADING}, base.ErrOK, true, "partition 0: slow",
			"the files for table a are being read: 35 %, 0 of 2 partitions are ready: partition 0: slow"},
		{bulkload.BLS_PAUSED, [2]bulkload.BulkLoadStatus{bulkload.BLS_PAUSED, bulkload.BLS_PAUSED}, base.ErrOK, true, "", "the load of table a is paused"},
		{bulkload.BLS_INGESTING, [2]bulkload.BulkLoadStatus{bulkload.BLS_SUCCEED, bulkload.BLS_INGESTING}, base.ErrOK, true, "", "table a takes the rows: 1 of 2 partitions have them"},
		{bulkload.BLS_SUCCEED, [2]bulkload.BulkLoadStatus{bulkload.BLS_SUCCEED, bulkload.BLS_SUCCEED}, base.ErrOK, true, "", "table a has the rows of the files; the servers remove what they made of them"},
		{bulkload.BLS_SUCCEED, [2]bulkload.BulkLoadStatus{bulkload.BLS_SUCCEED, bulkload.BLS_SUCCEED}, base.ErrOK, false, last, "table a has the rows of the files"},
		{bulkload.BLS_FAILED, [2]bulkload.BulkLoadStatus{bulkload.BLS_FAILED, bulkload.BLS_FAILED}, base.ErrCorruption, false, last + ": partition 1 on s: torn", "the load of table a failed with ERR_CORRUPTION: partition 1 on s: torn"},
		{bulkload.BLS_FAILED, [2]bulkload.BulkLoadStatus{bulkload.BLS_FAILED, bulkload.BLS_FAILED}, base.ErrOK, true, "partition 1 on s: torn", "the load of table a has failed, the servers remove what they made: partition 1 on s: torn"},
		{bulkload.BLS_CANCELED, [2]bulkload.BulkLoadStatus{bulkload.BLS_CANCELED, bulkload.BLS_CANCELED}, base.ErrOK, false, last + ": it was canceled", "the load of table a is canceled: it was canceled"},
	} {
		q := &bulkload.QueryBulkLoadResponse{Err: x.err, AppStatus: x.is, PartitionsStatus: x.parts[:], MaxReplicaCount: 1, IsBulkLoading: base.Some(x.loading), HintMsg: base.NonZero(x.hint),
			BulkLoadStates: [][]base.Pair[base.RPCAddress, bulkload.PartitionBulkLoadState]{member(50), member(20)}}
		if got := bulkLoadOf("a", q).text(); got != x.want {
			t.Errorf("%v: %q, want %q", x.is, got, x.want)
		}
	}
	q := &bulkload.QueryBulkLoadResponse{AppStatus: bulkload.BLS_DOWNLOADING, PartitionsStatus: make([]bulkload.BulkLoadStatus, 2), IsBulkLoading: base.Some(true),
		BytesRead: base.Some[int64](64 << 20), BytesTotal: base.Some[int64](3 << 30), SecondsLeft: base.Some[int64](135)}
	if got, want := bulkLoadOf("a", q).text(), "the files for table a are being read: 0 % (64 of 3072 MiB by all servers), about 2m15s more, 0 of 2 partitions are ready"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	// An answer without lists, of a server that is none of ours.
	if got := bulkLoadOf("a", &bulkload.QueryBulkLoadResponse{AppStatus: 77, PartitionsStatus: make([]bulkload.BulkLoadStatus, 3)}); got.Percent != 0 {
		t.Errorf("%+v", got)
	}
}
