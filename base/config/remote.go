package config

import (
	"fmt"
	"maps"
	"slices"
)

// Remote is another cluster. Upstream has its meta servers in [pegasus.clusters] and its number in
// [duplication-group].
type Remote struct {
	MetaServers []string `toml:"meta_servers" form:"addr" def:"[]" doc:"Addresses (host:port) of its meta servers. A cluster that only sends needs none."`
	ID          int      `toml:"id" max:"127" def:"0" doc:"Its number, as cluster.id in its own configuration (a C++ cluster: [duplication-group]). 0: not known."`
}

// checkClusters says what is wrong with the sections [clusters.NAME], and in which key.
func (c *Config) checkClusters() (key, problem, fix string) {
	of := map[int]string{c.Cluster.ID: c.Cluster.Name}
	for _, name := range slices.Sorted(maps.Keys(c.Clusters)) {
		r := c.Clusters[name]
		key := "clusters." + name + ".id"
		switch other, taken := of[r.ID]; {
		case name == c.Cluster.Name:
			if r.ID != 0 && r.ID != c.Cluster.ID {
				return key, fmt.Sprintf("is %d, and cluster.id is %d", r.ID, c.Cluster.ID), "give this cluster the same number in both places"
			}
			continue
		case r.ID == 0:
			continue
		case taken:
			return key, fmt.Sprintf("%d is also that of %s", r.ID, other), "give each cluster a number of its own: it tells whose write a row is"
		}
		of[r.ID] = name
	}
	return "", "", ""
}

// ClusterOf returns the name of the cluster with that number; ok is false if there is none.
func (c *Config) ClusterOf(id int) (name string, ok bool) {
	if id != 0 && id == c.Cluster.ID {
		return c.Cluster.Name, true
	}
	for n, r := range c.Clusters {
		if id != 0 && r.ID == id {
			return n, true
		}
	}
	return "", false
}
