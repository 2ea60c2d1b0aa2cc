package tied

// use calls b.do by way of an interface, which doesn't count.
func use(d doer) { d.do() }
