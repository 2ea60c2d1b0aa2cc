package dashboard

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"pegasus/meta/probe"
)

// askAvailability asks the leading meta what the probes of partitions found, of one table or with "" of all.
func askAvailability(ctx context.Context, s Source, leader, table string) (*probe.Answer, error) {
	args := url.Values{}
	if table != "" {
		args.Set("name", table)
	}
	a, err := askLeader[probe.Answer](ctx, s, leader, "meta/availability", args)
	if err != nil {
		return nil, err
	}
	return &a, nil
}

// spark is one small line of the last half hour.
type spark struct {
	What, Now, Most string
	Words           string // for who doesn't see it
	Points          string // of an SVG polyline, 2 wide for each slot and 40 high
	Width           int
}

// sparks asks for half an hour of a table or a server ("name" or "server"), and draws it.
func sparks(ctx context.Context, s Source, leader, what, name string) ([]spark, error) {
	h, err := askLeader[probe.History](ctx, s, leader, "meta/latency", url.Values{what: {name}})
	if err != nil {
		return nil, err
	}
	perSecond := func(n float64) string { return fmt.Sprintf("%.3g/s", n) }
	return []spark{
		draw("p99 of reads", h.ReadP99, took), draw("p99 of writes", h.WriteP99, took),
		draw("reads", h.ReadRate, perSecond), draw("writes", h.WriteRate, perSecond),
	}, nil
}

// took writes microseconds.
func took(us float64) string {
	switch {
	case us < 1e3:
		return fmt.Sprintf("%.0f µs", us)
	case us < 1e6:
		return fmt.Sprintf("%.3g ms", us/1e3)
	}
	return fmt.Sprintf("%.3g s", us/1e6)
}

// sparkHeight is how high a spark is, sparkStep how wide a slot of it.
const sparkHeight, sparkStep = 40, 4

func draw[T float32 | uint32](what string, list []T, say func(float64) string) spark {
	s := spark{What: what, Width: max(1, (len(list)-1)*sparkStep)}
	var most, last float64
	values := make([]float64, len(list))
	for i, v := range list {
		values[i] = float64(v)
		most, last = max(most, values[i]), values[i]
	}
	var points strings.Builder
	for i, v := range values {
		fmt.Fprintf(&points, "%d,%.3g ", i*sparkStep, 1+(sparkHeight-2)*(1-v/max(most, 1e-9)))
	}
	s.Points = strings.TrimSpace(points.String())
	s.Now, s.Most = say(last), say(most)
	if most == 0 {
		s.Now, s.Most = "none", "none"
	}
	s.Words = fmt.Sprintf("%s in the last half hour: now %s, at most %s", what, s.Now, s.Most)
	return s
}

// parts writes a part of 1 as percent, so that 100 is never said of less.
func parts(p float64) string {
	if p >= 1 {
		return "100 %"
	}
	return fmt.Sprintf("%.2f %%", float64(int64(p*1e4))/100)
}
