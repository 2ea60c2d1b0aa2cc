package receive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"pegasus/base"
	"pegasus/client"
	"pegasus/gen/dupinternal"
	"pegasus/rpc"
	"pegasus/rrdb"
)

const (
	// dividing is how many requests are taken apart at a time; the senders of others try again.
	dividing = 64
	// divideTime is how long the parts of a request may take. Upstream's sender waits 100 s.
	divideTime = 90 * time.Second
	// partTime is how long one server is waited for.
	partTime = 20 * time.Second
)

// Divide takes a request apart that can't become one mutation of the partition that it came to, as package
// rrdb said: each part goes to the partition that it belongs to, as a request of its own, with the timetags that
// it has. It is answered once all parts are. If one fails, the sender hears of an error that makes it try again;
// parts that are written twice change nothing. A part isn't taken apart again, so nothing goes round.
//
// It returns at once.
func (r *Receiver) Divide(req *rpc.Request, c *Counts, table string, gpid base.Gpid, partitions int32) {
	select {
	case r.dividing <- struct{}{}:
	default:
		req.ReplyError(base.ErrBusy)
		return
	}
	req.Announce(int64(len(req.Body))) // the parts
	req.Go(func() {
		defer func() { <-r.dividing }()
		ctx, cancel := context.WithTimeout(r.ctx, divideTime)
		defer cancel()
		parts, moved, err := rrdb.Divide(req.ArgReader(), gpid.PartitionIndex, partitions)
		if err != nil {
			req.Refuse(base.CodeOf(err), err)
			return
		}
		c.divided.Add(1)
		c.misrouted.Add(int64(moved))
		hint, err := r.sendParts(ctx, table, gpid.AppID, parts)
		if err != nil {
			c.failed.Add(1)
			if r.lines.Allow() {
				r.o.Log.WithField("gpid", gpid.String()).Warnf("duplication: a request of another cluster, %d of whose writes are for other partitions, went on in %d parts, and isn't applied yet; its sender tries again: %v", moved, len(parts), err)
			}
			req.ReplyError(base.ErrTryAgain)
			return
		}
		req.Reply(&dupinternal.DuplicateResponse{Error: base.Some(int32(0)), ErrorHint: base.NonZero(hint)})
	})
}

// sendParts sends the parts, those of a partition one after the other. hint is the first that was answered.
func (r *Receiver) sendParts(ctx context.Context, table string, id int32, parts []*rrdb.Part) (hint string, err error) {
	t, err := r.client().Table(ctx, table)
	if err != nil {
		return "", fmt.Errorf("look for table %q: %w", table, err)
	}
	if t.AppID() != id {
		r.client().Forget(table)
		return "", fmt.Errorf("table %q has the id %d, the request is for %d: %w", table, t.AppID(), id, base.ErrObjectNotFound)
	}
	lanes := map[int32][]*rrdb.Part{}
	for _, p := range parts {
		lanes[p.Partition] = append(lanes[p.Partition], p)
	}
	g, ctx := errgroup.WithContext(ctx)
	hints := make(chan string, len(parts))
	for _, lane := range lanes {
		g.Go(func() error {
			for _, p := range lane {
				h, err := sendPart(ctx, t, p)
				if err != nil {
					return fmt.Errorf("%d writes for partition %d: %w", len(p.Request.Entries), p.Partition, err)
				}
				hints <- h
			}
			return nil
		})
	}
	err = g.Wait()
	close(hints)
	for h := range hints {
		if hint == "" {
			hint = h
		}
	}
	return hint, err
}

func sendPart(ctx context.Context, t *client.Table, p *rrdb.Part) (hint string, err error) {
	limit := partTime
	if at, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(at))
	}
	if err := ctx.Err(); err != nil || limit <= 0 {
		return "", errors.Join(base.ErrTimeout, err)
	}
	done := make(chan error, 1)
	var a dupinternal.DuplicateResponse
	t.Go(client.Op{Code: base.RPCDuplicate, Hash: p.Hash, Arg: p.Request, Write: true, Attempt: limit}, limit, func(body []byte, err error) {
		if err == nil {
			err = rpc.DecodeBody(bytes.Clone(body), &a)
		}
		done <- err
	})
	// The call ends by itself within limit, and uses the request until then.
	if err := <-done; err != nil {
		return "", err
	}
	if a.Error.V != 0 {
		return "", &client.StoreError{Op: base.RPCDuplicate, Code: a.Error.V}
	}
	return a.ErrorHint.V, nil
}
