package replica

import (
	"pegasus/base/config"
	"pegasus/remotecmd"
	"pegasus/rpc"
)

// handlers is the table of what this server answers.
func (s *Server) handlers() rpc.Handler {
	m := rpc.NewMux(s.log)
	for _, c := range []string{"RPC_RRDB_RRDB_GET", "RPC_RRDB_RRDB_TTL", "RPC_RRDB_RRDB_CLEAR_SCANNER"} {
		m.HandleFunc(c, s.onRead)
	}
	for _, c := range []string{"RPC_RRDB_RRDB_MULTI_GET", "RPC_RRDB_RRDB_BATCH_GET", "RPC_RRDB_RRDB_SORTKEY_COUNT",
		"RPC_RRDB_RRDB_GET_SCANNER", "RPC_RRDB_RRDB_SCAN"} {
		m.HandleFunc(c, s.onLongRead)
	}
	for _, c := range []string{"RPC_RRDB_RRDB_PUT", "RPC_RRDB_RRDB_REMOVE", "RPC_RRDB_RRDB_MULTI_PUT", "RPC_RRDB_RRDB_MULTI_REMOVE",
		"RPC_RRDB_RRDB_INCR", "RPC_RRDB_RRDB_CHECK_AND_SET", "RPC_RRDB_RRDB_CHECK_AND_MUTATE"} {
		m.HandleFunc(c, s.onWrite)
	}
	m.HandleFunc(codePacifica, s.onMessage)
	m.HandleFunc(codeProposal, s.onProposal)
	s.registerAdmin(m)
	remotecmd.New(remotecmd.Options{
		Started: s.started,
		Dump: func() (string, error) {
			b, err := config.Marshal(s.cfg)
			return string(b), err
		},
		Log: s.log.Logger,
	}, s.commands()...).Register(m)
	return m
}
