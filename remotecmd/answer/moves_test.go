package answer

import (
	"strings"
	"testing"
)

// What a server tells of its moves is read, or is an error.
func FuzzReadMoves(f *testing.F) {
	f.Add("unknown command 'replica.disk-moves'")
	f.Add("[]")
	f.Add(`[{"replica":"1.2","from":"a","to":"b","state":"MOVING","bytes":5,"bytes_done":3}]`)
	f.Add(`{"replica":"1.2"}`)
	f.Fuzz(func(t *testing.T, text string) {
		l, err := ReadMoves(text)
		if err != nil && (len(l) > 0 || text == "[]") {
			t.Fatal(l, err)
		}
		if m := l.Last((*DiskMove).UnderWay); m != nil && m.State == "CLOSED" {
			t.Fatal(l)
		}
	})
}

func TestReadMoves(t *testing.T) {
	l, err := ReadMoves(`[{"replica":"1.2","from":"a","to":"b","state":"IDLE"},{"replica":"1.2","from":"a","to":"b","state":"MOVED","bytes":5,"bytes_done":3,"new":1},{"state":"IDLE","error":"no"}]`)
	want := DiskMove{Replica: "1.2", From: "a", To: "b", State: "MOVED", Bytes: 5, Done: 3}
	if err != nil || len(l) != 3 || l[1] != want || !l[1].UnderWay() || l[2].UnderWay() || l[2].Error != "no" {
		t.Errorf("%+v, %v", l, err)
	}
	if m := l.Last(Of("1.2", "a", "b")); m == nil || *m != want {
		t.Errorf("the newest is %+v", m)
	}
	if m := l.Last(Of("1.2", "b", "a")); m != nil {
		t.Errorf("there is %+v", m)
	}
	if l, err := ReadMoves("unknown command 'x'"); len(l) != 0 || err != nil {
		t.Errorf("%+v, %v", l, err)
	}
	if _, err := ReadMoves("nonsense"); err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Error(err)
	}
}
