package tables

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"pegasus/base"
	"pegasus/base/appenv"
	"pegasus/client"
	"pegasus/cppmeta"
)

// Action is what is done about a table.
type Action string

const (
	Make     Action = "make"
	There    Action = "there"    // it was there already, and fits
	Conflict Action = "conflict" // it can't be made
	Dropped  Action = "dropped"  // in the C++ cluster
)

// Item is a table of the C++ cluster.
type Item struct {
	ID         int32             `json:"id"` // in the C++ cluster
	Name       string            `json:"name"`
	Partitions int32             `json:"partitions"`
	Replicas   int32             `json:"replicas"`
	Action     Action            `json:"action"`
	Why        string            `json:"why,omitempty"`
	Envs       map[string]string `json:"envs,omitempty"`          // that it is made with
	LeftOut    map[string]string `json:"envs_left_out,omitempty"` // setting to reason
	NewID      int32             `json:"new_id,omitempty"`        // 0: it isn't there yet
	Failed     string            `json:"failed,omitempty"`
}

// Plan is what is to be done about the tables of a state, given those that are there already.
func Plan(s *cppmeta.State, there []cppmeta.Table) []Item {
	here := map[string]cppmeta.Table{}
	for _, t := range there {
		if t.Available() {
			here[t.Name] = t
		}
	}
	names := map[string]int{}
	for i := range s.Tables {
		if s.Tables[i].Available() {
			names[s.Tables[i].Name]++
		}
	}
	var out []Item
	for i := range s.Tables {
		t := &s.Tables[i]
		item := Item{ID: t.ID, Name: t.Name, Partitions: t.Partitions, Replicas: t.Replicas}
		have, exists := here[t.Name]
		switch {
		case t.Status == "AS_DROPPED":
			item.Action, item.Why = Dropped, "recall it in the C++ cluster first, if it is wanted"
		case !t.Available():
			item.Action, item.Why = Conflict, fmt.Sprintf("its state in the C++ cluster is %s: wait until that is over", t.Status)
		case names[t.Name] > 1:
			item.Action, item.Why = Conflict, "several tables have this name: which of them is meant can't be told"
		case t.Type != "" && t.Type != "pegasus":
			item.Action, item.Why = Conflict, fmt.Sprintf("it is of type %q", t.Type)
		case base.Partitions.Check("the number of partitions", int64(t.Partitions)) != nil:
			item.Action, item.Why = Conflict, base.Partitions.Check("the number of partitions", int64(t.Partitions)).Error()
		case base.Replicas.Check("the number of replicas", int64(t.Replicas)) != nil:
			item.Action, item.Why = Conflict, base.Replicas.Check("the number of replicas", int64(t.Replicas)).Error()
		case exists && have.Partitions != t.Partitions:
			item.Action, item.Why = Conflict, fmt.Sprintf("a table of this name is there already, with %d partitions", have.Partitions)
		default:
			item.Action = Make
			item.Envs, item.LeftOut = settings(t.Envs)
		}
		if exists && item.Action == Make {
			item.Action, item.NewID = There, have.ID
			if d := unlike(item.Envs, have.Envs); len(d) > 0 {
				item.Why = "its settings are left as they are, and are not the same: " + strings.Join(d, ", ")
			}
		}
		out = append(out, item)
	}
	return out
}

// settings divides the settings of a C++ table into those that are taken over, and those that are left out, and why.
func settings(envs map[string]string) (take, left map[string]string) {
	take, left = map[string]string{}, map[string]string{}
	for _, e := range appenv.WithoutRestore(pairs(envs)) {
		switch {
		case strings.HasPrefix(e.Key, "duplication."):
			left[e.Key] = "it says that another cluster sends this table: duplicate it to the new cluster from there"
		case strings.HasPrefix(e.Key, "manual_compact.once."):
			left[e.Key] = "it is an order that was carried out"
		default:
			if hint := appenv.Check(e.Key, e.Val); hint != "" {
				left[e.Key] = fmt.Sprintf("%q: %s", e.Val, hint)
			} else {
				take[e.Key] = e.Val
			}
		}
	}
	return take, left
}

func pairs(envs map[string]string) []base.Pair[string, string] {
	var out []base.Pair[string, string]
	for _, k := range slices.Sorted(maps.Keys(envs)) {
		out = append(out, base.Pair[string, string]{Key: k, Val: envs[k]})
	}
	return out
}

// unlike names the settings in which two tables differ.
func unlike(a, b map[string]string) []string {
	var out []string
	for k, v := range a {
		if w, ok := b[k]; !ok || v != w {
			out = append(out, k)
		}
	}
	for k := range b {
		if _, ok := a[k]; !ok {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out
}

// Creator makes a table, and returns its id.
type Creator interface {
	CreateTable(ctx context.Context, name string, partitions, replicas int, o client.CreateOptions) (int32, error)
}

// Run makes the tables that are to be made. One that fails keeps no other from being made; it says so itself. The error is that of
// the context.
func Run(ctx context.Context, c Creator, items []Item, tell func(*Item)) error {
	for i := range items {
		item := &items[i]
		if item.Action != Make {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		id, err := c.CreateTable(ctx, item.Name, int(item.Partitions), int(item.Replicas), client.CreateOptions{Envs: pairs(item.Envs)})
		if err != nil {
			item.Failed = err.Error()
		} else {
			item.NewID = id
		}
		tell(item)
	}
	return nil
}
