package acl

import (
	"fmt"

	"pegasus/base"
)

// Policy is who may do what. The zero value trusts everybody who reaches the server.
type Policy struct {
	// Peers: servers of the cluster prove that they are some, so nobody else is taken for one.
	Peers bool
}

// Decide returns nil if who may do what. Else the error wraps base.ErrACLDeny, and says why.
func (p Policy) Decide(who Principal, what Action) error {
	if what == Internal && p.Peers && who.Kind != Server {
		return fmt.Errorf("only servers of the cluster may do that, and this is %v: %w", who, base.ErrACLDeny)
	}
	return nil
}
