package dashboard

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"pegasus/base"
	"pegasus/remotecmd/answer"
)

const (
	// slowServers is how many servers are asked for slow requests, slowOfEach for how many each of them is.
	slowServers = 64
	slowOfEach  = 10
	// slowRows is how many are shown: each may have all its stages.
	slowRows = 40
	// slowText bounds what a request asks for, slowStages the stages of one.
	slowText   = 200
	slowStages = 20
)

// slowRow is a request that took long.
type slowRow struct {
	Time                                     time.Time
	Took                                     time.Duration
	Op, Table, Partition, Server, From, What string
	Rows, Others                             int
	Bytes                                    int64
	Trace                                    string
	Stages                                   []string
}

// slow shows slow requests: of ?server=, or of as many servers as may be asked at once.
func (d *Dashboard) slow(q *http.Request) (page, error) {
	ctx, cancel := asked(q)
	defer cancel()
	r, err := d.answers.nodes.get()
	if err != nil {
		return page{}, err
	}
	only := q.URL.Query().Get("server")
	if only != "" {
		if _, err := base.ParseAddr(only); err != nil {
			return page{}, fmt.Errorf("%w: %w", errAbsent, err)
		}
	}
	alive := 0
	var servers []string
	for i := range r.Nodes {
		n := &r.Nodes[i]
		if !n.Alive {
			continue
		}
		alive++
		if a := n.Node.String(); (only == "" || a == only) && len(servers) < slowServers {
			servers = append(servers, a)
		}
	}
	lists, errs := make([]answer.SlowRequests, len(servers)), make([]error, len(servers))
	each(len(servers), func(i int) {
		lists[i], errs[i] = command[answer.SlowRequests](ctx, d.s, servers[i], "replica.slow", strconv.Itoa(slowOfEach))
	})
	var rows []slowRow
	for i, l := range lists {
		for j := range l.Requests[:min(len(l.Requests), slowOfEach)] {
			rows = append(rows, slowOf(servers[i], &l.Requests[j]))
		}
	}
	slices.SortFunc(rows, func(a, b slowRow) int {
		return cmp.Or(b.Time.Compare(a.Time), cmp.Compare(a.Server, b.Server))
	})
	return page{name: "slow", Title: "Slow requests", Data: map[string]any{"Rows": rows[:min(len(rows), slowRows)], "Server": only, "Asked": len(servers), "Alive": alive,
		"Err": partOf(0, errors.Join(errs...)).Err}}, nil
}

func slowOf(server string, s *answer.SlowRequest) slowRow {
	row := slowRow{Time: s.Time, Took: round(s.Took), Op: s.Op, Table: s.Table, Partition: s.Partition, Server: server, From: s.From,
		What: fmt.Sprintf("%.*s", slowText, s.What), Rows: s.Rows, Others: s.Others, Bytes: int64(s.Bytes)}
	if s.Trace != nil {
		row.Trace = s.Trace.ID
		for _, x := range s.Trace.Stages[:min(len(s.Trace.Stages), slowStages)] {
			row.Stages = append(row.Stages, fmt.Sprintf("%v %s %s", round(x.At), x.What, x.Server))
		}
	}
	return row
}

// round makes seconds a time that is easy to read.
func round(seconds float64) time.Duration {
	return time.Duration(seconds * 1e9).Round(10 * time.Microsecond)
}
