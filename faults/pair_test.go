package faults

import (
	"path/filepath"
	"strings"
	"testing"

	"pegasus/rrdb"
)

// TestPairChecks plants what two clusters may differ in, or rows of both may have become.
func TestPairChecks(t *testing.T) {
	west := map[string]string{"both1/a": "west-0-1", "both2/b": "east-0-1", "k1/n": "7", "only/w": "v", "empty/": ""}
	east := map[string]string{"both1/a": "west-0-1", "both2/b": "east-0-1", "k1/n": "8", "only/e": "v"}
	if d := differing(west, west); len(d) != 0 {
		t.Errorf("a table differs from itself: %v", d)
	}
	d := strings.Join(differing(west, east), "\n")
	for _, row := range []string{"k1/n", "only/w", "only/e", "empty/"} {
		if !strings.Contains(d, `"`+row+`"`) {
			t.Errorf("row %s isn't said to differ: %s", row, d)
		}
	}
	if n := strings.Count(d, "\n") + 1; n != 4 {
		t.Errorf("%d differences: %s", n, d)
	}

	for _, removes := range []bool{false, true} {
		sh, err := newSharedRows(filepath.Join(t.TempDir(), "shared"), removes)
		if err != nil {
			t.Fatal(err)
		}
		sh.written["west-0-1 both1/a"] = "both1/a"
		sh.sure["both1/a"], sh.sure["both3/c"] = true, true
		bad := strings.Join(sh.check(west), "\n")
		if !strings.Contains(bad, `"both2/b"`) || strings.Contains(bad, `"both1/a"`) {
			t.Errorf("removes %v: what nobody wrote: %s", removes, bad)
		}
		if gone := strings.Contains(bad, `"both3/c"`); gone == removes {
			t.Errorf("removes %v: a row that is gone: %s", removes, bad)
		}
		sh.close()
	}
}

func TestReadLosses(t *testing.T) {
	const text = "# TYPE pegasus_replica_dup_recent_lost_mutations gauge\n" +
		"pegasus_replica_dup_recent_lost_mutations{table_id=\"1\",partition_id=\"0\"} 2\npegasus_replica_dup_recent_lost_mutations{table_id=\"1\",partition_id=\"1\"} 3\n" +
		"pegasus_replica_dup_lost_writes_total{table_id=\"1\",partition_id=\"0\"} 4\n"
	got, err := readLosses(strings.NewReader(text))
	if err != nil || got["dup_recent_lost_mutations"] != 5 || got["dup_lost_writes"] != 4 {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := readLosses(strings.NewReader("pegasus_replica_dup_recent_lost_mutations{} 0\n")); err == nil {
		t.Errorf("without dup_lost_writes: %v", got)
	}
}

// TestUnlike plants each thing that two clusters may have of a row.
func TestUnlike(t *testing.T) {
	at := rrdb.MakeTimetag(1_800_000_000_123_456, 1, false)
	is := stored{"v", 0, at}
	west := map[string]stored{"same/": is, "value/": is, "expiry/": is, "cluster/": is, "all/": is, "west/": is}
	east := map[string]stored{"same/": is, "value/": {"w", 0, at}, "expiry/": {"v", 9, at}, "cluster/": {"v", 0, at - 2}, "all/": {"w", 9, at + 256}, "east/": is}
	if d := unlike(west, west); len(d) != 0 {
		t.Errorf("a table is unlike itself: %v", d)
	}
	for i, want := range []string{
		`row "all/" differs in expiry and timetag and value: west has "v" (1 bytes), expiry 0, written at 08:00:00.123456 by cluster 1, remove false; ` +
			`east has "w" (1 bytes), expiry 9, written at 08:00:00.123457 by cluster 1, remove false`,
		`row "cluster/" differs in timetag: west has "v" (1 bytes), expiry 0, written at 08:00:00.123456 by cluster 1, remove false; ` +
			`east has "v" (1 bytes), expiry 0, written at 08:00:00.123456 by cluster 0, remove false`,
		`row "east/" differs in presence: west has nothing; east has "v"`,
		`row "expiry/" differs in expiry: `,
		`row "value/" differs in value: `,
		`row "west/" differs in presence: west has "v"`,
	} {
		if d := unlike(west, east); len(d) != 6 || !strings.HasPrefix(d[i], want) {
			t.Errorf("%d: %s, not %s", i, d[i], want)
		}
	}
}
