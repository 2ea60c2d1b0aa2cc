package acl

// Kind is what somebody has proven to be.
type Kind uint8

const (
	// Nobody has proven nothing: a client without a login, or whoever reaches the port.
	Nobody Kind = iota
	// Server is a server of this cluster.
	Server
)

// Principal is who sends a request, as far as that is proven. The zero value is Nobody.
type Principal struct {
	Kind Kind
	// Via says how it was proven, for logs.
	Via string
}

// String names p for logs and errors.
func (p Principal) String() string {
	switch p.Kind {
	case Server:
		return "a server of the cluster (" + p.Via + ")"
	}
	return "somebody unproven"
}
