package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"pegasus/base"
	"pegasus/client"
	"pegasus/gen/rrdb"
)

// RowWrites are the rarer commands on rows: several at a time, or under a condition.
type RowWrites struct{ *Env }

// MultiSet writes rows of a hash key, all or none; pairs are sort keys, each with its value.
func (e RowWrites) MultiSet(ctx context.Context, table, hashKey string, pairs []string, ttl int) error {
	if len(pairs)%2 != 0 {
		return fmt.Errorf("%d arguments follow the hash key: give a value for each sort key", len(pairs))
	}
	t, k, err := rowArgs(e.Env, ctx, table, append([]string{hashKey}, pairs...)...)
	if err != nil {
		return err
	}
	var rows []client.KV
	for p := range slices.Chunk(k[1:], 2) {
		rows = append(rows, client.KV{SortKey: p[0], Value: p[1]})
	}
	if err := t.MultiSet(ctx, k[0], rows, ttl); err != nil {
		return err
	}
	return e.ok()
}

// MultiDel removes rows of a hash key, all or none.
func (e RowWrites) MultiDel(ctx context.Context, table, hashKey string, sortKeys []string) error {
	t, k, err := rowArgs(e.Env, ctx, table, append([]string{hashKey}, sortKeys...)...)
	if err != nil {
		return err
	}
	if err := t.MultiDel(ctx, k[0], k[1:]); err != nil {
		return err
	}
	return e.ok()
}

// DelRange removes the rows of a hash key that r chooses, or only counts them.
func (e RowWrites) DelRange(ctx context.Context, table, hashKey string, r Range, dry bool) error {
	t, k, err := rowArgs(e.Env, ctx, table, hashKey, r.From, r.To)
	if err != nil {
		return err
	}
	o := client.ScanOptions{From: k[1], To: k[2], ToInclusive: r.ToInclusive}
	if o.SortFilter, err = e.ParseFilter(r.Filter); err != nil {
		return err
	}
	n, err := t.DelRange(ctx, k[0], o, dry)
	if err != nil {
		if n > 0 {
			err = fmt.Errorf("%d rows were removed, then: %w", n, err)
		}
		return err
	}
	if dry {
		return e.print(map[string]any{"rows": n, "removed": 0}, "%d rows would be removed", n)
	}
	return e.print(map[string]any{"rows": n, "removed": n}, "%d rows are removed", n)
}

// Exists tells whether a row is there.
func (e RowWrites) Exists(ctx context.Context, table, hashKey, sortKey string) error {
	t, k, err := rowArgs(e.Env, ctx, table, hashKey, sortKey)
	if err != nil {
		return err
	}
	_, found, err := t.TTL(ctx, k[0], k[1]) // reads no value
	if err != nil {
		return err
	}
	return e.print(map[string]bool{"exists": found}, "%t", found)
}

// Hash tells where a row is: without a table, given its number of partitions, no cluster is asked.
func (e RowWrites) Hash(ctx context.Context, table, hashKey, sortKey string, partitions int) error {
	k, err := e.manyBytes(hashKey, sortKey)
	if err != nil {
		return err
	}
	hash := base.HashOf(k[0], k[1])
	out := struct {
		Hash      string `json:"hash"` // more than JSON's numbers hold
		Partition *int   `json:"partition,omitempty"`
		Gpid      string `json:"gpid,omitempty"`
		Primary   string `json:"primary,omitempty"`
	}{Hash: fmt.Sprint(hash)}
	g := newGrid("hash", "partition", "gpid", "primary")
	part := ""
	if table != "" {
		q, err := e.Client.Admin().QueryConfig(ctx, table)
		if err != nil {
			return err
		}
		p := &q.Partitions[hash%uint64(len(q.Partitions))]
		partitions, out.Gpid = len(q.Partitions), p.Pid.String()
		if !p.Primary.IsZero() {
			out.Primary = p.Primary.String()
		}
	}
	if partitions > 0 {
		i := int(hash % uint64(partitions))
		out.Partition, part = &i, fmt.Sprint(i)
	}
	if e.JSON {
		return e.json(out)
	}
	g.add(out.Hash, part, out.Gpid, out.Primary)
	return g.print(e.Out)
}

