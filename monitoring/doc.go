// Package monitoring holds what ships for those who watch a cluster with Prometheus and Grafana: dashboards, alert rules, and a
// configuration of Prometheus.
//
// It owns those files, and knows what a test has to ask of them: their queries, and the metrics that these name. Each query
// parses, each metric is one that servers expose, each rule has a case that fires and one that doesn't. It must not know servers.
package monitoring
