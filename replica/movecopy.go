package replica

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pegasus/base"
	"pegasus/replica/disk"
	"pegasus/replica/wal"
)

// copy gathers a copy of the replica's store on the other disk, which holds everything up to m.decree, and sees
// to it that little of the log follows that. The log is held from there on.
func (mv *mover) copy(ctx context.Context, r *replica, m *move) error {
	from := filepath.Join(m.from.Scratch(), "move."+m.gpid.String())
	to := filepath.Join(m.place(), filepath.Base(r.storePath(m.store)))
	defer func() {
		if err := vfs.Default.RemoveAll(from); err != nil {
			r.log.Warnf("remove the checkpoint that was copied: %v", err)
		}
	}()
	// What the store has on its disk needs no log, and a checkpoint has all of it.
	m.decree = r.store.Load().LastFlushed()
	if err := vfs.Default.MkdirAll(to, 0o755); err != nil {
		return fmt.Errorf("make %s: %w", to, err)
	}
	for pass := 1; ; pass++ {
		if err := mv.holdLog(r, m); err != nil {
			return err
		}
		if err := vfs.Default.RemoveAll(from); err != nil {
			return fmt.Errorf("remove an older checkpoint: %w", err)
		}
		decree, err := r.store.Load().Checkpoint(from)
		if err != nil {
			return fmt.Errorf("make a checkpoint: %w", err)
		}
		c := copying{mv: mv, r: r, m: m, from: from, to: to, free: int64(moveFew)}
		if pass == 1 {
			c.free = 0
		}
		if err := c.run(ctx); err != nil {
			return fmt.Errorf("copy a checkpoint: %w", err)
		}
		if err := disk.SyncDir(m.place()); err != nil {
			return fmt.Errorf("copy a checkpoint: %w", err)
		}
		m.decree = decree
		if err := mv.holdLog(r, m); err != nil {
			return err
		}
		mv.at("copied")
		_, size, err := r.tail(m, moveTail/2)
		switch {
		case err == nil && c.copied <= moveFew && size <= moveTail/2:
			return nil
		case err != nil && pass > 1 && c.copied <= moveFew:
			return err
		case pass == movePasses:
			return fmt.Errorf("clients write faster than it is copied, %d checkpoints were made: try again later: %w", pass, base.ErrBusy)
		}
	}
}

// holdLog keeps what follows the copy in the log.
func (mv *mover) holdLog(r *replica, m *move) error {
	if err := mv.stands(r, m); err != nil {
		return err
	}
	if first := r.kept.HoldWhileRoom(m.holdName(), m.decree+1, func() { m.lost.Store(true) }); first > m.decree+1 {
		return fmt.Errorf("the log begins at decree %d, the copy ends at %d: %w", first, m.decree, base.ErrTryAgain)
	}
	return nil
}

// copying makes one directory like another one on another disk.
type copying struct {
	mv       *mover
	r        *replica
	m        *move
	from, to string
	free     int64 // bytes that aren't paced
	copied   int64
}

// neverChanges tells whether a file of a store is written once under its name.
func neverChanges(name string) bool {
	ext := filepath.Ext(name)
	return ext == ".sst" || ext == ".blob"
}

func (c *copying) run(ctx context.Context) error {
	want, err := sizesIn(c.from)
	if err != nil {
		return err
	}
	there, err := sizesIn(c.to)
	if err != nil {
		return err
	}
	// What isn't in the checkpoint goes first: names may come again with something else in them.
	total := int64(0)
	var names []string
	for name, size := range want {
		total += size
		if is, ok := there[name]; !ok || is != size || !neverChanges(name) {
			names = append(names, name)
		}
	}
	for name := range there {
		if _, ok := want[name]; !ok || slices.Contains(names, name) {
			if err := vfs.Default.Remove(filepath.Join(c.to, name)); err != nil {
				return err
			}
		}
	}
	todo := int64(0)
	for _, name := range names {
		todo += want[name]
	}
	c.m.total.Store(c.m.copied.Load() + todo)
	if err := c.mv.srv.disks.Fits(c.m.to, todo); err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		if err := c.mv.stands(c.r, c.m); err != nil {
			return err
		}
		if err := c.file(ctx, name, want[name]); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	c.mv.at("files")
	return disk.SyncDir(c.to)
}

