package remotecmd

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// Counter is one of the counters that upstream's servers had before /metrics. Few are left: those that admin-cli still asks for.
type Counter struct {
	Name  string  `json:"name"`
	Type  string  `json:"type"`
	Value float64 `json:"value"`
}

// Number is the Type of a counter that tells how much there is of something.
const Number = "NUMBER"

// counters returns the commands that show those counters that have one of the arguments as name, or as a part of it.
func (o *Options) counters() []Command {
	with := func(of func(name, arg string) bool) Func {
		return func(args []string) string {
			now := time.Now()
			answer := struct {
				Result    string    `json:"result"`
				Timestamp int64     `json:"timestamp"`
				Text      string    `json:"timestamp_str"`
				Counters  []Counter `json:"counters"`
			}{"OK", now.Unix(), now.Format(time.DateTime), []Counter{}}
			if o.Counters != nil {
				for _, c := range o.Counters() {
					if len(args) == 0 || slices.ContainsFunc(args, func(arg string) bool { return of(c.Name, arg) }) {
						answer.Counters = append(answer.Counters, c)
					}
				}
			}
			b, err := json.Marshal(answer)
			if err != nil {
				return "ERR: " + err.Error()
			}
			return string(b)
		}
	}
	const help = "Query perf counters: there are only the sizes of replicas (disk.storage.sst), for all else see /metrics"
	return []Command{
		{Name: "perf-counters", Args: "[name]...", Help: help, Shows: Always, Run: with(func(name, arg string) bool { return name == arg })},
		{Name: "perf-counters-by-postfix", Args: "<text>...", Help: help, Shows: Always, Run: with(strings.HasSuffix)},
		{Name: "perf-counters-by-prefix", Args: "<text>...", Help: help, Shows: Always, Run: with(strings.HasPrefix)},
		{Name: "perf-counters-by-substr", Args: "<text>...", Help: help, Shows: Always, Run: with(strings.Contains)},
	}
}
