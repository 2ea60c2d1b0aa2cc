package split

import (
	"fmt"
	"slices"

	"pegasus/pacifica"
)

// MaxCount is the largest number of partitions that a table may be split to.
const MaxCount = 1 << 16

// Mark is what a store remembers of the cut of its partition. The zero Mark is none.
type Mark struct {
	Count     int32 // of partitions of the table, after the split
	Decree    int64 // of the cut
	Timestamp int64 // of the cut
}

// Child returns the partition that gets half of parent's rows when there will be count.
func Child(parent, count int32) int32 { return parent + count/2 }

// ParentOf returns the partition that child comes of, if there are count after the split; ok is
// false if it is no child.
func ParentOf(child, count int32) (parent int32, ok bool) {
	return child - count/2, count%2 == 0 && child >= count/2 && child < count
}

// Check tells why a table of now partitions can't be split to count.
func Check(now, count int32) error {
	switch {
	case now <= 0 || now > MaxCount/2:
		return fmt.Errorf("it has %d partitions: the most that a table may be split to is %d", now, MaxCount)
	case count != 2*now:
		return fmt.Errorf("wrong partition_count, should be %d", 2*now)
	}
	return nil
}

// Owns tells whether a row with that hash is of the partition when the table has count.
func Owns(hash uint64, partition, count int32) bool {
	return count <= 0 || int64(hash%uint64(count)) == int64(partition)
}

// View is what the primary of a parent knows.
type View struct {
	Config  pacifica.Config
	Serving bool // its store has all that it inherited
	Mark    Mark // in its store
}

// Kind is what the primary has to do next.
type Kind uint8

// The kinds.
const (
	Wait     Kind = iota // for what was begun
	Propose              // the cut
	Ask                  // Nodes for the child, of Mark
	Register             // Child, of Mark
)

func (k Kind) String() string { return [...]string{"wait", "propose", "ask", "register"}[k] }

// Action is what the primary has to do next.
type Action struct {
	Kind  Kind
	Nodes []pacifica.NodeID
	Mark  Mark
	// Child is the child's configuration. It is for the parent's configuration with the ballot
	// before, and for no other.
	Child pacifica.Config
}

// Answer is what a member says of the child that it was asked for.
type Answer struct {
	From pacifica.NodeID
	// Held is the Mark of the child that it holds durably; none if it doesn't yet.
	Held Mark
}

// Parent is what the primary of a parent remembers of a switch under way. All of it may be
// forgotten at any time by who isn't the primary any more. The zero Parent has done nothing.
type Parent struct {
	ballot int64
	cut    int32 // of the cut that was proposed and isn't in the store yet
	held   map[pacifica.NodeID]Mark
}

// Next returns what is to be done to get the parent's table to count partitions.
func (p *Parent) Next(count int32, v View) Action {
	if !v.Serving {
		return Action{}
	}
	if p.ballot != v.Config.Ballot {
		// The cut that was proposed before is in the window of whoever has it, and a primary that
		// stayed the primary has it.
		p.ballot, p.held = v.Config.Ballot, nil
	}
	if v.Mark.Count != count {
		if p.cut == count {
			return Action{}
		}
		return Action{Kind: Propose}
	}
	p.cut = 0
	members := append([]pacifica.NodeID{v.Config.Primary}, v.Config.Secondaries...)
	lack := slices.DeleteFunc(slices.Clone(members), func(n pacifica.NodeID) bool { return p.held[n] == v.Mark })
	if len(lack) > 0 {
		return Action{Kind: Ask, Nodes: lack, Mark: v.Mark}
	}
	return Action{Kind: Register, Mark: v.Mark,
		Child: pacifica.Config{Ballot: v.Config.Ballot + 1, Primary: v.Config.Primary, Secondaries: slices.Clone(v.Config.Secondaries)}}
}

// Proposed notes that the cut was proposed. It is called before another mutation is.
func (p *Parent) Proposed(count int32) { p.cut = count }

// Deposed notes that this is the primary no longer.
func (p *Parent) Deposed() { *p = Parent{} }

// Take notes what a member said.
func (p *Parent) Take(a Answer) {
	if a.Held == (Mark{}) {
		return
	}
	if p.held == nil {
		p.held = map[pacifica.NodeID]Mark{}
	}
	p.held[a.From] = a.Held
}

// Count returns by which count the primary, whose store has mark, looks whether a row is its own:
// 0 if it takes all rows.
func (p *Parent) Count(mark Mark) int32 { return max(p.cut, mark.Count) }
