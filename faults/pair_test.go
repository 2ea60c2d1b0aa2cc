package faults

import (
	"path/filepath"
	"strings"
	"testing"
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
	const text = "# TYPE pegasus_dup_recent_lost_mutations gauge\n" +
		"pegasus_dup_recent_lost_mutations{table_id=\"1\",partition_id=\"0\"} 2\npegasus_dup_recent_lost_mutations{table_id=\"1\",partition_id=\"1\"} 3\n" +
		"pegasus_dup_lost_writes_total{table_id=\"1\",partition_id=\"0\"} 4\n"
	got, err := readLosses(strings.NewReader(text))
	if err != nil || got["dup_recent_lost_mutations"] != 5 || got["dup_lost_writes"] != 4 {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := readLosses(strings.NewReader("pegasus_dup_recent_lost_mutations{} 0\n")); err == nil {
		t.Errorf("without dup_lost_writes: %v", got)
	}
}
