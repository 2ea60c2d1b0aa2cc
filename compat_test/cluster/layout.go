package cluster

import (
	"errors"
	"fmt"
	"time"

	"pegasus/base"
	"pegasus/compat_test/wire"
	"pegasus/gen/layer2"
	"pegasus/gen/metaadmin"
	"pegasus/gen/rrdb"
	"pegasus/gen/value"
)

const callTime = 5 * time.Second

// MetaCall asks the metas in turn until the leader answers. err reads the error field of res.
func (c *Cluster) MetaCall(code string, arg, res value.Value, err func() base.ErrorCode) error {
	return Poll(30*time.Second, func() error {
		var errs []error
		for _, m := range c.Metas() {
			if e := wire.Call(m, code, base.Gpid{}, 0, arg, res, callTime+10*time.Second); e != nil {
				errs = append(errs, fmt.Errorf("%s: %w", m, e))
				continue
			}
			if err() == base.ErrForwardToOthers {
				errs = append(errs, fmt.Errorf("%s isn't the leader", m))
				continue
			}
			return nil
		}
		return errors.Join(errs...)
	})
}

// Leader returns the name of the meta that answers for the cluster.
func (c *Cluster) Leader() (string, error) {
	name := ""
	err := Poll(30*time.Second, func() error {
		for _, m := range c.Metas() {
			var res metaadmin.ConfigurationListNodesResponse
			err := wire.Call(m, base.RPCListNodes, base.Gpid{}, 0, &metaadmin.ConfigurationListNodesRequest{}, &res, callTime)
			if err == nil && res.Err == base.ErrOK {
				name = c.Name(m)
				return nil
			}
		}
		return errors.New("no meta leads")
	})
	return name, err
}

// Lead makes a meta of three the leader, by killing the one that is until the others elect the
// right one. It comes back only then: who is started anew mostly asks for votes before those do
// that wait for their leader's silence to become long enough.
func (c *Cluster) Lead(meta string) error {
	for range 20 {
		now, err := c.Leader()
		if err != nil || now == meta {
			return err
		}
		if err := c.Kill(now); err != nil {
			return err
		}
		_, err = c.Leader()
		if err := errors.Join(err, c.Restart(now)); err != nil {
			return err
		}
	}
	return fmt.Errorf("%s was never elected", meta)
}

// Config returns the configuration of a table as its meta tells it to clients.
func (c *Cluster) Config(table string) (*layer2.QueryCfgResponse, error) {
	var res layer2.QueryCfgResponse
	arg := &layer2.QueryCfgRequest{AppName: table, PartitionIndices: []int32{}}
	err := c.MetaCall(base.RPCQueryPartitionConfigByIndex, arg, &res, func() base.ErrorCode { return res.Err })
	if err == nil && res.Err != base.ErrOK {
		err = fmt.Errorf("configuration of %s: %w", table, res.Err)
	}
	return &res, err
}

// WaitConfig waits until every partition of the table satisfies ok.
func (c *Cluster) WaitConfig(table string, limit time.Duration, ok func(*layer2.PartitionConfiguration) error) error {
	return Poll(limit, func() error {
		cfg, err := c.Config(table)
		if err != nil {
			return err
		}
		for i := range cfg.Partitions {
			if err := ok(&cfg.Partitions[i]); err != nil {
				return fmt.Errorf("partition %s: %w", cfg.Partitions[i].Pid, err)
			}
		}
		return nil
	})
}

// WaitHealthy waits until every partition of the table has all its replicas.
func (c *Cluster) WaitHealthy(table string, limit time.Duration) error {
	return c.WaitConfig(table, limit, func(p *layer2.PartitionConfiguration) error {
		if p.Primary.IsZero() || len(p.Secondaries)+1 != int(p.MaxReplicaCount) {
			return fmt.Errorf("primary %s, secondaries %v of %d replicas", p.Primary, p.Secondaries, p.MaxReplicaCount)
		}
		return nil
	})
}

// PrimariesOf counts the partitions of a table whose primary is at each address.
func (c *Cluster) PrimariesOf(table string) (map[string]int, error) {
	cfg, err := c.Config(table)
	if err != nil {
		return nil, err
	}
	n := map[string]int{}
	for i := range cfg.Partitions {
		n[cfg.Partitions[i].Primary.String()]++
	}
	return n, nil
}

// MovePrimaries moves the primary of every partition of a table to the partition's first or
// last secondary, as an administrator would (RPC_CM_PROPOSE_BALANCER), and waits until it is so.
func (c *Cluster) MovePrimaries(table string, last bool) error {
	cfg, err := c.Config(table)
	if err != nil {
		return err
	}
	want := map[base.Gpid]base.RPCAddress{}
	for i := range cfg.Partitions {
		p := &cfg.Partitions[i]
		if len(p.Secondaries) == 0 {
			return fmt.Errorf("partition %s has no secondary to move its primary to", p.Pid)
		}
		to := p.Secondaries[0]
		if last {
			to = p.Secondaries[len(p.Secondaries)-1]
		}
		want[p.Pid] = to
		var res metaadmin.ConfigurationBalancerResponse
		arg := &metaadmin.ConfigurationBalancerRequest{
			Gpid: p.Pid,
			ActionList: []metaadmin.ConfigurationProposalAction{
				{Target: p.Primary, Node: p.Primary, Type: metaadmin.CT_DOWNGRADE_TO_SECONDARY},
				{Target: to, Node: to, Type: metaadmin.CT_UPGRADE_TO_PRIMARY},
			},
			Force:       base.Some(false),
			BalanceType: base.Some(metaadmin.MovePrimary),
		}
		if err := c.MetaCall(base.RPCProposeBalancer, arg, &res, func() base.ErrorCode { return res.Err }); err != nil {
			return fmt.Errorf("move the primary of %s: %w", p.Pid, err)
		}
		if res.Err != base.ErrOK {
			return fmt.Errorf("move the primary of %s: %w", p.Pid, res.Err)
		}
	}
	err = c.WaitConfig(table, time.Minute, func(p *layer2.PartitionConfiguration) error {
		if p.Primary != want[p.Pid] {
			return fmt.Errorf("primary is %s, should move to %s", p.Primary, want[p.Pid])
		}
		if len(p.Secondaries)+1 != int(p.MaxReplicaCount) {
			return fmt.Errorf("only %d secondaries", len(p.Secondaries))
		}
		return nil
	})
	if err != nil {
		return err
	}
	// The meta has decided; a moment later the old primaries know it, and the new ones serve.
	for i := range cfg.Partitions {
		p := &cfg.Partitions[i]
		err := Poll(time.Minute, func() error {
			if err := serves(want[p.Pid], p.Pid); err != nil {
				return err
			}
			if p.Primary == want[p.Pid] {
				return nil
			}
			if err := serves(p.Primary, p.Pid); !errors.Is(err, base.ErrInvalidState) {
				return fmt.Errorf("the old primary %s of %s: %v", p.Primary, p.Pid, err)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// serves reads from a partition at one server.
func serves(node base.RPCAddress, g base.Gpid) error {
	key := value.Blob(base.AppendKey(nil, []byte("nobody"), nil))
	return wire.Call(node.String(), base.RPCGet, g, 0, &key, new(rrdb.ReadResponse), callTime)
}
