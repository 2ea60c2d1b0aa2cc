package layered

// knows mentions a type of a file above, which is no call.
type knows struct{ a, b, c int }

func bottom() {}
