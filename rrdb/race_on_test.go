//go:build race

package rrdb

// raceEnabled: what takes many times as long then is done less often.
const raceEnabled = true
