//go:build !invariants

package pacifica

func (c *Core) check() {}
