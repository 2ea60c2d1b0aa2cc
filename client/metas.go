package client

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	health "pegasus/base/judge"
	"pegasus/gen/metaquorum"
)

// MetaAnswer is what a meta server says about itself.
type MetaAnswer struct {
	Addr string                           // host:port
	Is   *metaquorum.QuorumStatusResponse // nil: it doesn't answer
	Err  error                            // why
}

// AskMetas asks the meta servers that are known, and all members that they name, each for itself and within wait. The list is
// in the order of the addresses. ask is Admin.MetaStatus.
func AskMetas(ctx context.Context, known []string, wait time.Duration, ask func(ctx context.Context, addr string) (*metaquorum.QuorumStatusResponse, error)) (list []MetaAnswer) {
	seen := map[string]bool{}
	for next := known; len(next) > 0; {
		var round []MetaAnswer
		for _, addr := range next {
			if !seen[addr] {
				seen[addr] = true
				round = append(round, MetaAnswer{Addr: addr})
			}
		}
		var wg sync.WaitGroup
		for i := range round {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(ctx, wait)
				defer cancel()
				m := &round[i]
				if m.Is, m.Err = ask(ctx, m.Addr); m.Err != nil {
					m.Is = nil
				}
			})
		}
		wg.Wait()
		next = nil
		for i := range round {
			if is := round[i].Is; is != nil {
				for _, m := range is.Members {
					next = append(next, m.Address)
				}
			}
		}
		list = append(list, round...)
	}
	slices.SortFunc(list, func(a, b MetaAnswer) int { return strings.Compare(a.Addr, b.Addr) })
	return list
}

// Leader returns the one that leads, as they say: of several the one of the newest term; nil if none does.
func Leader(list []MetaAnswer) (leader *MetaAnswer) {
	for i := range list {
		if m := &list[i]; m.Is != nil && m.Is.Role == "leader" && (leader == nil || m.Is.Term > leader.Is.Term) {
			leader = m
		}
	}
	return leader
}

// JudgeMetas says how the quorum is.
func JudgeMetas(list []MetaAnswer) health.Quorum {
	leader := Leader(list)
	asked := make([]health.Meta, len(list))
	for i := range list {
		m, to := &list[i], &asked[i]
		*to = health.Meta{Addr: m.Addr, Answers: m.Is != nil, Leads: m == leader}
		if m.Is == nil {
			to.Error = m.Err.Error()
			continue
		}
		to.Restored, to.Quorum, to.Hint = m.Is.Restored, m.Is.Quorum, m.Is.Hint.V
		for _, o := range m.Is.Members {
			to.Members = append(to.Members, o.Address)
		}
	}
	return health.OfMetas(asked)
}
