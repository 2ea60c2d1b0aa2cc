// Package tied has three files that call each other in a circle, and one that doesn't.
package tied

type a struct{ x, y, z int }

func (v *a) up() { down[int]() }
func top()       { (&a{}).up(); use(nil) }

type doer interface{ do() }
