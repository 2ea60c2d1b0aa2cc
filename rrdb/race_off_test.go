//go:build !race

package rrdb

const raceEnabled = false