// checks are the conditions of CheckAndSet and CheckAndMutate.
var checks = map[string]rrdb.CasCheckType{
	"none": rrdb.CT_NO_CHECK, "exist": rrdb.CT_VALUE_EXIST, "not-exist": rrdb.CT_VALUE_NOT_EXIST, "not-empty": rrdb.CT_VALUE_NOT_EMPTY, "not-exist-or-empty": rrdb.CT_VALUE_NOT_EXIST_OR_EMPTY,
	"anywhere": rrdb.CT_VALUE_MATCH_ANYWHERE, "prefix": rrdb.CT_VALUE_MATCH_PREFIX, "postfix": rrdb.CT_VALUE_MATCH_POSTFIX,
	"bytes-less": rrdb.CT_VALUE_BYTES_LESS, "bytes-less-or-equal": rrdb.CT_VALUE_BYTES_LESS_OR_EQUAL, "bytes-equal": rrdb.CT_VALUE_BYTES_EQUAL,
	"bytes-greater-or-equal": rrdb.CT_VALUE_BYTES_GREATER_OR_EQUAL, "bytes-greater": rrdb.CT_VALUE_BYTES_GREATER,
	"int-less": rrdb.CT_VALUE_INT_LESS, "int-less-or-equal": rrdb.CT_VALUE_INT_LESS_OR_EQUAL, "int-equal": rrdb.CT_VALUE_INT_EQUAL,
	"int-greater-or-equal": rrdb.CT_VALUE_INT_GREATER_OR_EQUAL, "int-greater": rrdb.CT_VALUE_INT_GREATER,
}

// Checks are the names of the conditions.
func Checks() []string { return slices.Sorted(maps.Keys(checks)) }

// CheckArgs are the condition of a write.
type CheckArgs struct {
	Type, Operand string
	Show          bool // the value that was checked
}

func (e RowWrites) check(a CheckArgs, sortKey []byte) (client.Check, error) {
	kind, ok := checks[a.Type]
	if !ok {
		return client.Check{}, fmt.Errorf("there is no check %q: give one of %s", a.Type, strings.Join(Checks(), ", "))
	}
	operand, err := e.bytes(a.Operand)
	return client.Check{SortKey: sortKey, Type: kind, Operand: operand, ReturnValue: a.Show}, err
}

// CheckAndSet writes a row of a hash key if a condition on one of its rows holds.
func (e RowWrites) CheckAndSet(ctx context.Context, table, hashKey, checked, sortKey, value string, a CheckArgs, ttl int) error {
	t, k, err := rowArgs(e.Env, ctx, table, hashKey, checked, sortKey, value)
	if err != nil {
		return err
	}
	c, err := e.check(a, k[1])
	if err != nil {
		return err
	}
	r, err := t.CheckAndSet(ctx, k[0], c, k[2], k[3], ttl)
	if err != nil {
		return err
	}
	return e.sayChecked(r, a.Show)
}

// CheckAndMutate does steps with rows of a hash key if a condition on one of its rows holds. Each step is
// "set", a sort key and a value, or "del" and a sort key.
func (e RowWrites) CheckAndMutate(ctx context.Context, table, hashKey, checked string, steps []string, a CheckArgs, ttl int) error {
	t, k, err := rowArgs(e.Env, ctx, table, hashKey, checked)
	if err != nil {
		return err
	}
	c, err := e.check(a, k[1])
	if err != nil {
		return err
	}
	var list []client.Mutation
	for n := 1; len(steps) > 0; n++ {
		args := 2
		switch steps[0] {
		case "set":
			args = 3
		case "del":
		default:
			return fmt.Errorf("step %d begins with %q: write `set SORT_KEY VALUE` or `del SORT_KEY`", n, steps[0])
		}
		if len(steps) < args {
			return fmt.Errorf("step %d, %s, lacks arguments: write `set SORT_KEY VALUE` or `del SORT_KEY`", n, steps[0])
		}
		b, err := e.manyBytes(steps[1:args]...)
		if err != nil {
			return err
		}
		m := client.Mutation{Delete: args == 2, SortKey: b[0]}
		if !m.Delete {
			m.Value, m.TTL = b[1], ttl
		}
		list, steps = append(list, m), steps[args:]
	}
	r, err := t.CheckAndMutate(ctx, k[0], c, list)
	if err != nil {
		return err
	}
	return e.sayChecked(r, a.Show)
}

// sayChecked tells what became of a conditional write. That the condition didn't hold is an *UnmetError.
func (e RowWrites) sayChecked(r client.Checked, show bool) error {
	out := struct {
		Applied bool    `json:"applied"`
		Exists  *bool   `json:"checked_row_exists,omitempty"`
		Value   *string `json:"checked_value,omitempty"`
	}{Applied: r.Applied}
	text := "the check held: written"
	if !r.Applied {
		text = "the check didn't hold: nothing is written"
	}
	if show {
		out.Exists = &r.Exists
		if r.Exists {
			v := Escape(r.Value)
			out.Value = &v
			text += "\nthe checked row was " + Quote(r.Value)
		} else {
			text += "\nthe checked row wasn't there"
		}
	}
	if err := e.print(out, "%s", text); err != nil {
		return err
	}
	if !r.Applied {
		return &UnmetError{}
	}
	return nil
}

// UnmetError: the condition of a write didn't hold.
type UnmetError struct{}

func (*UnmetError) Error() string { return "the check didn't hold" }

// ExitStatus tells this from a command that failed (1).
func (*UnmetError) ExitStatus() int { return 6 }
