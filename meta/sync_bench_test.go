package meta

import (
	"testing"

	"pegasus/gen/metaadmin"
)

// BenchmarkConfigSync is the leader's part in the configuration sync of a node that holds
// 3,000 replicas; the encoding isn't in it.
func BenchmarkConfigSync(b *testing.B) {
	c := newCluster(b, 1, 0, nil)
	fill(b, c.metas[0].srv, 3000*scaleNodes/3/scaleParts)
	c.leader()
	l := c.metas[0].srv.leader.Load()
	q := c.metas[0].stored(scaleNode(3))
	b.ReportMetric(float64(len(q.StoredReplicas.V)), "replicas")
	for b.Loop() {
		var r metaadmin.ConfigurationQueryByNodeResponse
		(&call{leader: l}).configSync(q, &r)
		if len(r.Partitions) != len(q.StoredReplicas.V) {
			b.Fatalf("%d partitions: %v", len(r.Partitions), r.Err)
		}
	}
}
