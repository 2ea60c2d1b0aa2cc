package backup

import (
	"strings"
	"testing"
)

// TestLocation: where upstream's releases put things.
func TestLocation(t *testing.T) {
	for _, c := range []struct {
		l         Location
		dir, file string
	}{
		{Location{Cluster: "onebox", ID: 1795388400586}, "onebox/1795388400586", "onebox/1795388400586/t_a_7/3/current_checkpoint"},
		{Location{Path: "/a/b/", Cluster: "c", ID: 1795388400586}, "a/b/c/1795388400586", "a/b/c/1795388400586/t_a_7/3/current_checkpoint"},
		{Location{Cluster: "c", Policy: "every_day", ID: 1795388400586}, "c/every_day/1795388400586", "c/every_day/1795388400586/t_a_7/3/current_checkpoint"},
		{Location{ID: 1795388400586}, "1795388400586", "1795388400586/t_a_7/3/current_checkpoint"},
	} {
		table := c.l.Table("t_a", 7)
		if err := c.l.Check(); err != nil || c.l.Dir() != c.dir || table.Partition(3)+"/"+currentFile != c.file {
			t.Errorf("%+v: %s, %s, %v", c.l, c.l.Dir(), table.Partition(3), err)
		}
		l, err := ParseLocation(c.dir)
		if err != nil || l.Dir() != c.dir || l.ID != c.l.ID {
			t.Errorf("%s is %+v, %v", c.dir, l, err)
		}
		if again, ok := parseTable(c.l, "t_a_7"); !ok || again != table {
			t.Errorf("%+v, %v", again, ok)
		}
	}
	for _, l := range []Location{{}, {ID: -1}, {ID: 5, Path: "../x"}, {ID: 5, Cluster: "a//b"}, {ID: 5, Policy: ".hidden"}} {
		if l.Check() == nil {
			t.Errorf("%+v is a location", l)
		}
	}
	for _, s := range []string{"", "x", "a/b", "a/0123456789012", "a/-5", "a/12x"} {
		if l, err := ParseLocation(s); err == nil {
			t.Errorf("%q is %+v", s, l)
		}
	}
	for _, s := range []string{"t", "_7", "t_", "t_0", "t_07", "t_-1", "t_99999999999"} {
		if table, ok := parseTable(Location{ID: 5}, s); ok {
			t.Errorf("%q is %+v", s, table)
		}
	}
	if name := CheckpointName("10.0.0.1", 34801); name != "chkpt_10.0.0.1_34801" || checkPlain(name) != nil {
		t.Error(name)
	}
	if err := checkPlain(strings.Repeat("x", 300)); err == nil {
		t.Error("a name that no file system takes")
	}
}
