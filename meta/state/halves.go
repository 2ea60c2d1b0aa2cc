package state

import (
	"slices"

	"pegasus/base/tbin"
	"pegasus/base/version"
)

// Half is a partition of a duplicated table that came of another one by a split, and whose other cluster hasn't
// got yet what the two were when they were one. That is in the log of the parent, up to the cut. The child's own log is behind it,
// so that the child sends nothing before the parent has confirmed the cut: a late write of the parent's
// must not come behind one of the child's on the same row, since not every cluster looks at the timetags of removes.
//
// Until then the child's confirmed decree is the one before the cut, which keeps all that it has of the log.
type Half struct {
	Child, Parent int32
	Cut           int64
	// Copy: the child is copied, whatever its log has. The parent was, after the cut, when its store had the child's
	// rows no more.
	Copy bool
}

// Confirms returns what is confirmed of a partition.
func (d *Duplication) Confirms(partition int32) int64 {
	if int(partition) < len(d.Confirmed) {
		return d.Confirmed[partition]
	}
	return NotConfirmed
}

// Waits tells whether a partition may send nothing, as its parent hasn't sent what is before the cut.
func (d *Duplication) Waits(partition int32) bool {
	h := d.half(partition)
	return h != nil && d.Confirms(h.Parent) < h.Cut
}

// Copies tells whether a partition begins with a copy because its parent was copied.
func (d *Duplication) Copies(partition int32) bool {
	h := d.half(partition)
	return h != nil && h.Copy
}

// mayConfirm tells whether what is confirmed of a partition counts: not while it waits, nor before the copy that it begins with.
func (d *Duplication) mayConfirm(n *Confirmation) bool {
	h := d.half(n.Partition)
	return h == nil || d.Confirms(h.Parent) >= h.Cut && (!h.Copy || n.Copied >= h.Cut)
}

func (d *Duplication) half(child int32) *Half {
	for i := range d.Halves {
		if d.Halves[i].Child == child {
			return &d.Halves[i]
		}
	}
	return nil
}

// copied is the decree whose state a partition was copied with last, or NotConfirmed.
func (d *Duplication) copied(partition int32) int64 {
	if int(partition) < len(d.Copied) {
		return d.Copied[partition]
	}
	return NotConfirmed
}

// decreesTo is list, long enough for a partition.
func decreesTo(list []int64, partition int32) []int64 {
	return append(slices.Clone(list), slices.Repeat([]int64{NotConfirmed}, max(int(partition)+1-len(list), 0))...)
}

// confirm notes a decree, and that of a copy that came before, 0 if there was none.
func (d *Duplication) confirm(partition int32, decree, copied int64) {
	d.Confirmed = slices.Clone(d.Confirmed)
	d.Confirmed[partition] = decree
	if copied > max(d.copied(partition), 0) {
		d.Copied = decreesTo(d.Copied, partition)
		d.Copied[partition] = copied
	}
	d.settle()
}

// settle has the halves go on that need wait no more.
func (d *Duplication) settle() {
	if len(d.Halves) == 0 {
		return
	}
	d.Halves = slices.Clone(d.Halves)
	for i := 0; i < len(d.Halves); i++ {
		h := &d.Halves[i]
		if d.Confirms(h.Parent) < h.Cut {
			continue
		}
		h.Copy = h.Copy || d.copied(h.Parent) >= h.Cut
		if !h.Copy && d.Confirmed[h.Child] < h.Cut {
			d.Confirmed[h.Child] = h.Cut
		}
		if d.Confirmed[h.Child] >= h.Cut {
			d.Halves = slices.Delete(d.Halves, i, i+1)
			i = -1 // it may be a parent itself
		}
	}
	if len(d.Halves) == 0 {
		d.Halves = nil
	}
}

// part notes that a partition has become two at a decree of it.
func (d *Duplication) part(parent, child int32, cut int64, copy bool) {
	cut = max(cut, 1)
	d.Confirmed = decreesTo(d.Confirmed, child)
	d.Confirmed[child] = cut - 1
	d.Halves = append(slices.Clone(d.Halves), Half{Child: child, Parent: parent, Cut: cut, Copy: copy})
	d.settle()
}

// needs implements newer.
func (c *ConfirmDuplications) needs() version.Version {
	if slices.ContainsFunc(c.List, func(n Confirmation) bool { return n.Copied != 0 }) {
		return version.DuplicatedSplits.Since()
	}
	return version.First
}

func (h *Half) appendFields(b []byte) []byte {
	b = appendI64(b, 1, int64(h.Child))
	b = appendI64(b, 2, int64(h.Parent))
	b = appendI64(b, 3, h.Cut)
	return appendBool(b, 4, h.Copy)
}

func (h *Half) readField(r *tbin.Reader, t tbin.Type, id int16) {
	switch (field{id, t}) {
	case field{3, tbin.I64}:
		h.Cut = r.I64()
	case field{4, tbin.Bool}:
		h.Copy = r.Bool()
	default:
		readTwo(r, t, id, &h.Child, &h.Parent)
	}
}

// valid tells whether halves are of partitions that are there.
func (d *Duplication) halvesValid() bool {
	n := int32(len(d.Confirmed))
	return len(d.Copied) <= int(n) && !slices.ContainsFunc(d.Halves, func(h Half) bool {
		return h.Parent < 0 || h.Child <= h.Parent || h.Child >= n || h.Cut <= 0
	})
}
