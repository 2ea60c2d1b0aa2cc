package answer

import (
	"encoding/json"
	"fmt"
	"strings"
)

// UnderWay tells whether a move hasn't ended.
func (m *DiskMove) UnderWay() bool { return m.State == "MOVING" || m.State == "MOVED" }

// ReadMoves reads what a server answers to replica.disk-moves. An older one, which knows no such command, has none.
func ReadMoves(text string) (list DiskMoves, err error) {
	if strings.HasPrefix(text, "unknown command") {
		return nil, nil
	}
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return nil, fmt.Errorf("the answer to replica.disk-moves is %.100q: %w", text, err)
	}
	return list, nil
}

// DiskMoves are the moves that a server knows of, the newest last.
type DiskMoves []DiskMove

// Last returns the newest move that ok wants, nil if there is none.
func (l DiskMoves) Last(ok func(*DiskMove) bool) *DiskMove {
	for i := len(l) - 1; i >= 0; i-- {
		if ok(&l[i]) {
			return &l[i]
		}
	}
	return nil
}

// Of wants moves of a replica between two directories.
func Of(replica, from, to string) func(*DiskMove) bool {
	return func(m *DiskMove) bool { return m.Replica == replica && m.From == from && m.To == to }
}
