package answer

import "time"

// Traces is what the remote command replica.traces answers.
type Traces struct {
	Traces []Trace `json:"traces"`
	Error  string  `json:"error,omitempty"`
}

// Trace is a request on its way through one server.
type Trace struct {
	ID        string    `json:"id"`
	Server    string    `json:"server"`
	Role      string    `json:"role"` // primary or secondary
	Op        string    `json:"operation,omitempty"`
	Table     string    `json:"table,omitempty"`
	Partition string    `json:"partition"`
	Decree    int64     `json:"decree,omitempty"`
	From      string    `json:"from,omitempty"`
	Time      time.Time `json:"time"` // when the server had it
	Took      float64   `json:"took_seconds"`
	Error     string    `json:"error,omitempty"` // why it has no answer
	// Stages are in the order of time.
	Stages []Stage `json:"stages"`
}

// Stage is that a request got so far.
type Stage struct {
	What string `json:"what"`
	// Server is the one that did it, unless it is the one that tells. The times of others are estimated: what the network took is halved.
	Server string  `json:"server,omitempty"`
	At     float64 `json:"at_seconds"` // since the server had the request
}

// SlowRequests is what the remote command replica.slow answers, the newest first.
type SlowRequests struct {
	Requests []SlowRequest `json:"requests"`
	Error    string        `json:"error,omitempty"`
}

// SlowRequest is a request that took long, or a read that was large.
type SlowRequest struct {
	Time      time.Time `json:"time"`
	Op        string    `json:"operation"`
	Table     string    `json:"table"`
	Partition string    `json:"partition"`
	From      string    `json:"from"`
	Took      float64   `json:"took_seconds"`
	Rows      int       `json:"rows,omitempty"`
	Bytes     int       `json:"bytes,omitempty"`
	// Others are further writes that waited for the same mutation.
	Others int `json:"others,omitempty"`
	// What it asks for, without keys if these are redacted.
	What string `json:"what,omitempty"`
	// Trace is its way, if it was traced.
	Trace *Trace `json:"trace,omitempty"`
}
