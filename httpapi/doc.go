// Package httpapi serves HTTP on the port of a server, as upstream's tools expect it: paths
// without regard to empty segments, its status texts, JSON objects whose values are strings.
//
// It owns the pages that every server has (the list of paths, version, configuration,
// metrics, health, Go's profiles) and the forms that answers take. Pages of one kind of
// server are added by it. It must not know what they show.
package httpapi
