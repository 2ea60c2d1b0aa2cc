package pacifica

import "testing"

// BenchmarkStep is a mutation's way through the cores of a primary and two secondaries, as
// their drivers take it, without a log, a network or a store.
func BenchmarkStep(b *testing.B) {
	cores := make([]*Core, 3)
	opt := Options{MaxInFlight: 64, MaxSendBytes: 1 << 20, HeartbeatTicks: 5, ResendTicks: 5, EjectTicks: 30, LearnTicks: 200}
	cfg := Config{Ballot: 1, Primary: 1, Secondaries: []NodeID{2, 3}}
	for i := range cores {
		o := opt
		o.Self = NodeID(i + 1)
		cores[i] = New(o, 0, 0, nil)
		cores[i].Configure(cfg)
	}
	var inbox [3][]Message
	committed := int64(0)
	settle := func() {
		for busy := true; busy; {
			busy = false
			for i, c := range cores {
				ms := inbox[i]
				inbox[i] = nil
				for j := range ms {
					c.Step(ms[j])
				}
				for {
					rd := c.Ready()
					if rd.Empty() {
						c.Recycle(&rd)
						break
					}
					busy = true
					for _, m := range rd.Messages {
						m.Entries = append([]Entry(nil), m.Entries...) // what a decoder would make
						inbox[m.To-1] = append(inbox[m.To-1], m)
					}
					if n := len(rd.Append); n > 0 {
						c.Persisted(rd.Append[n-1].Ballot, rd.Append[n-1].Decree)
					}
					if i == 0 {
						committed += int64(len(rd.Commit))
					}
					c.Recycle(&rd)
				}
			}
		}
	}
	settle()
	payload := make([]byte, 1024)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := cores[0].Propose(1, payload); err != nil {
			b.Fatal(err)
		}
		settle()
	}
	if committed == 0 || committed != cores[0].Last() {
		b.Fatalf("committed %d of %d", committed, cores[0].Last())
	}
}
