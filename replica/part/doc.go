// Package part is what a feature of the replica server is to the server that hosts it, and what
// the server and its replicas are to a feature.
//
// A feature is a package below replica with a type that is a Part, and a line in the list of
// package replica (parts.go), which gives it its settings and its Host. It registers its requests,
// pages, remote commands and live settings, is called once a second, and adds its metrics.
//
// It owns the interfaces, and the way of a request to a handler. It must not know what features
// there are, nor how a replica does what it offers.
package part
