package cppdata

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"

	"pegasus/rocks/damage"
)

// InitInfo is what .init-info says.
type InitInfo struct {
	Ballot        int64 // the largest that the replica has taken part in
	DurableDecree int64 // the store has it at least
	LogStart      int64 // offset in the private log before which nothing is valid
}

// ParseInitInfo reads the contents of .init-info. name is for errors.
func ParseInitInfo(name string, b []byte) (InitInfo, error) {
	var doc struct {
		Ballot  *int64 `json:"init_ballot"`
		Durable *int64 `json:"init_durable_decree"`
		Shared  *int64 `json:"init_offset_in_shared_log"`
		Private *int64 `json:"init_offset_in_private_log"`
	}
	bad := func(format string, args ...any) (InitInfo, error) {
		return InitInfo{}, damage.Newf(name, -1, damage.AppInfo, format, args...)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&doc); err != nil {
		return bad("%w", err)
	}
	if d.More() {
		return bad("there is something behind the document")
	}
	for _, f := range []struct {
		name string
		v    *int64
	}{{"init_ballot", doc.Ballot}, {"init_durable_decree", doc.Durable}, {"init_offset_in_private_log", doc.Private}} {
		if f.v == nil {
			return bad("%s is missing", f.name)
		}
		if *f.v < 0 || *f.v > math.MaxInt64/2 { // there are to be larger ones
			return bad("%s is %d", f.name, *f.v)
		}
	}
	return InitInfo{Ballot: *doc.Ballot, DurableDecree: *doc.Durable, LogStart: *doc.Private}, nil
}

// String is for people.
func (i InitInfo) String() string {
	return fmt.Sprintf("ballot %d, decree %d", i.Ballot, i.DurableDecree)
}
