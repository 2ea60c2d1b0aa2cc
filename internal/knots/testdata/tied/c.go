package tied

func again() { (&a{}).up() }
