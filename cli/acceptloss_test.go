package cli

import (
	"errors"
	"strings"
	"testing"

	"pegasus/base"
	"pegasus/gen/layer2"
)

// What names no partition is told apart from what names no table.
func TestPartitionNamed(t *testing.T) {
	tables := []layer2.AppInfo{{AppName: "temp", AppId: 1, PartitionCount: 8}, {AppName: "a.b", AppId: 2, PartitionCount: 4}, {AppName: "a.3", AppId: 3, PartitionCount: 1}, {AppName: "a", AppId: 4, PartitionCount: 4}}
	for what, want := range map[string]struct {
		g   base.Gpid
		err string
	}{
		"temp":             {base.Gpid{AppID: 1, PartitionIndex: -1}, ""},
		"temp.7":           {base.Gpid{AppID: 1, PartitionIndex: 7}, ""},
		"a.b":              {base.Gpid{AppID: 2, PartitionIndex: -1}, ""},
		"a.b.0":            {base.Gpid{AppID: 2}, ""},
		"a.3":              {base.Gpid{AppID: 3, PartitionIndex: -1}, ""},
		"temp.8":           {err: `"temp.8" is no partition: table temp has partitions 0 to 7`},
		"temp.-1":          {err: "table temp has partitions 0 to 7"},
		"temp.x":           {err: "table temp has partitions 0 to 7"},
		"temp.":            {err: "table temp has partitions 0 to 7"},
		"temp.99999999999": {err: "table temp has partitions 0 to 7"},
		"a.c.0":            {err: `table "a.c.0" doesn't exist`},
		"":                 {err: `table "" doesn't exist`},
		"none":             {err: `table "none" doesn't exist`},
		".":                {err: `table "." doesn't exist`},
		"none.0":           {err: `table "none.0" doesn't exist`},
	} {
		g, err := partitionNamed(tables, what)
		if g != want.g || (err == nil) != (want.err == "") || err != nil && (!strings.Contains(err.Error(), want.err) || !errors.Is(err, base.ErrObjectNotFound)) {
			t.Errorf("%q: %v, %v", what, g, err)
		}
	}
}
