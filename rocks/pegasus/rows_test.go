package pegasus

import (
	"context"
	"errors"
	"strings"
	"testing"

	"pegasus/rocks"
	"pegasus/rocks/damage"
)

// A database that no replica wrote is refused, with what is wrong and where.
func TestForeignDatabases(t *testing.T) {
	meta := [][2]string{{"pegasus_data_version", "1"}, {"pegasus_last_flushed_decree", "7"}}
	value := "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00data"
	for _, c := range []struct {
		name       string
		rows, meta [][2]string
		want       string
	}{
		{"good", [][2]string{{"\x00\x01hs", value}}, meta, ""},
		{"short value", [][2]string{{"\x00\x01hs", "\x00\x00"}}, meta, "000003.sst is damaged (row): the value of key 00016873"},
		{"short key", [][2]string{{"\x00", value}}, meta, "000003.sst is damaged (row): key 00 is shorter"},
		{"cut hash key", [][2]string{{"\x00\x05h", value}}, meta, "000003.sst is damaged (row): key 000568 is shorter"},
		{"no family", nil, nil, `no such column family "pegasus_meta_cf"`},
		{"no version", nil, meta[1:], "lacks pegasus_data_version"},
		{"no decree", nil, meta[:1], "lacks pegasus_data_version or pegasus_last_flushed_decree"},
		{"version 2", nil, [][2]string{{"pegasus_data_version", "2"}, meta[1]}, "has rows of data version 2"},
		{"no number", nil, [][2]string{{"pegasus_data_version", "one"}, meta[1]}, `000003.sst is damaged (row): pegasus_data_version is "one"`},
		{"negative", nil, [][2]string{meta[0], {"pegasus_last_flushed_decree", "-7"}}, "it is negative"},
	} {
		dir := rocks.Local(t.TempDir())
		families := []string{DataFamily, MetaFamily}
		if c.meta == nil {
			families = families[:1]
		}
		w, err := rocks.Create(context.Background(), dir, rocks.WriterOptions{Families: families})
		if err != nil {
			t.Fatal(err)
		}
		for i, rows := range [][][2]string{c.rows, c.meta} {
			for _, r := range rows {
				if err := w.Add(i, []byte(r[0]), []byte(r[1])); err != nil {
					t.Fatal(err)
				}
			}
		}
		if _, err := w.Close(); err != nil {
			t.Fatal(err)
		}
		n := 0
		r, err := Open(context.Background(), dir, rocks.Options{})
		if err == nil {
			var rows *Rows
			if rows, err = r.Rows(context.Background(), rocks.Bounds{}); err != nil {
				t.Fatal(err)
			}
			for rows.Next() {
				n++
			}
			err = rows.Close()
		}
		var d *damage.Error
		var u *damage.Unsupported
		switch {
		case c.want == "":
			if err != nil || n != 1 {
				t.Errorf("%s: %d rows, %v", c.name, n, err)
			}
		case err == nil || !strings.Contains(err.Error(), c.want) || n > 0:
			t.Errorf("%s: %d rows, %v, want %q", c.name, n, err, c.want)
		case !errors.As(err, &d) && !errors.As(err, &u) && !errors.Is(err, rocks.ErrNoFamily):
			t.Errorf("%s: the error is of type %T", c.name, err)
		}
	}
}

// Rows of data version 0 have no timetag.
func TestDataVersion0(t *testing.T) {
	dir := rocks.Local(t.TempDir())
	w, err := rocks.Create(context.Background(), dir, rocks.WriterOptions{Families: []string{DataFamily, MetaFamily}})
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range [][2]string{{"\x00\x01hs", "\x00\x00\x00\x09data"}, {"pegasus_data_version", "0"}, {"pegasus_last_flushed_decree", "7"}} {
		if err := w.Add(min(i, 1), []byte(r[0]), []byte(r[1])); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := Open(context.Background(), dir, rocks.Options{})
	if err != nil {
		t.Fatal(err)
	}
	rows, err := r.Rows(context.Background(), rocks.Bounds{})
	if err != nil {
		t.Fatal(err)
	}
	if !rows.Next() {
		t.Fatal(rows.Err())
	}
	if got := rows.Row(); string(got.HashKey) != "h" || string(got.SortKey) != "s" || got.ExpireTS != 9 || got.Timetag != 0 || string(got.Data) != "data" {
		t.Fatalf("%+v", got)
	}
	if rows.Next() || rows.Close() != nil {
		t.Fatalf("%+v, %v", rows.Row(), rows.Err())
	}
}
