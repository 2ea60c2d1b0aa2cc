package onebox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pegasus/base"
	"pegasus/client"
)

// Admin is the running cluster as its administrator sees it.
type Admin interface {
	// Absent returns in words which of that many replica servers the meta hasn't heard of,
	// "" if none.
	Absent(ctx context.Context, replicas int) (string, error)
	// Ensure makes the table unless it is there.
	Ensure(ctx context.Context, t TableSpec) error
	// Has tells whether there is a table of that name.
	Has(ctx context.Context, table string) (bool, error)
	// Missing returns in words what a table still lacks to have all its replicas, "" if
	// nothing.
	Missing(ctx context.Context, table string) (string, error)
}

// clusterClient is Admin by way of our own client.
type clusterClient struct{ c *client.Client }

// Connect returns the Admin of the cluster that c talks to.
func Connect(c *client.Client) Admin { return clusterClient{c} }

// Absent says how many replica servers the leading meta doesn't count as alive.
func (k clusterClient) Absent(ctx context.Context, replicas int) (string, error) {
	nodes, err := k.c.Admin().ListNodes(ctx)
	if err != nil {
		return "", err
	}
	alive := 0
	for _, n := range nodes {
		if n.Alive {
			alive++
		}
	}
	if alive >= replicas {
		return "", nil
	}
	return fmt.Sprintf("%d of %d replica servers have reported to the meta server", alive, replicas), nil
}

// Ensure makes the table unless it is there. A cluster that is still starting is waited
// for until ctx ends.
func (k clusterClient) Ensure(ctx context.Context, t TableSpec) error {
	for {
		_, err := k.c.Admin().QueryConfig(ctx, t.Name)
		var refused *client.AdminError
		switch {
		case err == nil:
			return nil
		case errors.As(err, &refused) && refused.Code == base.ErrObjectNotFound:
			_, err = k.c.Admin().CreateTable(ctx, t.Name, t.Partitions, t.Replicas, client.CreateOptions{SuccessIfExists: true})
		}
		if err == nil || ctx.Err() != nil || !soon(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Has tells whether there is an available table of that name.
func (k clusterClient) Has(ctx context.Context, table string) (bool, error) {
	_, err := k.c.Admin().QueryConfig(ctx, table)
	var refused *client.AdminError
	if errors.As(err, &refused) && refused.Code == base.ErrObjectNotFound {
		return false, nil
	}
	return err == nil, err
}

// soon: a cluster that has just started answers so for a moment.
func soon(err error) bool {
	switch base.CodeOf(err) {
	case base.ErrForwardToOthers, base.ErrServiceNotActive, base.ErrNetworkFailure, base.ErrTimeout, base.ErrStateFreezed,
		base.ErrBusyCreating, base.ErrBusyDropping, base.ErrNotEnoughMember, base.ErrTryAgain, base.ErrBusy:
		return true
	}
	return false
}

// Missing says how many partitions lack replicas.
func (k clusterClient) Missing(ctx context.Context, table string) (string, error) {
	res, err := k.c.Admin().QueryConfig(ctx, table)
	if err != nil {
		return "", err
	}
	lacking, headless := 0, 0
	for i := range res.Partitions {
		p := &res.Partitions[i]
		switch {
		case p.Primary.IsZero():
			headless++
		case 1+len(p.Secondaries) < int(p.MaxReplicaCount):
			lacking++
		}
	}
	if lacking+headless == 0 {
		return "", nil
	}
	return fmt.Sprintf("of %d partitions, %d have no primary and %d lack secondaries", len(res.Partitions), headless, lacking), nil
}
