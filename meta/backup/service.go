package backup

import (
	"context"
	"time"

	"pegasus/base"
	"pegasus/meta/service"
)

var _ service.Collector = (*Service)(nil)

// New returns the backups of a meta that leads.
func New(l service.Leader, o Options) *Service {
	o.EnsureDefaults()
	return &Service{leader: l, o: o, kick: make(chan struct{}, 1), jobs: map[int64]*job{}, servers: map[base.RPCAddress]*server{}, waits: map[string]string{}}
}

// Register adds the requests, and the page.
func (*Service) Register(r *service.Routes) {
	service.Handle(r, base.RPCAddBackupPolicy, service.Slow, (*Service).addPolicy)
	service.Handle(r, base.RPCModifyBackupPolicy, service.Slow, (*Service).modifyPolicy)
	service.Handle(r, base.RPCQueryBackupPolicy, service.Fast, (*Service).queryPolicies)
	service.Handle(r, base.RPCRemoveBackupPolicy, service.Slow, (*Service).removePolicy)
	service.Handle(r, base.RPCStartBackupApp, service.Slow, (*Service).startBackup)
	service.Handle(r, base.RPCQueryBackupStatus, service.Fast, (*Service).queryStatus)
	service.Handle(r, base.RPCListBackups, service.Fast, (*Service).list)
	service.Handle(r, base.RPCCancelBackup, service.Slow, (*Service).cancel)
	service.Handle(r, base.RPCDeleteBackup, service.Slow, (*Service).delete)
	service.Page(r, "meta/backup_policy", "[name=<policy>]: show backup policies.", (*Service).page)
}

// Report does nothing.
func (*Service) Report(*service.Report) {}

// Lead begins and drives backups until ctx ends, and waits for what it began.
func (s *Service) Lead(ctx context.Context) {
	tick := time.NewTicker(s.o.Poll)
	defer tick.Stop()
	for !ended(ctx) {
		s.round(ctx)
		select {
		case <-ctx.Done():
		case <-s.kick:
		case <-tick.C:
		}
	}
	s.mu.Lock()
	var open []*job
	for _, j := range s.jobs {
		open = append(open, j)
	}
	s.mu.Unlock()
	for _, j := range open {
		<-j.done
	}
}
