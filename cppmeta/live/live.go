// Package live asks the meta servers of a cluster that runs, of C++ or of ours, what package cppmeta reads of files.
//
// It owns which requests are made, and what is left out if an older server doesn't know one. What is told it as the state is
// of one moment for each request, not of one for all.
package live

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"pegasus/base"
	"pegasus/client"
	"pegasus/cppmeta"
	"pegasus/gen/duplication"
	"pegasus/gen/layer2"
)

// Tables asks for all tables, dropped ones too.
func Tables(ctx context.Context, c *client.Client) ([]cppmeta.Table, error) {
	infos, err := c.Admin().ListTables(ctx, layer2.AS_INVALID) // all
	if err != nil {
		return nil, err
	}
	var out []cppmeta.Table
	for i := range infos {
		out = append(out, tableOf(&infos[i]))
	}
	return out, nil
}

func tableOf(i *layer2.AppInfo) cppmeta.Table {
	t := cppmeta.Table{ID: i.AppId, Name: i.AppName, Type: i.AppType, Status: i.Status.String(), Partitions: i.PartitionCount, Replicas: i.MaxReplicaCount,
		Created: i.CreateSecond, Dropped: i.DropSecond, Expires: i.ExpireSecond, InitPartitions: i.InitPartitionCount, Envs: map[string]string{}}
	for _, e := range i.Envs {
		t.Envs[e.Key] = e.Val
	}
	return t
}

// Read asks for tables, duplications, backup policies and the function level.
func Read(ctx context.Context, c *client.Client) (*cppmeta.State, error) {
	infos, err := c.Admin().ListTables(ctx, layer2.AS_INVALID)
	if err != nil {
		return nil, err
	}
	s := &cppmeta.State{}
	for i := range infos {
		t := tableOf(&infos[i])
		s.Tables = append(s.Tables, t)
		if !t.Available() || !infos[i].Duplicating.V {
			continue
		}
		if err := dups(ctx, c, s, t.Name); err != nil {
			return nil, err
		}
	}
	if err := policies(ctx, c, s); err != nil {
		return nil, err
	}
	info, err := c.Admin().ClusterInfo(ctx)
	if err != nil {
		return nil, err
	}
	for _, kv := range info {
		if kv.Key == "meta_function_level" {
			s.Level = kv.Val
		}
	}
	s.Sort()
	return s, nil
}

// told are errors by which a cluster says that it has no such thing: it is switched off, or older.
func told(err error) bool {
	return errors.Is(err, base.ErrServiceNotActive) || errors.Is(err, base.ErrHandlerNotFound)
}

func dups(ctx context.Context, c *client.Client, s *cppmeta.State, table string) error {
	list, err := c.Admin().Duplications(ctx, table)
	switch {
	case err != nil && told(err):
		s.Notes = append(s.Notes, fmt.Sprintf("the duplications of table %q are not known: %v", table, err))
		return nil
	case err != nil:
		return err
	}
	for _, d := range list {
		if d.Status != duplication.DS_REMOVED {
			s.Duplications = append(s.Duplications, cppmeta.Duplication{Table: table, ID: int64(d.Dupid), Remote: d.Remote, RemoteTable: d.RemoteAppName.V, Status: d.Status.String(), FailMode: d.FailMode.V.String()})
		}
	}
	return nil
}

func policies(ctx context.Context, c *client.Client, s *cppmeta.State) error {
	list, _, err := c.Admin().BackupPolicies(ctx, 0)
	switch {
	case err != nil && told(err):
		s.Notes = append(s.Notes, fmt.Sprintf("the backup policies are not known: %v", err))
		return nil
	case err != nil:
		return err
	}
	for _, p := range list {
		q := cppmeta.Policy{Name: p.PolicyName, Provider: p.BackupProviderType, Apps: p.AppIds, Keep: p.BackupHistoryCountToKeep, AppNames: map[string]string{}}
		q.Disabled = cppmeta.Flag(p.IsDisable)
		q.Interval, err = strconv.ParseInt(p.BackupIntervalSeconds, 10, 64)
		if err == nil {
			_, err = fmt.Sscanf(p.StartTime, "%d:%d", &q.Start.Hour, &q.Start.Minute)
		}
		if err != nil {
			s.Problems = append(s.Problems, fmt.Sprintf("backup policy %q: interval %q, start %q: %v", p.PolicyName, p.BackupIntervalSeconds, p.StartTime, err))
		}
		for _, id := range p.AppIds {
			for i := range s.Tables {
				if s.Tables[i].ID == id {
					q.AppNames[strconv.Itoa(int(id))] = s.Tables[i].Name
				}
			}
		}
		s.Policies = append(s.Policies, q)
	}
	return nil
}
