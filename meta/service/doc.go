// Package service is what a feature of the meta server is to the leader that hosts it, and what
// the leader is to a feature.
//
// A feature is a package below meta with a type that is a Service, and a line in the list of
// package meta (services.go). It registers its requests and pages by generic functions, so that
// each handler is a method of its type with the request's and the answer's own types. What it wants to outlast a
// leader it keeps in package state; what it keeps in its Service lives as long as one meta leads.
//
// It owns the interfaces, and the way of a request to a handler. It must not know what
// features there are, nor how a leader knows what it tells.
package service
