package duplication

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"pegasus/base"
	"pegasus/client"
	"pegasus/gen/metaquorum"
	"pegasus/rpc"
)

// identifyTime bounds each of the two questions to another cluster.
const identifyTime = 1500 * time.Millisecond

// identity is what another cluster says of itself. One of C++ doesn't say its number, nor has it an id.
type identity struct {
	id     string // "": it has none, or doesn't say
	number int32  // 0 likewise
	metas  []string
}

// identify asks the metas of another cluster what cluster they are of.
func (s *Service) identify(ctx context.Context, metas []string) (identity, error) {
	c := client.New(metas, client.Options{Framing: rpc.RDSN, Log: s.Log(), Timeout: identifyTime})
	defer c.Close()
	who, errs := askAll(ctx, c.Admin(), metas)
	if errs == nil {
		return who, nil
	}
	// A C++ server doesn't know that question, and answers this one. Where nothing listens nobody does.
	if slices.ContainsFunc(errs, func(e error) bool { return base.CodeOf(e) != base.ErrNetworkFailure }) {
		ctx, cancel := context.WithTimeout(ctx, identifyTime)
		defer cancel()
		kvs, other := c.Admin().ClusterInfo(ctx)
		if other == nil {
			for _, kv := range kvs {
				if kv.Key == "meta_servers" {
					who.metas = strings.Split(kv.Val, ",")
				}
			}
			return who, nil
		}
		errs = []error{other}
	}
	var why []string
	for _, e := range errs {
		why = append(why, e.Error())
	}
	return who, fmt.Errorf("none of its meta servers answers (%s): %s: %w", strings.Join(metas, ", "), strings.Join(why, "; "), base.ErrNetworkFailure)
}

// askAll returns what the first meta that answers says of its cluster.
func askAll(ctx context.Context, a client.Admin, metas []string) (identity, []error) {
	ctx, cancel := context.WithTimeout(ctx, identifyTime)
	defer cancel()
	answers := make(chan *metaquorum.QuorumStatusResponse, len(metas))
	errs := make([]error, len(metas))
	var wg sync.WaitGroup
	for i, m := range metas {
		wg.Go(func() {
			r, err := a.MetaStatus(ctx, m)
			if errs[i] = err; err == nil {
				answers <- r
				cancel() // one is enough
			}
		})
	}
	wg.Wait()
	select {
	case r := <-answers:
		who := identity{id: r.ClusterId.V, number: r.Number.V, metas: []string{r.Server}}
		for _, m := range r.Members {
			who.metas = append(who.metas, m.Address)
		}
		return who, nil
	default:
		return identity{}, errs
	}
}

// mistaken says why a table can't be sent to the cluster that the configuration calls name, "" if it can. others are the names
// of the clusters that it is sent to.
func (s *Service) mistaken(ctx context.Context, who identity, name string, number int, others []string) string {
	metas, _, _ := s.opt.Remote(name)
	at := fmt.Sprintf("clusters.%s.meta_servers (%s)", name, strings.Join(metas, ", "))
	id, members := s.opt.Self()
	switch {
	case who.id != "" && who.id == id, meet(ctx, slices.Concat(who.metas, metas), members):
		return at + " is this cluster itself: correct the configuration of this cluster's servers"
	case who.number != 0 && int(who.number) == s.opt.ID:
		return fmt.Sprintf("the cluster at %s has the number %d (cluster.id), and so has this one: give each its own, by which writes are told apart", at, who.number)
	case who.number != 0 && int(who.number) != number:
		return fmt.Sprintf("the cluster at %s has the number %d (cluster.id), and clusters.%s.id is %d: correct the configuration of this cluster's servers", at, who.number, name, number)
	}
	for _, o := range others {
		if list, _, _ := s.opt.Remote(o); meet(ctx, slices.Concat(who.metas, metas), list) {
			return fmt.Sprintf("the cluster at %s is also clusters.%s, to which this table is sent already: correct the configuration of this cluster's servers", at, o)
		}
	}
	return ""
}

// meet tells whether two lists have an address in common.
func meet(ctx context.Context, a, b []string) bool {
	ctx, cancel := context.WithTimeout(ctx, identifyTime)
	defer cancel()
	have := map[string]bool{}
	for _, x := range a {
		for _, at := range resolved(ctx, x) {
			have[at] = true
		}
	}
	return slices.ContainsFunc(b, func(x string) bool {
		return slices.ContainsFunc(resolved(ctx, x), func(at string) bool { return have[at] })
	})
}

// resolved returns an address as it is written, and with the numbers that its name stands for.
func resolved(ctx context.Context, addr string) []string {
	list := []string{addr}
	host, port, err := net.SplitHostPort(addr)
	if err != nil || net.ParseIP(host) != nil {
		return list
	}
	ips, _ := net.DefaultResolver.LookupHost(ctx, host)
	for _, ip := range ips {
		list = append(list, net.JoinHostPort(ip, port))
	}
	return list
}
