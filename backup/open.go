package backup

import (
	"context"

	"pegasus/blob"
	"pegasus/rocks"
	"pegasus/rocks/pegasus"
	"pegasus/rocks/remote"
)

// OpenOptions say how a partition is read.
type OpenOptions struct {
	// Read hears of the bytes of files that were read, as they come; nil: nobody does. All in all they are Metadata.Bytes.
	Read func(bytes int64)
}

// Partition is a partition that can be read, by one goroutine.
type Partition struct {
	Dir        string    // in the store
	Checkpoint string    // the directory below it that counts
	Metadata   Metadata  // what backup_metadata says
	Manifest   *Manifest // nil: the backup is upstream's

	store *blob.Store
	o     OpenOptions
	r     *pegasus.Replica
	src   *remote.Source
}

// OpenPartition opens a partition (Table.Partition), and checks that all its files are there with the right size, and
// that the store knows no other MD5 of them. ErrIncomplete if the partition isn't complete.
func OpenPartition(ctx context.Context, s *blob.Store, dir string, o OpenOptions) (*Partition, error) {
	p := &Partition{Dir: dir, store: s, o: o}
	var err error
	if p.Checkpoint, err = Current(ctx, s, dir); err != nil {
		return nil, err
	}
	if p.Checkpoint == "" {
		return nil, bad(s, blob.Join(dir, currentFile), ErrIncomplete, "it isn't there: the backup of this partition didn't finish")
	}
	if p.Metadata, err = ReadMetadata(ctx, s, dir, p.Checkpoint); err != nil {
		return nil, err
	}
	if p.Manifest, err = ReadManifest(ctx, s, dir, p.Checkpoint); err != nil {
		return nil, err
	}
	if p.Manifest != nil {
		name := blob.Join(dir, p.Checkpoint, manifestFile)
		if !sameFiles(p.Manifest.Files, p.Metadata.Files) {
			return nil, bad(s, name, ErrDamaged, "it has other files than %s", metadataFile)
		}
		if p.Manifest.Decree != p.Metadata.Decree {
			return nil, bad(s, name, ErrDamaged, "its decree is %d, %s says %d", p.Manifest.Decree, metadataFile, p.Metadata.Decree)
		}
	}
	if p.src, p.r, err = p.open(ctx, o.Read); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *Partition) path() string { return blob.Join(p.Dir, p.Checkpoint) }

// open reads what the RocksDB directory says of itself.
func (p *Partition) open(ctx context.Context, read func(int64)) (*remote.Source, *pegasus.Replica, error) {
	src, err := remote.OpenSource(ctx, p.store, p.path(), metadataFile, p.Metadata.Files, read)
	if err != nil {
		return nil, nil, blame(p.store, p.path(), ErrDamaged, err)
	}
	r, err := pegasus.Open(ctx, src, rocks.Options{})
	if err != nil {
		return nil, nil, blame(p.store, p.path(), ErrDamaged, err)
	}
	return src, r, nil
}

// Meta returns what the replica knew of its data. Its FlushedDecree may be less than Metadata.Decree in upstream's backups.
func (p *Partition) Meta() pegasus.Meta { return p.r.Meta() }

// Range goes through the rows within bounds, expired ones too. What it reads is compared with the checksums of blocks, not with the MD5 of files.
func (p *Partition) Range(ctx context.Context, b rocks.Bounds) (*Reader, error) {
	rows, err := p.r.Rows(ctx, b)
	if err != nil {
		return nil, blame(p.store, p.path(), ErrDamaged, err)
	}
	return &Reader{p: p, ctx: ctx, rows: rows}, nil
}

// Rows goes through all rows, expired ones too. Its end is an error if anything of the partition isn't as it was written. Only the first
// call for a Partition reports to OpenOptions.Read.
func (p *Partition) Rows(ctx context.Context) (*Reader, error) {
	src, r := p.src, p.r
	p.src = nil
	if src == nil {
		var err error
		if src, r, err = p.open(ctx, nil); err != nil {
			return nil, err
		}
	}
	rows, err := r.Rows(ctx, rocks.Bounds{})
	if err != nil {
		return nil, blame(p.store, p.path(), ErrDamaged, err)
	}
	d := &Reader{p: p, ctx: ctx, rows: rows, src: src}
	if p.Manifest != nil {
		d.digest = NewDigest(p.Manifest.Clock)
	}
	return d, nil
}

// Reader is an iterator over rows. It is a Rows, belongs to one goroutine, and must be closed.
type Reader struct {
	p      *Partition
	ctx    context.Context
	rows   *pegasus.Rows
	src    *remote.Source // nil: not of all rows
	digest *Digest        // nil: no manifest to compare with
	count  int64
	err    error
	ended  bool
}

// Next moves to the next row. False is the end, or an error, which Err tells.
func (r *Reader) Next() bool {
	if r.ended {
		return false
	}
	if r.rows.Next() {
		r.count++
		if r.digest != nil {
			r.digest.Add(r.rows.Row().Key, r.rows.Row().Value)
		}
		return true
	}
	r.ended = true
	if r.err = blame(r.p.store, r.p.path(), ErrDamaged, r.rows.Err()); r.err == nil && r.src != nil {
		r.err = r.finish()
	}
	return false
}

// finish compares the whole with what was written.
func (r *Reader) finish() error {
	if err := r.src.Finish(r.ctx); err != nil {
		return blame(r.p.store, r.p.path(), ErrDamaged, err)
	}
	m := r.p.Manifest
	if m == nil {
		return nil
	}
	name := blob.Join(r.p.path(), manifestFile)
	if r.count != m.Rows {
		return bad(r.p.store, name, ErrDamaged, "%d rows are there, it says %d", r.count, m.Rows)
	}
	if sum := r.digest.Sum(); sum != m.Sum() {
		return bad(r.p.store, name, ErrDamaged, "the digest of the rows is %s, it says %s", sum.Hex(), m.Digest)
	}
	return nil
}

// Row returns the row. Its slices are good until the next one.
func (r *Reader) Row() pegasus.Row { return r.rows.Row() }

// Key returns the stored key.
func (r *Reader) Key() []byte { return r.rows.Row().Key }

// Value returns the value.
func (r *Reader) Value() pegasus.Value { return r.rows.Row().Value }

// Err returns why the iterator ended, nil at the end of the rows.
func (r *Reader) Err() error { return r.err }

// Close frees what the iterator holds. An iterator that didn't come to its end says nothing of the partition.
func (r *Reader) Close() error {
	r.ended = true
	r.rows.Close()
	return r.err
}
