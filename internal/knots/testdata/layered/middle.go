package layered

func middle() { bottom() }
