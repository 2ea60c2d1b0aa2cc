package rows

import (
	"context"
	"errors"
	"io"

	"pegasus/blob"
)

// Blobs is an Output in a blob store.
type Blobs struct{ Store *blob.Store }

// Write implements Output.
func (b Blobs) Write(ctx context.Context, name string, write func(io.Writer) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := write(w)
		if err != nil {
			cancel() // what is there so far must not become a file
		}
		w.CloseWithError(err)
		done <- err
	}()
	_, err := b.Store.Put(ctx, name, r, blob.Want{})
	r.CloseWithError(errors.Join(err, io.ErrClosedPipe))
	if wrote := <-done; wrote != nil && !errors.Is(wrote, io.ErrClosedPipe) {
		return wrote
	}
	return err
}

// mostInfo bounds a small file.
const mostInfo = 1 << 20

// Read implements Output.
func (b Blobs) Read(ctx context.Context, name string) ([]byte, bool, error) {
	doc, err := b.Store.Get(ctx, name, mostInfo)
	if errors.Is(err, blob.ErrNotFound) {
		return nil, false, nil
	}
	return doc, err == nil, err
}

// Has implements Output.
func (b Blobs) Has(ctx context.Context, name string) (bool, error) {
	_, err := b.Store.Stat(ctx, name)
	if errors.Is(err, blob.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}
