package cli

import (
	"context"
	"fmt"
	"strings"

	"pegasus/base"
	"pegasus/remotecmd/answer"
)

// LogLevel shows the levels of the logs of servers, and changes them first if there are changes, each "LEVEL", "PACKAGE=LEVEL"
// or "PACKAGE=".
func (s Servers) LogLevel(ctx context.Context, w Which, changes []string) error {
	list, err := s.find(ctx, w)
	if err != nil {
		return err
	}
	all := askEach(list, func(x server) (l answer.LogLevel, err error) {
		text, err := s.Client.Admin().RemoteCommand(ctx, x.Addr, "log-level", changes...)
		if err != nil {
			return l, err
		}
		if strings.HasPrefix(text, "unknown command '") {
			return l, fmt.Errorf("%s is of a version that has no levels of packages: %w", x.Addr, base.ErrHandlerNotFound)
		}
		if l, err = answer.Read[answer.LogLevel](x.Addr, "log-level", text); err == nil && l.Error != "" {
			err = fmt.Errorf("%s: %s: %w", x.Addr, l.Error, base.ErrInvalidParameters)
		}
		return l, err
	})
	if s.JSON {
		if err := s.json(saidEach(all, func(l answer.LogLevel) any { return l })); err != nil {
			return err
		}
		return silent(all)
	}
	g := newGrid("address", "role", "level", "packages")
	for _, a := range all {
		if a.err == nil {
			g.add(a.Addr, a.Role, a.got.Level, strings.Join(a.got.Packages, " "))
		}
	}
	if err := g.print(s.Out); err != nil {
		return err
	}
	return silent(all)
}