// pieceBytes is what is copied at once.
const pieceBytes = 128 << 10

// file copies a file of that size, durably.
func (c *copying) file(ctx context.Context, name string, size int64) (err error) {
	in, err := vfs.Default.Open(filepath.Join(c.from, name))
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := vfs.Default.Create(filepath.Join(c.to, name), vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	// What is dirty goes to the disk bit by bit: a large sync at the end would be felt by the log there.
	out = vfs.NewSyncingFile(out, vfs.SyncingFileOptions{BytesPerSync: 1 << 20})
	defer func() { err = errors.Join(err, out.Close()) }()
	buf := make([]byte, pieceBytes)
	n := int64(0)
	for {
		k, e := in.Read(buf)
		if k > 0 {
			if c.copied += int64(k); c.copied > c.free {
				if err := c.mv.srv.copies.Pace.Wait(ctx, k); err != nil {
					return err
				}
			}
			if _, err := out.Write(buf[:k]); err != nil {
				return err
			}
			n += int64(k)
			c.m.copied.Add(int64(k))
		}
		if errors.Is(e, io.EOF) {
			break
		}
		if e != nil {
			return e
		}
	}
	if n != size {
		return fmt.Errorf("%d bytes of %d were there: %w", n, size, base.ErrFileOperationFailed)
	}
	return out.Sync()
}

// sizesIn returns the sizes of the files in a directory.
func sizesIn(dir string) (map[string]int64, error) {
	names, err := vfs.Default.List(dir)
	if err != nil {
		return nil, err
	}
	sizes := make(map[string]int64, len(names))
	for _, n := range names {
		st, err := vfs.Default.Stat(filepath.Join(dir, n))
		if err != nil {
			return nil, err
		}
		if st.IsDir() {
			return nil, fmt.Errorf("%s is a directory: %w", filepath.Join(dir, n), base.ErrFileOperationFailed)
		}
		sizes[n] = st.Size()
	}
	return sizes, nil
}

// tail returns what the log of the other directory must have: the entries behind the copy, the last one in it, and
// what others hold; and its size. It is an error if that is more than most bytes.
func (r *replica) tail(m *move, most int64) (es []wal.Entry, size int64, err error) {
	log := m.from.Log()
	st := log.State(m.gpid)
	if d, ok := log.DamageOf(m.gpid); ok {
		return nil, 0, fmt.Errorf("the log lost entries of replica %v (%s): %w", m.gpid, d.Reason, base.ErrInvalidState)
	}
	if st.Last < m.decree || st.Last > m.decree && (st.First == 0 || st.First > m.decree+1) {
		return nil, 0, fmt.Errorf("the log has decrees %d to %d of replica %v, and the copy ends at %d: %w", st.First, st.Last, m.gpid, m.decree, base.ErrInvalidState)
	}
	if st.First == 0 {
		return nil, 0, nil
	}
	from, holder := m.decree, ""
	if h, ok := r.kept.Least(m.holdName()); ok && h.Decree < from {
		from, holder = h.Decree, h.Name
	}
	ballot := int64(0)
	for at := max(from, st.First); at <= st.Last; {
		part, err := log.Read(m.gpid, at, 1<<20)
		if err != nil {
			return nil, 0, fmt.Errorf("read the log from decree %d: %w", at, err)
		}
		if len(part) == 0 {
			return nil, 0, fmt.Errorf("the log says that it has decrees up to %d, and does not give number %d: %w", st.Last, at, base.ErrInvalidState)
		}
		for i := range part {
			if part[i].Ballot < ballot && part[i].Decree > m.decree {
				return es, size, nil // void, and so is what follows
			}
			ballot = part[i].Ballot
			size += int64(len(part[i].Payload))
			es = append(es, part[i])
		}
		at += int64(len(part))
		if size > most {
			err := fmt.Errorf("more than %d MiB of the log follow the copy", most>>20)
			if holder != "" {
				err = fmt.Errorf("more than %d MiB of the log are held, from decree %d on for %s", most>>20, from, holder)
			}
			return nil, size, fmt.Errorf("%w: try again later: %w", err, base.ErrBusy)
		}
	}
	return es, size, nil
}
