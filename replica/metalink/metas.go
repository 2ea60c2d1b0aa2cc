package metalink

import (
	"net"
	"slices"
	"sync/atomic"

	"github.com/sirupsen/logrus"

	"pegasus/base"
)

// metas are the meta servers, and which of them is believed to lead.
type metas struct {
	seeds  []string                 // cluster.meta_servers
	told   atomic.Pointer[[]string] // what the leader said last
	list   atomic.Pointer[[]string] // whom to ask
	leader atomic.Pointer[string]
	next   atomic.Int32
	log    *logrus.Entry
}

func newMetas(seeds []string, log *logrus.Entry) *metas {
	m := &metas{seeds: seeds, log: log}
	m.list.Store(&seeds)
	m.told.Store(&seeds)
	m.leader.Store(&seeds[0])
	return m
}

func (m *metas) all() []string { return *m.list.Load() }

func (m *metas) addr() string { return *m.leader.Load() }

// learn takes the list of metas that the leader sent. Those of the configuration file are
// still asked, after them.
func (m *metas) learn(list []string) {
	if len(list) == 0 || slices.Equal(*m.told.Load(), list) {
		return
	}
	m.told.Store(&list)
	var all []string
	for _, a := range append(slices.Clone(list), m.seeds...) {
		if _, _, err := net.SplitHostPort(a); err == nil && !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	m.list.Store(&all)
	m.log.Infof("the meta servers are %v", list)
}

// turn makes to the one to ask, or if it is nobody the next in the list; only if the one
// that failed is still the one to ask.
func (m *metas) turn(failed string, to base.RPCAddress) {
	cur := m.leader.Load()
	if *cur != failed {
		return
	}
	all := m.all()
	next := all[int(m.next.Add(1))%len(all)]
	if !to.IsZero() {
		next = to.String()
	}
	if next != failed {
		m.leader.CompareAndSwap(cur, &next)
	}
}
