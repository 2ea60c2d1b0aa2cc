// Package layered has files that only call down.
package layered

func top() { middle(); bottom() }
