package dashboard

import (
	"context"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"pegasus/base"
	"pegasus/client"
	"pegasus/gen/backupadmin"
	"pegasus/gen/bulkload"
	"pegasus/gen/duplication"
	"pegasus/gen/layer2"
	"pegasus/gen/metadata"
	"pegasus/gen/metaquorum"
	"pegasus/gen/placement"
	"pegasus/gen/restore"
	"pegasus/gen/split"
	"pegasus/meta/events"
	"pegasus/meta/probe"
	"pegasus/meta/usage"
	"pegasus/remotecmd/answer"
)

// Source answers what the pages show, and does what their forms ask for. A client.Admin is one.
type Source interface {
	Health(ctx context.Context) (*placement.ClusterVerdict, error)
	Explain(ctx context.Context, table string, partition int) (*placement.ExplainResponse, error)
	NodeRoles(ctx context.Context) (*placement.NodeRoleResponse, error)
	SetNodeRole(ctx context.Context, node base.RPCAddress, role placement.NodeRole) (*placement.NodeRoleResponse, error)
	Rebalance(ctx context.Context, action placement.RebalanceAction, table string, primariesOnly bool) (*placement.RebalanceResponse, error)
	ListTables(ctx context.Context, status layer2.AppStatus) ([]layer2.AppInfo, error)
	QueryConfig(ctx context.Context, table string) (*layer2.QueryCfgResponse, error)
	SetEnvs(ctx context.Context, table string, envs []base.Pair[string, string]) error
	DelEnvs(ctx context.Context, table string, keys []string) error
	StartBackup(ctx context.Context, table int32, provider, path string) (int64, error)
	ListBackups(ctx context.Context, q backupadmin.ListBackupsRequest) ([]backupadmin.BackupState, error)
	Restores(ctx context.Context, id int32) ([]restore.RestoreState, error)
	ListDuplications(ctx context.Context) ([]duplication.DuplicationAppState, error)
	QuerySplit(ctx context.Context, table string) (*split.QuerySplitResponse, error)
	QueryBulkLoad(ctx context.Context, table string) (*bulkload.QueryBulkLoadResponse, error)
	Replicas(ctx context.Context, addr base.RPCAddress) ([]metadata.ReplicaInfo, error)
	RemoteCommand(ctx context.Context, addr, cmd string, args ...string) (string, error)
	Page(ctx context.Context, addr, path string, query url.Values) ([]byte, error)
	MetaStatus(ctx context.Context, addr string) (*metaquorum.QuorumStatusResponse, error)
}

const (
	// fresh is for how long an answer is shown to others who ask.
	fresh = time.Second
	// askTime bounds the questions of one page.
	askTime = 4 * time.Second
	// metaTime bounds the question to one meta: one that hangs holds no page.
	metaTime = time.Second
)

// shared is an answer that those who ask within a second share.
type shared[T any] struct {
	mu   sync.Mutex
	at   time.Time
	v    T
	err  error
	asks func(context.Context) (T, error)
}

// get returns the answer. It goes on when the one who asked first leaves, for the others.
func (s *shared[T]) get() (T, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.at) > fresh {
		ctx, cancel := context.WithTimeout(context.Background(), askTime)
		defer cancel()
		s.v, s.err = s.asks(ctx)
		s.at = time.Now()
	}
	return s.v, s.err
}

// forget has the next one ask anew: something was changed.
func (s *shared[T]) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at = time.Time{}
}

// answers are what several pages show.
type answers struct {
	health shared[*placement.ClusterVerdict]
	nodes  shared[*placement.NodeRoleResponse]
	tables shared[[]layer2.AppInfo]
	moves  shared[*placement.RebalanceResponse]
	metas  shared[[]client.MetaAnswer]
	usage  shared[[]usage.Table]
	probes shared[*probe.Answer]
}

func newAnswers(s Source, metas []string) *answers {
	a := &answers{}
	a.health.asks, a.nodes.asks = s.Health, s.NodeRoles
	a.tables.asks = func(ctx context.Context) ([]layer2.AppInfo, error) {
		l, err := s.ListTables(ctx, layer2.AS_INVALID)
		l = slices.DeleteFunc(l, func(i layer2.AppInfo) bool { return i.Status == layer2.AS_DROPPED || i.Status == layer2.AS_DROPPING })
		return l, err
	}
	a.moves.asks = func(ctx context.Context) (*placement.RebalanceResponse, error) {
		return s.Rebalance(ctx, placement.REBALANCE_STATUS, "", false)
	}
	a.metas.asks = func(ctx context.Context) ([]client.MetaAnswer, error) {
		return client.AskMetas(ctx, metas, metaTime, s.MetaStatus), nil
	}
	a.usage.asks = func(ctx context.Context) ([]usage.Table, error) { return askUsage(ctx, s, a.leader(), "") }
	a.probes.asks = func(ctx context.Context) (*probe.Answer, error) { return askAvailability(ctx, s, a.leader(), "") }
	return a
}

// leader is the meta that leads, "" if none says so.
func (a *answers) leader() string {
	metas, _ := a.metas.get()
	if m := client.Leader(metas); m != nil {
		return m.Addr
	}
	return ""
}

func (a *answers) forget() {
	a.health.forget()
	a.nodes.forget()
	a.tables.forget()
	a.moves.forget()
}

// each calls f for 0 to n-1, at once.
func each(n int, f func(int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}

// happened is an event, and which meta tells it.
type happened struct {
	events.Event
	Meta string
}

// eventsOf asks all metas what happened lately, the newest first. silent are those that didn't answer.
func eventsOf(ctx context.Context, s Source, metas []client.MetaAnswer, n int, worse bool) (list []happened, silent []string) {
	lists, failed := make([][]events.Event, len(metas)), make([]bool, len(metas))
	which := "all"
	if worse {
		which = "worse"
	}
	each(len(metas), func(i int) {
		ctx, cancel := context.WithTimeout(ctx, metaTime)
		defer cancel()
		var err error
		lists[i], err = command[[]events.Event](ctx, s, metas[i].Addr, "meta.events", strconv.Itoa(n), which)
		failed[i] = err != nil
	})
	for i, l := range lists {
		if failed[i] {
			silent = append(silent, metas[i].Addr)
		}
		for _, e := range l {
			list = append(list, happened{e, metas[i].Addr})
		}
	}
	slices.SortStableFunc(list, func(a, b happened) int { return b.Time.Compare(a.Time) })
	return list[:min(n, len(list))], silent
}

// command asks a server by a remote command that answers JSON.
func command[T any](ctx context.Context, s Source, addr, name string, args ...string) (v T, err error) {
	text, err := s.RemoteCommand(ctx, addr, name, args...)
	if err != nil {
		return v, err
	}
	return answer.Read[T](addr, name, text)
}
